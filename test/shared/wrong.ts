import fc from "fast-check";

/** An object that throws whatever is done with it. */
const hostile = (): object => {
  const no = (): never => {
    throw new RangeError("hands off");
  };
  return new Proxy({}, { get: no, has: no, ownKeys: no, getPrototypeOf: no, getOwnPropertyDescriptor: no });
};

const revoked = (): object => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
};

const cyclic = (): unknown[] => {
  const list: unknown[] = [];
  list.push(list, { list });
  return list;
};

/** A buffer whose memory has moved away, as happens to those that were sent to a worker. */
const detached = (): Uint8Array => {
  const bytes = new Uint8Array(16);
  structuredClone(bytes, { transfer: [bytes.buffer] });
  return bytes;
};

class Mine {
  readonly images = "a.png";
  question = 1;
}

/** Things that people (and other libraries) really hand over, and some that nobody should. Each is made anew, since some cannot be shared. */
const ODD: readonly (() => unknown)[] = [
  ...[null, undefined, true, false, 0, -0, -1, 0.5, 1, 5, 41, 2 ** 31, 2 ** 53, 1e308, Number.NaN, Number.POSITIVE_INFINITY, 10n].map(
    (value) => () => value,
  ),
  ...["", " ", "5", "a.png", "https://", "data:,", "file:///", "iVBORw0KGgo=".repeat(20), "\u0000", "\ud800", "x".repeat(100_000)].map(
    (value) => () => value,
  ),
  () => Symbol("a"),
  () => () => 1,
  () => class {},
  () => /x/,
  () => new Date(Number.NaN),
  () => new Error("an error"),
  () => new URL("https://127.0.0.1:1/a.png"),
  () => new Blob([]),
  () => new ArrayBuffer(4),
  () => new Uint8Array(3),
  () => new Float64Array(3),
  () => new DataView(new ArrayBuffer(3)),
  detached,
  () => new Map([["images", []]]),
  () => new Set([1]),
  () => new AbortController(),
  () => Promise.resolve("a.png"),
  () => new Mine(),
  () => Object.freeze({}),
  () => Object.create(null),
  () => Object.create({ images: [] }),
  () => ({ length: 3 }),
  () => ({ length: 2 ** 40 }),
  () => ({ data: new Uint8Array(3), width: 30_000, height: 30_000 }),
  () => ({ data: "AAAA", width: 1, height: 1, channels: 3.5 }),
  () => ({ type: "image" }),
  () => ({ role: "user", content: [{ type: "image_url" }] }),
  () => ({ aborted: true }),
  () => ({ toString: hostile, valueOf: hostile, toJSON: hostile, [Symbol.toPrimitive]: hostile }),
  () => ({ open: () => hostile() }),
  () => ({ open: "file" }),
  () => ({
    get images() {
      throw new Error("a getter that throws");
    },
  }),
  () => ({
    *[Symbol.iterator]() {
      while (true) yield 1;
    },
  }),
  () => ({
    [Symbol.iterator]() {
      throw new Error("an iterator that throws");
    },
  }),
  () => [],
  () => [[]],
  () => [[[]]],
  () => [null],
  () => [undefined],
  () => [[null]],
  () => new Array(3),
  () => [1, "a", {}],
  () => [["hi"]],
  () => [["hi", "there", "again"]],
  () => [{ question: "a" }],
  () => [{ role: "user", content: "Hi" }],
  () => [{ role: "robot", content: "Hi" }],
  () => [{ role: "user", content: [{ type: "video" }] }],
  () => [hostile()],
  () => [revoked()],
  cyclic,
  hostile,
  revoked,
];

/** A value of no particular kind; told in failures by its number in `ODD`, or as it is. */
export const anyValue: fc.Arbitrary<{ value: unknown }> = fc.oneof(
  { weight: 3, arbitrary: fc.nat(ODD.length - 1).map((index) => lazily(ODD[index]!, `ODD[${index}]: ${ODD[index]}`)) },
  {
    weight: 1,
    arbitrary: fc
      .anything({
        maxDepth: 2,
        withBigInt: true,
        withDate: true,
        withMap: true,
        withSet: true,
        withTypedArray: true,
        withSparseArray: true,
        withNullPrototype: true,
      })
      .map((value) => lazily(() => value)),
  },
);

function lazily(make: () => unknown, label?: string): { value: unknown } {
  const holder = {
    get value() {
      return make();
    },
  };
  return label === undefined ? holder : Object.assign(holder, { [fc.toStringMethod]: () => label });
}
