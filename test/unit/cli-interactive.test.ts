import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterAll, describe, expect, it } from "vitest";
import { EngineError } from "../../src/errors.ts";
import type { ChatOptions, ChatReply, Message } from "../../src/index.ts";
import { Conversation, commandPaths, runCommand, type Talk } from "../../tools/cli/chat-commands.ts";
import { completed } from "../../tools/cli/complete.ts";
import { converse } from "../../tools/cli/interactive.ts";
import { LineHistory } from "../../tools/cli/line-history.ts";
import { pathOf } from "../support.ts";

const CTRL_C = "\u0003";
const CTRL_D = "\u0004";
const folder = mkdtempSync(join(tmpdir(), "internvl-chat-"));
afterAll(() => rmSync(folder, { recursive: true }));

interface Turn {
  question: string;
  images: readonly unknown[];
  /** What was said before, without pictures. */
  before: string[];
  answered: boolean;
}

/** A model that answers "yes", but "long" without an end, and "broken" not at all. */
class Scripted {
  readonly asked: Turn[] = [];
  readonly #streaming: () => void;

  constructor(streaming: () => void) {
    this.#streaming = streaming;
  }

  chat = (question: string | readonly Message[], { images = [], history = [], signal }: ChatOptions = {}): ChatReply => {
    const before = (history as Message[]).map(({ role, content }) => `${role}: ${content as string}`);
    const turn: Turn = { question: question as string, images, before, answered: false };
    this.asked.push(turn);
    const streaming = this.#streaming;
    const pieces = async function* () {
      if (question === "broken") throw new EngineError("bad-input", "this cannot be answered");
      yield "yes";
      if (question === "long") {
        await new Promise((_, reject) => {
          signal!.addEventListener("abort", () => reject(new EngineError("aborted", "the operation was aborted")));
          streaming();
        });
      }
      turn.answered = true;
    };
    const said = [...history, { role: "user", content: question }, { role: "assistant", content: "yes" }];
    const usage = { promptTokens: 42, completionTokens: 5, totalTokens: 47, prefilledTokens: 42, cachedTokens: 4 };
    const result = { history: said, usage, timings: { prepare: 10, firstToken: 90, decode: 200 } };
    return Object.assign(Promise.resolve(result), { [Symbol.asyncIterator]: pieces }) as unknown as ChatReply;
  };
}

interface Terminal {
  type(keys: string): void;
  shown: string;
  said: string;
  left: number;
  model: Scripted;
  conversation: Conversation;
  ended: Promise<number>;
}

const history = join(folder, "state/history");

function terminal(isTTY: boolean, streaming: (terminal: Terminal) => void = () => {}, stats = false): Terminal {
  const input = Object.assign(new PassThrough(), { isTTY });
  const errors = Object.assign(new PassThrough(), { isTTY, columns: 80 });
  const talk: Talk = {
    image: async (given) => {
      if (given === "nope.png") throw new EngineError("bad-input", 'cannot read "nope.png"');
      return given;
    },
    video: async (given) => [given],
    show: async () => {},
    count: async ({ images = [] }) => ({ tokens: 30, visual: 16 * images.length, context: 512 }),
  };
  const term: Terminal = {
    type: (keys) => input.write(keys),
    shown: "",
    said: "",
    left: 0,
    model: new Scripted(() => streaming(term)),
    conversation: new Conversation([], { images: ["a.png"] }),
    ended: Promise.resolve(0),
  };
  errors.on("data", (data: Buffer) => (term.shown += data.toString()));
  term.ended = converse(
    term.model,
    term.conversation,
    talk,
    { stats },
    {
      ...{ input, errors, history },
      output: { write: (text) => (term.said += text) },
      leave: () => term.left++,
    },
  );
  if (!isTTY) setImmediate(() => input.end());
  return term;
}

/** What comes of some keys, typed one after the other at a terminal. */
async function typed(...lines: string[]): Promise<Terminal> {
  const term = terminal(true);
  for (const line of lines) term.type(line);
  term.type(CTRL_D);
  await term.ended;
  return term;
}

