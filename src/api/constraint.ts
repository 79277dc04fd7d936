import { grammarConstraint } from "../generate/grammar.ts";
import { openGrammars } from "../text/grammar/client.ts";
import type { Format } from "../text/grammar/schema.ts";
import type { Parts } from "./parts.ts";

/** What holds an answer to a format. @throws EngineError bad-input, where that cannot be enforced */
export async function constraintOf(parts: Parts, format: Format): Promise<ReturnType<typeof grammarConstraint>> {
  parts.grammars ??= openGrammars(parts.tokenizer, parts.config.language.vocabSize, parts.stopIds);
  const grammars = await parts.grammars.catch((error: unknown) => {
    parts.grammars = undefined; // a script that did not load may do so the next time
    throw error;
  });
  return grammarConstraint(await grammars.matcher(format), parts.tokenizer);
}
