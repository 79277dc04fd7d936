/** What to do where somebody has a GGUF file. */
export const NO_GGUF =
  "GGUF is llama.cpp's own format, which this engine neither reads nor writes: take the original checkpoint (OpenGVLab/InternVL2_5-4B, say); llama.cpp's converters make GGUF of what `internvl convert --layout hf --to bf16` writes";
