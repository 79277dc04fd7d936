import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { EngineError } from "../../src/errors.ts";
import type { GenerateRequest, Usage } from "../../src/generate/request.ts";
import { Scheduler } from "../../src/generate/scheduler.ts";
import { GREEDY } from "../../src/ops/sample-state.ts";
import { alone, CONTEXT, FakeConstraint, FakeEngine, PICTURE } from "./fake-engine.ts";

const pause = async (ticks: number) => {
  for (let i = 0; i < ticks; i++) await new Promise((resolve) => setImmediate(resolve));
};

/** A request: its prompt begins like others' (a system message), and may have a picture. */
const request = fc
  .record({
    shared: fc.integer({ min: 0, max: 6 }),
    own: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 24 }),
    picture: fc.option(fc.constantFrom("cat", "dog"), { nil: undefined }),
    maxTokens: fc.integer({ min: 1, max: 30 }),
    seed: fc.integer({ min: 0, max: 2 }),
    salt: fc.option(fc.nat({ max: 1000 }), { nil: undefined }),
    tell: fc.boolean(),
  })
  .map(
    ({ shared, own, picture, maxTokens, seed, salt, tell }): GenerateRequest => ({
      inputIds: [...Array.from({ length: shared }, (_, i) => 100 + i), ...(picture ? [PICTURE] : []), ...own],
      images: picture && { count: 1, size: 1, keys: [picture], pixels: () => new Float32Array() },
      imageContextId: PICTURE,
      maxTokens,
      sampling: { ...GREEDY, seed },
      constraint: salt === undefined ? undefined : new FakeConstraint(salt),
      tell,
    }),
  );

/** When it comes, and whether it is aborted: after so many ids (0: before the first), or never. */
const arrival = fc.record({
  request,
  wait: fc.nat({ max: 12 }),
  abortAfter: fc.option(fc.nat({ max: 6 }), { nil: undefined }),
});

interface Outcome {
  ids: number[];
  usage?: Usage;
  error?: unknown;
}

/** Runs one schedule; what came of each request. */
async function play(
  scheduler: Scheduler,
  arrivals: readonly { request: GenerateRequest; wait: number; abortAfter: number | undefined }[],
  later: () => Promise<void>,
) {
  const running: Promise<Outcome>[] = [];
  for (const { request, wait, abortAfter } of arrivals) {
    await pause(wait);
    const abort = new AbortController();
    const ids: number[] = [];
    const accept = (id: number) => {
      expect(abort.signal.aborted).toBe(false); // nothing comes behind an abort
      ids.push(id);
      if (ids.length === abortAfter) abort.abort();
      return id % 10 === 0;
    };
    // A constraint is one answer's: shrinking plays a schedule again.
    const own =
      request.constraint instanceof FakeConstraint
        ? { ...request, constraint: new FakeConstraint(request.constraint.salt, later) }
        : request;
    const outcome = scheduler.admit(own, accept, abort.signal).then(
      (usage) => ({ ids, usage }),
      (error: unknown) => ({ ids, error }),
    );
    if (abortAfter === 0) setImmediate(() => abort.abort());
    running.push(outcome);
  }
  return Promise.all(running);
}

