import { type ChildProcess, spawn } from "node:child_process";
import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { EngineError } from "../../src/errors.ts";
import type { ChatReply, SendOptions } from "../../src/index.ts";
import { converse } from "../../tools/cli/interactive.ts";
import { pathOf } from "../support.ts";

const CTRL_C = "\u0003";
const CTRL_D = "\u0004";

/** A session that answers "yes", but "long" without an end, and "broken" not at all. */
class Scripted {
  readonly asked: { question: string; images: number; answered: boolean }[] = [];
  readonly #streaming: () => void;

  constructor(streaming: () => void) {
    this.#streaming = streaming;
  }

  send(question: string, { images, signal }: SendOptions = {}): ChatReply {
    const turn = { question, images: images?.length ?? 0, answered: false };
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
    return Object.assign(Promise.resolve(), { [Symbol.asyncIterator]: pieces }) as unknown as ChatReply;
  }
}

interface Terminal {
  type(keys: string): void;
  shown: string;
  said: string;
  left: number;
  session: Scripted;
  ended: Promise<number>;
}

function terminal(isTTY: boolean, streaming: (terminal: Terminal) => void = () => {}): Terminal {
  const input = Object.assign(new PassThrough(), { isTTY });
  const errors = Object.assign(new PassThrough(), { isTTY, columns: 80 });
  const term: Terminal = {
    type: (keys) => input.write(keys),
    shown: "",
    said: "",
    left: 0,
    session: new Scripted(() => streaming(term)),
    ended: Promise.resolve(0),
  };
  errors.on("data", (data: Buffer) => (term.shown += data.toString()));
  term.ended = converse(
    term.session,
    { images: ["a.png"] },
    {
      input,
      errors,
      output: { write: (text) => (term.said += text) },
      leave: () => term.left++,
    },
  );
  if (!isTTY) setImmediate(() => input.end());
  return term;
}

describe("an interactive chat", () => {
  it("Ctrl-C ends the answer and nothing else: the next question is asked, with the pictures that were not answered about", async () => {
    const term = terminal(true, (at) => at.type(`${CTRL_C}short\ragain\r${CTRL_D}`));
    term.type("long\r");
    await term.ended;
    expect(term.session.asked).toEqual([
      { question: "long", images: 1, answered: false },
      { question: "short", images: 1, answered: true },
      { question: "again", images: 0, answered: true },
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
    expect(term.session.asked.map(({ question }) => question)).toEqual(["whole"]);
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
    term.type("broken\n\nshort\nlast");
    expect(await term.ended).toBe(1);
    expect(term.said).toBe("yes\nyes\n");
    expect(term.shown).toContain("internvl: bad-input: this cannot be answered\n");
  });
});

/** Waits until a program on a terminal has shown something new. */
function watch(child: ChildProcess): (text: RegExp) => Promise<void> {
  let shown = "";
  let wake = () => {};
  for (const stream of [child.stdout, child.stderr])
    stream!.on("data", (data: Buffer) => {
      shown += data.toString();
      wake();
    });
  child.once("close", () => wake());
  return async (text) => {
    while (!text.test(shown)) {
      if (child.exitCode !== null) throw new Error(`${text} was not shown: ${shown}`);
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    shown = shown.slice(shown.search(text) + 1);
  };
}

// A real terminal, which util-linux' `script` gives.
describe.runIf(process.platform === "linux")("internvl chat on a terminal", () => {
  const chat = () => {
    const command = `exec "${process.execPath}" "${pathOf("dist/tools/cli/main.js")}" chat --image "${pathOf("weights/nano/images/card-1.png")}"`;
    const child = spawn("script", ["-qec", command, "/dev/null"], { stdio: ["pipe", "pipe", "pipe"] });
    const code = new Promise((resolve) => child.once("close", resolve));
    return { child, code, shows: watch(child) };
  };

  it.each([
    [CTRL_C, 130],
    [CTRL_D, 0],
  ])("answers, and at an empty prompt %j leaves with %i", async (key, status) => {
    const { child, code, shows } = chat();
    await shows(/> /);
    child.stdin.write("What shape is it?\r");
    await shows(/A triangle\./);
    await shows(/> /);
    child.stdin.write(key);
    if (status === 130) await shows(/internvl: aborted: stopped by SIGINT/);
    expect(await code).toBe(status);
  });
});
