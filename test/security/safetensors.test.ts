import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { EngineError } from "../../src/errors.ts";
import { openWeights } from "../../src/hub/open.ts";
import { byteLength, DTYPES, type Dtype, parseHeader, SafetensorsError } from "../../src/safetensors/index.ts";
import { ATTACKS, INDEX_ATTACKS } from "../../src/safetensors/test/corpus.ts";
import { rawFile, utf8 } from "../../src/safetensors/test/files.ts";
import { fewer } from "../shared/quick.ts";
import { memoryFiles } from "../support.ts";

/** How the engine refuses a checkpoint. */
async function refusal(files: Record<string, Uint8Array>): Promise<EngineError> {
  const opened = await openWeights(memoryFiles(files)).catch((error: unknown) => error);
  expect(opened).toBeInstanceOf(EngineError);
  return opened as EngineError;
}

describe("the engine refuses", () => {
  // What is claimed must not be allocated: every array made meanwhile is measured.
  const real = { Uint8Array, ArrayBuffer };
  let largest = 0;
  const watched = <T extends new (...args: never[]) => ArrayBufferLike | ArrayBufferView>(type: T): T =>
    new Proxy(type, {
      construct(target, args, newTarget) {
        if (typeof args[0] === "number") largest = Math.max(largest, args[0]);
        return Reflect.construct(target, args, newTarget === target ? target : newTarget);
      },
    });
  beforeEach(() => {
    largest = 0;
    globalThis.Uint8Array = watched(Uint8Array);
    globalThis.ArrayBuffer = watched(ArrayBuffer);
  });
  afterEach(() => {
    Object.assign(globalThis, real);
  });

  it("and the watch sees what is allocated", () => {
    new Uint8Array(12_345);
    expect(largest).toBe(12_345);
    expect(ATTACKS.length + INDEX_ATTACKS.length).toBeGreaterThan(90);
  });

  it.each(ATTACKS)("a file: %s", async (_, file, says, tensor) => {
    largest = 0;
    const { code, message } = await refusal({ "model.safetensors": file });
    expect(largest).toBeLessThanOrEqual(file.length);
    expect(code).toBe("bad-weights");
    expect(message).toContain(says);
    expect(message).toContain('"model.safetensors"');
    if (tensor !== undefined) expect(message).toContain(`tensor "${tensor}"`);
    expect(message).not.toMatch(/\n/);
  });

  it.each(INDEX_ATTACKS)("an index: %s", async (_, text, says, tensor) => {
    const index = typeof text === "string" ? utf8(text) : text;
    const { code, message } = await refusal({ "model.safetensors.index.json": index });
    expect(code).toBe("bad-weights");
    expect(message).toContain(says);
    if (tensor !== undefined) expect(message).toContain(`tensor "${tensor}"`);
  });
});

/** One entry of a header, as a mutation may leave it. */
interface Entry {
  name: string;
  dtype: string;
  shape: bigint[];
  offsets: bigint[];
}

/** The rules of the format in other words, with integers that cannot overflow: the oracle. */
function isValid(entries: readonly Entry[], dataSize: number): boolean {
  if (new Set(entries.map(({ name }) => name)).size !== entries.length) return false;
  const safe = (n: bigint) => n >= 0n && n < 2n ** 53n;
  for (const { dtype, shape, offsets } of entries) {
    if (!DTYPES.includes(dtype as Dtype) || offsets.length !== 2 || ![...shape, ...offsets].every(safe)) return false;
    const size = BigInt(byteLength(dtype as Dtype, [])!);
    let product = 1n;
    for (const dimension of shape) if (!safe((product *= dimension))) return false;
    if (!safe(product * size) || product * size !== offsets[1]! - offsets[0]!) return false;
  }
  let end = 0n;
  for (const { offsets } of [...entries].sort((a, b) => Number(a.offsets[0]! - b.offsets[0]!) || Number(a.offsets[1]! - b.offsets[1]!))) {
    if (offsets[0] !== end) return false;
    end = offsets[1]!;
  }
  return end === BigInt(dataSize);
}

const textOf = (entries: readonly Entry[]): string =>
  `{${entries
    .map(({ name, dtype, shape, offsets }) => `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${offsets}]}`)
    .join(",")}}`;

describe("mutated headers", () => {
  const tensors = fc.array(
    fc.record({ dtype: fc.constantFrom(...DTYPES), shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 }) }),
    { minLength: 1, maxLength: 5 },
  );
  const number = fc.oneof(
    fc.bigInt({ min: -2n, max: 40n }),
    fc.constantFrom(2n ** 31n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n, 2n ** 64n + 4n),
  );
  const mutation = fc.record({
    kind: fc.constantFrom(
      "nothing",
      "dtype",
      "dimension",
      "add dimension",
      "drop dimension",
      "begin",
      "end",
      "shift",
      "rename",
      "drop",
      "swap",
    ),
    at: fc.nat(),
    also: fc.nat(),
    number,
    dtype: fc.constantFrom(...DTYPES, "F4", "f32", "__proto__", "toString"),
    data: fc.integer({ min: -1, max: 1 }),
  });

  it("are accepted exactly when they still obey every rule", () => {
    let accepted = 0;
    let refused = 0;
    fc.assert(
      fc.property(tensors, fc.array(mutation, { minLength: 1, maxLength: 2 }), (specs, mutations) => {
        let end = 0n;
        let entries = specs.map(({ dtype, shape }, i): Entry => {
          const begin = end;
          end += BigInt(byteLength(dtype, shape)!);
          return { name: `t${i}`, dtype, shape: shape.map(BigInt), offsets: [begin, end] };
        });
        let dataSize = Number(end);
        for (const { kind, at, also, number, dtype, data } of mutations) {
          const entry = entries[at % Math.max(1, entries.length)];
          if (!entry) break;
          const other = entries[also % entries.length]!;
          const dimension = also % Math.max(1, entry.shape.length);
          if (kind === "nothing") dataSize = Math.max(0, dataSize + data);
          else if (kind === "dtype") entry.dtype = dtype;
          else if (kind === "dimension" && entry.shape.length > 0) entry.shape[dimension] = number;
          else if (kind === "add dimension") entry.shape.push(number);
          else if (kind === "drop dimension") entry.shape.splice(dimension, 1);
          else if (kind === "begin") entry.offsets[0] = number;
          else if (kind === "end") entry.offsets[1] = number;
          else if (kind === "shift") entry.offsets = entry.offsets.map((offset) => offset + number);
          else if (kind === "rename") entry.name = other.name;
          else if (kind === "drop") entries = entries.filter((each) => each !== entry);
          else if (kind === "swap") [entry.offsets, other.offsets] = [other.offsets, entry.offsets];
        }
        const file = rawFile(textOf(entries), dataSize);
        let problem: unknown;
        try {
          parseHeader(file, file.length, "x");
        } catch (error) {
          problem = error;
        }
        if (problem === undefined) accepted++;
        else {
          expect(problem).toBeInstanceOf(SafetensorsError);
          refused++;
        }
        expect(problem === undefined).toBe(isValid(entries, dataSize));
      }),
      { numRuns: fewer(3000), seed: 7 },
    );
    expect(accepted).toBeGreaterThan(fewer(300)); // the mutations reach both sides
    expect(refused).toBeGreaterThan(fewer(1000));
  });
});