describe("an interactive chat", () => {
  it("Ctrl-C ends the answer and nothing else: the next question is asked, with the pictures that were not answered about", async () => {
    const term = terminal(true, (at) => at.type(`${CTRL_C}short\ragain\r${CTRL_D}`));
    term.type("long\r");
    await term.ended;
    expect(term.model.asked).toEqual([
      { question: "long", images: ["a.png"], before: [], answered: false },
      { question: "short", images: ["a.png"], before: [], answered: true },
      { question: "again", images: [], before: ["user: short", "assistant: yes"], answered: true },
    ]);
    expect(term.said).toBe("yes\nyes\nyes\n");
    expect(term.shown).toContain("(ended)");
    expect(term.left).toBe(0);
  });

  it("Ctrl-C clears a half-typed line, and leaves at an empty one", async () => {
    const term = terminal(true);
    term.type(`half a line${CTRL_C}`);
    term.type("whole\r");
    while (term.said === "") await new Promise((resolve) => setTimeout(resolve, 1));
    expect(term.model.asked.map(({ question }) => question)).toEqual(["whole"]);
    expect(term.left).toBe(0);
    term.type(CTRL_C);
    await term.ended;
    expect(term.left).toBe(1);
  });

  it("a second Ctrl-C leaves where an answer does not end", async () => {
    const term = terminal(true, (at) => at.type(CTRL_C + CTRL_C));
    term.type("long\r");
    await term.ended;
    expect(term.left).toBe(1);
  });

  it("goes on after a question that fails, and counts it", async () => {
    const term = terminal(false);
    term.type("broken\n\nshort\nlast\\");
    expect(await term.ended).toBe(1);
    expect(term.said).toBe("yes\nyes\n");
    expect(term.model.asked.at(-1)!.question).toBe("last\\");
    expect(term.shown).toBe("internvl: bad-input: this cannot be answered\n");
  });

  it("takes questions of several lines: a paste, Alt+Enter, a backslash at the end", async () => {
    const paste = ["\u001b[20", "0~one\r\ntwo\tx\u0007\u001b[31m\n\u001b[2", "01~"];
    const { model, said } = await typed(...paste, " three\r", "first\\\r", "second\\\r", "third\r", "up\u001b\rdown\r");
    expect(model.asked.map(({ question }) => question)).toEqual(["one\ntwo    x[31m\n three", "first\nsecond\nthird", "up\ndown"]);
    expect(said).toBe("yes\nyes\nyes\n");
  });

  it("Ctrl-C drops a question of several lines that is not ended", async () => {
    const { model, left } = await typed("first\\\r", CTRL_C, "whole\r");
    expect(model.asked.map(({ question }) => question)).toEqual(["whole"]);
    expect(left).toBe(0);
  });

  it("keeps the lines for the next session, for the user's eyes alone", async () => {
    rmSync(history, { force: true });
    await typed("first question\r", "/tokens\r", "\u001b[200~a\nb\u001b[201~\r");
    expect(readFileSync(history, "utf8")).toBe("first question\n/tokens\na⏎b\n");
    expect(statSync(history).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, "state")).mode & 0o777).toBe(0o700);
    const { model } = await typed("\u001b[A\u001b[A\u001b[A\r"); // three times up
    expect(model.asked.map(({ question }) => question)).toEqual(["first question"]);
  });

  it("--stats tells tokens and their rate after each answer", async () => {
    const term = terminal(true, undefined, true);
    term.type(`What?\r${CTRL_D}`);
    await term.ended;
    expect(term.shown).toContain("prompt 42 tokens (4 cached), first token after 0.10 s; answer 5 tokens in 0.20 s, 20.0 tokens/s\n");
  });
});

