import { EngineError } from "../errors.ts";

/** InternViT, as `vision_config` describes it. */
export interface VisionConfig {
  hiddenSize: number;
  layers: number;
  heads: number;
  intermediateSize: number;
  /** Pixels a side that the stored position embedding is for. */
  imageSize: number;
  patchSize: number;
  eps: number;
  norm: "layer_norm" | "rms_norm";
  qkvBias: boolean;
  qkNorm: boolean;
}

/** The decoder, as `llm_config` describes it. */
export interface LanguageConfig {
  architecture: "Qwen2ForCausalLM" | "InternLM2ForCausalLM";
  hiddenSize: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  intermediateSize: number;
  vocabSize: number;
  eps: number;
  ropeTheta: number;
  maxPositions: number;
  tied: boolean;
}

export interface ModelConfig {
  vision: VisionConfig;
  language: LanguageConfig;
  /** Pixels a side of a tile. */
  tileSize: number;
  /** Visual tokens a tile: (tileSize / patch / 2)². */
  tokensPerTile: number;
  /** Which ViT output is taken: -1 is the last layer's, k >= 0 counts the embedding as 0. */
  selectLayer: number;
  minTiles: number;
  maxTiles: number;
  dynamicTiles: boolean;
  thumbnail: boolean;
  template: string;
  systemMessage: string | undefined;
}

type Json = Record<string, unknown>;

const bad = (problem: string, hint?: string): EngineError =>
  new EngineError("bad-weights", `config.json: ${problem}`, hint ? { hint } : {});

/** Reads typed values of one JSON object and says by name what is wrong. */
class Fields {
  readonly #json: Json;
  readonly #path: string;

  constructor(json: unknown, path: string) {
    if (typeof json !== "object" || json === null || Array.isArray(json)) throw bad(`${path || "the file"} must be an object`);
    this.#json = json as Json;
    this.#path = path ? `${path}.` : "";
  }

  object(name: string): Fields {
    return new Fields(this.#json[name], this.#path + name);
  }

  #value(name: string, fallback: unknown): unknown {
    const value = this.#json[name] ?? fallback;
    if (value === undefined) throw bad(`${this.#path}${name} is missing`);
    return value;
  }

  count(name: string, fallback?: number): number {
    const value = this.#value(name, fallback);
    if (!Number.isSafeInteger(value) || (value as number) < 1)
      throw bad(`${this.#path}${name} is ${JSON.stringify(value)}, needs a positive integer`);
    return value as number;
  }

  number(name: string, fallback?: number): number {
    const value = this.#value(name, fallback);
    if (typeof value !== "number" || !Number.isFinite(value)) throw bad(`${this.#path}${name} is ${JSON.stringify(value)}, needs a number`);
    return value;
  }

  flag(name: string, fallback: boolean): boolean {
    const value = this.#value(name, fallback);
    if (typeof value !== "boolean") throw bad(`${this.#path}${name} is ${JSON.stringify(value)}, needs true or false`);
    return value;
  }

  text<T extends string>(name: string, allowed: readonly T[], fallback?: T): T {
    const value = this.#value(name, fallback);
    if (!allowed.includes(value as T)) throw bad(`${this.#path}${name} is ${JSON.stringify(value)}, supported: ${allowed.join(", ")}`);
    return value as T;
  }

  anyText(name: string): string | undefined {
    const value = this.#json[name];
    return typeof value === "string" ? value : undefined;
  }

  architecture<T extends string>(allowed: readonly T[]): T {
    const list = this.#json.architectures;
    const first = Array.isArray(list) ? list[0] : undefined;
    if (!allowed.includes(first)) {
      throw bad(
        `unknown architecture ${JSON.stringify(first ?? null)} in ${this.#path}architectures, supported: ${allowed.join(", ")}`,
        "use a checkpoint of the InternVL 2.5 family",
      );
    }
    return first as T;
  }
}

function divides(what: string, size: number, by: number, parts: string): number {
  if (size % by !== 0) throw bad(`${what} ${size} does not divide by ${by} ${parts}`);
  return size / by;
}

