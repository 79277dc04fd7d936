import { EngineError } from "../errors.ts";
import { any, isRecord, oneOf, text, wrong } from "../options.ts";
import { videoPrefix } from "../text/template.ts";
import { fromBase64 } from "./base64.ts";
import type { Asked, Turn } from "./messages.ts";
import { nested, never } from "./openai-fields.ts";
import { callText, responseText, toolCalls } from "./openai-tools.ts";
import { isList, type Picture } from "./pictures.ts";

/** A conversation that ends with a question. */
export interface Dialogue {
  system: string | undefined;
  turns: Turn[];
  question: Asked;
}

/** Somebody's messages, one or several in a row. */
interface Said {
  name: string;
  role: "system" | "user" | "assistant";
  text: string;
  pictures: Picture[];
}

const refuse = (param: string, message: string, hint?: string) => new EngineError("bad-input", `${param} ${message}`, { param, hint });

/** The files of a data URL: nothing else is ever opened by what a request says. @throws EngineError bad-input */
function dataUrl(value: unknown, name: string, kind: "image" | "video"): Uint8Array[] {
  const url = text(value, name);
  const form = kind === "image" ? "data:image/…;base64,…" : "data:video/jpeg;base64,FRAME,FRAME,…";
  const comma = url.slice(0, 100).indexOf(",");
  const head = url.slice(0, Math.max(comma, 0)).toLowerCase();
  const right = kind === "image" ? /^data:image\/[\w.+-]+;base64$/ : /^data:video\/jpeg;base64$/;
  if (!right.test(head)) throw wrong(name, url, `a data URL: ${form}`, "other addresses are not opened here");
  const packed = kind === "image" ? [url.slice(comma + 1)] : url.slice(comma + 1).split(",");
  return packed.map((each) => {
    const bytes = fromBase64(each);
    if (!bytes?.length) throw refuse(name, "is a data URL whose base64 is damaged, empty or cut off");
    return bytes;
  });
}

const pictureAt = (name: string, bytes: Uint8Array, maxTiles?: number): Picture => ({ name, sources: [bytes], maxTiles });

/** A message's content. Texts are lines one below the other; a video's frames have theirs before them. */
function content(value: unknown, name: string, role: string): { text: string; pictures: Picture[] } {
  if (typeof value === "string") return { text: value, pictures: [] };
  if (!isList(value)) throw wrong(name, value, "a text, or a list of parts { type, … }");
  const texts: string[] = [];
  const images: Picture[] = [];
  const frames: Picture[] = [];
  for (const [i, part] of Array.from(value).entries()) {
    const at = `${name}[${i}]`;
    if (!isRecord(part)) throw wrong(at, part, "a part { type, … }");
    const others = { user: ["image_url", "video_url"], assistant: ["refusal"] } as const;
    const type = oneOf("text", ...(role === "user" || role === "assistant" ? others[role] : []))(part.type, `${at}.type`);
    if (type === "text" || type === "refusal") {
      const said = nested(part, at, { type: any, [type]: text })[type];
      if (said === undefined) throw wrong(`${at}.${type}`, said, "a text");
      texts.push(said as string);
    } else if (type === "image_url") {
      const { image_url: given } = nested(part, at, { type: any, image_url: any });
      const fields = { url: any, detail: oneOf("auto", "low", "high") };
      const { url, detail } = nested(typeof given === "string" ? { url: given } : given, `${at}.image_url`, fields);
      const [bytes] = dataUrl(url, `${at}.image_url.url`, "image");
      images.push(pictureAt(`${at}.image_url`, bytes!, detail === "low" ? 1 : undefined));
    } else {
      const { video_url: given } = nested(part, at, { type: any, video_url: any });
      const { url } = nested(given, `${at}.video_url`, { url: any });
      for (const bytes of dataUrl(url, `${at}.video_url.url`, "video")) frames.push(pictureAt(`${at}.video_url`, bytes, 1));
    }
  }
  if (frames.length === 0) return { text: texts.join("\n"), pictures: images };
  if (images.length > 0) throw refuse(name, "has a video and pictures of their own, needs one of both");
  return { text: videoPrefix(frames.length) + texts.join("\n"), pictures: frames };
}

