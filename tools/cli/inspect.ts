import { EngineError } from "../../src/errors.ts";
import { openRemotely } from "../../src/hub/source.ts";
import type { ModelConfig } from "../../src/model/config.ts";
import { openCheckpoint } from "../../src/model/open-checkpoint.ts";
import { type Checkpoint, readPieces, type TensorInfo } from "../../src/safetensors/index.ts";
import { SCALES_SUFFIX } from "../../src/weights/formats.ts";
import { interruptSignal, status } from "./model.ts";
import { LICENCES } from "./small-files.ts";

interface InspectFlags {
  revision?: string;
  verify?: boolean;
  json?: boolean;
}

const elementsOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/** Reads every byte, and counts the elements of each tensor that are infinite or no number. */
async function nonFinite(checkpoint: Checkpoint, signal: AbortSignal): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  let done = 0;
  const total = [...checkpoint.tensors.values()].reduce((sum, { info }) => sum + info.end - info.begin, 0);
  for (const [name, entry] of checkpoint.tensors) {
    const exponent = { BF16: 0x7f80, F16: 0x7c00, F32: 0x7f800000 }[entry.info.dtype as string];
    let count = 0;
    for await (const { bytes } of readPieces(entry, { signal })) {
      status(`reading: ${Math.round(((done += bytes.length) / total) * 100)} %`);
      if (exponent === undefined) continue;
      const words = entry.info.dtype === "F32" ? new Uint32Array(bytes.slice().buffer) : new Uint16Array(bytes.slice().buffer);
      for (let i = 0; i < words.length; i++) if ((words[i]! & exponent) === exponent) count++;
    }
    if (count > 0) found.set(name, count);
  }
  return found;
}

function describeConfig(config: ModelConfig, parameters: number, tied: boolean): string[] {
  const { vision: v, language: l } = config;
  return [
    `InternVL: InternViT → pixel unshuffle → mlp1 → ${l.architecture}, ${(parameters / 1e9).toFixed(2)} billion parameters`,
    `  vision    ${v.layers} layers of ${v.hiddenSize}, ${v.heads} heads, MLP ${v.intermediateSize}, patch ${v.patchSize}, ${v.norm}`,
    `  language  ${l.layers} layers of ${l.hiddenSize}, ${l.heads} heads (${l.kvHeads} for keys and values) of ${l.headDim}, MLP ${l.intermediateSize}, vocabulary ${l.vocabSize}, ${tied ? "tied" : "untied"} head, ${l.maxPositions} positions`,
    `  tiles     ${config.tileSize} pixels a side, ${config.tokensPerTile} tokens each, ${config.minTiles} to ${config.maxTiles}${config.thumbnail ? " and a thumbnail" : ""}`,
  ];
}

/** Elements that a stored tensor stands for. */
function parametersOf({ dtype, shape, name }: TensorInfo, checkpoint: Checkpoint): number {
  if (name.endsWith(SCALES_SUFFIX)) return 0;
  return elementsOf(shape) * (dtype === "U8" && checkpoint.tensors.has(name + SCALES_SUFFIX) ? 2 : 1);
}

/** What a checkpoint holds, from config.json and the headers alone; with --verify every rule of the format, and every byte. */
export async function inspect(from: string, flags: InspectFlags): Promise<void> {
  const signal = interruptSignal();
  const source = await openRemotely(from, { revision: flags.revision, signal });
  // Checks every header, and that index and shards agree; whether the tensors are those of the configuration is for --verify to say.
  const { config, files: checkpoint } = await openCheckpoint(source, { signal, check: flags.verify ? "all" : "none" });
  const quantization = config.converted;
  try {
    const tensors = [...checkpoint.tensors.values()].map(({ info, source: file }) => ({
      name: info.name,
      dtype: info.dtype,
      shape: info.shape,
      bytes: info.end - info.begin,
      shard: file.name,
    }));
    const parameters = [...checkpoint.tensors.values()].reduce((sum, { info }) => sum + parametersOf(info, checkpoint), 0);
    const tied = !["lm_head", "output"].some((head) => checkpoint.tensors.has(`language_model.${head}.weight`));
    const total = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
    const dtypes: Record<string, { tensors: number; bytes: number }> = {};
    for (const { dtype, bytes: size } of tensors) {
      const entry = (dtypes[dtype] ??= { tensors: 0, bytes: 0 });
      entry.tensors++;
      entry.bytes += size;
    }
    let verified: { files: number; tensors: number; bytes: number } | undefined;
    if (flags.verify) {
      const problems: string[] = [];
      for (const [name, count] of await nonFinite(checkpoint, signal)) problems.push(`tensor "${name}" holds ${count} infinities or NaN`);
      if (process.stderr.isTTY) status("");
      if (problems.length > 0) {
        throw new EngineError(
          "bad-weights",
          `${problems.length === 1 ? "" : `${problems.length} problems: `}${problems.slice(0, 5).join("; ")}${problems.length > 5 ? "; …" : ""}`,
          {
            hint: "the files are damaged, or were saved by a training that diverged: fetch them again",
          },
        );
      }
      verified = { files: checkpoint.files.length, tensors: tensors.length, bytes: total };
    }
    const files = checkpoint.files.map(({ name, size }) => ({ name, bytes: size }));
    if (flags.json) {
      const report = {
        config,
        parameters,
        ...(quantization ? { quantization } : {}),
        files,
        totals: { tensors: tensors.length, bytes: total, dtypes },
        tensors,
        metadata: Object.fromEntries(checkpoint.metadata),
        licences: LICENCES,
        ...(verified ? { verified } : {}),
      };
      process.stdout.write(`${JSON.stringify(report)}\n`);
      return;
    }
    const wide = Math.max(...tensors.map(({ name }) => name.length));
    const lines = [
      ...describeConfig(config, parameters, tied),
      ...(quantization ? [`  weights   ${JSON.stringify(quantization)}`] : []),
      "",
      ...tensors.map(
        ({ name, dtype, shape, bytes: size, shard }) =>
          `${name.padEnd(wide)}  ${dtype.padEnd(4)}  ${`[${shape.join(", ")}]`.padEnd(18)} ${String(size).padStart(12)}  ${shard}`,
      ),
      "",
      `${tensors.length} tensors, ${total} bytes: ${Object.entries(dtypes)
        .map(([dtype, entry]) => `${entry.tensors} ${dtype} (${entry.bytes} bytes)`)
        .join(", ")}`,
      ...files.map(({ name, bytes: size }) => `${name}  ${size} bytes`),
      ...(verified
        ? [
            "verified: every rule of the format in every file, every byte read, all tensors are those that config.json asks for, no infinities or NaN",
          ]
        : []),
      "",
      `Licences. ${LICENCES}`,
    ];
    process.stdout.write(`${lines.join("\n")}\n`);
  } finally {
    await checkpoint.close();
  }
}