describe("a command of the interactive chat", () => {
  it("brings pictures along, and the prompt tells what waits", async () => {
    const term = terminal(true);
    term.type('/image "b c.png"\r/image d\\ e.png\r');
    while (!term.shown.includes("[3 pictures] > ")) await new Promise((resolve) => setTimeout(resolve, 1));
    term.type("/video clip.mp4\r");
    while (!term.shown.includes("[3 pictures and a video] > ")) await new Promise((resolve) => setTimeout(resolve, 1));
    term.type(`What?\rAnd now?\r${CTRL_D}`);
    await term.ended;
    expect(term.model.asked.map(({ images }) => images)).toEqual([["a.png", "b c.png", "d e.png"], []]);
    expect(term.shown).toContain('"b c.png" comes with the next question');
  });

  it("takes the last question back, with its picture", async () => {
    const { model, shown } = await typed("one\r", "two\r", "/undo\r", "/undo\r", "/undo\r", "three\r");
    expect(model.asked.at(-1)).toEqual({ question: "three", images: ["a.png"], before: [], answered: true });
    expect(shown).toContain("the last question is taken back; for the next one: 1 picture");
    expect(shown).toContain("nothing was asked yet");
  });

  it("takes a question of another session back, with its pictures and its video", async () => {
    const path = join(folder, "asked.json");
    const url = "data:image/png;base64,AAAA";
    const asked = (...content: unknown[]) => [
      { role: "user", content },
      { role: "assistant", content: "yes" },
    ];
    const text = (text: string) => ({ type: "text", text });
    const messages = [
      { role: "system", content: "Be short." },
      ...asked({ type: "image", image: url }, { type: "image_url", image_url: { url } }, text("Image-1: <image>\nImage-2: <image>\nWhat?")),
      ...asked({ type: "image_url", image_url: url }, { type: "image", image: url }, text("Frame1: <image>\n<image>\nWhat?")),
      ...asked(text("No picture?")),
    ];
    writeFileSync(path, JSON.stringify({ format: "internvl-conversation", version: 1, messages }));
    const conversation = new Conversation([], { images: ["a.png"] });
    const talk = {} as Talk; // what is not asked for
    const run = (line: string) => runCommand(line, conversation, talk);
    expect(await run(`/load ${path}`)).toBe("3 questions; the system message is the file's; for the next one: 1 picture");
    expect(await run("/undo")).toBe("the last question is taken back; for the next one: 1 picture");
    expect(await run("/undo")).toBe("the last question is taken back; for the next one: 2 pictures and a video");
    expect(conversation.next).toEqual({ images: [url, "a.png"], video: [url] });
    expect(await run("/undo")).toBe("the last question is taken back; for the next one: 4 pictures and a video");
    expect(conversation.next).toEqual({ images: [url, url, url, "a.png"], video: [url] });
    expect(await run("/undo")).toBe("nothing was asked yet");
    expect(conversation.messages).toEqual(messages.slice(0, 1));
    expect(await run("/clear")).toBe("a new conversation, without 4 pictures and a video");
    expect(await run("/clear")).toBe("a new conversation");
    writeFileSync(path, JSON.stringify({ format: "internvl-conversation", version: 1, messages: [] }));
    expect(await run(`/load ${path}`)).toBe("0 questions; the system message is the model's own");
    expect(await run(`/load ${path}`)).toBe("0 questions");
  });

  it("says where a video gives way to another", async () => {
    const conversation = new Conversation([], {});
    const talk = { video: async (given) => [given] } as Pick<Talk, "video"> as Talk;
    const run = (line: string) => runCommand(line, conversation, talk);
    expect(await run("/video a.mp4")).toBe('"a.mp4" comes with the next question');
    conversation.answered([
      { role: "user", content: "What?" },
      { role: "assistant", content: "yes" },
    ]);
    await run("/video b.mp4");
    expect(await run("/video c.mp4")).toBe('"c.mp4" comes with the next question, in place of the other video');
    expect(await run("/undo")).toBe("the last question is taken back; for the next one: a video; its own video is left out");
    expect(conversation.next.video).toEqual(["c.mp4"]);
  });

  it.each([
    ["reset", "clear"],
    ["bye", "exit"],
    ["?", "help"],
    ["picture x.png", "image"],
    ["regenerate", "undo"],
  ])("/%s is what other programs call /%s", async (line, meant) => {
    const run = runCommand(`/${line}`, new Conversation([], {}), {} as Talk);
    await expect(run).rejects.toThrow(`there is no command "/${line.split(" ")[0]}"; did you mean /${meant}?`);
  });

  it("sets the system message, also after what was said, and begins anew with it", async () => {
    const { model } = await typed("one\r", "/system Be short.\r", "two\r", "/clear\r", "three\r", "/system\r", "four\r");
    expect(model.asked.map(({ before }) => before[0])).toEqual([undefined, "system: Be short.", "system: Be short.", "user: three"]);
    expect(model.asked[2]!.before).toHaveLength(1);
  });

  it("counts tokens, with the pictures that wait", async () => {
    expect((await typed("/tokens\r")).shown).toContain("30 tokens of 512, 16 of them visual; the next question comes on top");
  });

  it("saves, loads, and touches no file that is something else", async () => {
    const kept = join(folder, "kept.json");
    const text = join(folder, "notes.txt");
    writeFileSync(text, "mine");
    const { shown } = await typed("/clear\r", "one\r", `/save ${kept}\r`, `/save ${text}\r`, "/save\r");
    expect(shown).toContain(`saved in "${kept}"`);
    expect(shown).toContain("exists and is no conversation: it would be lost");
    expect(shown).toContain("/save needs a file: /save FILE");
    expect(readFileSync(text, "utf8")).toBe("mine");
    const { model } = await typed(`/load ${kept}\r`, "two\r");
    expect(model.asked[0]!.before).toEqual(["user: one", "assistant: yes"]);
    expect(model.asked[0]!.images).toEqual(["a.png"]); // what was brought for the next question comes with it
  });

  it("that does not exist is reported, and nobody is asked", async () => {
    const { model, shown } = await typed(
      "/imge b.png\r",
      "/nothing\r",
      "/Image b.png\r",
      "/home/me/b.png what is it?\r",
      "/clear all\r",
      "/image nope.png\r",
      "//image is a word\r",
      "/ is a slash\r",
    );
    expect(shown).toContain('there is no command "/imge"; did you mean /image? (/help lists what there is)');
    expect(shown).toContain('there is no command "/nothing"; a question that begins with / is written with // (');
    expect(shown).toContain('there is no command "/Image"; did you mean /image?');
    expect(shown).toContain('there is no command "/home/me/b.png"; a question');
    expect(shown).toContain("/clear takes nothing");
    expect(shown).toContain('internvl: bad-input: cannot read "nope.png"');
    expect(model.asked.map(({ question }) => question)).toEqual(["/image is a word", "/ is a slash"]);
  });

  it("/help names every one; /exit leaves", async () => {
    const term = terminal(true);
    term.type("/help\r/exit\rnever asked\r");
    expect(await term.ended).toBe(0);
    for (const name of commandPaths.keys()) expect(term.shown).toMatch(new RegExp(`^/${name} .*\\w`, "m"));
    expect(term.model.asked).toEqual([]);
  });

  it("is completed by Tab, and so is the path behind one that takes a file", () => {
    mkdirSync(join(folder, "pictures"));
    for (const name of ["pine.png", "pear.png", ".hidden.png"]) writeFileSync(join(folder, "pictures", name), "");
    const at = (line: string) => completed(line, commandPaths);
    expect(at("/im")).toEqual([["/image "], "/im"]);
    expect(at("/")[0]).toHaveLength(commandPaths.size);
    expect(at(`/image ${folder}/pic`)).toEqual([[`${folder}/pictures/`], `${folder}/pic`]);
    expect(at(`/load ${folder}/pictures/`)[0]).toEqual([`${folder}/pictures/pear.png`, `${folder}/pictures/pine.png`]);
    expect(at(`/image ${folder}/nothing/x`)).toEqual([[], `${folder}/nothing/x`]);
    expect(at("/system be")).toEqual([[], "/system be"]);
    expect(at("What is")).toEqual([[], "What is"]);
  });
});

