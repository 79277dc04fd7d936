import { describe, expect, it } from "vitest";
import type { ByteSource, TensorEntry } from "../../src/safetensors/index.ts";
import { CHUNK_BYTES, planReads, type Read, readAhead } from "../../src/weights/reads.ts";

const KIB = 2 ** 10;

const source = (name: string): ByteSource => ({ name, size: 2 ** 40, read: async (_, length) => new Uint8Array(length) });
const file = source("a file");

/** A tensor "NAME:BEGIN-END", at those bytes of its file. */
const tensor = (name: string, begin: number, end: number, from = file): TensorEntry => ({
  source: from,
  info: { name, dtype: "U8", shape: [end - begin], begin, end },
});

const planned = (...entries: TensorEntry[]): Read[] => [...planReads(entries)];
const named = (reads: Read[]): string[][] => reads.map(({ parts }) => parts.map(({ name }) => name));

describe("planReads", () => {
  it("takes neighbours together, over what is small between them, up to the size of a piece", () => {
    const third = CHUNK_BYTES / 4;
    const reads = planned(
      tensor("a", 100, 100 + third),
      tensor("b", 100 + third, 100 + 2 * third),
      tensor("c", 100 + 2 * third + 64 * KIB, 100 + 3 * third), // behind 64 KiB that nobody asked for
      tensor("d", 100 + 3 * third + 64 * KIB + 1, 100 + 4 * third), // one byte more: a read of its own
      tensor("e", 100 + 4 * third, 100 + 5 * third),
      tensor("f", 100 + 5 * third, 100 + 8 * third), // does not fit any more, and is not cut
    );
    expect(named(reads)).toEqual([["a", "b", "c"], ["d", "e"], ["f"]]);
    expect(reads[0]).toMatchObject({ begin: 100, end: 100 + 3 * third });
  });

  it("cuts a tensor that is larger than a piece at multiples of 128 bytes from its start", () => {
    const reads = planned(tensor("a", 8, 108), tensor("large", 108, 108 + 2 * CHUNK_BYTES), tensor("b", 108 + 2 * CHUNK_BYTES, 2 ** 26));
    expect(named(reads)).toEqual([["a", "large"], ["large"], ["large", "b"], ["b"], ["b"]]);
    const cuts = reads.flatMap(({ parts }) => parts.filter(({ name }) => name === "large"));
    expect(cuts.map(({ offset }) => offset)).toEqual([0, CHUNK_BYTES - 128, 2 * CHUNK_BYTES - 128]);
  });

  it("begins anew in another file, and where the order goes back", () => {
    const reads = planned(tensor("a", 10, 20), tensor("b", 20, 30, source("another")), tensor("c", 30, 40), tensor("d", 0, 10));
    expect(named(reads)).toEqual([["a"], ["b"], ["c"], ["d"]]);
  });

  it("reads no empty tensor", () => {
    expect(planned(tensor("empty", 5, 5))).toEqual([]);
    expect(named(planned(tensor("a", 0, 5), tensor("empty", 5, 5), tensor("b", 5, 9)))).toEqual([["a", "b"]]);
  });

  it("covers every byte once, in order, in reads that are not too large", () => {
    let seed = 1;
    const random = (below: number) => (seed = (seed * 48_271) % 0x7fffffff) % below;
    for (let round = 0; round < 50; round++) {
      const entries: TensorEntry[] = [];
      let at = random(1000);
      for (let i = 0; i < 30; i++) {
        const bytes = [0, random(1000), random(200 * KIB), random(3 * CHUNK_BYTES)][random(4)]!;
        entries.push(tensor(String(i), at, at + bytes));
        at += bytes + (random(2) && random(100 * KIB));
      }
      const reads = planned(...entries);
      const reached = new Map(entries.map(({ info }) => [info.name, 0]));
      for (const { begin, end, parts } of reads) {
        expect(end - begin).toBeLessThanOrEqual(CHUNK_BYTES);
        expect(parts[0]!.begin).toBe(begin);
        expect(parts.at(-1)!.end).toBe(end);
        for (const part of parts) {
          expect(part.offset).toBe(reached.get(part.name));
          expect(part.begin).toBe(entries[Number(part.name)]!.info.begin + part.offset);
          expect(part.offset % 128).toBe(0);
          reached.set(part.name, part.offset + part.end - part.begin);
        }
      }
      for (const { info } of entries) expect(reached.get(info.name)).toBe(info.end - info.begin);
    }
  });
});

describe("readAhead", () => {
  /** A source whose reads end when the test says so. */
  function held() {
    const asked: number[] = [];
    const ends: { good: () => void; bad: (error: Error) => void }[] = [];
    const from: ByteSource = {
      ...source("held"),
      readInto: (offset, into) => {
        asked.push(offset);
        into.fill(offset);
        return new Promise((good, bad) => ends.push({ good, bad }));
      },
    };
    const reads = [1, 2, 3, 4, 5].map(
      (at): Read => ({ source: from, begin: at, end: at + 1, parts: [{ name: `${at}`, offset: 0, begin: at, end: at + 1 }] }),
    );
    return { asked, ends, reads, into: [new Uint8Array(4), new Uint8Array(4), new Uint8Array(4)] };
  }

  it("has two reads under way, never more, while a third one's bytes are used", async () => {
    const { asked, ends, reads, into } = held();
    const readings = readAhead(reads.values(), into);
    const got: number[] = [];
    for (let i = 0; i < 5; i++) {
      const next = readings.next();
      expect(asked).toHaveLength(Math.min(5, i + 2));
      ends[i]!.good();
      const { bytes } = (await next).value!;
      expect(asked).toHaveLength(Math.min(5, i + 3));
      for (const { good } of ends.slice(i + 1)) good(); // those behind are done, and leave these bytes alone
      got.push(...bytes);
    }
    expect(got).toEqual([1, 2, 3, 4, 5]);
    expect((await readings.next()).done).toBe(true);
  });

  it("tells a failure when its turn comes, and reads no further", async () => {
    const { asked, ends, reads, into } = held();
    const readings = readAhead(reads.values(), into);
    const first = readings.next();
    ends[1]!.bad(new Error("of the second"));
    ends[0]!.good();
    expect((await first).value!.read).toBe(reads[0]);
    ends[2]!.good();
    await expect(readings.next()).rejects.toThrow("of the second");
    expect(asked).toEqual([1, 2, 3]);
  });

  it("a caller that stops hears of no failure behind it, and all reads have ended", async () => {
    const { asked, ends, reads, into } = held();
    const readings = readAhead(reads.values(), into);
    const first = readings.next();
    ends[0]!.good();
    await first;
    let stopped = false;
    const stop = readings.return().then(() => (stopped = true));
    ends[1]!.bad(new Error("never asked for"));
    await new Promise((resolve) => setImmediate(resolve));
    expect(stopped).toBe(false); // the third is under way
    ends[2]!.good();
    await stop;
    expect(asked).toEqual([1, 2, 3]);
  });

  it("asks the source for nothing more once it is aborted", async () => {
    const { asked, ends, reads, into } = held();
    const abort = new AbortController();
    const readings = readAhead(reads.values(), into, abort.signal);
    const first = readings.next();
    ends[0]!.good();
    await first;
    abort.abort(new Error("enough"));
    ends[1]!.good();
    ends[2]!.good();
    const rest = async () => {
      for await (const _ of readings);
    };
    await expect(rest()).rejects.toThrow("enough");
    expect(asked).toEqual([1, 2, 3]);
  });
});
