import { describe, expect, it } from "vitest";
import { acceptBatch, acceptChat, acceptSend, acceptSession } from "../../src/api/accept.ts";
import { acceptItem } from "../../src/api/accept-item.ts";
import { acceptLoad } from "../../src/api/accept-load.ts";
import { acceptWorkerLoad } from "../../src/api/accept-worker-load.ts";
import { rawPixels } from "../../src/api/pictures.ts";
import { placePictures } from "../../src/api/placing.ts";
import { EngineError } from "../../src/errors.ts";
import { InternVL } from "../../src/index.ts";
import { tiles } from "../../src/testing.ts";

const failure = (act: () => unknown): string => {
  try {
    return `accepted ${JSON.stringify(act())}`;
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    expect(error.message.length).toBeLessThan(300);
    return `${error.code}: ${error.message}`;
  }
};
const q = "What shape is it?";
const c = "card-1.png";
const user = (content: unknown) => ({ role: "user", content });
const assistant = (content: unknown) => ({ role: "assistant", content });

describe("chat refuses by name", () => {
  const cases: [unknown, unknown, string][] = [
    [q, { image: c }, 'chat has no option "image"; did you mean "images"?'],
    [q, c, 'what chat was given as options is "card-1.png", needs an object of options'],
    [q, [c], "what chat was given as options is a list of 1, needs an object of options"],
    [q, { max_tokens: 5 }, 'chat has no option "max_tokens"; did you mean "maxTokens"?'],
    [q, { system: 5 }, "system is 5, needs a text"],
    [q, { images: c }, 'images is "card-1.png", needs a list of pictures'],
    [q, { images: Buffer.from("abc") }, "images is a Uint8Array, needs a list of pictures"],
    [q, { images: new Blob(["abc"]) }, "images is a Blob, needs a list of pictures"],
    [q, { images: [c, null] }, "image 2 is null, needs a picture"],
    [q, { images: [[c, 7]] }, "image 1.2 is 7, needs a picture"],
    [q, { images: [[]] }, "image 1 is an empty list, needs at least one picture"],
    [q, { images: [" "] }, 'image 1 is " ", needs a picture'],
    [q, { images: [{ count: 1, tiles: {} }] }, "image 1 is an object with count, tiles, needs a picture"],
    [q, { video: "a.mp4" }, 'video is "a.mp4", needs a list of frames, each a picture'],
    [q, { video: [] }, "video is an empty list, needs at least one frame"],
    [q, { video: new Blob(["a"]) }, "video is a Blob, needs a list of frames, each a picture, or { src, frames, bound }"],
    [q, { video: {} }, "video.src is undefined, needs a video: a path, a URL, a Blob or the bytes of its file"],
    [q, { video: { src: " " } }, 'video.src is " ", needs a video'],
    [q, { video: { src: [c] } }, "video.src is a list of 1, needs a video"],
    [q, { video: { src: "a.mp4", frames: 0 } }, "video.frames is 0, needs a positive integer"],
    [q, { video: { src: "a.mp4", frames: 2000 } }, "video.frames is 2000, needs at most 1024"],
    [q, { video: { src: "a.mp4", bound: 5 } }, "video.bound is 5, needs [start, end] in seconds, the start first"],
    [q, { video: { src: "a.mp4", bound: [5] } }, "video.bound is a list of 1, needs [start, end] in seconds"],
    [q, { video: { src: "a.mp4", bound: [5, 2] } }, "video.bound is a list of 2, needs [start, end] in seconds"],
    [q, { video: { src: "a.mp4", bound: [-1, 2] } }, "video.bound is a list of 2, needs [start, end] in seconds"],
    [q, { video: { src: "a.mp4", fps: 2 } }, 'video has no option "fps"'],
    [q, { video: [[c, c]] }, "frame 1 is a list of 2, needs one picture"],
    [q, { history: "x" }, 'history is "x", needs a list: of messages { role, content }, of [question, answer], or as reply.history is'],
    [q, { history: {} }, "history is an object without keys, needs a list: of messages"],
    [q, { history: [null] }, "history[0] is null, needs a message { role, content }"],
    [q, { history: [{}] }, "history[0] is an object without keys, needs a message"],
    [q, { history: [{ question: "a" }] }, "history[0].answer is undefined, needs a text: half a turn is none"],
    [q, { history: [{ answer: "a" }] }, "history[0].question is undefined, needs a text: half a turn is none"],
    [q, { history: [["hi"]] }, "history[0] is a list of 1, needs [question, answer], two texts"],
    [
      q,
      {
        history: [
          ["a", "b"],
          ["a", 7],
        ],
      },
      "history[1] is a list of 2, needs [question, answer], two texts",
    ],
    [q, { history: [user("a")] }, "history[0] is a question without an answer, a history has whole turns"],
    [q, { history: [assistant("a")] }, "history[0] is an answer, it needs a user's message before it"],
    [q, { history: [user("a"), user("b")] }, "history[1] is a user's message, history[0] before it has no answer yet"],
    [q, { history: [user("a"), ["b", "c"]] }, "history[1] is a whole turn, history[0] before it has no answer yet"],
    [
      q,
      { history: [user("a"), assistant("b"), { role: "system", content: "s" }] },
      "history[2] is a system message, it can only be the first",
    ],
    [q, { history: [{ role: "tool", content: "a" }] }, 'history[0].role is "tool", needs one of system, user, assistant'],
    [q, { history: [{ role: "user" }] }, "history[0].content is undefined, needs a text, or a list of parts"],
    [q, { history: [user(7)] }, "history[0].content is 7, needs a text, or a list of parts"],
    [q, { history: [{ ...user("a"), name: "b" }] }, 'history[0] has no option "name"'],
    [q, { history: [user([{ type: "video", video: "a" }])] }, 'history[0].content[0].type is "video", needs one of text, image, image_url'],
    [q, { history: [user(["a"])] }, 'history[0].content[0] is "a", needs a part of a message'],
    [q, { history: [user([{ type: "text" }])] }, "history[0].content[0].text is undefined, needs a text"],
    [q, { history: [user([{ type: "image" }])] }, "history[0].content[0].image is undefined, needs a picture"],
    [
      q,
      {
        history: [
          user([
            { type: "image", image: c },
            { type: "image", image: 7 },
          ]),
        ],
      },
      "image 2 of history[0] is 7, needs a picture",
    ],
    [
      q,
      { history: [user([{ type: "image", image: c, maxTiles: 0 }])] },
      "history[0].content[0].maxTiles is 0, needs an integer from 1 to 40",
    ],
    [q, { history: [user([{ type: "image_url", image_url: 7 }])] }, "history[0].content[0].image_url is 7, needs an address, or { url }"],
    [q, { history: [user("a"), assistant([{ type: "image", image: c }])] }, "history[1] is the assistant's message with a picture"],
    [q, { signal: {} }, "signal is an object without keys, needs an AbortSignal"],
    [q, { maxTokens: "5" }, 'maxTokens is "5", needs a positive integer'],
    [q, { maxTiles: 41 }, "maxTiles is 41, needs an integer from 1 to 40"],
    [q, { maxPixels: "1e9" }, 'maxPixels is "1e9", needs a positive number of pixels'],
    [q, { maxSide: -1 }, "maxSide is -1, needs a positive number of pixels"],
    [q, { allowTruncated: 1 }, "allowTruncated is 1, needs true or false"],
    [q, { specialTokens: "tokens" }, 'specialTokens is "tokens", needs one of text, parse'],
    [q, { onProgress: true }, "onProgress is true, needs a function"],
    [q, { decoder: "webp" }, 'decoder is "webp", needs one of auto, js, native'],
    [q, { stop: [""] }, 'stop[0] is "", needs a text, or a list of texts, none of them empty'],
    [q, { seed: 1.5 }, "seed is 1.5, needs an integer from 0"],
    [null, {}, "the question is null, needs a text, or a list of messages { role, content }"],
    [undefined, {}, "the question is undefined, needs a text"],
    [{ prompt: q }, {}, "the question is an object with prompt, needs a text"],
    [{ question: q, images: [c] }, undefined, "the question is an object with question, images, needs a text"],
    [[], {}, "the messages are an empty list, they need a user's message at the end"],
    [[user("a"), assistant("b")], {}, "the messages end with an answer, they need a user's message at the end"],
    [[{ role: "system", content: "a" }], {}, "the messages end with the system message, they need a user's message"],
    [["a"], {}, 'messages[0] is "a", needs a message { role, content }'],
    [[user([{ type: "image", image: c }])], { images: [c] }, "messages[0] brings 1 of its own and the option images 1 more"],
    [[{ role: "system", content: "a" }, user("b")], { system: "c" }, "there are two system messages, and they differ"],
  ];
  it.each(cases)("%j with %j", (question, options, message) => {
    expect(failure(() => acceptChat(question, options))).toContain(`bad-input: ${message}`);
  });
});

