/** Where an error was found and what can be done about it. */
export interface SafetensorsErrorOptions {
  /** The file at fault, as its `ByteSource` names it. */
  readonly file?: string | undefined;
  /** The tensor at fault. */
  readonly tensor?: string | undefined;
  /** What the user can do about it. */
  readonly hint?: string | undefined;
  /** Whether it is that the file is not there. */
  readonly absent?: boolean | undefined;
  readonly cause?: unknown;
}

/**
 * The one error class of this package: a file, an index or a tensor is not what the format asks for.
 *
 * `message` is one line, `"FILE": tensor "NAME": what it has, what it needs`; `file` and `tensor` hold the whole names,
 * the message shortens and escapes them. What a `ByteSource` or an `AbortSignal` throws passes through untouched.
 */
export class SafetensorsError extends Error {
  readonly file: string | undefined;
  readonly tensor: string | undefined;
  readonly hint: string | undefined;
  readonly absent: boolean;

  constructor(problem: string, options: SafetensorsErrorOptions = {}) {
    const file = options.file === undefined ? "" : `${quote(options.file)}: `;
    const tensor = options.tensor === undefined ? "" : `tensor ${quote(options.tensor)}: `;
    super(`${file}${tensor}${problem}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "SafetensorsError";
    this.file = options.file;
    this.tensor = options.tensor;
    this.hint = options.hint;
    this.absent = options.absent ?? false;
  }
}

/** What is wrong with a file that `git clone` has left without its content. */
export const LFS_PROBLEM = "is a Git LFS pointer: the file itself has not been fetched";
/** The hint where Git LFS has left a pointer in place of a file. */
export const LFS_HINT = "run `git lfs pull` in the folder";

/** How many UTF-16 units of a name a message shows. */
const SHOWN = 120;

// Line breaks, terminal escapes, bidirectional overrides and half surrogates: a name comes from the file, and a message ends up in a log.
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** `text` in double quotes on one line: cut to 120 characters, with `"`, `\` and everything that does not print escaped. */
export function quote(text: string): string {
  const shown = text.length > SHOWN ? text.slice(0, SHOWN) : text;
  const escaped = shown
    .replace(/["\\]/g, "\\$&")
    .replace(UNPRINTABLE, (character) => `\\u{${character.codePointAt(0)!.toString(16).padStart(4, "0")}}`);
  return shown === text ? `"${escaped}"` : `"${escaped}…" (${text.length} characters)`;
}
