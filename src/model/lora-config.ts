import { parseJsonObject } from "../json.ts";
import { described } from "../options.ts";
import { Fields } from "./config-fields.ts";

/** What adapter_config.json says of a LoRA adapter that changes the arithmetic. */
export interface LoraConfig {
  /** Rank and factor (alpha / rank, or alpha / √rank) of a module, by its name in the model that was trained. */
  of(module: string): { rank: number; scale: number };
  /** Whether peft gives a module an adapter, as far as its layer goes; of others it leaves the tensors aside. */
  hasLayer(module: string): boolean;
  /** Modules whose tensors were trained whole: the last parts of their names. */
  modulesToSave: readonly string[];
}

const FILE = "adapter_config.json";
/** The hint for an adapter of a kind that is not merged here. */
export const MERGE = "merge it into its base model with peft (merge_and_unload), and give that";

/** Settings that change what is computed, by the value with which they do not. */
const UNSUPPORTED: Readonly<Record<string, string | boolean>> = {
  ...{ bias: "none", lora_bias: false, fan_in_fan_out: false, use_dora: false, use_qalora: false, use_bdlora: false },
};
/** Those that may not be there, or are empty. */
const ABSENT = ["layer_replication", "trainable_token_indices", "target_parameters", "alora_invocation_tokens", "arrow_config"].concat([
  "kasa_config",
  "monteclora_config",
  "velora_config",
  "megatron_config",
]);
/** Where A and B begin. Other ways (pissa, olora, corda, loftq, …) change the base model's weights besides. */
const INITIAL = [true, false, "gaussian", "eva", "orthogonal"];
/** Bookkeeping, and how it was trained: which modules have an adapter is seen by the tensors that there are. */
const HARMLESS = ["auto_mapping", "base_model_name_or_path", "corda_config", "ensure_weight_tying", "eva_config", "exclude_modules"]
  .concat(["inference_mode", "loftq_config", "lora_dropout", "lora_ga_config", "megatron_core"])
  .concat(["peft_version", "qalora_group_size", "revision", "runtime_config", "task_type"]);

const MOST_RANK = 2 ** 14;
const MOST_KEY = 300; // characters of a pattern
/** A repetition of something that repeats: it may take for ever on a name. */
const NESTED = /[*+}][^()[\]]*\)[*+{]/;

/** peft's patterns are regular expressions for the end of a module's name, from a dot on; the first that fits counts. */
function patterned(fields: Fields, key: string): (module: string) => number | undefined {
  if (fields.get(key) === undefined) return () => undefined;
  const patterns = fields.object(key);
  const entries = patterns.keys().map((pattern) => {
    const value = patterns.number(pattern, "a number above 0", (n) => n > 0 && n <= 2 ** 24);
    try {
      return { fits: expression(pattern, (end) => `^(.*\\.)?(${end})$`), value };
    } catch (cause) {
      throw fields.wrong(key, `regular expressions: ${described(pattern)} is none that can be used (${(cause as Error).message})`);
    }
  });
  return (module) => entries.find(({ fits }) => fits.test(module))?.value;
}

/** @throws Error where a pattern is no regular expression, or one that may take for ever */
function expression(pattern: string, around: (pattern: string) => string): RegExp {
  if (pattern.length > MOST_KEY || NESTED.test(pattern)) throw new Error("it is too involved");
  return new RegExp(around(pattern));
}

const listed = <T>(value: unknown, is: (each: unknown) => each is T): T[] | undefined => {
  const list = Array.isArray(value) ? value : [value];
  return list.every(is) ? list : undefined;
};

/**
 * The layers that peft adapts (`check_target_module_exists`): all, or those of `layers_to_transform`, whose number in a module's name stands behind
 * one of `layers_pattern`. A module that `target_modules` names whole has an adapter whatever its layer.
 */
function layersOf(fields: Fields): (module: string) => boolean {
  const [layers, patterns, targets] = ["layers_to_transform", "layers_pattern", "target_modules"].map((key) => fields.get(key));
  const numbers = listed(layers ?? [], Number.isSafeInteger as (each: unknown) => each is number);
  if (!numbers) throw fields.wrong("layers_to_transform", "a layer's number or a list of such");
  const isText = (each: unknown) => typeof each === "string";
  const names = listed(patterns ?? [], isText);
  if (!names) throw fields.wrong("layers_pattern", "a name or a list of names");
  if (numbers.length === 0) return () => true;
  if (isText(targets))
    throw fields.wrong("layers_to_transform", "to be absent where target_modules is a text: peft has only one of the two");
  const ways = (names.some(Boolean) ? names : ["[^.]*"]).map((name) => {
    try {
      return expression(name, (pattern) => `^.*\\.${pattern}\\.(\\d+)\\.`);
    } catch (cause) {
      throw fields.wrong(
        "layers_pattern",
        `regular expressions: ${described(name)} is none that can be used (${(cause as Error).message})`,
      );
    }
  });
  const whole = new Set(listed(targets ?? [], isText));
  return (module) => {
    const layer = ways.flatMap((way) => way.exec(module)?.[1] ?? [])[0];
    return whole.has(module) || (layer !== undefined && numbers.includes(Number(layer)));
  };
}

/** @throws EngineError bad-weights naming a setting that changes the arithmetic and is not supported */
export function parseLoraConfig(bytes: Uint8Array): LoraConfig {
  const json = parseJsonObject(FILE, bytes);
  const fields = new Fields(json, "", FILE);
  fields.oneOf("peft_type", ["LORA"], undefined, `of peft's adapters LoRA alone loads: ${MERGE}`);
  for (const [key, harmless] of Object.entries(UNSUPPORTED)) fields.oneOf(key, [harmless], harmless, MERGE);
  for (const key of ABSENT) {
    const value = fields.get(key);
    const empty = typeof value === "object" && Object.keys(value as object).length === 0;
    if (value !== undefined && value !== false && !empty) throw fields.wrong(key, "to be absent: it changes what is computed", MERGE);
  }
  fields.oneOf("init_lora_weights", INITIAL as (string | boolean)[], true, `the base model's weights were changed besides: ${MERGE}`);
  const whole = (value: number) => Number.isSafeInteger(value) && value >= 1 && value <= MOST_RANK;
  const r = fields.number("r", "a whole number above 0", whole);
  const alpha = fields.number("lora_alpha", "a number above 0", (n) => n > 0 && n <= 2 ** 24, 8);
  const [rankOf, alphaOf] = [patterned(fields, "rank_pattern"), patterned(fields, "alpha_pattern")];
  const rslora = fields.flag("use_rslora", false);
  const hasLayer = layersOf(fields);
  const saved = fields.get("modules_to_save") ?? [];
  if (!Array.isArray(saved) || !saved.every((each) => typeof each === "string")) throw fields.wrong("modules_to_save", "a list of names");
  fields.rest((key) => HARMLESS.includes(key) || json[key] === false);
  return {
    of(module) {
      const rank = rankOf(module) ?? r;
      return { rank, scale: (alphaOf(module) ?? alpha) / (rslora ? Math.sqrt(rank) : rank) };
    },
    hasLayer,
    modulesToSave: saved as string[],
  };
}
