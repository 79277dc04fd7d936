import { type Inspection, inspection, type Verified, verifyValues } from "../../src/api/inspect.ts";
import { openRemotely } from "../../src/hub/source.ts";
import { openCheckpoint } from "../../src/model/open-checkpoint.ts";
import { gibibytes } from "../../src/weights/fit.ts";
import { LICENCES } from "../../src/weights/small-files.ts";
import { interruptSignal, status } from "./model.ts";

interface InspectFlags {
  revision?: string;
  verify?: boolean;
  json?: boolean;
}

const LAYOUTS = { original: "OpenGVLab's layout", huggingface: "Hugging Face's own layout" };

/** What a GPU must have, by format. */
function memoryLine({ context, formats }: Inspection["memory"]): string {
  const each = Object.entries(formats).map(([format, { total }]) => `${gibibytes(total)} in ${format}`);
  const { state } = Object.values(formats)[0]!;
  return `${each.join(", ")} on the GPU, of that ${gibibytes(state)} for a context of ${context} tokens`;
}

function describeConfig({ config, parameters, tied, family, memory, runs, problem }: Inspection): string[] {
  const { vision: v, language: l } = config;
  const stops = config.stopIds ? `ids ${config.stopIds.join(", ")}` : "<|im_end|>";
  return [
    `InternVL: InternViT → pixel unshuffle → mlp1 → ${l.architecture}, ${(parameters / 1e9).toFixed(2)} billion parameters`,
    `  family    ${family ?? "no published model's"}; ${LAYOUTS[config.layout]}`,
    `  runs      ${runs ? "yes" : `no: ${problem}`}`,
    `  prompt    ${config.layout === "huggingface" ? "chat template" : `template ${config.template}`}; an answer ends with ${stops}`,
    `  vision    ${v.layers} layers of ${v.hiddenSize}, ${v.heads} heads, MLP ${v.intermediateSize}, patch ${v.patchSize}, ${v.norm}`,
    `  language  ${l.layers} layers of ${l.hiddenSize}, ${l.heads} heads (${l.kvHeads} for keys and values) of ${l.headDim}, MLP ${l.intermediateSize}, vocabulary ${l.vocabSize}, ${tied ? "tied" : "untied"} head, ${l.maxPositions} positions`,
    `  memory    ${memoryLine(memory)}`,
    `  tiles     ${config.tileSize} pixels a side, ${config.tokensPerTile} tokens each, ${config.minTiles} to ${config.maxTiles}${config.thumbnail ? " and a thumbnail" : ""}`,
  ];
}

/** What a checkpoint holds, from config.json and the headers alone; with --verify every rule of the format, and every byte. */
export async function inspectCommand(from: string, flags: InspectFlags): Promise<void> {
  const signal = interruptSignal();
  const source = await openRemotely(from, { revision: flags.revision, signal });
  // Checks every header, and that index and shards agree; whether the tensors are those of the configuration is for --verify to say.
  const opened = await openCheckpoint(source, { signal, check: flags.verify ? "all" : "none" });
  try {
    const found = await inspection(source, opened);
    const onProgress = ({ loaded, total }: { loaded: number; total: number }) => status(`reading: ${Math.round((loaded / total) * 100)} %`);
    const verified = flags.verify ? await verifyValues(opened.files, { signal, onProgress }) : undefined;
    status("");
    print(found, verified, flags.json);
  } finally {
    await opened.files.close();
  }
}

function print(found: Inspection, verified: Verified | undefined, json: boolean | undefined): void {
  const { config, parameters, memory, files, tensors, totals, metadata, family, runs, problem } = found;
  const quantization = config.converted;
  if (json) {
    const report = {
      ...{ config, family, runs, problem, parameters, memory },
      ...(quantization ? { quantization } : {}),
      ...{ files, totals, tensors, metadata },
      licences: LICENCES,
      ...(verified ? { verified } : {}),
    };
    process.stdout.write(`${JSON.stringify(report)}\n`);
    return;
  }
  const wide = Math.max(...tensors.map(({ name }) => name.length));
  const lines = [
    ...describeConfig(found),
    ...(quantization ? [`  weights   ${JSON.stringify(quantization)}`] : []),
    "",
    ...tensors.map(
      ({ name, dtype, shape, bytes, shard }) =>
        `${name.padEnd(wide)}  ${dtype.padEnd(4)}  ${`[${shape.join(", ")}]`.padEnd(18)} ${String(bytes).padStart(12)}  ${shard}`,
    ),
    "",
    `${totals.tensors} tensors, ${totals.bytes} bytes: ${Object.entries(totals.dtypes)
      .map(([dtype, entry]) => `${entry.tensors} ${dtype} (${entry.bytes} bytes)`)
      .join(", ")}`,
    ...files.map(({ name, bytes }) => `${name}  ${bytes} bytes`),
    ...(verified
      ? [
          "verified: every rule of the format in every file, every byte read, all tensors are those that config.json asks for, no infinities or NaN",
        ]
      : []),
    "",
    `Licences. ${LICENCES}`,
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}
