import { mergeConfig } from "vitest/config";
import usual from "./vitest.config.ts";

// The whole models, in minutes to an hour on a software adapter: npm run test:full (INTERNVL_FULL_DIR names a folder made by `internvl synth`).
const config = mergeConfig(usual, { test: { maxWorkers: 1, testTimeout: 7_200_000, hookTimeout: 7_200_000 } });
config.test.include = ["test/full/**/*.test.ts"];
config.test.exclude = [];
export default config;