describe("chat takes", () => {
  it("null for what is absent", () => {
    const options = { images: null, history: null, system: null, seed: null, maxTokens: null, signal: null, stop: null, video: undefined };
    const { ask, signal } = acceptChat(q, options);
    expect(signal).toBeUndefined();
    expect(ask).toMatchObject({ system: undefined, turns: [], images: [], frames: [], specialTokens: "text" });
    expect(ask.generation).toEqual(acceptChat(q, null).ask.generation);
    expect(acceptChat(q, undefined).ask.generation.maxTokens).toBe(1024);
  });

  it("a video file, as the frames that will be taken of it", () => {
    const { ask } = acceptChat(q, { video: { src: new URL("https://a.b/c.mp4"), bound: [2, 10] } });
    expect(ask.clip).toEqual({ src: "https://a.b/c.mp4", frames: 8, bound: [2, 10] });
    expect(placePictures(ask).question.text).toMatch(/^Frame1: <image>\n.*Frame8: <image>\nWhat shape is it\?$/s);
    expect(acceptChat(q, { video: [c] }).ask).toMatchObject({ clip: undefined, frames: [{ sources: [c] }] });
    expect(acceptItem({ prompt: ["a", "b"], video: { src: "a.webm", frames: 2 } }, 0, {}).ask).toMatchObject({ clip: { frames: 2 } });
  });

  it("messages in every form, as a history and as the question", () => {
    const url = { type: "image_url", image_url: { url: "https://a.b/c.png", detail: "low" } };
    const messages = [
      { role: "system", content: "Be terse." },
      user([{ type: "image", image: c, maxTiles: 3 }, { type: "text", text: "a" }, url, { type: "text", text: "b" }]),
      assistant([{ type: "text", text: "c" }]),
    ];
    const pairs = [["d", "e"], { question: "f", answer: "g", images: [c] }];
    for (const { ask } of [acceptChat(q, { history: [...messages, ...pairs] }), acceptChat([...messages, ...pairs, user(q)], {})]) {
      expect(ask.system).toBe("Be terse.");
      expect(ask.turns.map(({ asked, answer }) => [asked.text, answer])).toEqual([
        ["a\nb", "c"],
        ["d", "e"],
        ["f", "g"],
      ]);
      expect(ask.turns[0]!.asked.pictures).toMatchObject([
        { sources: [c], maxTiles: 3 },
        { sources: ["https://a.b/c.png"], maxTiles: 1 },
      ]);
      expect(ask.turns[2]!.asked.pictures).toMatchObject([{ sources: [c] }]);
      expect(ask.question.text).toBe(q);
    }
    expect(acceptChat([{ role: "system", content: "a" }, user("b")], { system: "a" }).ask.system).toBe("a");
  });

  it("pixels of bytes, not of other samples", () => {
    const raw = (data: unknown) => rawPixels({ data: data as Uint8Array, width: 2, height: 2 }, "image 1");
    for (const data of [new Uint8Array(12), new Uint8ClampedArray(12), Buffer.alloc(12)]) expect(raw(data).data).toBe(data);
    const others = [new Float32Array(12), new Int8Array(12), new Uint16Array(12), new ArrayBuffer(12), new DataView(new ArrayBuffer(12))];
    for (const data of [...others, [1, 2, 3], { length: 12 }, 5, new Proxy(new Uint8Array(12), {})]) {
      expect(() => raw(data)).toThrow(/^data of image 1 is .*, needs a Uint8Array or Uint8ClampedArray$/);
    }
  });

  it("what stands for a picture by its shape, lists of every kind, and a signal of another realm", () => {
    const raw = { data: new Uint8Array(3), width: 1, height: 1 };
    const stored = { data: "AAAA", width: 1, height: 1, channels: 3 };
    const bitmap = { width: 1, height: 1, close() {} };
    const canvas = { getContext() {}, width: 1, height: 1 };
    const given = [c, new URL("https://a.b"), new Blob([]), new Uint8Array(1), new ArrayBuffer(1), raw, stored, bitmap, canvas];
    const list = { length: 1, 0: c, [Symbol.iterator]: Array.prototype[Symbol.iterator] };
    expect(acceptChat(q, { images: given }).ask.images.map(({ sources }) => sources[0])).toEqual(given);
    expect(acceptChat(q, { images: list }).ask.images).toHaveLength(1);
    const foreign = { aborted: false, addEventListener() {}, removeEventListener() {} };
    expect(acceptChat(q, { signal: foreign }).signal).toBe(foreign);
  });
});

