import { describe, expect, it } from "vitest";
import { parseConfig } from "../../src/model/config.ts";
import { openCheckpoint, readConfig } from "../../src/model/open-checkpoint.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import { memorySource } from "../../src/safetensors/index.ts";
import { syntheticFile } from "../shared/checkpoints.ts";
import { fixture } from "../support.ts";

const configBytes = new Uint8Array(fixture("tiny/tiny-qwen/config.json"));
const tensors = checkpointTensors(parseConfig(configBytes));

/** Files in memory that remember in which order they were opened, and what of them is still open. */
function recorded(files: Record<string, Uint8Array>) {
  const opened: string[] = [];
  const open = new Set<string>();
  return {
    opened,
    stillOpen: open,
    async open(name: string) {
      const bytes = files[name];
      if (!bytes) return undefined;
      opened.push(name);
      open.add(name);
      return { ...memorySource(name, bytes), close: async () => void open.delete(name) };
    },
  };
}

describe("a checkpoint is opened in one place", () => {
  const whole = () => recorded({ "config.json": configBytes, "model.safetensors": syntheticFile(tensors, 0) });

  it("reads the configuration, does what comes between, and then the headers", async () => {
    const source = whole();
    const { config, files, between } = await openCheckpoint(source, {
      async between({ language }) {
        expect(source.opened).toEqual(["config.json"]);
        return language.layers;
      },
    });
    expect(between).toBe(config.language.layers);
    expect([...files.tensors.keys()].sort()).toEqual(tensors.map(({ name }) => name).sort());
    await files.close();
    expect(source.stillOpen.size).toBe(0);
  });

  it("opens no file with tensors where what comes between throws", async () => {
    const source = whole();
    await expect(openCheckpoint(source, { between: () => Promise.reject(new RangeError("no")) })).rejects.toThrow(RangeError);
    expect(source.opened).toEqual(["config.json"]);
    expect(source.stillOpen.size).toBe(0);
  });

  it("holds the model's tensors, all or none against the configuration, and closes what it refuses", async () => {
    const strange = recorded({
      "config.json": configBytes,
      "model.safetensors": syntheticFile([...tensors, { name: "lost", shape: [2] }], 0),
    });
    await (await openCheckpoint(strange)).files.close(); // not below the model's names
    await expect(openCheckpoint(strange, { check: "all" })).rejects.toThrow('"lost"');
    const cut = recorded({ "config.json": configBytes, "model.safetensors": syntheticFile(tensors.slice(1), 0) });
    await expect(openCheckpoint(cut)).rejects.toThrow(tensors[0]!.name);
    await (await openCheckpoint(cut, { check: "none" })).files.close();
    expect(strange.stillOpen.size + cut.stillOpen.size).toBe(0);
  });

  it("says what lies in the place of a configuration", async () => {
    for (const open of [readConfig, openCheckpoint]) {
      await expect(open(recorded({ "model.safetensors": new Uint8Array(8) }))).rejects.toThrow("there is no config.json");
      await expect(open(recorded({ "adapter_config.json": new Uint8Array(2) }))).rejects.toThrow("LoRA adapter alone");
    }
  });
});
