import { aborted, EngineError, onAbort, throwIfAborted } from "../errors.ts";
import { GREEDY } from "../ops/sample-state.ts";
import { Beside } from "./beside.ts";
import type { Allowed } from "./constraint.ts";
import type { Engine, Told } from "./engine.ts";
import type { Accept, Flight, Guest, Job, Prefill } from "./job.ts";
import { NOTHING } from "./prefix.ts";
import type { GenerateRequest, Usage } from "./request.ts";
import { bestSlot, contentOf, newSlot, type Slot } from "./slots.ts";

/** The queue holds decode steps for about this many milliseconds: enough to hide the CPU, and little is lost at a stop token. */
const AHEAD_MS = 8;
const MOST_AHEAD = 8;

/**
 * Answers requests together: each has a slot, one decode step gives the next id of every slot that is busy, and requests join and leave
 * between steps. A step needs nothing from the CPU but positions (the id that one step chooses is the next one's input, on the GPU), so
 * steps are submitted ahead, and what ran past the end of an answer is dropped.
 *
 * Turns. One loop submits everything, round after round; in a round:
 *
 *   1. the request that has waited longest gets a slot, if one is free and no other prompt is being prefilled;
 *   2. one piece of the prompt that is being prefilled is submitted: some tiles, or a chunk; while others decode, a quarter of the usual size,
 *      on CPU adapters an eighth (64 positions);
 *   3. decode steps are submitted: one behind a piece (and one before it is on its way), several ahead where there is no prompt to prefill;
 *   4. the oldest ids that are on their way are awaited and handed out.
 *
 * An answer with a constraint takes part in a step only when its last id has come back and what may follow has been found, on the CPU and
 * beside the loop: others go on meanwhile. Ids that must come are put into its cache as a piece of a prompt is, without steps.
 * So an answer waits for one small piece between two of its ids, and a prompt gets on by a piece each step, in the order in which they came.
 *
 * Memory. There is one slot to begin with; more take memory when there are more requests than slots. They give it back when nothing is
 * under way; with `keep` they keep it, and what their caches hold. Those that were reserved (by a batch) give it back in any case.
 */
export class Scheduler {
  readonly #engine: Engine;
  readonly #slots: Slot<Job>[] = [];
  readonly #waiting: (Job | Guest)[] = [];
  #prefill: Prefill | undefined;
  #flights: Flight[] = [];
  readonly #finding = new Beside(); // by job: what may follow its last id
  #rows: { job: Job; units: number } | undefined; // whose prompt's last piece the model has worked on last: nothing was submitted behind it
  #running: Promise<void> | undefined;
  #closed: { error: EngineError } | undefined;
  #clock = 0; // of slots given
  readonly #keep: boolean;
  #most: number; // slots, less than the engine's where memory ran out
  #kept = 1; // slots that stay when they are free
  #reserved = 0;
  #released: (() => void)[] = []; // to be called when memory that was reserved has been given back
  #stepMs = AHEAD_MS; // how long a step takes; a guess until two have come back in a row
  #last: number | undefined; // when the last ids came, while more were on their way

  constructor(engine: Engine, { keep = false } = {}) {
    this.#engine = engine;
    this.#keep = keep;
    this.#most = engine.most;
    this.#slots = Array.from({ length: engine.slots }, (_, i) => newSlot(i));
  }

  /** Slots that there can be. */
  get most(): number {
    return this.#most;
  }

