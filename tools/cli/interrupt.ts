/** What a shell reports of a program that such a signal has ended: 128 and the signal's number. */
const CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
type Name = keyof typeof CODES;

/** npx hands its own Ctrl-C on to the program, which has had it already: what comes this soon after is the same key. */
const SAME_KEY = 200; // ms
/** What has not ended so long after the signal (a call into the GPU's driver, a pipe that nobody opens) is not waited for. */
const PATIENCE = 5000; // ms

/** What the promise of `listenForSignals` is rejected with. */
export const STUCK = new Error("it did not end after a signal");

const abort = new AbortController();
let by: Name | undefined;
let last = Number.NEGATIVE_INFINITY;
let taker: (() => void) | undefined;
let giveUp: (() => void) | undefined;

function onSignal(name: Name): void {
  const now = performance.now();
  if (now - last < SAME_KEY) return;
  last = now;
  if (name === "SIGINT" && taker) taker();
  else interrupt(name);
}

/** Fires at the first Ctrl-C (or SIGTERM, or when the terminal is closed): whoever works stops, and removes what is half done. */
export const interrupted: AbortSignal = abort.signal;

/** The signal that has ended the program. */
export const interruption = (): Name | undefined => by;

/** Ends the program now. Where it is stuck, by the signal itself: Node's exit waits for calls into the system that do not come back. */
export function leave(name: Name, stuck: boolean): never {
  stopListening();
  if (stuck) process.once("exit", () => process.kill(process.pid, name));
  process.exit(CODES[name]);
}

/** Stops the program as a signal does; a second time ends it at once. */
export function interrupt(name: Name): void {
  if (by) leave(by, true);
  by = name;
  setTimeout(() => giveUp?.(), PATIENCE).unref();
  abort.abort();
}

/** Hands Ctrl-C to somebody who has a use for it (the interactive chat), until the function that it returns is called. */
export function takeInterrupts(use: () => void): () => void {
  taker = use;
  return () => {
    taker = undefined;
  };
}

/** Leaves the signals to the system: where the program's end is kept waiting by a call into it, Ctrl-C still ends it. */
export function stopListening(): void {
  for (const name of Object.keys(CODES)) process.removeAllListeners(name);
}

/** Listens for signals from now on. The promise is rejected where the program has not ended some seconds after one. */
export function listenForSignals(): Promise<never> {
  for (const name of Object.keys(CODES) as Name[]) process.on(name, () => onSignal(name));
  return new Promise((_, reject) => {
    giveUp = () => reject(STUCK);
  });
}
