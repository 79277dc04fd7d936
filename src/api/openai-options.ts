import { count, signal } from "../options.ts";

/** The options of `complete`, beside its request. */
export const COMPLETION = { signal, maxPixels: count, maxImages: count };
