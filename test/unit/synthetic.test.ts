import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { parseConfig } from "../../src/model/config.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import { synthesize } from "../../tools/synthetic/tensors.ts";
import { fixture, json } from "../support.ts";

interface Vectors {
  vectors: { seed: number; name: string; shape: number[]; index: number; bf16: string }[];
  sha256_of_whole_tensors_seed_0_little_endian_bf16: [name: string, shape: number[], sha256: string][];
}

const vectors = json<Vectors>("synthetic-vectors.json");

describe("the synthetic weight rule", () => {
  it("gives the forty vectors", () => {
    expect(vectors.vectors).toHaveLength(40);
    for (const { seed, name, shape, index, bf16 } of vectors.vectors) {
      const [bits] = synthesize(name, shape, seed, index, 1);
      expect(bits!.toString(16).padStart(4, "0"), `${name}[${index}] seed ${seed}`).toBe(bf16);
    }
  });

  it("gives whole tensors, equal by sha256", () => {
    const tensors = vectors.sha256_of_whole_tensors_seed_0_little_endian_bf16;
    expect(tensors).toHaveLength(12);
    for (const [name, shape, sha256] of tensors) {
      const count = shape.reduce((a, b) => a * b, 1);
      const bits = synthesize(name, shape, 0, 0, count);
      expect(createHash("sha256").update(new Uint8Array(bits.buffer)).digest("hex"), name).toBe(sha256);
    }
  });

  it("the 4B configuration has the 781 tensors of the published checkpoint", () => {
    const tensors = checkpointTensors(parseConfig(fixture("internvl2_5-4b.config.json")));
    expect(tensors).toHaveLength(781);
    const listed = json<{ tensors: [name: string, shape: number[], dtype: string][] }>("tensors-4b.json").tensors;
    const sorted = (list: { name: string; shape: number[] }[]) => list.sort((a, b) => (a.name < b.name ? -1 : 1));
    expect(sorted(tensors)).toEqual(sorted(listed.map(([name, shape]) => ({ name, shape }))));
  });
});
