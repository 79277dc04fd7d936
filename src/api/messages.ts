import { EngineError } from "../errors.ts";
import { any, isRecord, number, oneOf, type Reader, readOptions, text, wrong } from "../options.ts";
import { isList, type Picture, picture, pictures, type Source } from "./pictures.ts";

/** A text of a message. */
export interface TextPart {
  type: "text";
  text: string;
}

/** A picture; a list of several is the combined form, which takes one `<image>`. */
export interface ImagePart {
  type: "image";
  image: Source | readonly Source[];
  /** Most tiles of this picture, in place of the request's `maxTiles`. */
  maxTiles?: number | undefined;
}

/** OpenAI's form of a picture. `detail: "low"` stands for one tile. */
export interface ImageUrlPart {
  type: "image_url";
  image_url: string | { url: string; detail?: "auto" | "low" | "high" | undefined };
}

/** A part of a message. */
export type ContentPart = TextPart | ImagePart | ImageUrlPart;

/**
 * What somebody says: the form that a conversation has in OpenAI's API, the AI SDK and transformers.js. Pictures of a user's message stand
 * where its text has `<image>`, or, where it has none, in front of it.
 */
export interface Message {
  role: "system" | "user" | "assistant";
  content: string | readonly ContentPart[];
}

/** A question and its answer, as the model card's history has them; `images` are those of the question's `<image>` markers. */
export interface HistoryTurn {
  question: string;
  answer: string;
  images?: readonly (Source | readonly Source[])[] | undefined;
}

/** What was said before: messages, as `reply.history` has them, or questions with their answers. */
export type History = readonly (Message | HistoryTurn | readonly [question: string, answer: string])[];

/** A user's message: its text, and its own pictures in the order of the text's `<image>` markers. */
export interface Asked {
  /** How messages call it: `the question`, `history[2]`. */
  name: string;
  text: string;
  pictures: readonly Picture[];
  /** The message's parts in their order, where it came as parts: texts, and the place of each picture. */
  parts?: readonly (string | undefined)[];
}

/** The texts of a message that came as several: the template says how they are joined. Beside them the one text has them line below line. */
export type Texts = readonly string[] | undefined;

/** A question that was answered. */
export interface Turn {
  asked: Asked;
  answer: string;
  answerTexts?: Texts;
}

/** Messages that were read: whole turns, and the question that has no answer yet. */
export interface Conversation {
  system?: string | undefined;
  systemTexts?: Texts;
  turns: Turn[];
  open?: Asked | undefined;
}

/** What a session begins with. */
export interface SessionStart extends Omit<Conversation, "open"> {
  /** Whether the system message came as a message: then the reply's history has it too. */
  systemSaid: boolean;
}

/** Reads how many tiles a picture may have at most. */
export const tileCount: Reader<number> = number("an integer from 1 to 40", (v) => Number.isInteger(v) && v >= 1 && v <= 40);

/** A reader that calls its value by where it stands. */
export const at =
  <T>(where: string, read: Reader<T>): Reader<T> =>
  (value, key) =>
    read(value, `${where}.${key}`);

function given<T>(value: T | undefined, name: string, needs: string): T {
  if (value === undefined) throw wrong(name, value, needs);
  return value;
}

/** One part of a message's content: a text, or a picture. */
function contentPart(value: unknown, where: string, image: string): string | Picture {
  if (!isRecord(value)) throw wrong(where, value, 'a part of a message: { type: "text", text } or { type: "image", image }');
  const type = at(where, oneOf("text", "image", "image_url"))(value.type, "type");
  const shape = { type: any };
  if (type === "text") {
    const read = readOptions(where, value, { ...shape, text: at(where, text) });
    return given(read.text, `${where}.text`, "a text");
  }
  if (type === "image") {
    const read = readOptions(where, value, { ...shape, image: any, maxTiles: at(where, tileCount) });
    return { ...picture(given(read.image, `${where}.image`, "a picture"), image), maxTiles: read.maxTiles, part: value };
  }
  const { image_url: url } = readOptions(where, value, { ...shape, image_url: any });
  const needs = "an address, or { url }";
  if (typeof url === "string") return { ...picture(url, image), part: value };
  if (!isRecord(url)) throw wrong(`${where}.image_url`, url, needs);
  const read = readOptions(`${where}.image_url`, url, { url: text, detail: at(where, oneOf("auto", "low", "high")) });
  const sources = picture(given(read.url, `${where}.image_url.url`, "an address"), image);
  return { ...sources, maxTiles: read.detail === "low" ? 1 : undefined, part: value };
}

/** The text and the pictures of a message; several texts are lines one below the other. */
function content(value: unknown, where: string): Asked {
  if (typeof value === "string") return { name: where, text: value, pictures: [] };
  if (!Array.isArray(value))
    throw wrong(`${where}.content`, value, 'a text, or a list of parts: { type: "text", text }, { type: "image", image }');
  const parts: (string | undefined)[] = [];
  const found: Picture[] = [];
  for (const [i, each] of value.entries()) {
    const part = contentPart(each, `${where}.content[${i}]`, `image ${found.length + 1} of ${where}`);
    parts.push(typeof part === "string" ? part : undefined);
    if (typeof part !== "string") found.push(part);
  }
  const texts = parts.filter((part) => part !== undefined);
  return { name: where, text: texts.join("\n"), pictures: found, parts };
}

const FORMS = "a message { role, content }, [question, answer] or { question, answer }";

function misplaced(where: string, is: string, needs: string): EngineError {
  const hint = "after an optional system message, user and assistant take turns, the user first";
  return new EngineError("bad-input", `${where} is ${is}, ${needs}`, { hint });
}

