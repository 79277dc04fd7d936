import { createInterface } from "node:readline";
import { Transform } from "node:stream";
import { StringDecoder } from "node:string_decoder";

/** Stands for a line break in a line that is being edited: readline edits one line. */
export const BREAK = "⏎";

const PASTE = { on: "\u001b[?2004h", off: "\u001b[?2004l", begin: "\u001b[200~", end: "\u001b[201~" };

/** How many letters at the end of a text may be the beginning of `mark`, `least` at least: what follows will tell. */
function begun(text: string, mark: string, least: number): number {
  for (let n = Math.min(mark.length - 1, text.length); n >= least; n--) if (text.endsWith(mark.slice(0, n))) return n;
  return 0;
}

/** A pasted text as one line: breaks and tabs are shown, other control characters (a terminal would obey them) are dropped. */
const pasted = (text: string): string =>
  text
    .replace(/\r\n?|\n/g, BREAK)
    .replaceAll("\t", "    ")
    .replace(/\p{Cc}/gu, "");

/** Keys as readline takes them: a paste (which the terminal brackets) and Alt+Enter hold breaks, which do not end the line. */
export function keys(): Transform {
  const decoder = new StringDecoder("utf8");
  let inside = false;
  let kept = "";
  return new Transform({
    transform(bytes: Buffer, _, done) {
      let text = kept + decoder.write(bytes);
      let out = "";
      for (;;) {
        const mark = inside ? PASTE.end : PASTE.begin;
        const at = text.indexOf(mark);
        const until = at < 0 ? text.length - begun(text, mark, inside ? 1 : 2) : at; // an ESC alone is a key
        const part = text.slice(0, until);
        out += inside ? pasted(part) : part.replaceAll("\u001b\r", BREAK).replaceAll("\u001b\n", BREAK);
        kept = at < 0 ? text.slice(until) : "";
        if (at < 0) break;
        text = text.slice(at + mark.length);
        inside = !inside;
      }
      done(null, out);
    },
  });
}

/** A terminal's or a pipe's lines. */
export interface LineSource {
  input: NodeJS.ReadableStream & { isTTY?: boolean; setRawMode?: (raw: boolean) => unknown };
  /** Where the prompt goes. */
  errors: NodeJS.WritableStream & { isTTY?: boolean };
}

export interface TypedLines {
  /** The next question, of one line or several; undefined at the end. */
  next(prompt: string): Promise<string | undefined>;
  /** What is half typed goes; whether there was anything. */
  clear(): boolean;
  close(): void;
}

export interface LineOptions {
  /** The lines of earlier sessions, the newest first. */
  history: string[];
  /** Called with each line that was typed. */
  remember(line: string): void;
  complete(line: string): [string[], string];
  onInterrupt(): void;
}

const MOST_REMEMBERED = 1000;
const MORE = "… ";

/** Reads questions. On a terminal a line that ends with `\`, a paste and Alt+Enter make one of several lines. */
export function typedLines({ input, errors }: LineSource, { history, remember, complete, onInterrupt }: LineOptions): TypedLines {
  const terminal = input.isTTY === true && errors.isTTY === true;
  const edited = terminal ? input.pipe(keys()) : input;
  if (terminal) {
    Object.assign(edited, { isTTY: true, setRawMode: (raw: boolean) => input.setRawMode?.(raw) });
    errors.write(PASTE.on);
  }
  const restore = () => void errors.write(PASTE.off);
  if (terminal) process.once("exit", restore);
  const lines = createInterface({
    ...{ input: edited, output: errors, terminal, history, historySize: MOST_REMEMBERED, removeHistoryDuplicates: true },
    completer: complete,
  });
  const typed: string[] = [];
  let begun: string[] = []; // lines of a question that goes on
  let broken: Error | undefined;
  let [ended, closed] = [false, false];
  let wake = (): void => {};
  const end = (): void => {
    ended = true;
    wake();
  };
  const onError = (error: Error): void => {
    broken = error;
    end();
  };
  lines.on("line", (line) => {
    if (terminal && line.trim()) remember(line);
    const text = terminal ? line.replaceAll(BREAK, "\n") : line;
    if (terminal && text.endsWith("\\")) {
      begun.push(text.slice(0, -1));
      lines.setPrompt(MORE);
      return lines.prompt();
    }
    typed.push([...begun, text].join("\n"));
    begun = [];
    wake();
  });
  lines.on("SIGINT", onInterrupt); // a terminal that is read key by key gives no signal for Ctrl-C
  lines.on("close", end);
  input.on("error", onError);
  return {
    async next(prompt) {
      lines.setPrompt(prompt);
      if (terminal && typed.length === 0 && !ended) lines.prompt();
      while (typed.length === 0 && !ended)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      const line = typed.shift();
      if (line === undefined && broken) throw broken;
      return line;
    },
    clear() {
      if (!lines.line && begun.length === 0) return false;
      begun = [];
      errors.write("\n");
      lines.write(null, { ctrl: true, name: "e" });
      lines.write(null, { ctrl: true, name: "u" }); // what is left of the cursor: the line
      lines.prompt();
      return true;
    },
    close() {
      if (closed) return;
      closed = true;
      lines.close();
      if (!terminal) return;
      input.unpipe(edited as unknown as Transform);
      input.pause();
      process.off("exit", restore);
      restore();
    },
  };
}
