import { parseJsonObject } from "../json.ts";
import { described } from "../options.ts";
import { type TemplateName, templateName } from "../text/template.ts";
import { bad, FAMILY, Fields } from "./config-fields.ts";
import { isHarmless, isHarmlessInVision } from "./config-keys.ts";
import { INSTEAD, type Packed, packedBy } from "./config-packed.ts";
import { ropeConfig } from "./config-rope.ts";
import { ARCHITECTURES, type Architecture, DECODERS, type DecoderKind, type Layout, refusedDecoder } from "./families.ts";
import type { Rope } from "./rope.ts";

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

/** The decoder, as `llm_config` or `text_config` describes it. */
export interface LanguageConfig {
  architecture: Architecture;
  hiddenSize: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  intermediateSize: number;
  vocabSize: number;
  eps: number;
  rope: Rope;
  /** Longest sequence: max_position_embeddings. Dynamic rope scaling would change the base beyond it. */
  maxPositions: number;
  /** Whether q, k and v have biases (Qwen2). */
  qkvBias: boolean;
  /** What the configuration says of the head. What is stored decides: a head that is there is used, and where none is it is the embedding. */
  tied: boolean;
}

/** What a checkpoint's config.json says of the model. */
export interface ModelConfig {
  layout: Layout;
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
  /** The prompt's form (text/template.ts). */
  template: TemplateName;
  systemMessage: string | undefined;
  /** What ends an answer, where that is not `<|im_end|>` alone. */
  stopIds: readonly number[] | undefined;
  /** The id of `<IMG_CONTEXT>` where the configuration says it. */
  imageTokenId: number | undefined;
  /** How `internvl convert` has stored the matrices. */
  converted: Converted | undefined;
  /** How another library has packed them. */
  packed: Packed | undefined;
  /** The ranks of LoRA that upstream's training has left beside the weights; 0: none. */
  lora: { language: number; vision: number };
}

/** `quantization` of a config.json that `internvl convert` wrote. */
export interface Converted {
  method: "internvl-webgpu";
  format: "q8" | "q4";
  group_size: number;
}

// Above these no model is. The largest published: 80 layers of 8192, MLP 29568, 151674 rows.
const MOST = {
  layers: 1024,
  heads: 1024,
  width: 2 ** 16,
  mlp: 2 ** 19,
  vocabulary: 2 ** 22,
  positions: 2 ** 26,
  pixels: 2 ** 13,
  tiles: 1024,
};

const EPS = "a number above 0 and below 1";
const isEps = (eps: number): boolean => eps > 0 && eps < 1;

function divides(what: string, size: number, by: number, parts: string): number {
  if (size % by !== 0) throw bad(`${what} ${size} does not divide by ${by} ${parts}`);
  return size / by;
}

/** Kernels read rows four values at a time (ops/check.ts). */
const wholeVec4s = (what: string, size: number): number => 4 * divides(what, size, 4, "values that are read together");

/** What attention takes (ops/attention.ts, attention-decode.ts): a head's width, and how many query heads share a kv head. */
const MOST_WIDE = 128;
const MOST_SHARING = 16;

function checkHeads(what: string, width: number, sharing = 1): void {
  if (wholeVec4s(`${what}: the width of a head`, width) > MOST_WIDE)
    throw bad(`${what} has heads of ${width}, ${MOST_WIDE} is the most`, FAMILY);
  if (sharing > MOST_SHARING) throw bad(`${what}: ${sharing} query heads share a kv head, ${MOST_SHARING} is the most`, FAMILY);
}

/** A side's length: a number, or, as transformers has it, the same twice. */
function side(v: Fields, key: string): number {
  const value = v.get(key);
  if (!Array.isArray(value)) return v.count(key, MOST.pixels);
  const [height, width] = value as unknown[];
  const isSide = typeof height === "number" && Number.isSafeInteger(height) && height > 0 && height <= MOST.pixels;
  if (value.length !== 2 || height !== width || !isSide) throw v.wrong(key, `a whole number from 1 to ${MOST.pixels}, or the same twice`);
  return height;
}