  /** Answers under way, those that wait for a slot, and the share of all positions that there can be which the former take. */
  get load(): { running: number; waiting: number; kvUsage: number } {
    const busy = this.#busy;
    const taken = busy.reduce((sum, { held, job }) => sum + (job?.position ?? held.ids.length), 0);
    return { running: busy.length, waiting: this.#waiting.length, kvUsage: taken / (this.#most * this.#engine.context) };
  }

  /**
   * Answers a request when its turn comes: `accept` gets every new id, the stop id included, until it says that the answer ends, or
   * `maxTokens` or the context ends it.
   *
   * @throws EngineError bad-input, context-overflow, aborted (at once; the slot is free with the next step), disposed, device-lost; and what
   * `accept` throws
   */
  admit(request: GenerateRequest, accept: Accept, signal?: AbortSignal): Promise<Usage> {
    return new Promise((resolve, reject) => {
      this.#refuseClosed();
      throwIfAborted(signal);
      this.#engine.check(request);
      const { inputIds, maxTokens, maxContext = this.#engine.context } = request;
      const job: Job = {
        request,
        accept,
        end: Math.min(this.#engine.context, maxContext, inputIds.length + maxTokens),
        ids: [],
        slot: undefined,
        position: undefined,
        allowed: undefined,
        usage: { prefilledTokens: 0, cachedTokens: 0, began: 0 },
        finished: false,
        settle(outcome) {
          leave();
          if (outcome) reject(outcome.error);
          else resolve(job.usage);
        },
      };
      const leave = onAbort(signal, () => this.#finish(job, { error: aborted(signal?.reason) }));
      this.#waiting.push(job);
      this.#wake();
    });
  }

  /** Runs `work` when its turn comes and nothing is under way, and lets nothing begin meanwhile; slot 0 is its to use. @throws EngineError disposed, device-lost */
  alone<T>(work: (engine: Engine) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#refuseClosed();
      const run = async () => {
        this.#slots[0]!.held = NOTHING;
        await work(this.#engine).then(resolve, reject);
      };
      this.#waiting.push({ run, settle: ({ error }: { error: unknown }) => reject(error) });
      this.#wake();
    });
  }

  /** Has memory taken for as many slots, as far as there can be, until what is returned is called; that waits until it is given back. */
  reserve(slots: number): () => Promise<void> {
    this.#reserved += slots;
    return () => {
      this.#reserved -= slots;
      if (this.#closed) return Promise.resolve();
      return new Promise((resolve) => {
        this.#released.push(resolve);
        this.#wake();
      });
    };
  }

  /** Lets nobody in any more (they are refused with `error`), and waits until what was let in is answered and the engine is at rest. */
  async close(error: EngineError): Promise<void> {
    this.#closed ??= { error };
    while (this.#running) await this.#running;
    await this.#finding.end();
  }

  #refuseClosed(): void {
    if (this.#closed) throw this.#closed.error;
  }

  #fail(error: unknown): void {
    for (const each of [...this.#waiting.splice(0), ...this.#slots.flatMap(({ job }) => job ?? [])]) {
      if ("run" in each) each.settle({ error });
      else this.#finish(each, { error });
    }
    for (const released of this.#released.splice(0)) released();
  }

  /** Ends a request, with an error or well: its slot is free, and what still comes back for it is dropped. */
  #finish(job: Job, outcome?: { error: unknown }): void {
    if (job.finished) return;
    job.finished = true;
    const { slot, ids, request, position } = job;
    const place = this.#waiting.indexOf(job);
    if (place >= 0) this.#waiting.splice(place, 1);
    if (slot) {
      slot.job = undefined;
      // The last id was chosen, but no step has taken it in for sure; nor those before it that had to come.
      const taken = [...request.inputIds, ...ids.slice(0, -1)];
      if (position !== undefined) slot.held = { ...contentOf(request).prompt, ids: taken.slice(0, position) };
    }
    job.settle(outcome);
    this.#finding.stir();
  }

  #wake(): void {
    this.#finding.stir();
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#wanted) this.#wake();
    });
  }

  get #busy(): Slot<Job>[] {
    return this.#slots.filter(({ job }) => job);
  }

  get #wanted(): boolean {
    return this.#busy.length + this.#waiting.length + this.#released.length > 0;
  }

