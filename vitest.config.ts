import { fileURLToPath } from "node:url";
import { playwright } from "@vitest/browser-playwright";
import { configDefaults, defineConfig } from "vitest/config";
import { chromiumLaunch } from "./test/browser/chromium.ts";

const pathOf = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const platform = (name: "node" | "web") => ({ "#platform": pathOf(`./src/platform/${name}.ts`) });
const times = { testTimeout: 240_000, hookTimeout: 240_000 };

/** `test/browser/page` runs inside Chromium, everything else in Node (some of which drives Chromium from there). */
export default defineConfig(async ({ mode }) => ({
  test: {
    provide: { full: mode === "full" },
    projects: [
      {
        resolve: { alias: platform("node") },
        test: {
          name: "node",
          include: ["test/**/*.test.ts", "src/safetensors/test/**/*.test.ts"],
          exclude: [...configDefaults.exclude, "test/browser/page/**", "test/full/**"],
          pool: "forks" as const,
          maxWorkers: 2,
          ...times,
        },
      },
      {
        resolve: { alias: platform("web") },
        optimizeDeps: { include: ["@huggingface/tokenizers", "jpeg-js/lib/decoder.js", "@jsquash/jpeg/codec/dec/mozjpeg_dec.js"] },
        test: {
          name: "browser",
          include: ["test/browser/page/**/*.test.ts"],
          sequence: { groupOrder: 1 }, // after Node's: a busy machine makes a page's tasks long
          ...times,
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            provider: playwright({ launchOptions: await chromiumLaunch() }),
            instances: [{ browser: "chromium" as const }],
          },
        },
      },
    ],
  },
}));