function visionConfig(v: Fields, layout: Layout): VisionConfig {
  const ours = layout === "original";
  const length = ours ? (fields: Fields, key: string) => fields.count(key, MOST.pixels) : side;
  v.oneOf("hidden_act", ["gelu", "gelu_python"], "gelu");
  v.oneOf("num_channels", [3], 3);
  if (ours)
    v.oneOf("use_moe", [false], false); // InternVL3's files have it, with the sizes that it would take
  else {
    v.oneOf("model_type", ["internvl_vision"], "internvl_vision");
    v.oneOf("use_absolute_position_embeddings", [true], true);
    v.oneOf("use_mean_pooling", [true], true); // without it there is a norm behind the last layer
    v.oneOf("use_mask_token", [false], false);
  }
  const config: VisionConfig = {
    hiddenSize: v.count("hidden_size", MOST.width),
    layers: v.count("num_hidden_layers", MOST.layers),
    heads: v.count("num_attention_heads", MOST.heads),
    intermediateSize: v.count("intermediate_size", MOST.mlp),
    imageSize: length(v, "image_size"),
    patchSize: length(v, "patch_size"),
    eps: v.number("layer_norm_eps", EPS, isEps, 1e-6),
    norm: v.oneOf("norm_type", ["layer_norm", "rms_norm"], ours ? "rms_norm" : "layer_norm"),
    qkvBias: v.flag(ours ? "qkv_bias" : "attention_bias", false),
    qkNorm: v.flag(ours ? "qk_normalization" : "use_qk_norm", ours),
  };
  checkHeads("vision_config", divides("vision_config.hidden_size", config.hiddenSize, config.heads, "heads"));
  wholeVec4s("vision_config.intermediate_size", config.intermediateSize);
  divides("vision_config.patch_size", config.patchSize, 2, "pixels that are read together");
  divides("vision_config.image_size", config.imageSize, config.patchSize, "pixels a patch");
  v.rest(isHarmlessInVision);
  return config;
}

/** Refuses windows that are shorter than the context: Qwen2 then sees less of it in the layers from max_window_layers on. */
function checkWindows(l: Fields, layers: number, positions: number): void {
  const types = l.get("layer_types");
  if (types !== undefined) {
    const other = Array.isArray(types) ? types.find((each) => each !== "full_attention") : types;
    if (other !== undefined || (types as unknown[]).length !== layers) {
      throw l.wrong("layer_types", `"full_attention" for each of ${layers} layers: others are not supported`);
    }
  }
  const windows = l.flag("use_sliding_window", false);
  const window = l.get("sliding_window") === undefined ? 4096 : l.count("sliding_window", Number.MAX_SAFE_INTEGER);
  const from = l.number("max_window_layers", "a whole number from 0", (value) => Number.isSafeInteger(value) && value >= 0, 28);
  if (windows && window < positions && from < layers) {
    throw bad(`${l.name("use_sliding_window")} is true: windows of ${window} tokens are not supported`, FAMILY);
  }
}

/** @throws EngineError bad-weights for a decoder that does not load, with what is known of it */
function architectureOf(l: Fields, layout: Layout): Architecture {
  const type = layout === "huggingface" ? l.get("model_type") : undefined;
  const list = l.get("architectures");
  const has = type ?? (Array.isArray(list) ? list[0] : list);
  const refused = refusedDecoder(has);
  if (refused) {
    const problem = `${l.name(type === undefined ? "architectures" : "model_type")} names ${described(has)}, ${refused.what}, which does not load`;
    throw bad(`${problem}; supported: ${ARCHITECTURES.join(", ")}`, refused.instead);
  }
  if (layout === "original") return l.architecture(ARCHITECTURES, FAMILY);
  const found = ARCHITECTURES.find(
    (each) => each !== "InternLM2ForCausalLM" && (type === undefined ? each === has : DECODERS[each].modelType === type),
  );
  if (found === undefined && has === undefined) return "Qwen2ForCausalLM"; // transformers' default
  if (found === undefined) throw l.wrong(type === undefined ? "architectures" : "model_type", '"qwen2", "qwen3" or "llama"', FAMILY);
  return found;
}

/** The width of a head: of a number of its own, or what the heads leave of the hidden size. */
function headDimOf(l: Fields, kind: DecoderKind["headDim"], hiddenSize: number, heads: number): number {
  const share = () => divides(l.name("hidden_size"), hiddenSize, heads, "heads");
  if (kind === "divided") {
    const headDim = share();
    return l.oneOf("head_dim", [headDim], headDim, "heads of another width than hidden_size / num_attention_heads are not supported");
  }
  if (l.get("head_dim") !== undefined) return l.count("head_dim", MOST.width);
  return typeof kind === "number" ? kind : share();
}

