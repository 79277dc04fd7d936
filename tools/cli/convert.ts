import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openGpu } from "../../src/gpu/device.ts";
import { openWeights } from "../../src/hub/open.ts";
import { openSource, readSmall } from "../../src/hub/source.ts";
import { openCheckpoint } from "../../src/model/open-checkpoint.ts";
import { type Checkpoint, MAX_READ } from "../../src/safetensors/index.ts";
import { isQuantized } from "../../src/tensor/tensor.ts";
import { type ConvertFormat, convertWeights } from "../../src/weights/convert.ts";
import { verifyConversion } from "../../src/weights/verify.ts";
import { checkModelFlags, interruptSignal, status } from "./model.ts";
import { checkAbsent, createFile, createFolder } from "./output.ts";
import { loadProgress } from "./progress.ts";
import { LICENCES, SMALL_FILES } from "./small-files.ts";
import { terminal } from "./status.ts";

interface ConvertFlags {
  model: string;
  revision?: string;
  out: string;
  to: ConvertFormat;
  shardSize: number;
  adapter?: string;
  json?: boolean;
}

/** sha256 of every file of a checkpoint, as `sha256sum` prints it. */
async function hashes({ files }: Checkpoint, signal: AbortSignal): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const { name, size, source } of files) {
    const hash = createHash("sha256");
    for (let at = 0; at < size; at += MAX_READ) hash.update(await source.read(at, Math.min(MAX_READ, size - at), signal));
    found.set(name, hash.digest("hex"));
  }
  return found;
}

/** config.json with what says how the weights are stored. */
function convertedConfig(config: Uint8Array, to: ConvertFormat): string {
  const json = JSON.parse(new TextDecoder().decode(config)) as Record<string, unknown>;
  delete json.quantization;
  if (!isQuantized(to)) return `${JSON.stringify({ ...json, torch_dtype: to === "f16" ? "float16" : "bfloat16" }, null, 2)}\n`;
  const quantization = { method: "internvl-webgpu", format: to, group_size: 32, scale_dtype: "float16", scales: "NAME.scales" };
  return `${JSON.stringify({ ...json, quantization }, null, 2)}\n`;
}

/** Converts a checkpoint's weights, reads them back, and reports bytes and error of every tensor. */
export async function convertCommand(flags: ConvertFlags): Promise<void> {
  const signal = interruptSignal();
  await checkModelFlags(flags);
  checkAbsent(flags.out); // not after a download
  const source = await openSource(flags.model, { revision: flags.revision, signal, onProgress: loadProgress(terminal) });
  const { configBytes: config, files: checkpoint } = await openCheckpoint(source, { signal });
  try {
    const total = [...checkpoint.tensors.values()].reduce((sum, { info }) => sum + info.end - info.begin, 0);
    const progress = (what: string) => {
      let done = 0;
      return (bytes: number) => status(`${what}: ${Math.round(((done += bytes) / total) * 100)} %`);
    };
    const began = performance.now();
    const report = await createFolder(flags.out, async (folder) => {
      status("hashing the source");
      const sha256 = await hashes(checkpoint, signal);
      const metadata = new Map([
        ["format", "pt"],
        ["converted_by", "internvl-webgpu"],
        ["converted_to", flags.to],
        ["source_sha256", [...sha256].map(([name, hash]) => `${hash}  ${name}`).join("\n")],
        ["licence", checkpoint.metadata.get("licence") ?? LICENCES],
      ]);
      const gpu = await openGpu({ adapter: flags.adapter });
      try {
        await convertWeights(gpu, {
          checkpoint,
          to: flags.to,
          out: { create: (name) => createFile(folder, name) },
          metadata,
          shardBytes: flags.shardSize,
          signal,
          onBytes: progress("converting"),
        });
      } finally {
        gpu.close();
      }
      await writeFile(join(folder, "config.json"), convertedConfig(config, flags.to));
      for (const name of SMALL_FILES) {
        const bytes = await readSmall(source, name);
        if (bytes) await writeFile(join(folder, name), bytes);
      }
      const written = await openWeights(await openSource(folder), signal);
      try {
        return await verifyConversion(checkpoint, written, { signal, onBytes: progress("reading back") });
      } finally {
        await written.close();
      }
    });
    const seconds = (performance.now() - began) / 1000;
    const bytes = report.reduce((sum, tensor) => sum + tensor.bytes, 0);
    status("");
    if (flags.json) {
      process.stdout.write(`${JSON.stringify({ to: flags.to, out: flags.out, sourceBytes: total, bytes, seconds, tensors: report })}\n`);
      return;
    }
    for (const { name, from, to, bytes: size, nmse } of report) {
      process.stdout.write(`${name}  ${from} → ${to}  ${size} bytes  NMSE ${nmse === 0 ? "0" : nmse.toExponential(2)}\n`);
    }
    const worst = report.reduce((most, tensor) => (tensor.nmse > most.nmse ? tensor : most));
    process.stdout.write(
      `${report.length} tensors, ${(total / 1e6).toFixed(1)} MB → ${(bytes / 1e6).toFixed(1)} MB in ${seconds.toFixed(1)} s, read back and compared; the largest NMSE: ${worst.nmse.toExponential(2)} (${worst.name})\n`,
    );
  } finally {
    await checkpoint.close();
  }
}
