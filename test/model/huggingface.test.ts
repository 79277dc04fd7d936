import { describe, expect, inject, it } from "vitest";
import { inspect } from "../../src/convert.ts";
import { type EngineError, InternVL, type Message } from "../../src/index.ts";
import type { ModelConfig } from "../../src/model/config.ts";
import { readConfig } from "../../src/model/open-checkpoint.ts";
import { loadTokenizer } from "../../src/text/tokenizer.ts";
import { hfFiles } from "../shared/layouts.ts";
import { refused } from "../shared/refused.ts";
import { memoryFiles, readRepository, tinyCheckpoint } from "../support.ts";

type Json = Record<string, unknown>;
type Files = Record<string, Uint8Array>;

const qwen2 = await hfFiles("tiny-hf-qwen2", readRepository);
const llama = await hfFiles("tiny-hf-llama", readRepository);
const qwen3 = await hfFiles("tiny-hf-qwen3", readRepository);
const parsed = (files: Files, name: string) => JSON.parse(new TextDecoder().decode(files[name])) as Json;
const bytes = (value: unknown) => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

/** Files with other keys in one of them; an undefined key is left out, an undefined file too. */
function changed(files: Files, name: string, change: Json | undefined): Files {
  const { [name]: _, ...rest } = files;
  return change === undefined ? rest : { ...rest, [name]: bytes({ ...(files[name] && parsed(files, name)), ...change }) };
}
const inText = (files: Files, change: Json) =>
  changed(files, "config.json", { text_config: { ...(parsed(files, "config.json").text_config as Json), ...change } });
const inVision = (files: Files, change: Json) =>
  changed(files, "config.json", { vision_config: { ...(parsed(files, "config.json").vision_config as Json), ...change } });
const inImages = (files: Files, change: Json) =>
  changed(files, "processor_config.json", {
    image_processor: { ...(parsed(files, "processor_config.json").image_processor as Json), ...change },
  });

const configOf = async (files: Files): Promise<ModelConfig> => (await readConfig(memoryFiles(files))).config;

async function refusal(files: Files): Promise<EngineError> {
  const error = await configOf(files).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return refused(error, "bad-weights");
}

