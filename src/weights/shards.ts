import { byteLength, type TensorSpec } from "../safetensors/index.ts";

/** A file of a checkpoint to be written. */
export interface Shard<T extends TensorSpec> {
  name: string;
  tensors: T[];
}

/** The tensors in files of at most `maxBytes` of data each (a tensor is never split), named as the transformers library does. */
export function planShards<T extends TensorSpec>(tensors: readonly T[], maxBytes: number): Shard<T>[] {
  const groups: T[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const tensor of tensors) {
    const size = byteLength(tensor.dtype, tensor.shape) ?? Number.POSITIVE_INFINITY;
    if (bytes + size > maxBytes) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)!.push(tensor);
    bytes += size;
  }
  const number = (n: number) => String(n).padStart(5, "0");
  return groups.map((group, i) => ({
    name: groups.length === 1 ? "model.safetensors" : `model-${number(i + 1)}-of-${number(groups.length)}.safetensors`,
    tensors: group,
  }));
}

/** `model.safetensors.index.json` for several shards. */
export function shardIndex(shards: readonly Shard<TensorSpec>[]): Uint8Array<ArrayBuffer> {
  const tensors = shards.flatMap((shard) => shard.tensors.map((tensor) => ({ ...tensor, file: shard.name })));
  const total = tensors.reduce((sum, { dtype, shape }) => sum + byteLength(dtype, shape)!, 0);
  const index = { metadata: { total_size: total }, weight_map: Object.fromEntries(tensors.map(({ name, file }) => [name, file])) };
  return new TextEncoder().encode(`${JSON.stringify(index, null, 2)}\n`);
}
