import { history } from "../src/api/messages.ts";
import { EngineError } from "../src/errors.ts";
import type { Message } from "../src/index.ts";
import { described, isRecord } from "../src/options.ts";

/** What the first two keys of a kept conversation say: the command line and the page write and read the same file. */
const FORMAT = "internvl-conversation";
const VERSION = 1;

/** A conversation as it is kept: JSON, with the pictures as data URLs or addresses. */
export const conversationText = (messages: readonly Message[]): string =>
  `${JSON.stringify({ format: FORMAT, version: VERSION, messages }, null, 1)}\n`;

/**
 * The messages of a kept conversation, for `history`.
 *
 * @param name how errors call the file
 * @throws EngineError bad-input where the text is none, of a later version, or damaged
 */
export function messagesOfText(text: string, name: string): Message[] {
  const broken = (why: string, cause?: unknown) =>
    new EngineError("bad-input", `${name} is no conversation that can be read: ${why}`, {
      hint: `it needs {"format": "${FORMAT}", "version": ${VERSION}, "messages": [{"role", "content"}, …]}, as --save writes it`,
      cause,
    });
  let read: unknown;
  try {
    read = JSON.parse(text.replace(/^\ufeff/, ""));
  } catch (cause) {
    throw broken(text.trim() === "" ? "it is empty" : `it is not JSON, or cut off (${text.length} characters)`, cause);
  }
  if (!isRecord(read) || read.format !== FORMAT) throw broken(`it is ${described(read)}`);
  const { version, messages } = read;
  if (typeof version === "number" && version > VERSION) {
    throw new EngineError("bad-input", `${name} is a conversation of version ${version}, this program reads version ${VERSION}`, {
      hint: "use a newer internvl",
    });
  }
  if (version !== VERSION) throw broken(`its version is ${described(version)}`);
  if (!Array.isArray(messages)) throw broken(`its messages are ${described(messages)}`);
  try {
    history(messages, "messages");
  } catch (cause) {
    if (!(cause instanceof EngineError)) throw cause;
    throw broken(cause.message, cause);
  }
  return messages;
}
