import { described } from "../options.ts";
import { bad, type Fields } from "./config-fields.ts";

/** AWQ as `quantization_config` describes it: 4 bits, groups of 128, zero points, packed for the gemm kernel. */
export interface Packed {
  method: "awq";
  /** The Linears that are stored as they were; the other ones may be packed. Names, or ends or parts of names. */
  notConverted: readonly string[];
}

/** What to take in place of weights that others packed. */
export const INSTEAD = 'take the original checkpoint with weights: "q4" or "q8", or convert it with `internvl convert`';

const NO_GPTQ = `GPTQ does not load: take the model's AWQ folder (…-AWQ), or ${INSTEAD.slice("take ".length)}`;

/** Keys of AutoAWQ and transformers that say how their own kernels run. */
const HARMLESS = /^(backend|do_fuse|exllama_config|fuse_max_seq_len|modules_to_fuse|quant_method)$/;

function awqConfig(q: Fields): Packed {
  // As AutoAWQ and lmdeploy pack: gemv and others lie otherwise, and without zero points the codes mean something else.
  const needed = { version: "gemm", bits: 4, group_size: 128, zero_point: true };
  for (const [key, needs] of Object.entries(needed)) {
    const value = q.get(key) ?? needs;
    if ((typeof value === "string" ? value.toLowerCase() : value) !== needs) throw q.wrong(key, described(needs), INSTEAD);
  }
  const list = q.get("modules_to_not_convert") ?? [];
  if (!Array.isArray(list) || !list.every((each) => typeof each === "string")) throw q.wrong("modules_to_not_convert", "a list of names");
  q.rest((key) => HARMLESS.test(key));
  return { method: "awq", notConverted: list as string[] };
}

/**
 * What says that weights are packed, in any part of a configuration that may say so (published files have it in the language model's, or
 * outside): AWQ loads, other ways are refused by name.
 *
 * @throws EngineError bad-weights
 */
export function packedBy(owners: readonly Fields[]): Packed | undefined {
  let found: { packed: Packed; name: string } | undefined;
  for (const owner of owners) {
    for (const key of ["quantization_config", "compression_config"]) {
      if (owner.get(key) === undefined) continue;
      const q = owner.object(key);
      const method = q.get("quant_method") ?? (q.get("load_in_4bit") || q.get("load_in_8bit") ? "bitsandbytes" : undefined);
      const name = owner.name(key);
      if (key !== "quantization_config" || method !== "awq") {
        const kind = method === undefined ? "no quant_method" : described(method);
        const instead = /^gptq$/i.test(String(method)) ? NO_GPTQ : INSTEAD;
        throw bad(`${name} names ${kind}: of the weights that other libraries pack, AWQ's alone load`, instead);
      }
      const packed = awqConfig(q);
      if (found && String(found.packed.notConverted) !== String(packed.notConverted)) {
        throw bad(`${found.name} and ${name} differ in modules_to_not_convert`, "keep the one that the weights were packed with");
      }
      found ??= { packed, name };
    }
  }
  return found?.packed;
}