/** Takes messages and turns one by one, each in its place. */
class Reading implements Conversation {
  system: string | undefined;
  systemTexts: Texts;
  readonly turns: Turn[] = [];
  open: Asked | undefined;

  entry(value: unknown, where: string): void {
    if (Array.isArray(value)) {
      if (value.length !== 2 || value.some((each) => typeof each !== "string")) throw wrong(where, value, "[question, answer], two texts");
      this.#turn({ name: where, text: value[0], pictures: [] }, value[1], where);
    } else if (!isRecord(value)) throw wrong(where, value, FORMS);
    else if ("role" in value) this.#message(value, where);
    else if ("question" in value || "answer" in value) this.#pair(value, where);
    else throw wrong(where, value, FORMS);
  }

  #turn(asked: Asked, answer: string, where: string): void {
    if (this.open) throw misplaced(where, "a whole turn", `${this.open.name} before it has no answer yet`);
    this.turns.push({ asked, answer });
  }

  #pair(value: object, where: string): void {
    const read = readOptions(where, value, {
      question: at(where, text),
      answer: at(where, text),
      images: (list, key) => pictures(list, `${where}.${key}`, "image", ` of ${where}`),
    });
    const question = given(read.question, `${where}.question`, "a text: half a turn is none");
    const answer = given(read.answer, `${where}.answer`, "a text: half a turn is none");
    this.#turn({ name: where, text: question, pictures: read.images ?? [] }, answer, where);
  }

  #message(value: object, where: string): void {
    const read = readOptions(where, value, { role: at(where, oneOf("system", "user", "assistant")), content: any });
    const role = given(read.role, `${where}.role`, "one of system, user, assistant");
    const said = content(given(read.content, `${where}.content`, "a text, or a list of parts"), where);
    if (role === "user") {
      if (this.open) throw misplaced(where, "a user's message", `${this.open.name} before it has no answer yet`);
      this.open = said;
      return;
    }
    const texts = said.parts && said.parts.length > 1 ? (said.parts as readonly string[]) : undefined;
    if (said.pictures.length > 0) throw misplaced(where, `the ${role}'s message with a picture`, "only the user's can bring one");
    if (role === "assistant") {
      if (!this.open) throw misplaced(where, "an answer", "it needs a user's message before it");
      this.turns.push({ asked: this.open, answer: said.text, answerTexts: texts });
      this.open = undefined;
    } else if (this.turns.length > 0 || this.open || this.system !== undefined) {
      throw misplaced(where, "a system message", "it can only be the first");
    } else [this.system, this.systemTexts] = [said.text, texts];
  }
}

/** Reads a list of messages and turns in their order. @throws EngineError bad-input, naming the entry by `name` and its position */
export function conversation(value: unknown, name: string): Conversation {
  if (!isList(value)) throw wrong(name, value, `a list: of messages { role, content }, of [question, answer], or as reply.history is`);
  const reading = new Reading();
  for (const [i, entry] of Array.from(value).entries()) reading.entry(entry, `${name}[${i}]`);
  return reading;
}

/** A history: whole turns only. @throws EngineError bad-input */
export const history: Reader<Conversation> = (value, name) => {
  const read = conversation(value, name);
  if (read.open) throw misplaced(read.open.name, "a question without an answer", "a history has whole turns");
  return read;
};

/** The one system message of those that were given. @throws EngineError bad-input where they differ */
export function oneSystem(...systems: (string | undefined)[]): string | undefined {
  const found = [...new Set(systems.filter((each) => each !== undefined))];
  if (found.length > 1) {
    const hint = "give it once: as the option system, or as the first message";
    throw new EngineError("bad-input", "there are two system messages, and they differ", { hint });
  }
  return found[0];
}

/** A message's content as it came: one text, or several. */
export const contentOf = (text: string, texts: Texts): Message["content"] =>
  texts?.map((each) => ({ type: "text" as const, text: each })) ?? text;

/** What the pictures of a conversation are called in it, in the order of their `<image>`: `Image-2`, `Frame1`, or nothing. */
export function pictureNames(messages: readonly Message[]): (string | undefined)[] {
  return messages.flatMap(({ content }) => {
    if (typeof content === "string") return [];
    const texts = content.map((part) => (part.type === "text" ? part.text : "")).join("\n");
    const names = Array.from(texts.matchAll(/(?:(Image-\d+|Frame\d+): )?<image>/g), ([, name]) => name);
    return names.slice(0, content.filter(({ type }) => type !== "text").length);
  });
}

/** What a user says: a text alone, or pictures and the text that says with `<image>` where they belong. */
export const userContent = (text: string, pictures: readonly ContentPart[]): Message["content"] =>
  pictures.length === 0 ? text : [...pictures, { type: "text", text }];

/** Whole turns as messages; `asked` gives the content of a question, by default as it came. */
export function messagesOf(
  { system, systemTexts, systemSaid, turns }: Omit<SessionStart, "turns"> & { turns: readonly Turn[] },
  asked = (_: number, { text, pictures }: Asked): Message["content"] =>
    userContent(
      text,
      pictures.map((each) => (each.part ?? { type: "image", image: each.sources, maxTiles: each.maxTiles }) as ContentPart),
    ),
): Message[] {
  return [
    ...(systemSaid && system !== undefined ? [{ role: "system" as const, content: contentOf(system, systemTexts) }] : []),
    ...turns.flatMap((turn, i): Message[] => [
      { role: "user", content: asked(i, turn.asked) },
      { role: "assistant", content: contentOf(turn.answer, turn.answerTexts) },
    ]),
  ];
}
