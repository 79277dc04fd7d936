import type { Directory } from "../safetensors/index.ts";

/** Where a checkpoint's files come from: anything that opens files by name. */
export type WeightSource = Directory;

/** How far a source is; all in bytes but `resolve`. Each phase's numbers only grow, and the phases come in this order. */
export interface SourceProgress {
  phase: "resolve" | "download" | "verify";
  loaded: number;
  total: number;
  file?: string;
}

/** A whole small file of a source; `undefined` where there is none. */
export async function readSmall(source: WeightSource, name: string): Promise<Uint8Array | undefined> {
  const file = await source.open(name);
  if (!file) return undefined;
  try {
    return await file.read(0, file.size);
  } finally {
    await file.close?.();
  }
}
