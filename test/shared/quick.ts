import { inject } from "vitest";

/**
 * Whether this is the ordinary run on a slow adapter, also in a page: not `npm run test:full`, nor lavapipe asked for, as .ci/run does, on which all but the full
 * set runs. What repeats a path at larger sizes or once more is left to those two.
 */
export const isQuick: boolean = !inject("full") && !/llvmpipe|lavapipe/i.test(globalThis.process?.env.INTERNVL_ADAPTER ?? "");
export const ELSEWHERE = "on lavapipe (INTERNVL_ADAPTER=llvmpipe, .ci/run) or with npm run test:full";

/** How many draws a property without a GPU has: a third of what `npm run test:full` has. */
export const fewer = (runs: number): number => (inject("full") ? runs : Math.ceil(runs / 3));
