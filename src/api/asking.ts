import type { PromptProgress } from "../generate/request.ts";
import type { Generation } from "./generation.ts";
import type { PictureOptions } from "./image-options.ts";
import type { Asked, Texts, Turn } from "./messages.ts";
import type { Picture } from "./pictures.ts";

/** A video file, and which frames of it are asked about. */
export interface Clip {
  src: string | Blob | ArrayBuffer | Uint8Array;
  /** How many. */
  frames: number;
  /** From which second to which. */
  bound: readonly [start: number, end: number] | undefined;
}

/** A question as the engine takes it: everything a caller gave, read and checked. Plain data, except the pictures. */
export interface Ask {
  system: string | undefined;
  systemTexts?: Texts;
  /** Whether the system message came as a message: then the reply's history has it too. */
  systemSaid: boolean;
  turns: readonly Turn[];
  question: Asked;
  /** Pictures beside the text: those of earlier markers that brought none, then the question's. */
  images: readonly Picture[];
  /** The frames of a video, whose lines come before the question. */
  frames: readonly Picture[];
  /** What those frames are of, where they have to be decoded. */
  clip?: Clip | undefined;
  settings: PictureOptions;
  specialTokens: "text" | "parse";
  /** Whether an `<image>` that no picture belongs to is text, and not a mistake. */
  literalMarkers?: boolean | undefined;
  generation: Generation;
}

/** A question with the signal that ends it, and who wants to know how far it is. */
export interface Accepted {
  ask: Ask;
  signal: AbortSignal | undefined;
  onProgress: ((progress: PromptProgress) => void) | undefined;
}

/** An item of a batch: its first question, and those that follow it in the same conversation. */
export interface AcceptedItem {
  ask: Ask;
  more: readonly string[];
}
