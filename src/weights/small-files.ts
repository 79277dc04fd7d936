/** What belongs to a checkpoint beside config.json and the safetensors files. */
export const SMALL_FILES = [
  "tokenizer.json",
  "tokenizer_config.json",
  "vocab.json",
  "merges.txt",
  "added_tokens.json",
  "special_tokens_map.json",
  "tokenizer.model",
  "generation_config.json",
  "preprocessor_config.json",
  "processor_config.json",
  "video_preprocessor_config.json",
  "chat_template.jinja",
  "chat_template.json",
  "README.md",
  "LICENSE",
] as const;

/** What the licences of a checkpoint of this family are, for whoever meets its files. */
export const LICENCES =
  "InternVL's code and weights: MIT. Of the Qwen2.5-3B inside InternVL2_5-4B the model card says Apache-2.0, while its publisher may state other terms for that size: read https://huggingface.co/Qwen/Qwen2.5-3B-Instruct before you use it. Other sizes hold other language models (Qwen2.5, InternLM2): see their publishers' pages.";
