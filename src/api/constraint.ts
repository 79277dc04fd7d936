import type { Constraint } from "../generate/constraint.ts";
import { Formats } from "../generate/grammar.ts";
import type { Format } from "../text/grammar/schema.ts";
import { readyOrAborted } from "./aborting.ts";
import type { Parts } from "./parts.ts";

/** What holds an answer to a format. @throws EngineError bad-input, aborted */
export function constraintOf(parts: Parts, format: Format, signal: AbortSignal): Promise<Constraint & { dispose(): Promise<void> }> {
  const compiled = compile(parts, format);
  return readyOrAborted(compiled, signal).catch((error: unknown) => {
    void compiled.then(
      (late) => late.dispose(),
      () => {},
    );
    throw error;
  });
}

async function compile(parts: Parts, format: Format) {
  parts.formats ??= Formats.open(parts.tokenizer, parts.config.language.vocabSize, parts.stopIds);
  const opened = await parts.formats.catch((error: unknown) => {
    parts.formats = undefined; // a script that did not load may do so the next time
    throw error;
  });
  return opened.constraint(format);
}