function languageConfig(l: Fields, layout: Layout): LanguageConfig {
  const architecture = architectureOf(l, layout);
  const kind: DecoderKind = DECODERS[architecture];
  l.oneOf("hidden_act", ["silu", "swish"], "silu");
  const hiddenSize = wholeVec4s(l.name("hidden_size"), l.count("hidden_size", MOST.width));
  const heads = l.count("num_attention_heads", MOST.heads);
  const kvHeads = l.count("num_key_value_heads", MOST.heads, heads);
  divides(l.name("num_attention_heads"), heads, kvHeads, "kv heads");
  const headDim = headDimOf(l, kind.headDim, hiddenSize, heads);
  checkHeads(l.name("head_dim"), headDim, heads / kvHeads);
  if (l.get("partial_rotary_factor") !== undefined) l.oneOf("partial_rotary_factor", [1]);
  const layers = l.count("num_hidden_layers", MOST.layers);
  const positions = l.count("max_position_embeddings", MOST.positions, kind.positions);
  if (kind.windows) checkWindows(l, layers, positions);
  const noBias = "biases of this decoder's other products are not supported";
  // Qwen2 has biases for q, k and v and no others, and its class reads no flag; some files say so all the same.
  const qkvBias = !!kind.qkvBias && l.flag("attention_bias", true) && l.flag("qkv_bias", true);
  for (const key of kind.qkvBias ? ["bias", "mlp_bias"] : ["bias", "attention_bias", "qkv_bias", "mlp_bias"])
    l.oneOf(key, [false], false, noBias);
  const config: LanguageConfig = {
    ...{ architecture, hiddenSize, layers, heads, kvHeads, headDim, qkvBias },
    ...ropeConfig(l, architecture, positions),
    intermediateSize: wholeVec4s(l.name("intermediate_size"), l.count("intermediate_size", MOST.mlp)),
    vocabSize: l.count("vocab_size", MOST.vocabulary),
    eps: l.number("rms_norm_eps", EPS, isEps, 1e-6),
    tied: l.flag("tie_word_embeddings", false),
  };
  l.rest(isHarmless);
  return config;
}

/** What `internvl convert` notes. Another library's note is not ours to guess at. */
function convertedBy(fields: Fields): Converted | undefined {
  if (fields.get("quantization") === undefined) return undefined;
  const q = fields.object("quantization");
  const method = q.oneOf("method", ["internvl-webgpu"], undefined, INSTEAD);
  const converted: Converted = { method, format: q.oneOf("format", ["q8", "q4"]), group_size: q.oneOf("group_size", [32]) };
  q.oneOf("scale_dtype", ["float16"]);
  q.oneOf("scales", ["NAME.scales"]);
  q.rest(() => false);
  return converted;
}

/** The last layer, or the one that is asked for. */
function selectedLayer(fields: Fields, key: string, vision: VisionConfig): number {
  const selectLayer = fields.number(key, "a whole number", Number.isSafeInteger, -1);
  if (selectLayer < -vision.layers - 1 || selectLayer > vision.layers) {
    throw bad(`${key} is ${selectLayer}, the vision tower has ${vision.layers} layers`);
  }
  return selectLayer;
}

/** Visual tokens of a tile: the pixel unshuffle makes one of four patches. */
export function tokensOf(name: string, tileSize: number, { patchSize }: VisionConfig): number {
  return divides("patches a side", divides(name, tileSize, patchSize, "pixels a patch"), 2, "for the pixel unshuffle") ** 2;
}

/** What ends an answer, by `eos_token_id`: an id, or a list of them. */
export function stopIdsOf(fields: Fields, vocabSize: number): readonly number[] | undefined {
  const value = fields.get("eos_token_id");
  if (value === undefined) return undefined;
  const ids: unknown[] = Array.isArray(value) ? value : [value];
  const isId = (id: unknown) => Number.isSafeInteger(id) && (id as number) >= 0 && (id as number) < vocabSize;
  if (ids.length > 0 && ids.every(isId)) return ids as number[];
  throw fields.wrong("eos_token_id", `an id from 0 to ${vocabSize - 1}, or a list of them`);
}