describe("sessions, batches and their items", () => {
  it("refuse by name", () => {
    expect(failure(() => acceptSession({ system: 5 }))).toBe("bad-input: system is 5, needs a text");
    expect(failure(() => acceptSession({ images: [c] }))).toContain('bad-input: session has no option "images"');
    expect(failure(() => acceptSession("Be terse."))).toContain("bad-input: what session was given as options is");
    expect(failure(() => acceptSession({ history: [user("a")] }))).toContain("history[0] is a question without an answer");
    expect(failure(() => acceptSend(q, { history: [] }))).toContain('bad-input: send has no option "history"');
    expect(failure(() => acceptSend(q, { system: "a" }))).toContain('bad-input: send has no option "system"');
    expect(failure(() => acceptBatch("x", {}))).toContain('bad-input: what batch was given as items is "x", needs a list');
    expect(failure(() => acceptBatch({ prompt: q }, {}))).toContain("needs a list");
    expect(failure(() => acceptBatch(null, {}))).toContain("needs a list");
    expect(failure(() => acceptBatch([], { images: [c] }))).toContain('bad-input: batch has no option "images"');
    expect(failure(() => acceptBatch([], { kvBytes: 0.5 }))).toBe("bad-input: kvBytes is 0.5, needs a positive integer");
    expect(failure(() => acceptBatch([], { onResult: 5 }))).toBe("bad-input: onResult is 5, needs a function");
  });

  it.each([
    [{ prompt: q, image: c }, 'item 3 has no option "image"; did you mean "images"?'],
    [{ question: q }, 'item 3 has no option "question"; did you mean "prompt"?'],
    [{ images: [c] }, "the prompt of item 3 is undefined, needs a text, or a list of messages"],
    [{ prompt: [] }, "the prompt of item 3 is an empty list, needs at least one question"],
    [{ prompt: [q, 7] }, "the prompt's question 2 is 7, needs a text"],
    [{ prompt: [q, user(q)] }, 'messages[0] is "What shape is it?", needs a message'],
    [{ prompt: q, signal: AbortSignal.abort() }, 'item 3 has no option "signal"'],
    [null, "item 3 is null, needs an object with a prompt: { prompt, images, … }"],
    [q, 'what item 3 was given as options is "What shape is it?", needs an object with a prompt'],
  ])("item %j", (item, message) => expect(failure(() => acceptItem(item, 2, {}))).toContain(`bad-input: ${message}`));

  it("an item's own options come before the batch's, and null is absent", () => {
    const item = acceptItem({ prompt: [q, "Why?"], maxTokens: 7, topK: null, images: [c] }, 0, { maxTokens: 5, topK: 3, temperature: 1 });
    expect(item.more).toEqual(["Why?"]);
    expect(item.ask.generation).toMatchObject({ maxTokens: 7, sampling: { topK: 3, temperature: 1 } });
    expect(acceptItem({ prompt: [user(q)] }, 0, {}).ask.question.text).toBe(q);
  });
});

