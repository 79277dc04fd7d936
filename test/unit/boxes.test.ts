import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { answerPrompt } from "../../src/api/answer.ts";
import { GENERATION, generation } from "../../src/api/generation.ts";
import { pictureNames } from "../../src/api/messages.ts";
import type { Parts } from "../../src/api/parts.ts";
import type { Accept } from "../../src/generate/job.ts";
import { type Box, type Message, parseBoxes } from "../../src/index.ts";
import { readOptions } from "../../src/options.ts";
import { loadTokenizer } from "../../src/text/tokenizer.ts";
import { pathOf } from "../support.ts";

const one = ["a"];
const box = (ref: string | undefined, ...corners: Box["box"]): Box => ({ ref, box: corners, image: 0 });

describe("boxes of an answer", () => {
  it.each<[string, Box[]]>([
    ["no box", []],
    ["<ref>a dog</ref><box>[[120, 80, 540, 990]]</box>", [box("a dog", 120, 80, 540, 990)]],
    ["It is <ref> 红色的车 </ref> <box>[[1,2,3,4]]</box>.", [box("红色的车", 1, 2, 3, 4)]],
    ["<ref>cups</ref><box>[[1, 2, 3, 4], [5, 6, 7, 8]]</box>", [box("cups", 1, 2, 3, 4), box("cups", 5, 6, 7, 8)]],
    ["<box>[[1, 2, 3, 4]]</box>", [box(undefined, 1, 2, 3, 4)]],
    ["<box>[1, 2, 3, 4]</box>", [box(undefined, 1, 2, 3, 4)]],
    ["<ref>a</ref><box>[[1,2,3,4]]</box> and <ref>b</ref><box>[[5,6,7,8]]</box>", [box("a", 1, 2, 3, 4), box("b", 5, 6, 7, 8)]],
    ["<ref>a</ref> stands <box>[[1,2,3,4]]</box>", [box(undefined, 1, 2, 3, 4)]],
    ["<box>[[0.5, 1, 2.25, 3]]</box>", [box(undefined, 0.5, 1, 2.25, 3)]],
    // Cut off, or malformed: what there is of whole boxes.
    ["<ref>a dog</ref><box>[[120, 80, 540", []],
    ["<ref>a dog</ref><box>[[120, 80, 540, 990]", [box("a dog", 120, 80, 540, 990)]],
    ["<ref>a dog</ref><box>[[1, 2, 3, 4], [5, 6", [box("a dog", 1, 2, 3, 4)]],
    ["<ref>a dog<box>[[1, 2, 3, 4]]</box>", [box("a dog", 1, 2, 3, 4)]],
    ["<ref></ref><box>[[1, 2, 3, 4]]</box>", [box(undefined, 1, 2, 3, 4)]],
    ["<ref>a dog</ref><box></box>", []],
    ["<box>[[1, 2, 3]]</box><box>[[1, 2, 3, 4, 5]]</box><box>[[a, b, c, d]]</box><box>[[1, , 3, 4]]</box>", []],
    ["[[1, 2, 3, 4]] is a matrix", []],
    ["<box>[[540, 990, 120, 80]]</box>", [box(undefined, 120, 80, 540, 990)]],
    ["<box>[[-5, 0, 1004, 1e9]]</box><box>[[-5, 0, 1004, 70000]]</box>", [box(undefined, 0, 0, 1000, 1000)]],
    ["<box>[[1, 2, 3, 4]]<box>[[5, 6, 7, 8]]</box></box>", [box(undefined, 1, 2, 3, 4), box(undefined, 5, 6, 7, 8)]],
  ])("%s", (text, boxes) => {
    expect(parseBoxes(text, one)).toEqual(boxes);
  });

  it("of a picture that the answer names, where there are several", () => {
    const names = ["Frame1", "Image-1", "Image-2", undefined];
    const images = (text: string, of = names) => parseBoxes(text, of).map(({ image }) => image);
    const a = "<box>[[1,2,3,4]]</box>";
    expect(images(`${a} In Image-2 ${a}${a}, in Frame1 ${a}, in Image-9 ${a}`)).toEqual([undefined, 2, 2, 0, undefined]);
    expect(images(`Image-1 ${a}`, ["Image-1", "Image-1"])).toEqual([undefined]);
    expect(images(`Image-7 ${a}`, ["Image-1"])).toEqual([0]);
    expect(images(a, [])).toEqual([undefined]);
  });

  it("and how the pictures are called", () => {
    const user = (images: number, text: string): Message => ({
      role: "user",
      content: [...Array.from({ length: images }, () => ({ type: "image", image: "a.png" }) as const), { type: "text", text }],
    });
    const said: Message[] = [
      { role: "system", content: "<image>" },
      user(1, "<image>\nWhat?"),
      { role: "assistant", content: "Image-1: <image>" },
      user(3, "Frame1: <image>\nImage-1: <image>\nImage-2: <image>\nWhat of <image>?"),
    ];
    expect(pictureNames(said)).toEqual([undefined, "Frame1", "Image-1", "Image-2"]);
  });

  it("of a text that was made to be slow to search", () => {
    // A million characters: hours, where time grew with their square.
    for (const part of ["<ref>", "<box>[", "<box>[[1,", "[1,", " ", "Image-1"])
      expect(parseBoxes(`<ref>${part.repeat(1e6 / part.length)}`)).toEqual([]);
  });

  it.each(["original", "huggingface"] as const)("are those of the ids, whether the text has the tags or not: %s", async (layout) => {
    const read = async (name: string) => new Uint8Array(await readFile(pathOf(`weights/nano/${name}`)).catch(() => Buffer.alloc(0)));
    const tokenizer = await loadTokenizer(async (name) => ((await read(name)).length > 0 ? read(name) : undefined), undefined, layout);
    const ids = tokenizer.encode("<ref>a star</ref><box>[[1, 2, 3, 4]]</box><|im_end|>");
    const scheduler = {
      admit: async (_request: unknown, accept: Accept) => {
        for (const id of ids) accept(id, undefined);
        return { prefilledTokens: 1, cachedTokens: 0, began: 0 };
      },
    };
    const parts = {
      tokenizer,
      config: { template: "internvl2_5", language: { vocabSize: 1000 } },
      stopIds: new Set(ids.slice(-1)),
      model: { maxContext: 100 },
      scheduler,
    };
    const messages: Message[] = [
      {
        role: "user",
        content: [
          { type: "image", image: "a.png" },
          { type: "text", text: "<image>\nWhat?" },
        ],
      },
    ];
    const prepared = { inputIds: [1], tiles: undefined, messages };
    const settings = generation(readOptions("chat", {}, GENERATION));
    const result = await answerPrompt(parts as unknown as Parts, prepared, settings, new AbortController().signal, () => {}, {}, 0);
    expect(result.boxes).toEqual([box("a star", 1, 2, 3, 4)]);
    expect(parseBoxes(result.text, one).length).toBeLessThanOrEqual(1);
  });
});
