import { badWeights, EngineError } from "../errors.ts";
import { quoted } from "../options.ts";
import { type ProtoField, protoFields } from "./protobuf.ts";

/** sentencepiece_model.proto, ModelProto.SentencePiece.Type: the kinds of pieces by their numbers. */
const KINDS = [undefined, "normal", "unknown", "control", "user-defined", "unused", "byte"] as const;

/** A SentencePiece BPE model, as far as tokenising needs it. */
export interface SentencePieceModel {
  /** By id. */
  pieces: readonly { text: string; score: number; kind: Exclude<(typeof KINDS)[number], undefined | "unused"> }[];
  unknownId: number;
  /** Whether a text gets a space in front. */
  dummyPrefix: boolean;
}

const HINT = "Take the tokenizer.model of InternVL2_5-2B, -8B or -26B, or a model whose folder has tokenizer.json.";
const bad = (problem: string, hint = HINT) => badWeights(`tokenizer.model ${problem}`, hint);
const DAMAGED = "The file is damaged or incomplete: fetch it again.";

/** What tokenising reads of TrainerSpec, and the numbers of what concerns training alone. */
const MODEL_TYPE = 3;
const SUFFIX_SPACES = 24;
const BYTE_FALLBACK = 35;
const UNKNOWN_ID = 40;
const OF_TRAINING = [1, 2, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21, 22, 23, 25, 26, 30, 31, 32, 33, 34, 36];
const NAMES_OF_PIECES = [41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54];

/** A message's fields by number, the last of each; others than `known` are refused. */
function message(bytes: Uint8Array, name: string, known: readonly number[]): Map<number, ProtoField> {
  const fields = new Map<number, ProtoField>();
  for (const field of protoFields(bytes)) {
    if (!known.includes(field.number)) throw bad(`has an unknown field ${field.number} in its ${name}`);
    fields.set(field.number, field);
  }
  return fields;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function readPiece(bytes: Uint8Array, id: number): SentencePieceModel["pieces"][number] {
  const fields = message(bytes, "pieces", [1, 2, 3]);
  const [named, scored, typed] = [fields.get(1), fields.get(2), fields.get(3)];
  let text = "";
  try {
    text = utf8.decode(named?.bytes);
  } catch {
    throw bad(`holds bytes that are not UTF-8 as piece ${id}`, DAMAGED);
  }
  const score = scored ? new DataView(scored.bytes.buffer, scored.bytes.byteOffset).getFloat32(0, true) : 0;
  const type = typed?.integer ?? 1;
  if (text === "" || !Number.isFinite(score)) throw bad(`has no text, or no score, for piece ${id}`, DAMAGED);
  const kind = KINDS[type];
  if (!kind || kind === "unused") throw bad(`has ${quoted(text)}, a piece of kind ${kind ?? type}, which is not supported`);
  if (kind === "byte" && !/^<0x[0-9A-F]{2}>$/.test(text)) throw bad(`has ${quoted(text)} as a byte`, DAMAGED);
  return { text, score, kind };
}

/** TrainerSpec: BPE with all bytes. Gives the id of what is unknown. */
function readTrainer(bytes: Uint8Array): number {
  const known = [MODEL_TYPE, SUFFIX_SPACES, BYTE_FALLBACK, UNKNOWN_ID, ...OF_TRAINING, ...NAMES_OF_PIECES];
  const fields = message(bytes, "trainer_spec", known);
  const type = fields.get(MODEL_TYPE)?.integer ?? 1;
  const types = ["", "unigram", "BPE", "word", "char"];
  if (type !== 2) throw bad(`is a ${types[type] ?? type} model, only BPE is supported`);
  if (fields.get(SUFFIX_SPACES)?.integer) throw bad("has treat_whitespace_as_suffix, which is not supported");
  if (!fields.get(BYTE_FALLBACK)?.integer) throw bad("has no byte_fallback, which is needed");
  return fields.get(UNKNOWN_ID)?.integer ?? 0;
}

/** NormalizerSpec: nothing but spaces is changed. Gives add_dummy_prefix; it and two other fields are true where they are absent. */
function readNormalizer(bytes: Uint8Array): boolean {
  const fields = message(bytes, "normalizer_spec", [1, 2, 3, 4, 5, 6]);
  const flag = (number: number) => (fields.get(number)?.integer ?? 1) !== 0;
  if ((fields.get(2)?.bytes.length ?? 0) > 0) {
    const name = fields.get(1) && utf8.decode(fields.get(1)!.bytes);
    throw bad(
      `normalises texts (${quoted(name ?? "no name")}, ${fields.get(2)!.bytes.length} bytes of rules), only "identity" is supported`,
    );
  }
  if (flag(4)) throw bad("has remove_extra_whitespaces, which is not supported");
  if (!flag(5)) throw bad("has no escape_whitespaces, which is needed");
  return flag(3);
}

/**
 * Reads a tokenizer.model (sentencepiece_model.proto, ModelProto). Every field is looked at: what would make other ids is refused.
 *
 * @throws EngineError bad-weights
 */
export function readSentencePiece(bytes: Uint8Array): SentencePieceModel {
  try {
    const pieces: SentencePieceModel["pieces"][number][] = [];
    let [trainer, normalizer] = [new Uint8Array(0), new Uint8Array(0)];
    for (const field of protoFields(bytes)) {
      if (field.wire !== "bytes" || field.number > 5) throw bad(`has an unknown field ${field.number}`);
      if (field.number === 1) pieces.push(readPiece(field.bytes, pieces.length));
      if (field.number === 2) trainer = new Uint8Array(field.bytes);
      if (field.number === 3) normalizer = new Uint8Array(field.bytes);
      if (field.number === 5 && message(field.bytes, "denormalizer_spec", [1, 2, 3, 4, 5, 6]).get(2)?.bytes.length) {
        throw bad("has rules of a denormalizer, which are not supported");
      }
    }
    const unknownId = readTrainer(trainer);
    const dummyPrefix = readNormalizer(normalizer);
    if (pieces[unknownId]?.kind !== "unknown") throw bad(`has no piece for what is unknown at id ${unknownId}`, DAMAGED);
    if (pieces.filter(({ kind }) => kind === "byte").length !== 256) throw bad("has not all 256 bytes, which byte_fallback needs", DAMAGED);
    const texts = new Set(pieces.map(({ text }) => text));
    if (texts.size !== pieces.length) throw bad("has a piece twice", DAMAGED);
    return { pieces, unknownId, dummyPrefix };
  } catch (error) {
    if (error instanceof EngineError) throw error;
    throw bad(`is not a SentencePiece model: ${error instanceof RangeError ? error.message : "it is damaged"}`, DAMAGED);
  }
}
