import { grammarConstraint } from "../generate/grammar.ts";
import { openGrammars } from "../text/grammar/client.ts";
import type { Format } from "../text/grammar/schema.ts";
import { readyOrAborted } from "./aborting.ts";
import type { Parts } from "./parts.ts";

type HeldTo = ReturnType<typeof grammarConstraint>;

/** What holds an answer to a format. @throws EngineError bad-input, where that cannot be enforced, aborted */
export function constraintOf(parts: Parts, format: Format, signal: AbortSignal): Promise<HeldTo> {
  const compiled = compile(parts, format);
  return readyOrAborted(compiled, signal).catch((error: unknown) => {
    void compiled.then(
      (late) => late.dispose(),
      () => {},
    );
    throw error;
  });
}

async function compile(parts: Parts, format: Format): Promise<HeldTo> {
  parts.grammars ??= openGrammars(parts.tokenizer, parts.config.language.vocabSize, parts.stopIds);
  const grammars = await parts.grammars.catch((error: unknown) => {
    parts.grammars = undefined; // a script that did not load may do so the next time
    throw error;
  });
  return grammarConstraint(await grammars.matcher(format), parts.tokenizer);
}
