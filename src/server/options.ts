import { count, number, type Read, type Reader, readOptions, text, wrong } from "../options.ts";

/** How a handler answers; what limits it is there so that one client cannot take what all need. */
export interface ServerOptions {
  /** What the model is called in `/v1/models`, and by requests; `internvl` by default. */
  model?: string | undefined;
  /** What requests have to bring as `Authorization: Bearer KEY`; without it anybody is answered. */
  apiKey?: string | undefined;
  /** The one origin whose pages may ask, or `*`; none by default. */
  cors?: string | undefined;
  /** Values of `Host` that are answered, without the port; any by default. `internvl serve` takes only this machine's names while it is bound to it: so no page can reach it by a name of its own. */
  hosts?: readonly string[] | undefined;
  /** Hosts (with the port, where it is another) whose pictures are fetched; none by default. */
  allowImagesFrom?: readonly string[] | undefined;
  /** The folder whose files may be named as `file:NAME`; none by default. */
  mediaRoot?: string | undefined;
  /** Bytes of a body; 64 MiB by default. Eight times as many may be under way. */
  maxBody?: number | undefined;
  /** Pictures and frames of a request; 64 by default. */
  maxImages?: number | undefined;
  /** Pixels of a picture; 50 million by default. */
  maxPixels?: number | undefined;
  /** Answers that wait for a slot; 256 by default. A request beyond them is refused with 429 and `Retry-After`. */
  maxQueue?: number | undefined;
  /** Seconds from a request to the end of its answer; 600 by default. */
  maxSeconds?: number | undefined;
}

const texts: Reader<readonly string[]> = (value, name) => {
  if (!Array.isArray(value) || value.some((each) => typeof each !== "string" || each === "")) throw wrong(name, value, "a list of texts");
  return value;
};

const key: Reader<string> = (value, name) => {
  if (typeof value !== "string" || !/^[\x21-\x7e]+$/.test(value)) throw wrong(name, "a text", "a text of printable ASCII without spaces"); // not shown: it may nearly be a key
  return value;
};

const SHAPE = {
  model: text,
  apiKey: key,
  cors: text,
  hosts: texts,
  allowImagesFrom: texts,
  mediaRoot: text,
  maxBody: count,
  maxImages: count,
  maxPixels: count,
  maxQueue: number("an integer from 0", (v) => Number.isSafeInteger(v) && v >= 0),
  maxSeconds: number("a number above 0, up to 86400", (v) => v > 0 && v <= 86_400),
};

const DEFAULTS = {
  model: "internvl",
  hosts: [] as readonly string[],
  allowImagesFrom: [] as readonly string[],
  maxBody: 64 * 2 ** 20,
  maxImages: 64,
  maxPixels: 50_000_000,
  maxQueue: 256,
  maxSeconds: 600,
};

/** The options of a server, with their defaults. */
export type Settings = Read<typeof SHAPE> & { [K in keyof typeof DEFAULTS]: (typeof DEFAULTS)[K] };

/** @throws EngineError bad-input */
export const settingsOf = (options: unknown): Settings => ({ ...DEFAULTS, ...readOptions("createHandler", options, SHAPE) });
