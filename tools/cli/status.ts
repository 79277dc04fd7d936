import type { Terminal } from "./progress.ts";

const CLEAR = "\r\u001b[K";
let shown = false;

/** stderr, for lines that replace themselves: knows whether one is standing there, so that what is said next does not follow on it. */
export const terminal: Terminal = {
  get isTTY() {
    return process.stderr.isTTY;
  },
  write(text) {
    const replaces = text.startsWith(CLEAR);
    if (!replaces) clearStatus();
    process.stderr.write(text);
    shown = replaces && text.length > CLEAR.length;
  },
};

/** A line on stderr that replaces itself on a terminal; on a pipe nothing is written. */
export function status(text: string): void {
  if (process.stderr.isTTY) terminal.write(CLEAR + text);
}

/** Takes the line away, where there is one. */
export function clearStatus(): void {
  if (shown) process.stderr.write(CLEAR);
  shown = false;
}

const NEWS_EVERY = 10_000; // ms between two lines in a log

/** How far some work is: on a terminal the line that replaces itself, in a log one now and then. */
export function news(): (text: string) => void {
  let last = performance.now();
  return (text) => {
    if (process.stderr.isTTY) return status(text);
    if (!text || performance.now() - last < NEWS_EVERY) return;
    last = performance.now();
    process.stderr.write(`${text}\n`);
  };
}
