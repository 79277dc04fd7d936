import type { Relaid } from "../weights/relaid.ts";
import type { RowBlock } from "../weights/rows.ts";
import type { StoredShape } from "../weights/tensor-source.ts";
import type { ModelConfig } from "./config.ts";
import { isHead, recorded } from "./tensors.ts";

type Part = RowBlock & { name: string };

/** The rows [to, to + rows) of a whole, by the tensors that hold them. */
function* cut({ from, to, rows }: RowBlock, holders: readonly Part[]): Generator<Part, void, undefined> {
  for (const holder of holders) {
    const [begin, end] = [Math.max(to, holder.to), Math.min(to + rows, holder.to + holder.rows)];
    if (begin < end) yield { name: holder.name, from: begin - holder.to + holder.from, to: begin - to + from, rows: end - begin };
  }
}

/**
 * Of which of a checkpoint's tensors those of another layout are made. Both layouts' loaders declare the same matrices and vectors in the same
 * order: what differs is how they are called, and how they are cut (q, k and v of the vision tower, InternLM2's wqkv).
 *
 * @param stored the checkpoint's tensors; a head that it lacks the other layout lacks too, and so with the vision tower's unused layers
 */
export function relayout(from: ModelConfig, to: ModelConfig, stored: ReadonlyMap<string, StoredShape>): Relaid[] {
  const hasHead = [...stored.keys()].some(isHead);
  const theirs = recorded(from, (name) => stored.has(name)).declared;
  const ours = recorded(to, (name) => hasHead && name.startsWith("language_model.") && isHead(name)).declared;
  return ours.flatMap(({ tensors }, i) => {
    const holders = theirs[i]!.tensors.flatMap(({ name, blocks }) => blocks.map((block) => ({ ...block, name })));
    if (holders.some(({ name }) => !stored.has(name))) return [];
    return tensors.map(({ name, shape, blocks }): Relaid => ({ name, shape, parts: blocks.flatMap((block) => [...cut(block, holders)]) }));
  });
}