describe("the history's file", () => {
  it("keeps the newest thousand lines, and closes what others could read", () => {
    const path = join(folder, "long");
    writeFileSync(path, Array.from({ length: 1500 }, (_, i) => `line ${i}\n`).join(""), { mode: 0o644 });
    const { lines } = new LineHistory(path);
    expect([lines.length, lines[0], lines.at(-1)]).toEqual([1000, "line 1499", "line 500"]);
    expect(readFileSync(path, "utf8").split("\n")).toHaveLength(1001);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it("that cannot be read or written disturbs nobody", () => {
    const kept = new LineHistory(join(folder, "long/below/a/file"));
    kept.add("line");
    expect(kept.lines).toEqual([]);
  });
});

/** Waits until a program on a terminal has shown something new. */
function watch(child: ChildProcess): (text: RegExp) => Promise<void> {
  let shown = "";
  let wake = () => {};
  let closed = false; // all that it has shown is here
  for (const stream of [child.stdout, child.stderr])
    stream!.on("data", (data: Buffer) => {
      shown += data.toString();
      wake();
    });
  child.once("close", () => {
    closed = true;
    wake();
  });
  return async (text) => {
    while (!text.test(shown)) {
      if (closed) throw new Error(`${text} was not shown: ${shown}`);
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    shown = shown.slice(shown.search(text) + 1);
  };
}

// A real terminal, which util-linux' `script` gives.
describe.runIf(process.platform === "linux")("internvl chat on a terminal", () => {
  const card = pathOf("weights/nano/images/card-1.png");
  const chat = (...flags: string[]) => {
    const command = ["exec", process.execPath, pathOf("dist/tools/cli/main.js"), "chat", ...flags].map((each) => `"${each}"`).join(" ");
    const env = { ...process.env, INTERNVL_HISTORY: join(folder, "typed"), INTERNVL_INLINE: "kitty", TERM: "xterm" };
    const child = spawn("script", ["-qec", command.replace('"exec"', "exec"), "/dev/null"], { stdio: ["pipe", "pipe", "pipe"], env });
    const code = new Promise((resolve) => child.once("close", resolve));
    return { child, code, shows: watch(child) };
  };

  it("answers, shows pictures, keeps what Dawn says to itself, and at an empty prompt Ctrl-C leaves with 130", async () => {
    const { child, code, shows } = chat();
    const all: string[] = [];
    child.stdout!.on("data", (data: Buffer) => all.push(data.toString()));
    await shows(/nano, weights in bf16, \d+ tokens of context\r\non .*\r\n\/help lists the commands/);
    await shows(/> /);
    child.stdin!.write(`/image ${card}\r`);
    await shows(/_Ga=T,f=24,o=z,s=140,v=140,/);
    await shows(/\[1 picture\] > /);
    child.stdin!.write("\u001b[200~What shape\nis it?\u001b[201~\u007f\u007f\u007f\u007f\u007f\u007f\u007f is it?\r");
    await shows(/A triangle\./);
    await shows(/> /);
    child.stdin!.write(CTRL_C);
    await shows(/internvl: aborted: stopped by SIGINT/);
    expect(await code).toBe(130);
    const text = all.join("");
    expect(text).toContain("no --model: the embedded toy model answers");
    expect(text).not.toContain("Warning: max");
    for (const paste of ["\u001b[?2004h", "\u001b[?2004l"]) expect(text.split(paste)).toHaveLength(2); // once on, once off
    expect(statSync(join(folder, "typed")).mode & 0o777).toBe(0o600);
  });

  it("Ctrl-D leaves with 0", async () => {
    const { child, code, shows } = chat("--image", card, "--stats");
    await shows(/\[1 picture\] > /);
    child.stdin!.write("What shape is it?\r");
    await shows(/A triangle\.\r\nprompt 42 tokens, first token after \d+\.\d+ s; answer 4 tokens in .* tokens\/s/);
    await shows(/> /);
    child.stdin!.write(CTRL_D);
    expect(await code).toBe(0);
  });
});
