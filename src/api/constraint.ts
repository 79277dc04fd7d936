import type { Constraint } from "../generate/constraint.ts";
import { Formats } from "../generate/grammar.ts";
import type { Format } from "../text/grammar/schema.ts";
import type { Parts } from "./parts.ts";

/** What holds an answer to a format. @throws EngineError bad-input */
export async function constraintOf(parts: Parts, format: Format): Promise<Constraint & { dispose(): Promise<void> }> {
  parts.formats ??= Formats.open(parts.tokenizer, parts.config.language.vocabSize, parts.stopIds);
  const opened = await parts.formats.catch((error: unknown) => {
    parts.formats = undefined; // a script that did not load may do so the next time
    throw error;
  });
  return opened.constraint(format);
}
