import { EngineError } from "../../src/errors.ts";
import { quoted } from "../../src/options.ts";

/** The command line itself is wrong: told before anything is loaded, exit code 2. */
export class UsageError extends Error {
  /** Whose help says more, `internvl chat`: the command that throws it. */
  command = "internvl";
}

/** Where a command's flags are explained. */
export const helpOf = (command: string): string => `(${command} --help lists what ${command === "internvl" ? "there is" : "it takes"})`;

/** What the system's error codes mean to whoever named the file. */
const WHY: Readonly<Record<string, string>> = {
  EACCES: "you have no right to",
  EBUSY: "it is in use",
  EDQUOT: "your quota of the disk is used up",
  EFBIG: "it would be larger than the file system allows",
  EIO: "the device reports an error",
  EISDIR: "it is a folder",
  ELOOP: "its links lead in a circle",
  EMFILE: "too many files are open",
  ENAMETOOLONG: "the name is too long",
  ENOENT: "there is no such file or folder",
  ENOSPC: "no space is left on the disk",
  ENOTDIR: "a part of the path is a file, not a folder",
  EPERM: "you have no right to",
  EROFS: "the disk is read-only",
};

const HINTS: Readonly<Record<string, string>> = {
  ENOSPC: "free some space, or give another disk",
  EDQUOT: "free some space, or give another disk",
  EACCES: "check its rights",
  EPERM: "check its rights",
  EROFS: "give another folder",
};

/** A system's error as one of ours: `cannot read "x": there is no such file or folder`. */
export function fileError(what: string, cause: unknown): EngineError {
  const { code = "", message } = cause as NodeJS.ErrnoException;
  const hint = HINTS[code] ?? "check the path";
  return new EngineError("bad-input", `cannot ${what}: ${WHY[code] ?? message}`, { hint, cause });
}

/** Awaits work on a file that the user named; what the system says against it becomes one of our errors. */
export async function onFile<T>(verb: string, path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof EngineError || !isSystemError(error)) throw error;
    throw fileError(`${verb} ${quoted(path)}`, error);
  }
}

/** Whether an error is the system's (of a file, a pipe, a disk), not the program's. */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  const { code, syscall } = (error ?? {}) as NodeJS.ErrnoException;
  return typeof code === "string" && typeof syscall === "string";
}

const FLAGS =
  /\b(maxTokens|maxTiles|maxContext|maxPixels|maxSide|allowTruncated|specialTokens|topP|topK|minP|repetitionPenalty|presencePenalty|frequencyPenalty|logitBias)\b(: (true|false))?/g;

/** A hint of the library's without what only a program can do: pixels cannot be given on a command line. */
export const withoutPixels = (hint: string): string => hint.replace(/,? or (pass|give)?[^,(]*\{ data, width, height \}/, "");

/** The library's words for a user of the command line: an option is called as it is called there. */
const asFlags = (text: string): string =>
  withoutPixels(text)
    .replaceAll(/device: \{ adapter: ("[^"]*") \}/g, "--adapter $1")
    .replaceAll("the option `token`", "HF_TOKEN")
    .replace(FLAGS, (_, name: string) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`);

/** What a failure is in one line, and the exit code. */
export function told(error: unknown): { line: string; code: number } {
  if (error instanceof UsageError) return { line: `error: ${error.message} ${helpOf(error.command)}`, code: 2 };
  const known = isSystemError(error) ? fileError(`go on: ${error.syscall}`, error) : error;
  if (known instanceof EngineError) {
    const line = `internvl: ${known.code}: ${known.message}${known.hint ? ` (${known.hint})` : ""}`;
    return { line: asFlags(line.replaceAll(/\s*\n\s*/g, " ")), code: 1 };
  }
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const short = text.replaceAll(/\s*\n\s*/g, " ").slice(0, 500);
  return {
    line: `internvl: internal: ${short} (a fault of internvl: please report it with what INTERNVL_DEBUG=1 in the environment prints)`,
    code: 1,
  };
}
