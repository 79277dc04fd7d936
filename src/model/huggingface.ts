import { badWeights } from "../errors.ts";
import { decodeText, type ReadFile, readJson } from "../json.ts";
import { described } from "../options.ts";
import { readChatTemplate } from "../text/chat-template.ts";
import { type ModelConfig, stopIdsOf, tokensOf } from "./config.ts";
import { bad, Fields } from "./config-fields.ts";

type Json = Record<string, unknown>;

const OTHER = "take the processor's files of an InternVL model whose name ends in -hf or -HF";

const same = (values: readonly number[]) => (value: unknown) =>
  Array.isArray(value) && value.length === values.length && value.every((each, i) => Math.abs((each as number) - values[i]!) < 1e-6);
const isMean = same([0.485, 0.456, 0.406]);
const isStd = same([0.229, 0.224, 0.225]);

/** Checks how a processor makes tiles of pictures or frames. Gives a tile's side, where it is said. */
function checkProcessor(fields: Fields): number | undefined {
  const type = fields.text("image_processor_type") ?? fields.text("video_processor_type") ?? "GotOcr2ImageProcessor";
  if (!/^(GotOcr2ImageProcessor|InternVLVideoProcessor)/.test(type)) {
    const key = fields.get("image_processor_type") === undefined ? "video_processor_type" : "image_processor_type";
    throw fields.wrong(key, "GotOcr2ImageProcessor", OTHER);
  }
  for (const key of ["do_resize", "do_rescale", "do_normalize"]) fields.oneOf(key, [true], true, OTHER);
  for (const key of ["do_center_crop", "do_pad"]) fields.oneOf(key, [false], false, OTHER);
  fields.oneOf("resample", [3], 3, "pictures are resized bicubically");
  fields.number("rescale_factor", "1/255", (value) => Math.abs(value * 255 - 1) < 1e-6, 1 / 255);
  if (!isMean(fields.get("image_mean"))) throw fields.wrong("image_mean", "[0.485, 0.456, 0.406]", OTHER);
  if (!isStd(fields.get("image_std"))) throw fields.wrong("image_std", "[0.229, 0.224, 0.225]", OTHER);
  if (fields.get("size") === undefined) return undefined;
  const size = fields.object("size");
  const side = size.count("height", 2 ** 13);
  size.oneOf("width", [side], undefined, "tiles are squares");
  return side;
}

/** What the processor says of tiles: transformers 5 has all in one file, transformers 4 a file for pictures and one for videos. */
async function readProcessor(config: ModelConfig, read: ReadFile): Promise<Pick<ModelConfig, "tileSize" | "minTiles" | "maxTiles">> {
  const outer = await readJson(read, "processor_config.json");
  const part = async (key: string, name: string): Promise<Fields | undefined> => {
    if (outer?.[key] !== undefined) return new Fields(outer, "", "processor_config.json").object(key);
    const json = await readJson(read, name);
    return json && new Fields(json, "", name);
  };
  const [images, videos] = await Promise.all([
    part("image_processor", "preprocessor_config.json"),
    part("video_processor", "video_preprocessor_config.json"),
  ]);
  const tileSize = (images && checkProcessor(images)) ?? config.tileSize;
  const frameSize = (videos && checkProcessor(videos)) ?? tileSize;
  if (frameSize !== tileSize) throw videos!.wrong("size", `${tileSize} pixels a side, as pictures have`, OTHER);
  // crop_to_patches is not looked at: InternVLProcessor cuts pictures into tiles whatever the file says.
  const minTiles = images ? images.count("min_patches", 1024, 1) : 1;
  const maxTiles = images ? images.count("max_patches", 1024, 12) : 12;
  if (minTiles > maxTiles) throw images!.wrong("min_patches", `at most max_patches, ${maxTiles}`);
  const tokens = tokensOf("the side of a tile", tileSize, config.vision);
  const said = new Fields(outer ?? {}, "", "processor_config.json").count("image_seq_length", 2 ** 26, config.tokensPerTile);
  if (tokens !== config.tokensPerTile || said !== tokens) {
    const [has, file] = tokens === config.tokensPerTile ? [said, "processor_config.json"] : [config.tokensPerTile, "config.json"];
    throw bad(`image_seq_length is ${has}, a tile of ${tileSize} pixels gives ${tokens} tokens`, OTHER, file);
  }
  return { tileSize, minTiles, maxTiles };
}

/** What is read of every checkpoint: asked for together, since it may lie on a server. */
const ALWAYS = ["tokenizer_config.json", "chat_template.jinja", "generation_config.json", "processor_config.json"];

/** The chat template, where transformers looks for it. */
async function readTemplate(read: ReadFile, tokenizer: Json): Promise<{ file: string; text: string }> {
  const jinja = await read("chat_template.jinja");
  if (jinja) return { file: "chat_template.jinja", text: decodeText("chat_template.jinja", jinja) };
  const places: [string, Json | undefined][] = [
    ["chat_template.json", await readJson(read, "chat_template.json")],
    ["processor_config.json", await readJson(read, "processor_config.json")],
    ["tokenizer_config.json", tokenizer],
  ];
  for (const [file, json] of places) {
    const value = json?.chat_template ?? undefined;
    const named = Array.isArray(value) ? value.find((each: Json | null) => each?.name === "default")?.template : value;
    if (named === undefined) continue;
    if (typeof named !== "string") throw bad(`chat_template is ${described(value)}, needs a text`, OTHER, file);
    return { file, text: named };
  }
  const problem = "the checkpoint has no chat template: it needs chat_template.jinja, or chat_template in tokenizer_config.json";
  throw badWeights(problem, "put the model's chat_template.jinja beside config.json");
}

/** The tokens that stand for pictures: InternVLProcessor takes their names from the tokenizer. */
function checkTokens(tokenizer: Json): void {
  const names = { start_image_token: "<img>", end_image_token: "</img>", context_image_token: "<IMG_CONTEXT>", video_token: "<video>" };
  for (const place of [tokenizer, tokenizer.extra_special_tokens, tokenizer.model_specific_special_tokens]) {
    for (const [key, needs] of Object.entries(names)) {
      const has = (place as Json | null | undefined)?.[key] ?? needs;
      const content = typeof has === "object" ? (has as Json).content : has;
      if (content !== needs) throw bad(`${key} is ${described(has)}, needs "${needs}"`, OTHER, "tokenizer_config.json");
    }
  }
}

/**
 * What a checkpoint of transformers' own layout says beside config.json: tiles by its processor, the prompt's form by its chat template, stop
 * ids by generation_config.json.
 *
 * @throws EngineError bad-weights for what the engine does not do as they say
 */
export async function readHuggingFace(config: ModelConfig, source: ReadFile): Promise<ModelConfig> {
  const files = new Map(await Promise.all(ALWAYS.map(async (name) => [name, await source(name)] as const)));
  const read: ReadFile = async (name) => (files.has(name) ? files.get(name) : source(name));
  const tokenizer = (await readJson(read, "tokenizer_config.json")) ?? {};
  checkTokens(tokenizer);
  const { file, text } = await readTemplate(read, tokenizer);
  const { system } = readChatTemplate(file, text);
  const generation = new Fields((await readJson(read, "generation_config.json")) ?? {}, "", "generation_config.json");
  return {
    ...config,
    ...(await readProcessor(config, read)),
    systemMessage: system,
    stopIds: stopIdsOf(generation, config.language.vocabSize) ?? config.stopIds,
  };
}
