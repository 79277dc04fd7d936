import { bad, type Fields } from "./config-fields.ts";
import type { Rope } from "./rope.ts";

/** What transformers calls the kinds that load. longrope, and what other models have (mrope), are refused by name. */
const KINDS = ["default", "dynamic", "linear", "llama3", "yarn"] as const;
type Kind = (typeof KINDS)[number];

const THETA = "a number above 1, at most 1e12";
const isTheta = (theta: number): boolean => theta > 1 && theta <= 1e12;
const above = (least: number) => (value: number) => value > least && value <= 1e6;

/** `rope_type`, or `type` as it was called before. Both may stand there and must agree. */
function kindOf(fields: Fields): Kind {
  const [type, old] = [fields.get("rope_type"), fields.get("type")];
  if (type !== undefined && old !== undefined && type !== old) throw fields.wrong("rope_type", `the same as ${fields.name("type")}`);
  const key = type === undefined && old !== undefined ? "type" : "rope_type";
  return fields.oneOf(key, KINDS, "default", "take a checkpoint whose rope is of one of these kinds");
}

/** The default of yarn's attention_factor: how much sharper attention gets as the context is stretched. */
function attentionFactor(fields: Fields, factor: number): number {
  const scale = (mscale: number) => (factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1);
  const number = (key: string) => fields.number(key, "a number above 0", (value) => value >= 0 && value <= 1e6, 0);
  const [mscale, all] = [number("mscale"), number("mscale_all_dim")];
  const usual = mscale && all ? scale(mscale) / scale(all) : scale(1);
  return fields.number("attention_factor", "a number above 0", above(0), usual);
}

/** What a kind of rope has beside its base. */
function ropeOf(kind: Exclude<Kind, "dynamic">, theta: number, fields: Fields, positions: number): Rope {
  const factor = () => fields.number("factor", "a number from 1 to 1000000", (value) => value >= 1 && value <= 1e6);
  const original = (fallback?: number) => fields.count("original_max_position_embeddings", 2 ** 26, fallback);
  switch (kind) {
    case "default":
      for (const key of ["factor", "original_max_position_embeddings"]) fields.get(key); // may be said, and is not used
      return { kind: "plain", theta };
    case "linear":
      return { kind, theta, factor: factor() };
    case "llama3": {
      const lowFactor = fields.number("low_freq_factor", "a number above 0", above(0));
      const highFactor = fields.number("high_freq_factor", "a number above low_freq_factor", above(lowFactor));
      return { kind, theta, factor: factor(), lowFactor, highFactor, original: original() };
    }
    case "yarn": {
      const stretch = factor();
      const betaSlow = fields.number("beta_slow", "a number above 0", above(0), 1);
      const betaFast = fields.number("beta_fast", "a number above beta_slow", above(betaSlow), 32);
      const truncate = fields.flag("truncate", true);
      const sharper = attentionFactor(fields, stretch);
      return { kind, theta, factor: stretch, original: original(positions), betaSlow, betaFast, truncate, attentionFactor: sharper };
    }
    default:
      return kind satisfies never;
  }
}

/**
 * Reads the rope of a decoder: `rope_parameters` (transformers 5) or `rope_scaling`, and `rope_theta` in it or beside it. There is no
 * default base: transformers would take 10000, which no InternVL was trained with.
 *
 * @param l llm_config
 * @param positions max_position_embeddings
 */
export function ropeConfig(l: Fields, architecture: string, positions: number): { rope: Rope; maxPositions: number } {
  const key = l.get("rope_parameters") === undefined ? "rope_scaling" : "rope_parameters";
  if (key === "rope_parameters" && l.get("rope_scaling") !== undefined) {
    throw bad(`${l.name("rope_parameters")} and ${l.name("rope_scaling")} are both there`, "keep the one that the model was trained with");
  }
  const fields = l.get(key) === undefined ? undefined : l.object(key);
  const kind = fields ? kindOf(fields) : "default";
  const inner = fields?.get("rope_theta") !== undefined; // it goes before the outer one, as in transformers
  const beside = l.get("rope_theta");
  if (!inner && beside === undefined) {
    const hint = "add the base that the model was trained with: 1000000.0 for InternVL 2.5 and 3";
    throw bad(`${l.name("rope_theta")} is missing, in ${l.name("rope_parameters")} too`, hint);
  }
  const theta = (inner ? fields! : l).number("rope_theta", THETA, isTheta);
  if (!fields) return { rope: { kind: "plain", theta }, maxPositions: positions };
  if (fields.get("partial_rotary_factor") !== undefined) fields.oneOf("partial_rotary_factor", [1]);
  // InternLM2's own class knows no more than these.
  if (architecture === "InternLM2ForCausalLM" && (kind === "llama3" || kind === "yarn")) {
    throw bad(`${fields.name("rope_type")} is "${kind}", which InternLM2 does not have`);
  }
  // Dynamic scaling acts beyond the trained length alone, and longer contexts are refused.
  const trained = kind === "dynamic" ? fields.count("original_max_position_embeddings", 2 ** 26, positions) : positions;
  if (kind === "dynamic") fields.number("factor", "a number from 1 to 1000000", (value) => value >= 1 && value <= 1e6);
  const rope = kind === "dynamic" ? ropeOf("default", theta, fields, positions) : ropeOf(kind, theta, fields, positions);
  fields.rest(() => false);
  return { rope, maxPositions: Math.min(positions, trained) };
}
