import { platform } from "#platform";
import { type ConvertFormat, type ConvertProgress, convertWeights } from "../../src/convert.ts";
import { isQuantized } from "../../src/tensor/tensor.ts";
import { UsageError } from "./failures.ts";
import { checkModelFlags, interruptSignal, status } from "./model.ts";
import { checkAbsent, createFile, createFolder } from "./output.ts";
import { loadProgress } from "./progress.ts";
import { terminal } from "./status.ts";

interface ConvertFlags {
  model: string;
  revision?: string;
  out: string;
  to: ConvertFormat;
  layout?: "hf" | "upstream";
  shardSize: number;
  adapter?: string;
  lora?: string[];
  json?: boolean;
}

const WORDS = { hash: "hashing the source", convert: "converting", compare: "reading back" } as const;

/** Shows how far a conversion is. */
function convertProgress(): (progress: ConvertProgress) => void {
  const download = loadProgress(terminal);
  return ({ phase, ...rest }) => {
    if (phase === "hash" || phase === "convert" || phase === "compare") {
      status(`${WORDS[phase]}: ${Math.round((rest.loaded / rest.total) * 100)} %`);
    } else download({ phase, ...rest });
  };
}

/** Converts a checkpoint's weights, reads them back, and reports bytes and error of every tensor. */
export async function convertCommand(flags: ConvertFlags): Promise<void> {
  const { to, out, layout } = flags;
  await checkModelFlags(flags);
  if (layout && isQuantized(to))
    throw new UsageError(`--to ${to} is this engine's own format, which --layout ${layout} cannot have: take bf16, f16 or f32`);
  checkAbsent(out); // not after a download
  const began = performance.now();
  const { tensors, sourceBytes, bytes } = await createFolder(out, (folder) =>
    convertWeights(flags.model, {
      to,
      layout,
      out: { create: (name) => createFile(folder, name), open: (name) => platform.openFile(folder, name) },
      shardBytes: flags.shardSize,
      adapters: flags.lora,
      device: { adapter: flags.adapter },
      revision: flags.revision,
      signal: interruptSignal(),
      onProgress: convertProgress(),
    }),
  );
  const seconds = (performance.now() - began) / 1000;
  status("");
  if (flags.json) {
    process.stdout.write(`${JSON.stringify({ to, out, sourceBytes, bytes, seconds, tensors })}\n`);
    return;
  }
  for (const { name, from, to, bytes: size, nmse } of tensors) {
    process.stdout.write(`${name}  ${from} → ${to}  ${size} bytes  NMSE ${nmse === 0 ? "0" : nmse.toExponential(2)}\n`);
  }
  const worst = tensors.reduce((most, tensor) => (tensor.nmse > most.nmse ? tensor : most));
  process.stdout.write(
    `${tensors.length} tensors, ${(sourceBytes / 1e6).toFixed(1)} MB → ${(bytes / 1e6).toFixed(1)} MB in ${seconds.toFixed(1)} s, read back and compared; the largest NMSE: ${worst.nmse.toExponential(2)} (${worst.name})\n`,
  );
}