describe("a folder of transformers' layout", () => {
  const without = (files: Files, ...names: string[]) => Object.fromEntries(Object.entries(files).filter(([name]) => !names.includes(name)));
  const template = new TextDecoder().decode(qwen2["chat_template.jinja"]);

  const same: [string, Files, Files][] = [
    ["sizes that are numbers", inVision(qwen2, { image_size: 112, patch_size: 14 }), qwen2],
    ["no architectures", changed(qwen2, "config.json", { architectures: undefined }), qwen2],
    ["no processor's files: the usual", without(qwen2, "processor_config.json"), qwen2],
    ["crop_to_patches either way", inImages(qwen2, { crop_to_patches: true }), qwen2],
    [
      "a video processor's name",
      changed(llama, "video_preprocessor_config.json", { video_processor_type: "InternVLVideoProcessor" }),
      llama,
    ],
    ["rope beside, as transformers 4 has it", inText(qwen2, { rope_parameters: undefined, rope_theta: 1e6 }), qwen2],
    [
      "rope in parameters, as 5 has it",
      inText(llama, {
        rope_theta: undefined,
        rope_scaling: undefined,
        rope_parameters: { rope_theta: 1e6, rope_type: "dynamic", factor: 2 },
      }),
      llama,
    ],
    ["the head's width divided", inText(llama, { head_dim: undefined }), llama],
    ["an outer tie flag, which is not read", changed(llama, "config.json", { tie_word_embeddings: true }), llama],
    [
      "the template in tokenizer_config.json",
      changed(without(qwen2, "chat_template.jinja"), "tokenizer_config.json", { chat_template: template }),
      qwen2,
    ],
    [
      "a list of templates",
      changed(without(qwen2, "chat_template.jinja"), "tokenizer_config.json", {
        chat_template: [
          { name: "tool", template: "" },
          { name: "default", template },
        ],
      }),
      qwen2,
    ],
    [
      "the template in processor_config.json",
      changed(without(qwen2, "chat_template.jinja"), "processor_config.json", { chat_template: template }),
      qwen2,
    ],
    ["chat_template.json", { ...without(qwen2, "chat_template.jinja"), "chat_template.json": bytes({ chat_template: template }) }, qwen2],
    ["the decoder's eos where nothing else says it", without(qwen2, "generation_config.json"), qwen2],
  ];
  it.each(same)("is the same with %s", async (_, files, as) => {
    expect(await configOf(files)).toEqual(await configOf(as));
  });

  it("says what it needs", async () => {
    const of = async (files: Files) => configOf(files);
    expect((await of(qwen2)).stopIds).toEqual([502]);
    expect((await of(llama)).stopIds).toEqual([766]);
    expect((await of(without(llama, "generation_config.json"))).stopIds).toBeUndefined(); // <|im_end|>
    expect((await of(changed(qwen2, "generation_config.json", { eos_token_id: [502, 500] }))).stopIds).toEqual([502, 500]);
    expect(await of(inImages(qwen2, { max_patches: 6, min_patches: 2 }))).toMatchObject({ minTiles: 2, maxTiles: 6 });
    expect((await of(qwen3)).language).toMatchObject({ headDim: 48, tied: true });
    expect((await of(inText(qwen3, { head_dim: undefined }))).language.headDim).toBe(128); // transformers' default, not hidden / heads
    const system = `{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nS.<|im_end|>\\n' }}{% endif %}${template}`;
    expect((await of({ ...qwen2, "chat_template.jinja": bytes(system) })).systemMessage).toBe("S.");
    const size = { size: { height: 56, width: 56 } };
    const small = changed(inImages(qwen2, size), "config.json", { image_seq_length: 4 });
    const both = changed(small, "processor_config.json", {
      video_processor: { ...(parsed(qwen2, "processor_config.json").video_processor as Json), ...size },
      image_seq_length: 4,
    });
    expect(await of(both)).toMatchObject({ tileSize: 56, tokensPerTile: 4 });
  });

  const other: [string, Files, RegExp][] = [
    [
      "another model",
      changed(qwen2, "config.json", { model_type: "llava", architectures: ["LlavaForConditionalGeneration"] }),
      /unknown architecture "LlavaForConditionalGeneration"/,
    ],
    [
      "the class without a head",
      changed(qwen2, "config.json", { architectures: ["InternVLModel"] }),
      /unknown architecture "InternVLModel"/,
    ],
    ["an unknown decoder", inText(qwen2, { model_type: "gemma" }), /text_config\.model_type is "gemma", needs "qwen2", "qwen3" or "llama"/],
    ["InternLM2, which transformers has not", inText(qwen2, { model_type: "internlm2" }), /text_config\.model_type is "internlm2"/],
    ["a mixture of experts", inText(qwen2, { model_type: "qwen3_moe" }), /text_config\.model_type names "qwen3_moe", a mixture of experts/],
    ["GPT-OSS", inText(qwen2, { model_type: "gpt_oss" }), /"gpt_oss", a mixture of experts/],
    ["no text_config", changed(qwen2, "config.json", { text_config: undefined }), /text_config is missing/],
    ["biases in Qwen3", inText(qwen3, { attention_bias: true }), /text_config\.attention_bias is true/],
    ["a window", inText(qwen3, { use_sliding_window: true, sliding_window: 64, max_window_layers: 0 }), /windows of 64 tokens/],
    ["sides that differ", inVision(qwen2, { image_size: [112, 224] }), /vision_config\.image_size is \[112, 224\]/],
    ["a side too many", inVision(qwen2, { patch_size: [14, 14, 14] }), /patch_size is \[14, 14, 14\]/],
    ["a norm behind the last layer", inVision(qwen2, { use_mean_pooling: false }), /use_mean_pooling is false/],
    ["no positions", inVision(qwen2, { use_absolute_position_embeddings: false }), /use_absolute_position_embeddings is false/],
    ["another vision tower", inVision(qwen2, { model_type: "siglip_vision_model" }), /vision_config\.model_type is "siglip_vision_model"/],
    ["several vision layers", changed(qwen2, "config.json", { vision_feature_layer: [-1, -2] }), /vision_feature_layer is \[-1, -2\]/],
    [
      "the class token kept",
      changed(qwen2, "config.json", { vision_feature_select_strategy: "full" }),
      /vision_feature_select_strategy is "full"/,
    ],
    ["another projector", changed(qwen2, "config.json", { projector_hidden_act: "silu" }), /projector_hidden_act is "silu"/],
    [
      "a key that nobody knows",
      changed(qwen2, "config.json", { pixel_shuffle_loss: 2 }),
      /pixel_shuffle_loss is 2: this engine does not know/,
    ],
    [
      "another count of tokens",
      changed(qwen2, "config.json", { image_seq_length: 64 }),
      /config\.json: image_seq_length is 64, a tile of 112 pixels gives 16/,
    ],
    [
      "another count in the processor",
      changed(qwen2, "processor_config.json", { image_seq_length: 64 }),
      /processor_config\.json: image_seq_length is 64/,
    ],
    [
      "another mean",
      inImages(qwen2, { image_mean: [0.5, 0.5, 0.5] }),
      /image_processor\.image_mean is \[0\.5, 0\.5, 0\.5\], needs \[0\.485/,
    ],
    ["no mean", inImages(qwen2, { image_mean: undefined }), /image_mean is undefined|image_mean is/],
    ["another resampling", inImages(qwen2, { resample: 2 }), /resample is 2/],
    ["no resize", inImages(qwen2, { do_resize: false }), /do_resize is false/],
    ["tiles that are no squares", inImages(qwen2, { size: { height: 112, width: 56 } }), /size\.width is 56, needs 112/],
    ["another processor", inImages(qwen2, { image_processor_type: "CLIPImageProcessor" }), /image_processor_type is "CLIPImageProcessor"/],
    [
      "frames of another size",
      changed(llama, "video_preprocessor_config.json", { size: { height: 56, width: 56 } }),
      /video_preprocessor_config\.json: size is an object/,
    ],
    ["more least tiles than most", inImages(qwen2, { min_patches: 13 }), /min_patches is 13, needs at most max_patches, 12/],
    ["no chat template", without(qwen2, "chat_template.jinja"), /has no chat template/],
    [
      "another chat template",
      { ...qwen2, "chat_template.jinja": bytes(template.replace("<IMG_CONTEXT>", "<image>")) },
      /chat_template\.jinja renders otherwise/,
    ],
    [
      "another one in tokenizer_config.json",
      changed(without(qwen2, "chat_template.jinja"), "tokenizer_config.json", { chat_template: "{{ x }}" }),
      /tokenizer_config\.json renders otherwise/,
    ],
    [
      "a template that is none",
      changed(without(qwen2, "chat_template.jinja"), "tokenizer_config.json", { chat_template: 5 }),
      /tokenizer_config\.json: chat_template is 5/,
    ],
    [
      "a stop that is no id",
      changed(qwen2, "generation_config.json", { eos_token_id: "502" }),
      /generation_config\.json: eos_token_id is "502"/,
    ],
    [
      "a stop beyond the vocabulary",
      changed(qwen2, "generation_config.json", { eos_token_id: [502, 9999] }),
      /eos_token_id is \[502, 9999\], needs an id from 0 to 531/,
    ],
    [
      "another token for pictures",
      changed(qwen2, "tokenizer_config.json", { context_image_token: "<image>" }),
      /context_image_token is "<image>", needs "<IMG_CONTEXT>"/,
    ],
    [
      "another one, where transformers 4 has it",
      changed(llama, "tokenizer_config.json", { extra_special_tokens: { start_image_token: "<vision>" } }),
      /start_image_token is "<vision>"/,
    ],
    ["weights that are packed", inText(qwen2, { quantization_config: { quant_method: "gptq" } }), /quantization_config names "gptq"/],
  ];
  it.each(other)("with %s is refused by name", async (_, files, message) => {
    expect((await refusal(files)).message).toMatch(message);
  });

  it("and its tensors and tokens are held against it", async () => {
    const look = async (files: Files) => inspect(memoryFiles(files));
    expect(await look(qwen2)).toMatchObject({ runs: true, family: expect.stringContaining("-hf"), tied: false });
    expect(await look(qwen3)).toMatchObject({ runs: true, family: expect.stringContaining("InternVL3_5"), tied: true });
    expect(await look(changed(qwen2, "config.json", { image_token_id: 5 }))).toMatchObject({
      runs: false,
      problem: expect.stringContaining("image_token_id is 5"),
    });
    expect(await look(without(qwen2, "tokenizer.json"))).toMatchObject({
      runs: false,
      problem: expect.stringMatching(/no tokenizer files.*\(Copy the model's tokenizer files/),
    });
    expect(await look(inText(qwen2, { num_hidden_layers: 1, layer_types: undefined }))).toMatchObject({
      runs: false,
      problem: expect.stringContaining("layers.1."),
    });
    expect(await look({ ...qwen2, "model.safetensors": qwen3["model.safetensors"]! })).toMatchObject({ runs: false });
  });

  it("has the added tokens of tokenizer.json and tokenizer_config.json", async () => {
    const tokenizer = parsed(llama, "tokenizer.json") as { added_tokens: { content: string }[] };
    const less = { ...tokenizer, added_tokens: tokenizer.added_tokens.filter(({ content }) => content !== "<video>") };
    const files: Files = { ...llama, "tokenizer.json": bytes(less) };
    const { idOf, isSpecial } = await loadTokenizer(async (name) => files[name], 778, "huggingface");
    expect(idOf("<video>")).toBe(777);
    expect(isSpecial(777)).toBe(true);
    const alone = { "tokenizer.json": llama["tokenizer.json"]! } as Files; // its flags are enough
    expect((await loadTokenizer(async (name) => alone[name], 778, "huggingface")).isSpecial(766)).toBe(true);
  });
});

describe("a message in several parts", () => {
  const part = (text: string) => ({ type: "text" as const, text });
  const question = { role: "user" as const, content: "Go on." };
  const said = (system: Message["content"], answer: Message["content"]): Message[] => [
    { role: "system", content: system },
    { role: "user", content: "Say it." },
    { role: "assistant", content: answer },
    question,
  ];
  const inParts = said([part("Be terse."), part("Be kind.")], [part("Well,"), part(" yes")]);

  it("is joined as the chat template has it, the system's and the assistant's too, also in a later turn", async () => {
    const vlm = await InternVL.load(memoryFiles(qwen2), { maxContext: 512 });
    const first = await vlm.chat(inParts, { maxTokens: 2 });
    const joined = await vlm.chat(said("Be terse.Be kind.", "Well, yes"), { maxTokens: 2 });
    expect(first.promptTokenIds).toEqual(joined.promptTokenIds);
    expect(first.history.slice(0, 4)).toEqual(inParts);
    const later = await vlm.chat("And?", { history: structuredClone(first.history), maxTokens: 2 });
    expect(later.promptTokenIds).toEqual((await vlm.chat("And?", { history: joined.history, maxTokens: 2 })).promptTokenIds);
    const session = vlm.session({ history: inParts.slice(0, 3) });
    expect((await session.send("Go on.", { maxTokens: 2 })).promptTokenIds).toEqual(first.promptTokenIds);
    expect((await session.send("And?", { maxTokens: 2 })).promptTokenIds).toEqual(later.promptTokenIds);
    await vlm.dispose();
  });

  it("is lines one below the other where upstream's templates have texts alone", async (context) => {
    context.skip(!inject("full"), "a second model: npm run test:full");
    const vlm = await InternVL.load(memoryFiles(tinyCheckpoint("tiny-qwen", 0)), { maxContext: 512 });
    const ids = async (messages: Message[]) => (await vlm.chat(messages, { maxTokens: 1 })).promptTokenIds;
    expect(await ids(inParts)).toEqual(await ids(said("Be terse.\nBe kind.", "Well,\n yes")));
    await vlm.dispose();
  });
});

it("a <video> behind the embedding's last row, as transformers' converter has it, is text; other tokens there are refused", async () => {
  const tokenizer = parsed(qwen2, "tokenizer.json") as { added_tokens: { content: string; id: number }[] };
  const moved = (content: string): Files => {
    const added = tokenizer.added_tokens.map((token) => (token.content === content ? { ...token, id: 532 } : token));
    return { ...qwen2, "tokenizer.json": bytes({ ...tokenizer, added_tokens: added }) };
  };
  const load = (files: Files) => loadTokenizer(async (name) => files[name], 532, "huggingface");
  const video = await load(moved("<video>"));
  expect(video.idOf("<video>")).toBeUndefined();
  expect(Math.max(...video.encode("<video>"))).toBeLessThan(532);
  await expect(load(moved("<tool_call>"))).rejects.toThrow(/gives "<tool_call>" the id 532, the model has ids up to 531/);
});
