import { EngineError } from "../errors.ts";

/** The error for a video that cannot be read, whoever reads it: what is wrong with it, and what to do. */
export const damaged = (message: string, hint = "Fetch or export it again, as MP4 (H.264) or WebM.", cause?: unknown): EngineError =>
  new EngineError("bad-image", message, { hint, cause });

/** The hint for a video that ends before its frames do. */
export const CUT = "Fetch it again, or take what there is with allowTruncated: true.";

/** The error for a file that has a video's form and no pictures. */
export const noVideo = (): EngineError => damaged("the file holds no video, only sound or less");

/** The error for a video of nothing. */
export const noFrames = (): EngineError => damaged("the video has no frames");
