import type { Directory } from "../safetensors/index.ts";
import { INDEX_NAME, SINGLE_NAME } from "../safetensors/types.ts";

/** The files by which a source on a server is known. */
export interface FileNames {
  /** What is asked for first: there is none without it. */
  config: string;
  /** The file with the tensors, or what lists several. */
  single: string;
  index: string;
  /** What there may be beside them. Whatever else is opened is fetched when it is. */
  small: readonly string[];
}

/** How the files of a model are called. */
export const MODEL_FILES: FileNames = {
  config: "config.json",
  single: SINGLE_NAME,
  index: INDEX_NAME,
  small: [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "processor_config.json",
    "preprocessor_config.json",
  ],
};

/** A LoRA adapter's, as peft saves it. */
export const ADAPTER_FILES: FileNames = {
  config: "adapter_config.json",
  single: "adapter_model.safetensors",
  index: "adapter_model.safetensors.index.json",
  small: [],
};

/** Where a checkpoint's files come from: anything that opens files by name. */
export interface WeightSource extends Directory {
  /** Whether there is such a file; for a source whose `open` would download all of it. By default a file is opened and closed again. */
  has?(name: string): Promise<boolean>;
  /** The names of its files, where it knows them: an error then says what lies there in a checkpoint's place. */
  list?(): Promise<readonly string[]>;
}

/** Whether a source has a file. */
export async function hasFile(source: WeightSource, name: string): Promise<boolean> {
  if (source.has) return source.has(name);
  const file = await source.open(name);
  await file?.close?.();
  return file !== undefined;
}

/** A source that may still lie on a server: its small files come when they are opened, and of its tensors only what is read. */
export interface StagedSource extends WeightSource {
  /** Brings everything here, where it is not yet; files that are opened afterwards are copies. @returns whether something came */
  download?(): Promise<boolean>;
}

/** How far a source is; all in bytes but `resolve`. Each phase's numbers only grow, and the phases come in this order. */
export interface SourceProgress {
  phase: "resolve" | "download" | "verify";
  loaded: number;
  /** Where a server tells no length: what has come so far. */
  total: number;
  file?: string;
  /** What a user should know: that an old copy stands in for a server, or how little could be checked. */
  note?: string;
}
