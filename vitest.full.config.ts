import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// The whole models, in minutes to an hour on a software adapter: npm run test:full (INTERNVL_FULL_DIR names a folder made by `internvl synth`).
export default defineConfig({
  resolve: { alias: { "#platform": fileURLToPath(new URL("./src/platform/node.ts", import.meta.url)) } },
  test: {
    include: ["test/full/**/*.test.ts"],
    globalSetup: ["test/needs-dist.ts"],
    pool: "forks",
    maxWorkers: 1,
    testTimeout: 7_200_000,
    hookTimeout: 7_200_000,
  },
});
