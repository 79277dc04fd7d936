import { createInterface } from "node:readline";
import { EngineError } from "../../src/errors.ts";
import type { ChatOptions, InternVL } from "../../src/index.ts";
import { told } from "./failures.ts";
import { interrupt, takeInterrupts } from "./interrupt.ts";

type Session = Pick<ReturnType<InternVL["session"]>, "send">;

/** What a conversation is typed and shown on. */
export interface Console {
  input: NodeJS.ReadableStream & { isTTY?: boolean };
  /** Where the answers go. */
  output: { write(text: string): unknown };
  /** Where the prompt and errors go. */
  errors: NodeJS.WritableStream & { isTTY?: boolean };
  /** Ends the program, as Ctrl-C does at an empty prompt. */
  leave(): void;
}

export const CONSOLE: Console = {
  input: process.stdin,
  output: process.stdout,
  errors: process.stderr,
  leave: () => interrupt("SIGINT"),
};

/** After these the model answers nothing more. */
const LAST = new Set(["device-lost", "disposed"]);

/**
 * Asks what is typed, line by line, until the end of the input (Ctrl-D). Ctrl-C ends an answer, whose turn is then as if it had not been
 * asked; at a half-typed line it clears the line, at an empty one it leaves.
 *
 * @param signal fires when the program is ended from outside
 * @returns how many questions could not be answered
 */
export async function converse(
  session: Session,
  { images, video, signal, ...rest }: ChatOptions,
  { input, output, errors, leave }: Console,
): Promise<number> {
  const lines = createInterface({ input, output: errors });
  const typed: string[] = [];
  let ended = false;
  let broken: Error | undefined;
  let wake = (): void => {};
  let answering: AbortController | undefined;
  let failures = 0;
  const end = () => {
    ended = true;
    wake();
  };
  const onInterrupt = () => {
    if (answering && !answering.signal.aborted) return answering.abort();
    if (!answering && lines.line) {
      errors.write("\n");
      lines.write(null, { ctrl: true, name: "e" });
      lines.write(null, { ctrl: true, name: "u" }); // what is left of the cursor: the line
      return lines.prompt();
    }
    if (errors.isTTY) errors.write("\n"); // not behind the prompt
    leave();
    lines.close();
  };
  const giveBack = takeInterrupts(onInterrupt);
  // A terminal that is read key by key gives no signal for Ctrl-C: it is a key, and readline says so.
  lines.on("SIGINT", onInterrupt);
  lines.on("line", (line) => {
    typed.push(line);
    wake();
  });
  lines.on("close", end);
  input.once("error", (error: Error) => {
    broken = error;
    end();
  });
  const stopAll = () => {
    answering?.abort();
    lines.close();
  };
  signal?.addEventListener("abort", stopAll, { once: true });
  try {
    lines.setPrompt("> ");
    lines.prompt();
    for (;;) {
      while (typed.length === 0 && !ended)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      if (signal?.aborted) throw new EngineError("aborted", "the conversation was ended");
      const line = typed.shift();
      if (line === undefined) break;
      if (line.trim()) {
        answering = new AbortController();
        let begun = false;
        try {
          const reply = session.send(line, { ...rest, images, video, signal: answering.signal });
          for await (const piece of reply) {
            output.write(piece);
            begun = true;
          }
          await reply;
          output.write("\n");
          images = undefined; // the session holds them from now on
          video = undefined;
        } catch (error) {
          if (signal?.aborted || !(error instanceof EngineError) || LAST.has(error.code)) throw error;
          if (begun) output.write("\n");
          if (error.code !== "aborted") failures++;
          errors.write(error.code === "aborted" ? "(ended)\n" : `${told(error).line}\n`);
        } finally {
          answering = undefined;
        }
      }
      if (!ended) lines.prompt();
    }
    if (broken) throw broken;
    if (errors.isTTY && input.isTTY) errors.write("\n");
    return failures;
  } finally {
    giveBack();
    signal?.removeEventListener("abort", stopAll);
    lines.close();
  }
}
