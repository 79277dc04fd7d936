import { describe, expect, it } from "vitest";
import { parseConfig } from "../../src/model/config.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import { RecordingWeights } from "../../src/weights/recording-weights.ts";
import { fixture } from "../support.ts";

describe("a recording of what a loader asks for", () => {
  it("notes full names and stored shapes in the order of the loader, below every prefix", () => {
    const w = new RecordingWeights(() => true);
    const layer = w.at("layers").at(3);
    layer.matrices(
      [
        { name: "q", rows: 4 },
        { name: "k", rows: 2, shape: [2, 2, 4] },
      ],
      8,
    );
    w.vectors([
      ["a", [1, 3]],
      ["b", [5]],
    ]);
    layer.at("norm").vector("weight", 7);
    w.values("position", [2, 2]);
    expect(w.seen).toEqual([
      { name: "layers.3.q", shape: [4, 8] },
      { name: "layers.3.k", shape: [2, 2, 4] },
      { name: "a", shape: [1, 3] },
      { name: "b", shape: [5] },
      { name: "layers.3.norm.weight", shape: [7] },
      { name: "position", shape: [2, 2] },
    ]);
  });

  it("asks by the full name whether a tensor that may be missing is there", () => {
    const w = new RecordingWeights((name) => name === "language_model.head");
    expect(w.at("language_model").has("head")).toBe(true);
    expect(w.has("head")).toBe(false);
  });

  it("holds nothing: what would use its storage fails with the tensor's name", () => {
    const { buffer, ...vector } = Object.getOwnPropertyDescriptors(new RecordingWeights(() => true).vector("bias", 4));
    expect(() => buffer.get!.call(vector)).toThrow("bias");
    expect(new RecordingWeights(() => true).matrix("weight", 4, 8).parts).toEqual([]);
  });

  it.each(["tiny/tiny-qwen", "tiny/tiny-internlm2"])("of %s has the head where the files do, and no tensor twice", (name) => {
    const config = parseConfig(fixture(`${name}/config.json`));
    const names = (has: boolean) => checkpointTensors(config, () => has).map((tensor) => tensor.name);
    expect(new Set(names(true)).size).toBe(names(true).length);
    const heads = names(true).filter((each) => !names(false).includes(each));
    expect(heads).toEqual([name.endsWith("qwen") ? "language_model.lm_head.weight" : "language_model.output.weight"]);
  });
});
