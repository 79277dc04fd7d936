import type { Gpu } from "../gpu/device.ts";
import { ReadRing, type Ticket } from "../gpu/ring.ts";
import type { CopyOut, Lanes } from "../model/lanes.ts";
import { GREEDY } from "../ops/sample.ts";
import { type Held, NOTHING } from "./prefix.ts";

/** An answer under way in a row. */
export interface Task {
  /** Where the row's last id goes in at the next decode step. */
  position: number;
  /** The position behind the last id that the answer may have. */
  readonly end: number;
  /** Takes the next id; true when the answer ends with it. */
  accept(id: number): boolean;
  finished: boolean;
}

/** Most decode steps that are on their way at once. */
const RING = 8;
/** The queue holds work for about so many milliseconds: enough to hide the CPU, and little is lost at a stop token. */
const AHEAD_MS = 8;

interface Flight {
  ticket: Ticket;
  tasks: (Task | undefined)[]; // by row
}

/**
 * Keeps the GPU busy with decode steps while ids come back behind it. A step needs nothing from the CPU but its positions: the id that one
 * step chooses is the next step's input, on the GPU. So steps are submitted ahead, and what ran past the end of an answer is dropped.
 */
export class Stepper {
  readonly lanes: Lanes;
  /** What each row's cache holds. */
  readonly held: Held[];
  readonly #gpu: Gpu;
  readonly #ring: ReadRing;
  readonly #tasks: (Task | undefined)[];
  #flights: Flight[] = [];
  #stepMs = AHEAD_MS; // how long a step takes; a guess until two have come back in a row
  #last: number | undefined; // when the last ids came, while more were on their way

  constructor(gpu: Gpu, lanes: Lanes) {
    this.#gpu = gpu;
    this.lanes = lanes;
    const { rows } = lanes.state;
    this.#ring = new ReadRing(gpu, RING, rows * 4);
    this.#tasks = Array.from({ length: rows }, () => undefined);
    this.held = this.#tasks.map(() => NOTHING);
  }

  /** Whether any answer is under way. */
  get active(): boolean {
    return this.#tasks.some((task) => task !== undefined);
  }

  /** Waits until a readback can be submitted: steps that were dropped still have to come back. */
  room(): Promise<void> {
    return this.#ring.room();
  }

  /** Starts a task behind its row's prefill, whose last chunk had `units` tokens. Needs room. */
  begin(row: number, task: Task, units: number): void {
    this.#tasks[row] = task;
    this.#submit((copy) => this.lanes.first(row, units, copy), row);
  }

  /** Submits decode steps ahead, as far as it makes sense. */
  fill(): void {
    const ahead = Math.min(RING, 2 + Math.floor(AHEAD_MS / this.#stepMs));
    while (this.#flights.length < ahead && this.#ring.free > 0 && this.#wanting().length > 0) {
      const positions = this.#tasks.map((task) => (task && task.position + 1 < task.end ? task.position++ : undefined));
      this.#submit((copy) => this.lanes.decode(positions, copy), positions);
    }
  }

  /** Tasks that want another step submitted. */
  #wanting(): Task[] {
    return this.#tasks.filter((task): task is Task => task !== undefined && task.position + 1 < task.end);
  }

  #submit(run: (copy: CopyOut) => void, rows: number | readonly (number | undefined)[]): void {
    const took = (row: number) => (typeof rows === "number" ? row === rows : rows[row] !== undefined);
    const ticket = this.#ring.submit(this.lanes.state.next, run);
    this.#flights.push({ ticket, tasks: this.#tasks.map((task, row) => (took(row) ? task : undefined)) });
  }

  /** Waits for the oldest ids under way and hands them to their tasks. @throws EngineError device-lost */
  async collect(): Promise<void> {
    this.#flights = this.#flights.filter(({ tasks }) => tasks.some((task) => task && !task.finished));
    const flight = this.#flights.shift();
    if (!flight) return this.#ring.room(); // only dropped steps are on their way: the next submit waits for one of their buffers
    const alone = this.#flights.length === 0;
    if (alone && this.#wanting().length > 0) this.#gpu.counters.awaitedReadbacks++;
    const ids = await flight.ticket.words;
    const now = performance.now();
    if (this.#last !== undefined && !alone) this.#stepMs = 0.7 * this.#stepMs + 0.3 * (now - this.#last);
    this.#last = alone ? undefined : now;
    for (const [row, task] of flight.tasks.entries()) {
      if (!task || task.finished) continue;
      if (task.accept(ids[row]!)) this.end(row);
    }
    this.#gpu.counters.cpuMs += performance.now() - now;
  }

  /** Ends a row's task: what still comes back for it is dropped. */
  end(row: number): void {
    const task = this.#tasks[row];
    if (task) task.finished = true;
    this.#tasks[row] = undefined;
    this.lanes.state.asked[row] = GREEDY; // no kernels of sampling for a row that is empty
  }

  /** Frees ring and lanes. */
  dispose(): void {
    this.#ring.dispose();
    this.lanes.dispose();
  }
}
