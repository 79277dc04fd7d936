import { EngineError } from "../../src/errors.ts";
import type { ChatOptions, InternVL } from "../../src/index.ts";
import { type Conversation, commandPaths, questionOf, runCommand, type Talk } from "./chat-commands.ts";
import { completed } from "./complete.ts";
import { told, UsageError } from "./failures.ts";
import { interrupt, takeInterrupts } from "./interrupt.ts";
import { historyFile, LineHistory } from "./line-history.ts";
import { promptProgress } from "./progress.ts";
import { statsOf, writeReply } from "./reply.ts";
import { clearStatus, terminal } from "./status.ts";
import { type LineSource, typedLines } from "./typed-lines.ts";

/** What a conversation is typed and shown on. */
export interface Console extends LineSource {
  /** Where the answers go. */
  output: { write(text: string): unknown };
  /** Ends the program, as Ctrl-C does at an empty prompt. */
  leave(): void;
  /** Where the lines that are typed are kept. */
  history?: string | undefined;
}

export const processConsole = (): Console => ({
  input: process.stdin,
  output: process.stdout,
  errors: process.stderr,
  leave: () => interrupt("SIGINT"),
  history: historyFile(),
});

/** After these the model answers nothing more. */
const LAST = new Set(["device-lost", "disposed"]);

const promptOf = ({ waiting }: Conversation): string => (waiting ? `[${waiting}] > ` : "> ");

/**
 * Asks what is typed until the end of the input (Ctrl-D, /exit). Ctrl-C ends an answer, whose turn is then as if it had not been asked; at a
 * half-typed line it clears the line, at an empty one it leaves. Lines that begin with `/` are commands.
 *
 * @param options of every question; its signal fires when the program is ended from outside
 * @returns how many questions could not be answered
 */
export async function converse(
  vlm: Pick<InternVL, "chat">,
  conversation: Conversation,
  talk: Talk,
  { signal, stats, ...options }: ChatOptions & { stats?: boolean | undefined },
  { input, output, errors, leave, history }: Console,
): Promise<number> {
  const isTTY = input.isTTY === true && errors.isTTY === true;
  const remembered = new LineHistory(isTTY ? history : undefined);
  let answering: AbortController | undefined;
  let failures = 0;
  const onInterrupt = () => {
    if (answering && !answering.signal.aborted) return answering.abort();
    if (!answering && lines.clear()) return;
    if (errors.isTTY) errors.write("\n"); // not behind the prompt
    leave();
    lines.close();
  };
  const lines = typedLines(
    { input, errors },
    {
      history: remembered.lines,
      remember: (line) => remembered.add(line),
      complete: (line) => completed(line, commandPaths),
      onInterrupt,
    },
  );
  const giveBack = takeInterrupts(onInterrupt);
  const stopAll = () => {
    answering?.abort();
    lines.close();
  };
  signal?.addEventListener("abort", stopAll, { once: true });

  const ask = async (question: string): Promise<void> => {
    answering = new AbortController();
    const { messages, next } = conversation;
    const onProgress = promptProgress(terminal);
    const reply = vlm.chat(question, { ...options, ...next, history: messages, signal: answering.signal, onProgress });
    const result = await writeReply(reply, output);
    conversation.answered(result.history);
    if (stats) errors.write(`${statsOf(result)}\n`);
  };
  const handle = async (line: string): Promise<void> => {
    try {
      const said = await runCommand(line, conversation, talk);
      if (said === undefined) await ask(questionOf(line));
      else if (said) errors.write(`${said}\n`);
    } catch (error) {
      clearStatus();
      const known = error instanceof EngineError || error instanceof UsageError;
      if (signal?.aborted || !known || (error instanceof EngineError && LAST.has(error.code))) throw error;
      const ended = error instanceof EngineError && error.code === "aborted";
      if (!ended) failures++;
      const line = error instanceof UsageError ? `${error.message} (/help lists what there is)` : told(error).line;
      errors.write(ended ? "(ended)\n" : `${line}\n`);
    } finally {
      answering = undefined;
    }
  };
  try {
    while (!conversation.leaving) {
      const line = await lines.next(promptOf(conversation));
      if (signal?.aborted) throw new EngineError("aborted", "the conversation was ended");
      if (line === undefined) break;
      if (line.trim()) await handle(line);
    }
    if (isTTY && !conversation.leaving) errors.write("\n");
    return failures;
  } finally {
    giveBack();
    signal?.removeEventListener("abort", stopAll);
    lines.close();
  }
}
