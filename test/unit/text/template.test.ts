import { describe, expect, it } from "vitest";
import { EngineError } from "../../../src/errors.ts";
import { finishResponse, stripEnd, stripStart } from "../../../src/text/response.ts";
import {
  buildPrompt,
  checkTemplate,
  DEFAULT_SYSTEM_MESSAGE,
  expandImages,
  prepareQuestion,
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

describe("buildPrompt", () => {
  it("has upstream's system message unless there is another", () => {
    expect(DEFAULT_SYSTEM_MESSAGE.codePointAt(4)).toBe(0xb7);
    const tail = "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
    expect(buildPrompt({ question: "Hi" })).toBe(`<|im_start|>system\n${DEFAULT_SYSTEM_MESSAGE}${tail}`);
    expect(buildPrompt({ system: null, question: "Hi" })).toBe(`<|im_start|>system\n${DEFAULT_SYSTEM_MESSAGE}${tail}`);
    expect(buildPrompt({ system: "S", question: "Hi" })).toBe(`<|im_start|>system\nS${tail}`);
    expect(buildPrompt({ system: "", question: "Hi" })).toBe(`<|im_start|>system\n${tail}`);
  });

  it("emits only the role of an empty message", () => {
    const prompt = buildPrompt({ system: "S", history: [["a", ""]], question: "b" });
    expect(prompt).toBe(
      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\n",
    );
    expect(buildPrompt({ system: "S", question: "" })).toBe("<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n<|im_start|>assistant\n");
  });
});

describe("prepareQuestion", () => {
  it("adds <image> only to a first question with pictures and without it", () => {
    expect(prepareQuestion("q", { hasPixels: true })).toBe("<image>\nq");
    expect(prepareQuestion("q", { hasPixels: true, history: [] })).toBe("<image>\nq");
    expect(prepareQuestion("q", { hasPixels: false })).toBe("q");
    expect(prepareQuestion("q <image>", { hasPixels: true })).toBe("q <image>");
    expect(prepareQuestion("q", { hasPixels: true, history: [["<image>\na", "b"]] })).toBe("q");
  });
});

describe("expandImages", () => {
  it("replaces placeholders in order", () => {
    const context = "<IMG_CONTEXT>";
    expect(expandImages("a <image>b<image>", [1, 2], 2)).toBe(`a <img>${context.repeat(2)}</img>b<img>${context.repeat(4)}</img>`);
    expect(expandImages("no picture $& $1", [], 2)).toBe("no picture $& $1");
    expect(expandImages(videoPrefix(2), [1, 1], 1)).toBe(`Frame1: <img>${context}</img>\nFrame2: <img>${context}</img>\n`);
  });

  it.each([
    ["text", [1, 2], "0 <image> placeholders", "2 images", "nest images in a list"],
    ["<image>", [1, 2], "1 <image> placeholder ", "2 images", "nest images in a list"],
    ["<image><image>", [1], "2 <image> placeholders", "1 image ", "remove the placeholders"],
    ["what does <image> mean?", [], "1 <image> placeholder ", "0 images", "if you mean the word"],
  ])("names both counts: %s with %j", (prompt, tiles, has, needs, hint) => {
    const error = failure(() => expandImages(prompt, tiles, 4));
    expect(error.code).toBe("bad-input");
    expect(error.message).toContain(has);
    expect(error.message).toContain(needs);
    expect(error.hint).toContain(hint);
    expect(error.hint).toContain("On every turn give the images of all turns");
  });

  it("refuses typed visual tokens beside pictures, and images without tiles", () => {
    expect(failure(() => expandImages("<image> <IMG_CONTEXT>", [1], 4)).code).toBe("bad-input");
    expect(expandImages("<IMG_CONTEXT>", [], 4)).toBe("<IMG_CONTEXT>");
    expect(failure(() => expandImages("<image>", [0], 4)).message).toContain("0 tiles");
  });
});

describe("checkTemplate", () => {
  it.each(["internlm2-chat", "Hermes-2", "phi3-chat", undefined])("refuses %s by name", (name) => {
    checkTemplate("internvl2_5");
    const error = failure(() => checkTemplate(name));
    expect(error.code).toBe("bad-weights");
    expect(error.message).toContain(String(name));
    expect(error.message).toContain("internvl2_5");
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