function message(value: unknown, name: string): Said {
  if (!isRecord(value)) throw wrong(name, value, "a message { role, content }");
  const role = oneOf("system", "developer", "user", "assistant", "tool")(value.role, `${name}.role`);
  const back = { refusal: text, annotations: any, audio: any, function_call: never(() => false) }; // what clients send back of an answer
  const shape = { role: any, content: any, name: text, tool_calls: any, tool_call_id: text, ...back };
  const read = nested(value, name, shape);
  if (role !== "assistant" && read.tool_calls !== undefined) throw refuse(`${name}.tool_calls`, `is only an assistant's`);
  if (role === "assistant") read.content ??= read.refusal; // which has no content beside it
  const calls = read.tool_calls === undefined ? [] : toolCalls(read.tool_calls, `${name}.tool_calls`);
  if (read.content === undefined && calls.length === 0) throw wrong(`${name}.content`, read.content, "a text, or a list of parts");
  const said = read.content === undefined ? { text: "", pictures: [] } : content(read.content, `${name}.content`, role);
  if (role === "tool") {
    if (read.tool_call_id === undefined) throw wrong(`${name}.tool_call_id`, undefined, "a text");
    return { name, role: "user", text: responseText(said.text), pictures: [] };
  }
  if (role === "assistant")
    return { name, role, text: [...(said.text ? [said.text] : []), ...calls.map(callText)].join("\n"), pictures: [] };
  return { name, role: role === "developer" ? "system" : role, ...said };
}

/** Messages and their places, where results stand in the order of the calls that they are of: a prompt has nothing else to know them by. */
function inOrder(messages: readonly unknown[]): [at: number, message: unknown][] {
  const entries = messages.map((each, i): [number, unknown] => [i, each]);
  const callOf = ([, each]: [number, unknown]): unknown =>
    isRecord(each) && each.role === "tool" ? (each.tool_call_id ?? each) : undefined;
  for (let from = 1; from < entries.length; from++) {
    const before = messages[from - 1];
    if (!isRecord(before) || !isList(before.tool_calls)) continue;
    const calls = Array.from(before.tool_calls, (call) => (isRecord(call) ? call.id : undefined));
    const places = new Map(calls.map((id, i) => [id, i]));
    let to = from;
    while (to < entries.length && callOf(entries[to]!) !== undefined) to++;
    const place = (entry: [number, unknown]) => places.get(callOf(entry)) ?? calls.length;
    for (const [i, entry] of entries
      .slice(from, to)
      .sort((a, b) => place(a) - place(b))
      .entries())
      entries[from + i] = entry;
  }
  return entries;
}

/**
 * Reads a list of messages. Several of one role in a row are one, line below line; system messages come first. What looks like `<image>`
 * or a special token is text.
 *
 * @throws EngineError bad-input, with `param`
 */
export function dialogue(value: unknown, maxImages: number): Dialogue {
  if (!isList(value) || value.length === 0) throw wrong("messages", value, "a list of messages, at least one");
  const said: Said[] = [];
  for (const [i, each] of inOrder(Array.from(value))) {
    const next = message(each, `messages[${i}]`);
    const last = said.at(-1);
    if (last?.role === next.role) {
      last.text += `\n${next.text}`;
      last.pictures.push(...next.pictures);
    } else said.push(next);
  }
  const pictures = said.reduce((sum, each) => sum + each.pictures.length, 0);
  if (pictures > maxImages) throw refuse("messages", `have ${pictures} pictures, at most ${maxImages} are taken`);
  const system = said[0]?.role === "system" ? said.shift()!.text : undefined;
  const turns: Turn[] = [];
  let open: Said | undefined;
  for (const each of said) {
    if (each.role === "system") throw refuse(each.name, "is a system message behind others, needs to be the first");
    if (each.role === "user") open = each;
    else if (open) {
      turns.push({ asked: open, answer: each.text });
      open = undefined;
    } else throw refuse(each.name, "is an answer, needs a user's message before it");
  }
  if (!open) throw refuse("messages", "do not end with a user's or a tool's message: there is nothing to answer");
  return { system, turns, question: open };
}
