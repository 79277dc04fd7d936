import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const platform = fileURLToPath(new URL("./src/platform/node.ts", import.meta.url));

export default defineConfig({
  resolve: { alias: { "#platform": platform } },
  test: {
    include: ["test/**/*.test.ts", "src/safetensors/test/**/*.test.ts"],
    exclude: ["test/full/**", "test/browser/page/**"], // the latter run inside Chromium
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 240_000,
    hookTimeout: 240_000,
  },
});