function visionConfig(fields: Fields): VisionConfig {
  fields.text("hidden_act", ["gelu"], "gelu");
  if (fields.count("num_channels", 3) !== 3) throw bad("vision_config.num_channels must be 3");
  const config: VisionConfig = {
    hiddenSize: fields.count("hidden_size"),
    layers: fields.count("num_hidden_layers"),
    heads: fields.count("num_attention_heads"),
    intermediateSize: fields.count("intermediate_size"),
    imageSize: fields.count("image_size"),
    patchSize: fields.count("patch_size"),
    eps: fields.number("layer_norm_eps", 1e-6),
    norm: fields.text("norm_type", ["layer_norm", "rms_norm"], "rms_norm"),
    qkvBias: fields.flag("qkv_bias", false),
    qkNorm: fields.flag("qk_normalization", true),
  };
  divides("vision_config.hidden_size", config.hiddenSize, config.heads, "heads");
  return config;
}

function languageConfig(fields: Fields): LanguageConfig {
  const architecture = fields.architecture(["Qwen2ForCausalLM", "InternLM2ForCausalLM"]);
  fields.text("hidden_act", ["silu"], "silu");
  if (fields.flag("use_sliding_window", false)) throw bad("llm_config.use_sliding_window is true, sliding windows are not supported");
  const hiddenSize = fields.count("hidden_size");
  const heads = fields.count("num_attention_heads");
  const kvHeads = fields.count("num_key_value_heads", heads);
  divides("llm_config.num_attention_heads", heads, kvHeads, "kv heads");
  const headDim = divides("llm_config.hidden_size", hiddenSize, heads, "heads");
  return {
    architecture,
    hiddenSize,
    layers: fields.count("num_hidden_layers"),
    heads,
    kvHeads,
    headDim,
    intermediateSize: fields.count("intermediate_size"),
    vocabSize: fields.count("vocab_size"),
    eps: fields.number("rms_norm_eps", 1e-6),
    ropeTheta: fields.number("rope_theta", 10000),
    // Dynamic rope scaling (InternLM2, InternVL3) changes nothing below this length, and longer contexts are refused.
    maxPositions: fields.count("max_position_embeddings", 32768),
    tied: fields.flag("tie_word_embeddings", false),
  };
}

/**
 * Reads a checkpoint's config.json (InternVLChatConfig).
 *
 * @throws EngineError bad-weights naming the field, what it has and what is supported
 */
export function parseConfig(bytes: Uint8Array): ModelConfig {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new EngineError("bad-weights", `config.json is no JSON: ${(cause as Error).message}`, { hint: "fetch the file again", cause });
  }
  const fields = new Fields(json, "");
  fields.architecture(["InternVLChatModel"]);
  const vision = visionConfig(fields.object("vision_config"));
  const language = languageConfig(fields.object("llm_config"));
  fields.text("ps_version", ["v2"], "v2");
  if (fields.number("downsample_ratio", 0.5) !== 0.5) throw bad("downsample_ratio must be 0.5");
  const tileSize = fields.count("force_image_size", vision.imageSize);
  const grid = divides("force_image_size", tileSize, vision.patchSize, "pixels a patch");
  const selectLayer = fields.number("select_layer", -1);
  if (!Number.isInteger(selectLayer) || selectLayer < -vision.layers - 1 || selectLayer > vision.layers) {
    throw bad(`select_layer is ${selectLayer}, the vision tower has ${vision.layers} layers`);
  }
  return {
    vision,
    language,
    tileSize,
    tokensPerTile: divides("patches a side", grid, 2, "for the pixel unshuffle") ** 2,
    selectLayer,
    minTiles: fields.count("min_dynamic_patch", 1),
    maxTiles: fields.count("max_dynamic_patch", 12),
    dynamicTiles: fields.flag("dynamic_image_size", true),
    thumbnail: fields.flag("use_thumbnail", true),
    template: fields.anyText("template") ?? "internvl2_5",
    systemMessage: fields.anyText("system_message"),
  };
}