/** InternVLChatConfig. */
function originalConfig(fields: Fields): ModelConfig {
  fields.architecture(["InternVLChatModel"], FAMILY);
  fields.oneOf("model_type", ["internvl_chat"], "internvl_chat", FAMILY);
  const [v, l] = [fields.object("vision_config"), fields.object("llm_config")];
  const packed = packedBy([fields, l, v]);
  const vision = visionConfig(v, "original");
  const language = languageConfig(l, "original");
  if (fields.get("ps_version") === undefined) throw bad("ps_version is missing, which means v1 upstream; only v2 is supported", FAMILY);
  fields.oneOf("ps_version", ["v2"], undefined, FAMILY);
  fields.oneOf("pad2square", [false], false, "pictures that are padded to squares are not supported");
  const rank = (key: string) =>
    fields.number(key, "a rank: a whole number from 0 to 16384", (n) => Number.isInteger(n) && n >= 0 && n <= 2 ** 14, 0);
  const tileSize = fields.count("force_image_size", MOST.pixels, vision.imageSize);
  const minTiles = fields.count("min_dynamic_patch", MOST.tiles, 1);
  const maxTiles = fields.count("max_dynamic_patch", MOST.tiles, 12);
  if (minTiles > maxTiles) throw bad(`min_dynamic_patch is ${minTiles}, above max_dynamic_patch, ${maxTiles}`);
  if (fields.get("hidden_size") !== undefined && fields.get("hidden_size") !== language.hiddenSize) {
    throw fields.wrong("hidden_size", `llm_config.hidden_size, ${language.hiddenSize}`);
  }
  return {
    layout: "original",
    ...{ vision, language, tileSize, minTiles, maxTiles },
    selectLayer: selectedLayer(fields, "select_layer", vision),
    tokensPerTile: tokensOf("force_image_size", tileSize, vision),
    dynamicTiles: fields.flag("dynamic_image_size", true),
    thumbnail: fields.flag("use_thumbnail", true),
    template: templateName(fields.text("template") ?? "internvl2_5"),
    systemMessage: fields.text("system_message"),
    stopIds: undefined,
    imageTokenId: undefined,
    converted: convertedBy(fields),
    packed,
    lora: { language: rank("use_llm_lora"), vision: rank("use_backbone_lora") },
  };
}

/** transformers' InternVLConfig; what its processor's files say of tiles and prompts comes to it in huggingface.ts. */
function huggingFaceConfig(fields: Fields): ModelConfig {
  if (fields.get("architectures") !== undefined) fields.architecture(["InternVLForConditionalGeneration"], FAMILY);
  fields.oneOf("model_type", ["internvl"], undefined, FAMILY);
  const [v, text] = [fields.object("vision_config"), fields.object("text_config")];
  const packed = packedBy([fields, text, v]);
  const vision = visionConfig(v, "huggingface");
  const language = languageConfig(text, "huggingface");
  fields.oneOf("projector_hidden_act", ["gelu"], "gelu");
  fields.oneOf("vision_feature_select_strategy", ["default"], "default");
  const id = fields.get("image_token_id");
  return {
    layout: "huggingface",
    ...{ vision, language, tileSize: vision.imageSize, minTiles: 1, maxTiles: 12 },
    selectLayer: selectedLayer(fields, "vision_feature_layer", vision),
    tokensPerTile: fields.count("image_seq_length", MOST.positions, 256),
    dynamicTiles: true,
    thumbnail: true,
    template: "huggingface",
    systemMessage: undefined,
    stopIds: stopIdsOf(text, Number.MAX_SAFE_INTEGER), // generation_config.json goes before it, and is held to the vocabulary
    imageTokenId:
      id === undefined
        ? undefined
        : fields.number("image_token_id", "an id of the vocabulary", (v) => v < language.vocabSize && Number.isSafeInteger(v)),
    converted: convertedBy(fields),
    packed,
    lora: { language: 0, vision: 0 },
  };
}

/** Whether a config.json is of transformers' own class. */
const isHuggingFace = ({ architectures, model_type: type }: Record<string, unknown>): boolean =>
  type === "internvl" || (Array.isArray(architectures) && architectures[0] === "InternVLForConditionalGeneration");

/** How a LoRA comes into its model. */
const GIVE_LORA = "load its base model, and give this folder as an adapter: load(BASE, { adapters: [FOLDER] }), --model BASE --lora FOLDER";

/**
 * Reads a checkpoint's config.json, OpenGVLab's or transformers'. Every key that may change what the model computes is read, or refused by
 * name.
 *
 * @throws EngineError bad-weights naming the key, what it has and what is supported
 */
export function parseConfig(bytes: Uint8Array): ModelConfig {
  const json = parseJsonObject("config.json", bytes);
  if (Object.hasOwn(json, "peft_type")) throw bad("it is a LoRA adapter's configuration, not a model's", GIVE_LORA);
  const fields = new Fields(json, "");
  const config = isHuggingFace(json) ? huggingFaceConfig(fields) : originalConfig(fields);
  fields.oneOf("downsample_ratio", [0.5], 0.5);
  fields.rest(isHarmless);
  return config;
}
