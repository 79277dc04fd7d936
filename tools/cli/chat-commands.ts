import { existsSync } from "node:fs";
import { platform } from "#platform";
import type { ChatOptions, ImageLike, Message } from "../../src/index.ts";
import { nearest, quoted } from "../../src/options.ts";
import { checkSave, loadConversation, saveConversation } from "./conversation.ts";
import { UsageError } from "./failures.ts";

type Brought = Pick<ChatOptions, "images" | "video">;

/** What an interactive chat needs of the model and of the files that are named. */
export interface Talk {
  /** Reads a picture's file, at once. @throws EngineError */
  image(given: string): Promise<string | Uint8Array>;
  /** @throws EngineError */
  video(given: string): Promise<NonNullable<ChatOptions["video"]>>;
  /** Shows a picture where the terminal can. */
  show(image: string | Uint8Array): Promise<void>;
  /** The tokens of a prompt, how many of them are visual, and how many the model has room for. */
  count(options: ChatOptions): Promise<{ tokens: number; visual: number; context: number }>;
}

/** Messages with another system message in front, or without one. */
export const withSystem = (messages: readonly Message[], system: string | undefined): Message[] => [
  ...(system === undefined ? [] : [{ role: "system" as const, content: system }]),
  ...messages.filter(({ role }) => role !== "system"),
];

/** The pictures of a question that was asked in another session, as its message has them: a video's frames are those that the text calls so. */
function broughtBy({ content }: Message): Brought {
  const parts = typeof content === "string" ? [] : content;
  const text = parts.map((part) => (part.type === "text" ? part.text : "")).join("");
  const frames = /^(Frame\d+: <image>\n)*/.exec(text)![0].split("\n").length - 1;
  const images = parts.flatMap((part): NonNullable<ChatOptions["images"]>[number][] => {
    if (part.type === "image") return [part.image];
    if (part.type !== "image_url") return [];
    return [typeof part.image_url === "string" ? part.image_url : part.image_url.url];
  });
  const video = images.splice(0, frames) as ImageLike[]; // a frame is one picture
  return { images, ...(frames > 0 && { video }) };
}

const systemOf = (messages: readonly Message[]): unknown => messages.find(({ role }) => role === "system")?.content;

/** What was said, and what the next question brings along. */
export class Conversation {
  /** The system message first, where there is one. */
  messages: readonly Message[];
  next: Brought;
  /** Whether anything was said or taken back that no file has. */
  changed = false;
  leaving = false;
  readonly #brought: Brought[] = []; // by the questions of this session

  constructor(messages: readonly Message[], next: Brought) {
    this.messages = messages;
    this.next = next;
  }

  /** What waits for the next question, in words: `2 pictures and a video`; empty where nothing does. */
  get waiting(): string {
    const { images = [], video } = this.next;
    return [images.length > 0 && counted(images.length, "picture"), video !== undefined && "a video"].filter(Boolean).join(" and ");
  }

  answered(messages: readonly Message[]): void {
    this.#brought.push(this.next);
    this.next = {};
    this.messages = messages;
    this.changed = true;
  }

  /** Goes on with other messages; what waits for the next question still does. */
  goOn(messages: readonly Message[]): void {
    this.#brought.length = 0;
    this.messages = messages;
    this.changed = true;
  }

  /** Begins anew, with the system message. */
  restart(): void {
    this.next = {};
    this.goOn(this.messages.filter(({ role }) => role === "system"));
  }

  /** Takes the last question and its answer back; its pictures wait again. What is said of it. */
  undo(): string {
    if (this.messages.at(-1)?.role !== "assistant") return "nothing was asked yet";
    const { images = [], video } = this.#brought.pop() ?? broughtBy(this.messages.at(-2)!);
    const { images: more = [], video: waits } = this.next;
    this.next = { images: [...images, ...more], video: waits ?? video };
    this.messages = this.messages.slice(0, -2);
    this.changed = true;
    return `the last question is taken back${said("; for the next one: ", this.waiting)}${waits && video ? "; its own video is left out" : ""}`;
  }
}

interface Command {
  /** What it takes; a file's path is completed. */
  takes?: "FILE" | "TEXT";
  does: string;
  /** @returns what is said of it */
  run(argument: string, conversation: Conversation, talk: Talk): string | Promise<string>;
}

/** What other programs call a command. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  ...{ "?": "help", h: "help", quit: "exit", q: "exit", bye: "exit", reset: "clear", new: "clear", forget: "clear" },
  ...{ retry: "undo", redo: "undo", regen: "undo", regenerate: "undo", open: "load", write: "save", set: "system" },
  ...{ img: "image", picture: "image", photo: "image", add: "image", attach: "image", file: "image", context: "tokens" },
};

/** Behind other words, where there is something to say. */
const said = (before: string, what: string): string => (what ? before + what : "");

