import { describe, expect, it } from "vitest";
import { EngineError } from "../../../src/errors.ts";
import { finishResponse, stripEnd, stripStart } from "../../../src/text/response.ts";
import {
  DEFAULT_SYSTEM_MESSAGE,
  imagePrefix,
  promptParts,
  promptText,
  TEMPLATES,
  templateName,
  videoPrefix,
} from "../../../src/text/template.ts";

function failure(act: () => unknown): EngineError {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(EngineError);
    return error as EngineError;
  }
  throw new Error("did not fail");
}

const plain = (text: string) => ({ text, tiles: [] });
type Conversation = Parameters<typeof promptParts>[0];
const prompt = (conversation: Conversation, tokensPerTile = 2) => promptText(promptParts(conversation, tokensPerTile));

describe("promptParts", () => {
  it("has upstream's system message unless there is another", () => {
    expect(DEFAULT_SYSTEM_MESSAGE.codePointAt(4)).toBe(0xb7);
    const tail = "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
    expect(prompt({ question: plain("Hi") })).toBe(`<|im_start|>system\n${DEFAULT_SYSTEM_MESSAGE}${tail}`);
    expect(prompt({ system: undefined, question: plain("Hi") })).toBe(`<|im_start|>system\n${DEFAULT_SYSTEM_MESSAGE}${tail}`);
    expect(prompt({ system: "S", question: plain("Hi") })).toBe(`<|im_start|>system\nS${tail}`);
    expect(prompt({ system: "", question: plain("Hi") })).toBe(`<|im_start|>system\n${tail}`);
  });

  it("emits only the role of an empty message", () => {
    expect(prompt({ system: "S", history: [[plain("a"), ""]], question: plain("b") })).toBe(
      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\n",
    );
    expect(prompt({ system: "S", question: plain("") })).toBe("<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n<|im_start|>assistant\n");
  });

  it("replaces the questions' placeholders in order, and no one else's", () => {
    const context = "<IMG_CONTEXT>";
    const [one, two] = [`<img>${context.repeat(2)}</img>`, `<img>${context.repeat(4)}</img>`];
    const question = { text: "a <image>b<image>", tiles: [1, 2] };
    expect(prompt({ system: "an <image>", history: [[question, "<image>!"]], question: { text: "<image>", tiles: [1] } })).toBe(
      `<|im_start|>system\nan <image><|im_end|>\n<|im_start|>user\na ${one}b${two}<|im_end|>\n<|im_start|>assistant\n<image>!<|im_end|>\n<|im_start|>user\n${one}<|im_end|>\n<|im_start|>assistant\n`,
    );
    expect(prompt({ question: plain("no picture $& $1") })).toContain("no picture $& $1");
    expect(failure(() => prompt({ question: { text: "<image>", tiles: [1, 2] } })).code).toBe("bad-input");
    // A marker beyond the pictures is text: whether it may be one, the door has said.
    expect(prompt({ question: { text: "<image> or <image>", tiles: [1] } })).toContain(`user\n${one} or <image><|im_end|>`);
  });
});

describe("prefixes", () => {
  it("are those that the model was trained with", () => {
    expect(imagePrefix(1)).toBe("<image>\n");
    expect(imagePrefix(2)).toBe("Image-1: <image>\nImage-2: <image>\n");
    expect(videoPrefix(2)).toBe("Frame1: <image>\nFrame2: <image>\n");
    expect(videoPrefix(0)).toBe("");
  });
});

describe("templateName", () => {
  it.each(["phi3-chat", "vicuna_v1.1", "internvl_zh", "huggingface", "toString", ""])("refuses %j by name", (name) => {
    const error = failure(() => templateName(name));
    expect(error.code).toBe("bad-weights");
    expect(error.message).toContain(name);
    expect(error.message).toContain('"internvl2_5", "Hermes-2", "internlm2-chat"');
  });

  it.each(["internvl2_5", "Hermes-2", "internlm2-chat"] as const)("knows %s", (name) => {
    expect(templateName(name)).toBe(name);
  });
});

describe("other templates", () => {
  const history = [[plain("a"), "b"] as const];
  const text = (name: keyof typeof TEMPLATES, conversation: Conversation) => promptText(promptParts(conversation, 2, TEMPLATES[name]));

  it("InternVL 1.5 and 2 have no newline behind a turn, and a system message of their own", () => {
    for (const name of ["Hermes-2", "internlm2-chat"] as const) {
      expect(text(name, { history, question: { text: "<image>\nc", tiles: [1] } })).toBe(
        "<|im_start|>system\n你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, 是一个有用无害的人工智能助手。<|im_end|><|im_start|>user\na<|im_end|><|im_start|>assistant\nb<|im_end|><|im_start|>user\n<img><IMG_CONTEXT><IMG_CONTEXT></img>\nc<|im_end|><|im_start|>assistant\n",
      );
    }
  });

  it("transformers' ChatML has no default system message, and ends empty messages", () => {
    expect(text("huggingface", { history: [[plain("a"), ""]], question: plain("") })).toBe(
      "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n",
    );
    expect(text("huggingface", { system: "S", question: plain("q") })).toBe(
      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n",
    );
    expect(imagePrefix(2, TEMPLATES.huggingface)).toBe("<image>\n<image>\n");
  });
});

describe("finishResponse", () => {
  it("cuts at the end of the turn and strips as Python does", () => {
    expect(finishResponse(" a b\n<|im_end|>\nrest <|im_end|>")).toBe("a b");
    expect(finishResponse("<|im_end|>x")).toBe("");
    // [c for c in map(chr, range(0x110000)) if c.isspace()] in Python 3
    const python =
      "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000";
    for (let code = 0; code < 0x10000; code++) {
      const character = String.fromCharCode(code);
      const stripped = python.includes(character) ? "" : character;
      if (
        stripStart(character) !== stripped ||
        stripEnd(character) !== stripped ||
        finishResponse(`${character}x${character}`) !== `${stripped}x${stripped}`
      ) {
        expect.fail(`U+${code.toString(16)}`);
      }
    }
  });
});
