/** Turns without a pause: short work is not kept waiting. */
const EAGER_TURNS = 20;
const PAUSE_MS = 1;

let turns = 0;

/**
 * Dawn's binding for Node asks for finished work in every turn of the event loop, through `setImmediate`: as long as anything is pending
 * that keeps a core busy, and a CPU adapter needs that core to compute. Dawn looks `setImmediate` up whenever it asks for its next turn, so
 * it is another one during the calls into Dawn, and only then: after the first turns each next one comes after a pause.
 */
export function paced<T>(start: () => T): T {
  turns = 0;
  return calledByDawn(start);
}

function calledByDawn<T>(call: () => T): T {
  const real = globalThis.setImmediate;
  const paced = (turn: (...args: unknown[]) => void, ...args: unknown[]) => {
    const next = () => calledByDawn(() => turn(...args));
    return turns++ < EAGER_TURNS ? real(next) : setTimeout(next, PAUSE_MS);
  };
  globalThis.setImmediate = paced as unknown as typeof setImmediate;
  try {
    return call();
  } finally {
    globalThis.setImmediate = real;
  }
}
