import { randomBytes } from "node:crypto";
import { access, constants, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { platform } from "#platform";
import { HeldImage } from "../../src/api/pictures.ts";
import { EngineError } from "../../src/errors.ts";
import type { Message } from "../../src/index.ts";
import { isRecord, quoted } from "../../src/options.ts";
import { conversationText, messagesOfText } from "../conversation-form.ts";
import { onFile } from "./failures.ts";

const MOST_BYTES = 2 ** 28; // a text of JavaScript's can have twice that

/** What a picture that is a text names on this machine; `undefined` for addresses elsewhere. */
function localPath(image: string, folder: string): string | undefined {
  if (/^file:/i.test(image)) return fileURLToPath(image);
  return /^(https?|data|blob):/i.test(image) ? undefined : resolve(folder, image);
}

/** The messages with every picture that is a text changed; the messages are plain data. */
async function withPictures(messages: readonly Message[], change: (image: string) => unknown): Promise<Message[]> {
  const changed = async (image: unknown): Promise<unknown> => {
    if (Array.isArray(image)) return Promise.all(image.map(changed));
    return typeof image === "string" ? change(image) : image;
  };
  const part = async (each: unknown): Promise<unknown> => {
    if (isRecord(each) && each.type === "image") return { ...each, image: await changed(each.image) };
    if (!isRecord(each) || each.type !== "image_url") return each;
    const { image_url: url } = each;
    return { ...each, image_url: isRecord(url) ? { ...url, url: await changed(url.url) } : await changed(url) };
  };
  return Promise.all(
    messages.map(async (each) => ({
      ...each,
      content: (Array.isArray(each.content) ? await Promise.all(each.content.map(part)) : each.content) as Message["content"],
    })),
  );
}

/**
 * Writes a conversation: `reply.history` or `session.history`. It stands alone and opens in the page too: pictures of this machine are
 * written into it as data URLs, those of other hosts as their addresses. A file that cannot be read any more stays as its whole path.
 * It appears whole, in place of an earlier one.
 *
 * @throws EngineError bad-input
 */
export async function saveConversation(path: string, messages: readonly Message[]): Promise<void> {
  const plain = JSON.parse(JSON.stringify(messages)) as Message[]; // what bytes are in JSON, they know themselves
  const alone = await withPictures(plain, async (image) => {
    const file = localPath(image, ".");
    if (file === undefined) return image;
    const bytes = await platform.readFile(file).catch(() => undefined);
    return bytes ? (new HeldImage([new Uint8Array(bytes)], 1).toJSON() as { image: string }).image : file;
  });
  const partial = `${path}.${randomBytes(4).toString("hex")}.part`;
  try {
    await onFile("write", path, writeFile(partial, conversationText(alone), { flag: "wx" }));
    await onFile("write", path, rename(partial, path));
  } finally {
    await rm(partial, { force: true });
  }
}

/**
 * Reads a conversation that was saved, as the `history` of a chat or a session. Paths in it are relative to its folder.
 *
 * @throws EngineError bad-input where there is no such file, or it is damaged, or of a later version
 */
export async function loadConversation(path: string): Promise<Message[]> {
  const messages = messagesOfText(new TextDecoder().decode(await platform.readFile(path, MOST_BYTES)), quoted(path));
  return withPictures(messages, (image) => localPath(image, dirname(path)) ?? image);
}

/**
 * Refuses a place where a conversation could not be saved, or where another file would be lost: before a model is loaded for it.
 * @throws EngineError bad-input
 */
export async function checkSave(path: string): Promise<void> {
  if (path.trim() === "") throw new EngineError("bad-input", "the file to save to is an empty text", { hint: "give a path" });
  const found = await stat(path).catch(() => undefined);
  await onFile("write", path, access(dirname(resolve(path)), constants.W_OK));
  if (!found) return;
  if (found.isDirectory()) throw new EngineError("bad-input", `cannot write ${quoted(path)}: it is a folder`, { hint: "give a file" });
  await loadConversation(path).catch((cause: EngineError) => {
    throw new EngineError("bad-input", `${quoted(path)} exists and is no conversation: it would be lost`, {
      hint: "give another file, or remove it first",
      cause,
    });
  });
}
