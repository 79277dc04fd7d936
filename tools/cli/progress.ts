import type { Progress, PromptProgress } from "../../src/index.ts";

const WINDOW = 5_000; // ms over which the rate is taken: long enough to be steady, short enough to be true
const LINE_EVERY = 10_000; // ms between two lines in a log

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);

/** `1 h 5 min`, `3 min 20 s`, `8 s`. */
export function durationText(seconds: number): string {
  const s = Math.ceil(seconds);
  if (s >= 3600) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return s >= 60 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${s} s`;
}

/** A download in one line: bytes, rate and remaining time. A total that grows with what is loaded is one that the server has not told. */
export function downloadLine(now: () => number): (progress: Progress) => string {
  const samples: { at: number; loaded: number }[] = [];
  let last: number | undefined;
  let told = true;
  return ({ loaded, total, file }) => {
    const at = now();
    told = told && (last === undefined || total === last);
    last = total;
    samples.push({ at, loaded });
    while (samples.length > 2 && at - samples[0]!.at > WINDOW) samples.shift();
    const { at: since, loaded: before } = samples[0]!;
    const rate = at > since ? (loaded - before) / ((at - since) / 1000) : 0; // bytes a second
    const speed = rate > 0 ? `, ${megabytes(rate)} MB/s` : "";
    const left = loaded < total && rate > 0 ? `, ${durationText((total - loaded) / rate)} left` : "";
    return `downloading${file ? ` ${file}` : ""}: ${megabytes(loaded)} ${told ? `of ${megabytes(total)} ` : ""}MB${speed}${left}`;
  };
}

/** Where progress is shown: stderr. */
export interface Terminal {
  isTTY?: boolean;
  write(text: string): unknown;
}

/**
 * Shows how far a load is: on a terminal in one line that replaces itself; in a log only downloads, in a line now and then.
 */
export function loadProgress(to: Terminal, now: () => number = () => performance.now()): (progress: Progress) => void {
  const line = downloadLine(now);
  let began: number | undefined;
  let shown = 0; // when the log got its last line
  let last: number | undefined; // the total of the last report
  const replace = (text: string): void => {
    if (to.isTTY) to.write(`\r\u001b[K${text}`);
  };
  return (progress) => {
    const { phase, loaded, total, file, note } = progress;
    if (note && phase !== "verify") {
      replace("");
      to.write(`${note}\n`);
    }
    switch (phase) {
      case "resolve":
        return replace(loaded < total ? (file ? `fetching ${file}` : "looking for the model") : "");
      case "download": {
        const text = line(progress);
        if (began === undefined) began = shown = now();
        if (to.isTTY) return replace(text);
        const ended = loaded >= total && total === last;
        last = total;
        if (now() - shown < LINE_EVERY && !ended) return;
        shown = now();
        to.write(`${text}\n`);
        return;
      }
      case "verify": {
        replace("");
        const time = durationText((now() - (began ?? now())) / 1000);
        to.write(
          note ? `downloaded ${megabytes(total)} MB in ${time}, ${note}\n` : `downloaded and checked ${megabytes(total)} MB in ${time}\n`,
        );
        return;
      }
      case "upload":
        return replace(`loading weights: ${Math.round((loaded / total) * 100)} %`);
      case "compile":
        return replace("compiling kernels");
      case "ready":
        return replace("");
      default:
        throw new Error(`unknown phase ${phase satisfies never}`);
    }
  };
}

const PROMPT = { vision: ["encoding pictures", "tiles"], prefill: ["reading the prompt", "tokens"] } as const;

/** Shows how far a prompt is, on a terminal. */
export function promptProgress(to: Terminal): (progress: PromptProgress) => void {
  return ({ phase, loaded, total }) => {
    const [what, units] = PROMPT[phase];
    if (to.isTTY) to.write(`\r\u001b[K${what}: ${loaded} of ${total} ${units}`);
  };
}
