import { expect, it } from "vitest";
import { parseConfig } from "../../src/model/config.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import { kvBytes } from "../../src/ops/kv-cache.ts";
import { weightBytes } from "../../src/weights/fit.ts";
import type { TensorSource } from "../../src/weights/tensor-source.ts";
import { FAMILY } from "../../tools/cli/family.ts";
import { fixture } from "../support.ts";

it.each(FAMILY)("doctor's sizes of $model are those of its published configuration", ({ model, weights, kv }) => {
  const config = parseConfig(fixture(`${model.toLowerCase()}.config.json`));
  const tensors = new Map(checkpointTensors(config).map((tensor) => [tensor.name, { ...tensor, dtype: "BF16" }]));
  const source = { names: () => tensors.keys(), get: (name: string) => tensors.get(name) } as unknown as TensorSource;
  const bytes = (["bf16", "q8", "q4"] as const).map((format) => [format, weightBytes(source, format)]);
  expect({ weights, kv }).toEqual({
    weights: Object.fromEntries(bytes),
    kv: kvBytes(config.language, Math.min(8192, config.language.maxPositions), "f16"),
  });
});
