import type { Progress } from "../../src/index.ts";
import { megabytes } from "./dom.ts";

const PHASES: Record<string, string> = {
  resolve: "Asking the server",
  verify: "Checking",
  compile: "Compiling kernels",
};

/** Megabytes a second and what is left, from the reports of a download. */
function speedometer(): (loaded: number, total: number) => string {
  const seen: { time: number; loaded: number }[] = [];
  return (loaded, total) => {
    const time = performance.now();
    seen.push({ time, loaded });
    while (seen.length > 2 && time - seen[0]!.time > 10_000) seen.shift();
    const seconds = (time - seen[0]!.time) / 1000;
    const rate = seconds > 1 ? (loaded - seen[0]!.loaded) / seconds : 0;
    if (rate <= 0) return "";
    const left = (total - loaded) / rate;
    return `, ${megabytes(rate)} a second, ${left < 90 ? `${Math.ceil(left)} s` : `${Math.ceil(left / 60)} min`} left`;
  };
}

/** How far a load is, for people: a text, and a part of 1 where that is known. */
export function loadProgress(): (progress: Progress) => { text: string; part: number | undefined } {
  const speed = speedometer();
  return ({ phase, loaded, total }) => {
    const part = (phase === "upload" || phase === "download") && total > 0 ? loaded / total : undefined;
    const bytes = `${megabytes(loaded)} of ${megabytes(total)}`;
    if (phase === "download") return { text: `Downloading: ${bytes}${speed(loaded, total)}`, part };
    return { text: phase === "upload" ? `Loading weights: ${bytes}` : `${PHASES[phase] ?? "Working"}…`, part };
  };
}