describe("the scheduler, on a model that tells every wrong value", () => {
  it("loses, doubles and mixes up no id, whoever comes, leaves and is aborted when", async () => {
    let together = 0;
    let extended = 0;
    let late = 0; // schedules whose constraints take more than no time
    await fc.assert(
      fc.asyncProperty(
        fc.array(arrival, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 7 }),
        fc.array(fc.oneof(fc.constant(0), fc.nat({ max: 25 })), { minLength: 1, maxLength: 7 }), // what constraints take; each takes the next, so they come in any order
        fc.boolean(),
        async (arrivals, most, ticks, delays, keep) => {
          let tick = 0;
          const engine = new FakeEngine(most, () => ticks[tick++ % ticks.length]!);
          const scheduler = new Scheduler(engine, { keep });
          let asked = 0;
          const outcomes = await play(scheduler, arrivals, () => pause(delays[asked++ % delays.length]!));
          if (asked > 0 && Math.max(...delays) > 0) late++;
          for (const [i, { ids, usage, error }] of outcomes.entries()) {
            const { request, abortAfter } = arrivals[i]!;
            const expected = alone(request);
            if (error !== undefined) {
              expect(error).toMatchObject({ code: "aborted" });
              expect(abortAfter).toBeDefined();
              // 0 is soon after it came: a quick model may have said something by then.
              expect(ids).toEqual(expected.slice(0, abortAfter === 0 ? ids.length : abortAfter));
            } else {
              expect(ids).toEqual(expected);
              expect(usage!.prefilledTokens + usage!.cachedTokens).toBe(request.inputIds.length);
              expect(usage!.prefilledTokens).toBeGreaterThan(0);
            }
          }
          if (engine.shared > 0) together++;
          extended += engine.extended;
          await scheduler.close(new EngineError("disposed", "over"));
          expect(engine.slots).toBeLessThanOrEqual(most);
        },
      ),
      { numRuns: 500 },
    );
    expect(together).toBeGreaterThan(50); // schedules with steps of several slots
    expect(extended).toBeGreaterThan(1000); // ids that had to come
    expect(late).toBeGreaterThan(200);
  });

  const prompt = (length: number, first = 1, more: Partial<GenerateRequest> = {}): GenerateRequest => ({
    inputIds: Array.from({ length }, (_, i) => first + i),
    imageContextId: PICTURE,
    maxTokens: 30,
    ...more,
  });
  const never = () => false;

  it("rejects everything that is under way or waits when the device is lost, answers it when it is closed; refuses what comes later", async () => {
    for (const code of ["device-lost", "disposed"] as const) {
      const error = new EngineError(code, "gone");
      const engine = new FakeEngine(2, () => 1);
      const scheduler = new Scheduler(engine);
      let ids = 0;
      const running = Array.from({ length: 5 }, (_, i) => scheduler.admit(prompt(20, 20 * i), () => ++ids < 0));
      const guest = scheduler.alone(async () => {});
      const release = scheduler.reserve(2);
      while (ids < 5) await pause(1);
      const outcomes = Promise.allSettled([...running, guest]);
      if (code === "disposed") await scheduler.close(error);
      else engine.lost = error;
      const lost = { status: "rejected", reason: error };
      expect(await outcomes).toEqual(Array(6).fill(code === "disposed" ? expect.objectContaining({ status: "fulfilled" }) : lost));
      await release();
      await expect(scheduler.admit(prompt(3), never)).rejects.toBe(error);
      let resized = 0;
      engine.resize = async () => {
        resized++;
        throw error;
      };
      await pause(50);
      expect(resized).toBe(0); // it does not go on trying
    }
  });

  it("an abort frees the slot with the next step, wherever the request is", async () => {
    const engine = new FakeEngine(1, () => 1);
    const scheduler = new Scheduler(engine);
    const abort = new AbortController();
    const [first, waiting] = [new AbortController(), new AbortController()];
    let ids = 0;
    const decoding = scheduler.admit(prompt(4), () => ++ids < 0, first.signal);
    const behind = scheduler.admit(prompt(30, 50), never, waiting.signal);
    const last = scheduler.admit(prompt(4, 70, { maxTokens: 2 }), never);
    decoding.catch(() => {});
    behind.catch(() => {});
    while (ids < 2) await pause(1);
    waiting.abort("mine"); // while it waits
    await expect(behind).rejects.toMatchObject({ code: "aborted", cause: "mine" });
    const { steps } = engine;
    first.abort();
    await expect(decoding).rejects.toMatchObject({ code: "aborted" });
    await last;
    expect(engine.steps - steps).toBeLessThanOrEqual(1 + 2); // its own, and what was ahead
    const prefilling = scheduler.admit(prompt(30, 90), never, abort.signal);
    setImmediate(() => abort.abort());
    await expect(prefilling).rejects.toMatchObject({ code: "aborted" });
    expect((await scheduler.admit(prompt(4, 70, { maxTokens: 2 }), never)).cachedTokens).toBe(0); // what was begun has overwritten it
    await expect(scheduler.admit(prompt(4), never, AbortSignal.abort())).rejects.toMatchObject({ code: "aborted" });
  });

  it("takes the free slot with the longest prefix, else the least recently used; another picture is another prefix", async () => {
    const engine = new FakeEngine(3, () => 0);
    const scheduler = new Scheduler(engine, { keep: true });
    const ask = async (request: GenerateRequest) => (await scheduler.admit({ ...request, maxTokens: 1 }, never)).cachedTokens;
    const three = [prompt(10, 10), prompt(10, 30), prompt(10, 50)];
    const release = scheduler.reserve(3);
    await Promise.all(three.map(ask));
    expect(engine.slots).toBe(3);
    for (const each of three) expect(await ask(each)).toBe(9); // all but the last, whose logits are needed
    expect(await ask({ ...three[0]!, inputIds: three[0]!.inputIds.slice(0, 5) })).toBe(4);
    expect(await ask(prompt(10, 70))).toBe(0); // in place of the second
    expect([await ask(three[2]!), await ask(prompt(10, 70)), await ask(three[1]!)]).toEqual([9, 9, 0]);
    const seen = (key: string) => ({
      ...prompt(8, PICTURE),
      images: { count: 1, size: 1, keys: [key], pixels: () => new Float32Array() },
    });
    expect([await ask(seen("cat")), await ask(seen("dog")), await ask(seen("cat"))]).toEqual([0, 0, 7]);
    await release();
  });

  it("gives an answer its next id between two pieces of another's prompt", async () => {
    const engine = new FakeEngine(2, () => 1);
    const scheduler = new Scheduler(engine);
    const order: string[] = [];
    const own = engine.prefill.bind(engine);
    engine.prefill = async function* (...asked) {
      for await (const units of own(...asked)) {
        order.push(`piece of ${units}`);
        yield units;
      }
    };
    const short = scheduler.admit(prompt(2, 1, { maxTokens: 38 }), () => order.push("id") < 0);
    while (!order.includes("id")) await pause(1);
    await scheduler.admit(prompt(30, 50, { maxTokens: 1 }), never);
    await short;
    const pieces = order
      .slice(1)
      .join()
      .match(/piece of \d+(,piece of \d+)*/g);
    expect(pieces).toEqual(Array(10).fill("piece of 3"));
  });

  it.for([1, 3])("while advance %i of a constraint is held back, others come, get all of their ids and leave", async (which) => {
    const engine = new FakeEngine(2, () => 1);
    const scheduler = new Scheduler(engine);
    let release = () => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    let asked = 0;
    const constraint = new FakeConstraint(5, async () => (++asked === which ? held : undefined));
    const request = prompt(6, 7, { constraint, tell: true }); // no ids by themselves
    const ids: number[] = [];
    const constrained = scheduler.admit(request, (id) => ids.push(id) > 0 && id % 10 === 0);
    while (asked < which) await pause(1);
    for (const first of [40, 50]) {
      const others: number[] = [];
      await scheduler.admit(prompt(5, first, { maxTokens: 8 }), (id) => others.push(id) < 0);
      expect(others).toHaveLength(8);
    }
    await pause(10);
    const flush = vi.spyOn(engine, "flush");
    await pause(50);
    expect(flush).not.toHaveBeenCalled();
    expect(ids).toHaveLength(which - 1);
    release();
    await constrained;
    expect(ids).toEqual(alone(request));
    expect(ids.length).toBeGreaterThan(which);
  });

  it("an answer that is aborted while its ids are being found leaves its slot at once; whoever wants the model alone, or its end, waits", async () => {
    const engine = new FakeEngine(1, () => 1);
    const scheduler = new Scheduler(engine);
    const order: string[] = [];
    const releases: (() => void)[] = [];
    const held = async () => {
      await new Promise<void>((resolve) => releases.push(resolve));
      order.push("found");
    };
    const abort = new AbortController();
    const ask = () => scheduler.admit(prompt(6, 7, { constraint: new FakeConstraint(5, held) }), never, abort.signal);
    const first = ask();
    first.catch(() => {});
    while (releases.length < 1) await pause(1);
    await pause(10);
    abort.abort();
    await expect(first).rejects.toMatchObject({ code: "aborted" });
    const ids: number[] = [];
    const next = prompt(9, 30, { maxTokens: 5 });
    await scheduler.admit(next, (id) => ids.push(id) > 0 && id % 10 === 0);
    expect(ids).toEqual(alone(next));
    const guest = scheduler.alone(async () => order.push("alone"));
    await pause(10);
    expect(order).toEqual([]);
    releases[0]!();
    await guest;
    const failing = new Error("mine");
    const failed = { advance: () => pause(3).then(() => Promise.reject(failing)) };
    await expect(scheduler.admit(prompt(6, 7, { constraint: failed }), never)).rejects.toBe(failing);
    const late = new AbortController();
    const second = scheduler.admit(prompt(6, 7, { constraint: new FakeConstraint(5, held) }), never, late.signal);
    second.catch(() => {});
    while (releases.length < 2) await pause(1);
    late.abort();
    const closed = scheduler.close(new EngineError("disposed", "over")).then(() => order.push("closed"));
    await pause(10);
    releases[1]!();
    await closed;
    expect(order).toEqual(["found", "alone", "found", "closed"]);
  });

  it("slots take memory when they are needed, and give it back; where there is none, requests wait", async () => {
    const engine = new FakeEngine(4, () => 1);
    const scheduler = new Scheduler(engine);
    const asks = (count: number) => Promise.all(Array.from({ length: count }, (_, i) => scheduler.admit(prompt(4, 10 * i), never)));
    await asks(1);
    await asks(1);
    expect(engine.sizes).toEqual([]);
    await asks(3);
    while (engine.slots > 1) await pause(1);
    expect(engine.sizes).toEqual([3, 1]);
    const release = scheduler.reserve(4);
    await asks(1);
    expect(engine.slots).toBe(4);
    await release();
    expect(engine.slots).toBe(1);
    const kept = new Scheduler(engine, { keep: true });
    await Promise.all([1, 2].map((first) => kept.admit(prompt(4, first), never)));
    await kept.alone(async () => {});
    expect(engine.slots).toBe(2);
    engine.resize = async () => {
      throw new EngineError("out-of-memory", "full");
    };
    await Promise.all([1, 2, 3, 4].map((first) => kept.admit(prompt(4, first), never)));
    expect([engine.slots, kept.most]).toEqual([2, 2]);
  });

  it("an error of `accept`, or a context that is too short, is its request's own; whoever wants the model alone waits, and has it", async () => {
    const engine = new FakeEngine(2, () => 1);
    const scheduler = new Scheduler(engine);
    const mistake = new Error("mine");
    const throwing = scheduler.admit(prompt(4), () => {
      throw mistake;
    });
    const good = scheduler.admit(prompt(5), never);
    const guest = scheduler.alone(async () => {
      const { steps } = engine;
      await pause(20);
      expect(engine.steps).toBe(steps);
      return 7;
    });
    const later = scheduler.admit(prompt(6), never);
    await expect(throwing).rejects.toBe(mistake);
    await expect(scheduler.admit(prompt(CONTEXT), never)).rejects.toMatchObject({ code: "context-overflow" });
    expect(await guest).toBe(7);
    await good;
    expect((await later).cachedTokens).toBe(0);
  });
});
