import { EngineError } from "../errors.ts";
import { isRecord, type Reader, wrong } from "../options.ts";
import type { Format } from "../text/grammar/schema.ts";

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

/** Reads `schema`: a JSON Schema or a regular expression. @throws EngineError bad-input for anything else */
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
