import { inject } from "vitest";

/**
 * Whether this is the ordinary run on a slow adapter: not `npm run test:full`, nor lavapipe asked for, as .ci/run does, on which all but the full
 * set runs. What repeats a path at larger sizes or once more is left to those two.
 */
export const isQuick: boolean = !inject("full") && !/llvmpipe|lavapipe/i.test(process.env.INTERNVL_ADAPTER ?? "");
export const ELSEWHERE = "on lavapipe (INTERNVL_ADAPTER=llvmpipe, .ci/run) or with npm run test:full";