describe("load", () => {
  it.each([
    ["m", { dtype: "q4", context: 5 }, 'load has no option "dtype"; did you mean "weights"?'],
    ["m", { adapters: "./lora" }, 'adapters is "./lora", needs a list of adapters\' sources'],
    ["m", { adapters: ["./lora", 5] }, "an adapter's source is 5, needs a folder, an address or files"],
    ["m", { weights: "q5" }, 'weights is "q5", needs one of auto, bf16, f16, f32, q8, q4'],
    ["m", { precision: "f16" }, 'precision is "f16", needs one of exact, auto, fast'],
    ["m", { kv: "f8" }, 'kv is "f8", needs one of auto, f16, f32'],
    ["m", { device: "llvmpipe" }, 'device is "llvmpipe", needs a GPUDevice, or { adapter, powerPreference }'],
    ["m", { device: 12345 }, "device is 12345, needs a GPUDevice"],
    ["m", { device: { name: "llvmpipe" } }, 'device has no option "name"'],
    ["m", { device: { adapter: 5 } }, "adapter is 5, needs a text"],
    ["m", { maxContext: "8192" }, 'maxContext is "8192", needs a positive integer'],
    ["m", { worker: "yes" }, 'worker is "yes", needs true, false or a Worker'],
    ["m", { onProgress: true }, "onProgress is true, needs a function"],
    ["m", "q4", 'what load was given as options is "q4", needs an object of options'],
    [null, {}, "the model's source is null, needs a folder, an address or files"],
    [5, {}, "the model's source is 5, needs"],
    [{}, {}, "the model's source is an object without keys, needs"],
    ["", {}, 'the model\'s source is "", needs'],
  ])("refuses %j with %j", async (source, options, message) => {
    expect(failure(() => acceptLoad(source, options))).toContain(`bad-input: ${message}`);
    await expect(InternVL.load(source as never, options as never)).rejects.toThrow(message);
  });

  it("tells a GPUDevice by its shape, and names the remedy", () => {
    const device = { queue: {}, lost: {}, limits: {}, features: {}, createBuffer() {} };
    expect(acceptLoad("m", { device }).device).toBe(device);
    expect(acceptLoad("m", { device: { adapter: "llvmpipe", powerPreference: null } }).device).toEqual({ adapter: "llvmpipe" });
    expect(() => acceptLoad("m", { device: "llvmpipe" })).toThrow(
      expect.objectContaining({ hint: expect.stringContaining('{ adapter: "llvmpipe" }') }),
    );
    expect(failure(() => acceptWorkerLoad("m", { device }))).toContain("a device cannot be handed to a worker");
    expect(failure(() => acceptWorkerLoad("m", { worker: "worker.js" }))).toContain('worker is "worker.js", needs true, false or a Worker');
    expect(failure(() => acceptWorkerLoad("m", { fetch }))).toContain("a function cannot be handed to one");
    return expect(InternVL.load("m", { worker: true, fetch })).rejects.toThrow(
      "fetch is a function, needs nothing where the model is in a worker",
    );
  });
});

