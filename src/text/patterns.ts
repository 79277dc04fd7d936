/** Qwen2's split into words (transformers `PRETOKENIZE_REGEX`), before byte-pair merging. */
export const QWEN2_WORDS =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** Llama 3's: numbers in groups of up to three digits. */
export const LLAMA3_WORDS = QWEN2_WORDS.replace("\\p{N}|", "\\p{N}{1,3}|");

/** GPT-2's, which tokenizers of its kind name or take by default. */
export const GPT2_WORDS = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
