import { existsSync } from "node:fs";
import { platform } from "#platform";
import type { ChatOptions, Message } from "../../src/index.ts";
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

  /** Begins anew, with the system message or with other messages. */
  restart(messages: readonly Message[] = this.messages.filter(({ role }) => role === "system")): void {
    this.#brought.length = 0;
    this.next = {};
    this.messages = messages;
    this.changed = true;
  }

  /** Takes the last question and its answer back; its pictures wait again. Whether there was one. */
  undo(): boolean {
    if (this.messages.at(-1)?.role !== "assistant") return false;
    const { images = [], video } = this.#brought.pop() ?? {};
    this.next = { images: [...images, ...(this.next.images ?? [])], video: this.next.video ?? video };
    this.messages = this.messages.slice(0, -2);
    this.changed = true;
    return true;
  }
}

interface Command {
  /** What it takes; a file's path is completed. */
  takes?: "FILE" | "TEXT";
  does: string;
  /** @returns what is said of it */
  run(argument: string, conversation: Conversation, talk: Talk): string | Promise<string>;
}

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
      conversation.next = { ...conversation.next, video: await talk.video(given) };
      return `${quoted(given)} comes with the next question`;
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
    run(_, conversation) {
      if (!conversation.undo()) return "nothing was asked yet";
      const { waiting } = conversation;
      return `the last question is taken back${waiting && `; for the next one: ${waiting}`}`;
    },
  },
  clear: {
    does: "begin anew; the system message stays",
    run(_, conversation) {
      conversation.restart();
      return "a new conversation";
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
      conversation.restart(await loadConversation(path));
      return counted(conversation.messages.filter(({ role }) => role === "user").length, "question");
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
    const meant = nearest(name, Object.keys(COMMANDS));
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