describe("pictures find their places", () => {
  const placed = (question: unknown, options: unknown) => placePictures(acceptChat(question, options).ask);
  const shown = (question: unknown, options: unknown) => {
    const { turns, question: asked } = placed(question, options);
    return [...turns, asked].map(({ text, pictures }) => [text, ...pictures.map(({ sources }) => sources.join("+"))]);
  };
  const image = (name: string) => ({ type: "image", image: name });
  const text = (value: string) => ({ type: "text", text: value });

  it("in front of a turn that says nowhere where, numbered where there are several", () => {
    expect(shown(q, { images: ["a"] })).toEqual([[`<image>\n${q}`, "a"]]);
    expect(shown(q, { images: ["a", "b"] })).toEqual([[`Image-1: <image>\nImage-2: <image>\n${q}`, "a", "b"]]);
    expect(shown(q, { images: [["a", "b"]] })).toEqual([[`<image>\n${q}`, "a+b"]]);
    expect(shown([user([image("a"), text(q)])], {})).toEqual([[`<image>\n${q}`, "a"]]);
    expect(shown([user([text(q), image("a"), image("b")])], {})).toEqual([[`Image-1: <image>\nImage-2: <image>\n${q}`, "a", "b"]]);
    const history = [user([image("a"), text("one")]), assistant("first")];
    expect(shown("two", { history, images: ["b"] })).toEqual([
      ["<image>\none", "a"],
      ["<image>\ntwo", "b"],
    ]);
  });

  it("at the markers of the text that brings them", () => {
    expect(shown("x <image> y <image>", { images: ["a", "b"] })).toEqual([["x <image> y <image>", "a", "b"]]);
    expect(shown([user([image("a"), text("see <image>!")])], {})).toEqual([["see <image>!", "a"]]);
  });

  it("also as the model card has it: the pictures of all turns on every turn", () => {
    const history = [
      ["<image>\none", "first <image>"],
      ["plain", "<image>"],
    ];
    expect(shown("two", { history, images: ["a"] })).toEqual([["<image>\none", "a"], ["plain"], ["two"]]);
    expect(shown("two", { history, images: ["a", "b"] })).toEqual([["<image>\none", "a"], ["plain"], ["<image>\ntwo", "b"]]);
  });

  it("an <image> in an answer or in the system text takes none", () => {
    const history = [["RSS?", "It has an <image> element."]];
    expect(shown("and <this>?", { history, system: "<image> is a tag", images: ["a"] })).toEqual([["RSS?"], ["<image>\nand <this>?", "a"]]);
  });

  it("frames before the question, pictures at their own markers", () => {
    expect(shown(q, { images: ["a", "b"], video: ["f", "g"] })).toEqual([
      [`Frame1: <image>\nFrame2: <image>\nImage-1: <image>\nImage-2: <image>\n${q}`, "f", "g", "a", "b"],
    ]);
    expect(shown("see <image>", { images: ["a"], video: ["f"] })).toEqual([["Frame1: <image>\nsee <image>", "f", "a"]]);
    expect(shown([user([image("a"), text(q)])], { video: ["f"] })).toEqual([[`Frame1: <image>\n<image>\n${q}`, "f", "a"]]);
  });

  it("counts that differ are reported with both numbers, and with the text they are in", () => {
    expect(failure(() => placed("<image>", {}))).toBe("bad-input: the question has 1 <image> placeholder but 0 images came with it");
    expect(failure(() => placed("<image><image>", { images: ["a"] }))).toContain(
      "the question has 2 <image> placeholders but 1 image came",
    );
    expect(failure(() => placed("<image>", { images: ["a", "b"] }))).toContain("the question has 1 <image> placeholder but 2 images came");
    expect(failure(() => placed("x", { history: [["<image>", "b"]] }))).toContain("history[0] has 1 <image> placeholder but 0 images came");
    const messages = [user([image("a"), text("<image> <image>")]), assistant("b"), user("c")];
    expect(failure(() => placed(messages, {}))).toContain("messages[0] has 2 <image> placeholders but 1 image came");
  });
});

describe("the testing exports", () => {
  it("refuse by name", async () => {
    await expect(tiles("a.png" as never)).rejects.toThrow('the picture is "a.png", needs');
    await expect(tiles(new Uint8Array(8), { maxTile: 1 } as never)).rejects.toThrow(
      'tiles has no option "maxTile"; did you mean "maxTiles"?',
    );
  });
});
