import { expect, it } from "vitest";
import { parseConfig } from "../../src/model/config.ts";
import { memoryNeed } from "../../src/model/memory.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import type { StoredShapes } from "../../src/weights/tensor-source.ts";
import { FAMILY } from "../../tools/family.ts";
import { fixture } from "../support.ts";

it.each(FAMILY)("doctor's sizes of $model are those of its published configuration", ({ model, bytes }) => {
  const config = parseConfig(fixture(`${model.toLowerCase()}.config.json`));
  const tensors = new Map(checkpointTensors(config).map((tensor) => [tensor.name, { ...tensor, dtype: "BF16" }]));
  const stored = { names: () => tensors.keys(), get: (name: string) => tensors.get(name) } as unknown as StoredShapes;
  expect(bytes).toEqual(
    Object.fromEntries((["bf16", "q8", "q4"] as const).map((format) => [format, memoryNeed(config, stored, format).total])),
  );
});
