import { EngineError, late } from "../errors.ts";
import type { Constraint } from "../generate/constraint.ts";
import { isRecord, type Reader, wrong } from "../options.ts";
import type { Format } from "../text/grammar/schema.ts";
import type { Parts } from "./parts.ts";

/**
 * What an answer has to be: JSON by a JSON Schema, or a text that all of a regular expression matches (flags s and u). A schema of zod or
 * another library is taken where it says itself what it is as JSON Schema (`toJSONSchema()`).
 */
export type Schema = RegExp | { toJSONSchema(): object } | Readonly<Record<string, unknown>>;

const MOST_TEXT = 200_000;

/** A JSON Schema as plain data of one's own. @throws EngineError bad-input */
export function plainSchema(value: unknown, name: string): unknown {
  if (value !== true && !isRecord(value)) throw wrong(name, value, "a JSON Schema: an object");
  const text = JSON.stringify(value);
  if (text.length > MOST_TEXT)
    throw new EngineError("bad-input", `${name} has ${text.length} characters, at most ${MOST_TEXT} are taken`, { param: name });
  return JSON.parse(text);
}

export const schema: Reader<Format> = (value, name) => {
  if (Object.prototype.toString.call(value) === "[object RegExp]") {
    const { source, flags } = value as RegExp;
    return { kind: "regex", source, flags, name };
  }
  const self = value as Partial<{ toJSONSchema(): object }> | null;
  const given = typeof self === "object" && typeof self?.toJSONSchema === "function" ? self.toJSONSchema() : value;
  if (!isRecord(given)) throw wrong(name, value, "a JSON Schema, or a regular expression");
  return { kind: "json", schema: plainSchema(given, name), name };
};

/** What holds an answer to a format; the machinery for it comes when it is first asked for. @throws EngineError bad-input */
export async function constraintOf(parts: Parts, format: Format): Promise<Constraint & { dispose(): void }> {
  parts.formats ??= late("what holds answers to a grammar", import("../generate/grammar.ts")).then(({ Formats }) =>
    Formats.open(parts.tokenizer, parts.config.language.vocabSize, parts.stopIds),
  );
  const opened = await parts.formats.catch((error: unknown) => {
    parts.formats = undefined; // a script that did not load may do so the next time
    throw error;
  });
  return opened.constraint(format);
}
