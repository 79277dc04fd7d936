import { badWeights } from "../errors.ts";
import { decodeText, type ReadFile, readJson } from "../json.ts";
import { described } from "../options.ts";
import { memorySource } from "../safetensors/index.ts";
import { chatTemplate, readChatTemplate } from "../text/chat-template.ts";
import { huggingFaceTokenizer, originalTokenizer } from "../text/relayout-tokenizer.ts";
import { TEMPLATES } from "../text/template.ts";
import { loadTokenizer, readTokenizer, structuralIds } from "../text/tokenizer.ts";
import type { ModelConfig } from "./config.ts";
import type { Layout } from "./families.ts";
import { readConfig } from "./open-checkpoint.ts";
import { configIn } from "./relayout-config.ts";

type Json = Record<string, unknown>;

const LAYOUTS: Readonly<Record<Layout, string>> = { original: "upstream's layout", huggingface: "Hugging Face's layout" };
const STAYS = "leave --layout out: the checkpoint keeps its own then";

const PROCESSOR = {
  ...{ do_convert_rgb: true, do_normalize: true, do_rescale: true, do_resize: true, resample: 3, rescale_factor: 1 / 255 },
  ...{ image_mean: [0.485, 0.456, 0.406], image_std: [0.229, 0.224, 0.225], processor_class: "InternVLProcessor" },
};

/** The processor's files as transformers 4 writes them; 5 reads them too. */
function processorFiles({ tileSize, minTiles, maxTiles, tokensPerTile }: ModelConfig): Record<string, Json> {
  const size = { height: tileSize, width: tileSize };
  const images = { crop_to_patches: true, image_processor_type: "GotOcr2ImageProcessorFast", min_patches: minTiles, max_patches: maxTiles };
  const videos = { do_sample_frames: false, initial_shift: true, video_processor_type: "InternVLVideoProcessor" };
  return {
    "preprocessor_config.json": { ...PROCESSOR, ...images, size },
    "video_preprocessor_config.json": { ...PROCESSOR, ...videos, size },
    "processor_config.json": { image_seq_length: tokensPerTile, processor_class: "InternVLProcessor" },
  };
}

/** The chat template that lies beside upstream's files, if it says the same; else the family's, with the model's system message. */
function templateFor({ template, systemMessage }: ModelConfig, file: Uint8Array | undefined): string {
  if (file) {
    const own = decodeText("chat_template.jinja", file);
    try {
      const { system } = readChatTemplate("chat_template.jinja", own);
      if (systemMessage === undefined || system === systemMessage) return own;
    } catch {} // of the language model alone
  }
  return chatTemplate(systemMessage ?? TEMPLATES[template].system);
}

/** What decides what is computed and asked. */
function saysOf({ vision, language, ...config }: ModelConfig): Record<string, unknown> {
  const { architecture: _, tied: __, ...decoder } = language;
  const { dynamicTiles, minTiles, maxTiles, thumbnail, tileSize, selectLayer } = config;
  const [least, most] = dynamicTiles ? [minTiles, maxTiles] : [1, 1];
  const tiles = { tileSize, "min_dynamic_patch (min_patches)": least, "max_dynamic_patch (max_patches)": most };
  const of = (whose: string, keys: object) => Object.fromEntries(Object.entries(keys).map(([key, value]) => [`${whose} ${key}`, value]));
  return {
    ...of("vision tower's", vision),
    ...of("decoder's", decoder),
    ...tiles,
    use_thumbnail: thumbnail || most === 1,
    "select_layer (vision_feature_layer)": selectLayer,
  };
}

const noCounterpart = (what: string, to: Layout) => badWeights(`${what} has no counterpart in ${LAYOUTS[to]}`, STAYS);

/**
 * The small files of a checkpoint in another layout, config.json among them. They are read as a checkpoint's of that layout, and must say
 * what the others say.
 *
 * @param read the small files that there are
 * @param tied whether the head is the embedding
 * @throws EngineError bad-weights naming what has no counterpart there
 */
export async function filesIn(
  to: Layout,
  config: ModelConfig,
  read: ReadFile,
  tied: boolean,
): Promise<{ config: ModelConfig; files: Map<string, Uint8Array> }> {
  const json = (name: string) => readJson(read, name);
  if (config.layout === "original" && config.template !== "internvl2_5") {
    throw noCounterpart(`config.json's template, ${described(config.template)},`, to);
  }
  const rows = config.language.vocabSize;
  const tokenizer = await readTokenizer(read, rows, config.layout);
  const ids = structuralIds(await loadTokenizer(read, rows, config.layout), config);
  const end = tokenizer.tokens.find(({ content }) => content === "<|im_end|>")!.id;
  if (!ids.stopIds.has(end)) throw noCounterpart(`generation_config.json's eos_token_id without <|im_end|>`, to);
  const tokenizerConfig = { ...(await json("special_tokens_map.json")), ...(await json("tokenizer_config.json")) };
  const dynamic = config.dynamicTiles ? config : { ...config, minTiles: 1, maxTiles: 1 };
  const written = configIn(to, { ...dynamic, imageTokenId: ids.imageContextId }, (await json("config.json"))!, tied);
  const { bos_token_id, pad_token_id } = (await json("generation_config.json")) ?? {};
  const model = await read("tokenizer.model");
  const made: Record<string, Json | string> = {
    "config.json": written,
    "generation_config.json": { bos_token_id, eos_token_id: end, pad_token_id },
    ...(to === "huggingface"
      ? {
          ...huggingFaceTokenizer(tokenizer, tokenizerConfig),
          ...processorFiles(dynamic),
          "chat_template.jinja": templateFor(config, await read("chat_template.jinja")),
        }
      : {
          ...originalTokenizer(tokenizer, tokenizerConfig, model !== undefined),
          "chat_template.jinja": chatTemplate(config.systemMessage),
        }),
  };
  const encoder = new TextEncoder();
  const files = new Map<string, Uint8Array>(
    Object.entries(made).map(([name, content]) => [
      name,
      encoder.encode(typeof content === "string" ? content : `${JSON.stringify(content, null, 2)}\n`),
    ]),
  );
  for (const name of ["tokenizer.model", "README.md", "LICENSE"]) {
    const bytes = await read(name);
    if (bytes) files.set(name, bytes);
  }
  const target = await checked(to, config, files);
  return { config: target, files };
}

/** Reads what was made. @throws EngineError bad-weights where it says something else */
async function checked(to: Layout, config: ModelConfig, files: ReadonlyMap<string, Uint8Array>): Promise<ModelConfig> {
  const open = async (name: string) => {
    const bytes = files.get(name);
    return bytes && memorySource(name, bytes);
  };
  const { config: target } = await readConfig({ open });
  const said = saysOf(target);
  for (const [what, value] of Object.entries(saysOf(config))) {
    if (JSON.stringify(said[what]) !== JSON.stringify(value)) throw noCounterpart(`the model's ${what}, ${described(value)},`, to);
  }
  structuralIds(await loadTokenizer(async (name) => files.get(name), config.language.vocabSize, to), target);
  return target;
}