const counted = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`;

const COMMANDS: Readonly<Record<string, Command>> = {
  image: {
    takes: "FILE",
    does: "bring a picture along with the next question; several times for several",
    async run(given, conversation, talk) {
      const image = await talk.image(given);
      conversation.next = { ...conversation.next, images: [...(conversation.next.images ?? []), image] };
      await talk.show(image);
      return `${quoted(given)} comes with the next question`;
    },
  },
  video: {
    takes: "FILE",
    does: "bring a video along with the next question",
    async run(given, conversation, talk) {
      const before = conversation.next.video;
      conversation.next = { ...conversation.next, video: await talk.video(given) };
      return `${quoted(given)} comes with the next question${before ? ", in place of the other video" : ""}`;
    },
  },
  system: {
    takes: "TEXT",
    does: "replace the system message; without a text: the model's own",
    run(text, conversation) {
      conversation.messages = withSystem(conversation.messages, text || undefined);
      conversation.changed = true;
      return text ? "the system message is set" : "the system message is the model's own";
    },
  },
  undo: {
    does: "take the last question and its answer back",
    run: (_, conversation) => conversation.undo(),
  },
  clear: {
    does: "begin anew; the system message stays, what waits does not",
    run(_, conversation) {
      const { waiting } = conversation;
      conversation.restart();
      return `a new conversation${said(", without ", waiting)}`;
    },
  },
  tokens: {
    does: "how much of the context is taken",
    async run(_, { messages, next }, talk) {
      const { tokens, visual, context } = await talk.count({ history: messages, ...next });
      return `${counted(tokens, "token")} of ${context}, ${visual} of them visual; the next question comes on top`;
    },
  },
  save: {
    takes: "FILE",
    does: "keep the conversation in a file",
    async run(path, conversation) {
      await checkSave(path);
      await saveConversation(path, conversation.messages);
      conversation.changed = false;
      return `saved in ${quoted(path)}`;
    },
  },
  load: {
    takes: "FILE",
    does: "go on with the conversation in a file",
    async run(path, conversation) {
      const before = systemOf(conversation.messages);
      conversation.goOn(await loadConversation(path));
      const { messages, waiting } = conversation;
      const questions = counted(messages.filter(({ role }) => role === "user").length, "question");
      const system = systemOf(messages);
      const now = system === before ? "" : system === undefined ? "the model's own" : "the file's";
      return `${questions}${said("; the system message is ", now)}${said("; for the next one: ", waiting)}`;
    },
  },
  help: { does: "this list", run: () => helpText() },
  exit: {
    does: "leave, as Ctrl-D does",
    run(_, conversation) {
      conversation.leaving = true;
      return "";
    },
  },
};

const KEYS: readonly (readonly [string, string])[] = [
  ["Ctrl-C", "ends an answer, clears a half-typed line, leaves at an empty one"],
  ["\\ at the end", "the question goes on in the next line; so do Alt+Enter and a paste"],
  ["//…", "a question that begins with /"],
];

function helpText(): string {
  const rows = Object.entries(COMMANDS).map(([name, { takes, does }]) => [`/${name}${takes ? ` ${takes}` : ""}`, does] as const);
  return [...rows, ...KEYS].map(([what, does]) => `${what.padEnd(16)}${does}`).join("\n");
}

/** The commands' names, with whether each takes a path. */
export const commandPaths: ReadonlyMap<string, boolean> = new Map(
  Object.entries(COMMANDS).map(([name, { takes }]) => [name, takes === "FILE"]),
);

/** A path as a terminal hands it over: dropped there it is quoted, or its spaces are. */
function pathIn(text: string): string {
  if (existsSync(text) || /^(https?|data|file):/i.test(text)) return text;
  const bare = /^(["'])(.*)\1$/s.exec(text)?.[2] ?? (process.platform === "win32" ? text : text.replace(/\\(.)/g, "$1"));
  return platform.expandHome(bare);
}

/**
 * Runs a line that is a command.
 *
 * @returns what is said of it; undefined where the line is a question
 * @throws EngineError, UsageError where it is wrong
 */
export async function runCommand(line: string, conversation: Conversation, talk: Talk): Promise<string | undefined> {
  const [, name, rest = ""] = /^\/([^\s/]\S*)(?:\s+(.*))?$/s.exec(line.trim()) ?? [];
  if (name === undefined) return undefined;
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name]! : undefined;
  if (!command) {
    const meant = Object.hasOwn(ELSEWHERE, name) ? ELSEWHERE[name] : nearest(name, Object.keys(COMMANDS));
    throw new UsageError(
      `there is no command ${quoted(`/${name}`)}; ${meant ? `did you mean /${meant}?` : "a question that begins with / is written with //"}`,
    );
  }
  const { takes, run } = command;
  if (takes === "FILE" && !rest.trim()) throw new UsageError(`/${name} needs a file: /${name} FILE`);
  if (!takes && rest.trim()) throw new UsageError(`/${name} takes nothing`);
  return run(takes === "FILE" ? pathIn(rest.trim()) : rest.trim(), conversation, talk);
}

/** A question as it is asked: `//` at its beginning stands for `/`. */
export const questionOf = (line: string): string => line.trimEnd().replace(/^\/\//, "/");