  async #run(): Promise<void> {
    try {
      while (this.#wanted) {
        if (this.#prefill?.job.finished) this.#prefill = undefined;
        await this.#resize();
        await this.#seat();
        await this.#piece();
        await this.#extend();
        this.#fill();
        await this.#collect();
      }
      if (!this.#closed) await this.#resize();
    } catch (error) {
      this.#flights = [];
      this.#prefill = undefined;
      this.#fail(error);
    }
  }

  /** Takes memory for those who wait, gives back what nobody keeps. */
  async #resize(): Promise<void> {
    const busy = this.#busy;
    const needed = Math.min(this.#most, busy.length + this.#waiting.filter((each) => !("run" in each)).length);
    const reserved = Math.min(this.#most, this.#reserved);
    if (needed > Math.max(this.#kept, reserved)) this.#kept = needed;
    else if (needed === 0 && !this.#keep) this.#kept = 1;
    const target = Math.max(this.#kept, reserved, 1 + (busy.at(-1)?.index ?? 0));
    const before = this.#slots.length;
    if (target !== before) {
      try {
        await this.#engine.resize(target);
        for (let i = before; i < target; i++) this.#slots.push(newSlot(i));
        this.#slots.length = target;
      } catch (error) {
        const tight = error instanceof EngineError && ["out-of-memory", "limit-exceeded"].includes(error.code);
        if (!tight || target < before) throw error;
        this.#most = before; // whoever waits, waits for one of those that there are
        this.#kept = Math.min(this.#kept, before);
      }
    }
    for (const released of this.#released.splice(0)) released();
  }

  /** Gives a slot to whoever waits longest. */
  async #seat(): Promise<void> {
    const free = this.#slots.filter(({ job }) => !job);
    const [job] = this.#waiting;
    if (!job || this.#prefill || free.length < ("run" in job ? this.#slots.length : 1)) return;
    this.#waiting.shift();
    if ("run" in job) {
      await this.#finding.end(); // of answers that were aborted
      return job.run();
    }
    const { request } = job;
    const { slot, shared } = bestSlot(free, request);
    slot.job = job;
    slot.used = ++this.#clock;
    slot.held = { ...contentOf(request).prompt, ids: request.inputIds.slice(0, shared) };
    job.slot = slot;
    job.usage = { prefilledTokens: request.inputIds.length - shared, cachedTokens: shared, began: performance.now() };
    const pieces = this.#engine.prefill(slot.index, request, shared, () => this.#busy.length > 1);
    this.#prefill = { job, pieces, at: shared };
    this.#constrain(job);
  }

  /** Submits the next piece of a prompt, unless more than one step is still ahead of it; behind the last one, the answer begins. */
  async #piece(): Promise<void> {
    const prefill = this.#prefill;
    if (!prefill || this.#flights.length > 1 || this.#engine.room === 0) return;
    const { job, pieces } = prefill;
    const { inputIds, constraint } = job.request;
    this.#rows = undefined;
    try {
      const { value: units = 0 } = await pieces.next();
      prefill.at += units;
      job.slot!.held = { ...job.slot!.held, ids: inputIds.slice(0, prefill.at) };
      if (job.finished || prefill.at < inputIds.length) return;
      job.position = inputIds.length;
      this.#rows = { job, units };
      this.#prefill = undefined;
      this.#finding.stir(); // somebody may wait for his turn
    } catch (error) {
      this.#failed(job, error);
    }
    if (job.position !== undefined && !constraint) await this.#choose(job);
  }

  /** @throws EngineError device-lost: any other error is its request's own */
  #failed(job: Job, error: unknown): void {
    if (error instanceof EngineError && error.code === "device-lost") throw error;
    this.#finish(job, { error });
  }

  /** Submits the choice of an answer's next id behind its prompt, or behind ids that must come. */
  async #choose(job: Job): Promise<void> {
    const { index } = job.slot!;
    const { inputIds, sampling = GREEDY, tell = false } = job.request;
    const { forced, mask } = job.allowed ?? { forced: [] };
    const begins = job.ids.length === 0;
    for (const id of forced) if (!job.finished) this.#take(job, id);
    if (job.finished) return;
    const counts = new Map(forced.map((id) => [id, job.ids.filter((each) => each === id).length]));
    try {
      // The last id before those that must come was chosen by a step, and none has taken it in.
      const ids = job.ids.slice(job.position! - inputIds.length);
      let units = this.#rows?.job === job && ids.length === 0 ? this.#rows.units : undefined;
      if (units === undefined) {
        this.#rows = undefined;
        // Others' steps came behind the prompt: its last id, which is never a visual token, goes in again.
        if (ids.length === 0) units = await this.#engine.extend(index, inputIds.slice(-1), job.position! - 1);
        else units = await this.#engine.extend(index, ids, job.position!);
        job.position = job.position! + ids.length;
      }
      const ticket = await this.#engine.first(index, units, { ...(begins && { sampling }), tell, mask, counts });
      job.allowed = undefined;
      if (!job.finished) this.#flights.push({ ticket, jobs: this.#slots.map((each) => (each.job === job ? job : undefined)) });
    } catch (error) {
      this.#failed(job, error);
    }
  }

  /** Begins answers for which it has been found what they may begin with, and goes on with those whose next ids must come. */
  async #extend(): Promise<void> {
    for (const { job } of this.#slots) {
      const chooses = job?.position !== undefined && job.allowed && (job.ids.length === 0 || job.allowed.forced.length > 0);
      if (chooses && this.#engine.room > 0) await this.#choose(job);
    }
  }

  /** Answers that want another step, by slot. */
  #decoding(): (Job | undefined)[] {
    const wants = ({ ids, position, end, request, allowed }: Job) =>
      position !== undefined && position + 1 < end && (!request.constraint || (ids.length > 0 && allowed?.forced.length === 0));
    return this.#slots.map(({ job }) => (job && wants(job) ? job : undefined));
  }

  /** Submits decode steps ahead, as far as it makes sense. */
  #fill(): void {
    const ahead =
      this.#prefill || this.#busy.some(({ job }) => job?.request.constraint && !this.#finding.has(job))
        ? 2
        : Math.min(MOST_AHEAD, 2 + Math.floor(AHEAD_MS / this.#stepMs));
    while (this.#flights.length < ahead && this.#engine.room > 0) {
      const jobs = this.#decoding();
      if (jobs.every((job) => !job)) return;
      const positions = jobs.map((job) => (job ? job.position!++ : undefined));
      const masks = jobs.map((job) => job?.allowed?.mask);
      const tell = jobs.some((job) => job?.request.tell);
      this.#rows = undefined;
      this.#flights.push({ ticket: this.#engine.decode(positions, tell, masks), jobs });
      for (const job of jobs) if (job) job.allowed = undefined;
    }
  }

  /** Waits for the oldest ids under way and hands them out. @throws EngineError device-lost */
  async #collect(): Promise<void> {
    this.#flights = this.#flights.filter(({ jobs }) => jobs.some((job) => job && !job.finished));
    const flight = this.#flights.shift();
    if (!flight) {
      this.#last = undefined;
      const busy = this.#busy;
      if (!this.#prefill && busy.length > 0 && busy.every(({ job }) => this.#finding.has(job!))) return this.#finding.news();
      return this.#wanted ? this.#engine.flush() : undefined; // a piece, or steps that were dropped
    }
    const { counters } = this.#engine;
    const last = this.#flights.length === 0;
    if (last && this.#decoding().some((job) => job)) counters.awaitedReadbacks++;
    const ids = await flight.ticket.words;
    const told = await flight.ticket.told;
    const now = performance.now();
    if (this.#last !== undefined && !last) this.#stepMs = 0.7 * this.#stepMs + 0.3 * (now - this.#last);
    this.#last = last ? undefined : now;
    for (const [i, job] of flight.jobs.entries()) {
      if (!job || job.finished) continue;
      this.#take(job, ids[i]!, job.request.tell ? told?.(i) : undefined);
      this.#constrain(job, ids[i]!);
    }
    counters.cpuMs += performance.now() - now;
  }

  /** Has it found what may follow an id, or what an answer may begin with. */
  #constrain(job: Job, id?: number): void {
    const { constraint, tell } = job.request;
    if (!constraint || job.finished) return;
    const found = (allowed: Allowed) => {
      job.allowed = allowed;
    };
    this.#finding.begin(job, constraint.advance(id, !tell), found, (error) => this.#finish(job, { error }));
  }

  #take(job: Job, id: number, told?: Told): void {
    const { request, usage } = job;
    try {
      const total = usage.prefilledTokens;
      if (job.ids.length === 0) request.onProgress?.({ phase: "prefill", loaded: total, total });
      job.ids.push(id);
      if (job.accept(id, told) || request.inputIds.length + job.ids.length >= job.end) this.#finish(job);
    } catch (error) {
      this.#finish(job, { error });
    }
  }
}
