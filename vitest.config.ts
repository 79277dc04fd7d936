import { fileURLToPath } from "node:url";
import { configDefaults, defineConfig } from "vitest/config";
import { inChromium } from "./test/browser/provider.ts";

const pathOf = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const platform = (name: "node" | "web") => ({ "#platform": pathOf(`./src/platform/${name}.ts`) });
const times = { testTimeout: 240_000, hookTimeout: 240_000 };

/** What runs dist/, as a user does: the command line, the packed package, a process's first use of the library. */
const BUILT = ["test/**/*cli*.test.ts", "test/toolchains/**/*.test.ts", "test/lifecycle/{first-use,snippets}.test.ts"];

/** A part of the tests that runs in Node, and alone with `--project NAME`. */
const inNode = (
  name: string,
  include: string[],
  { except = [] as string[], needs }: { except?: string[]; needs?: "dist" | "threads" } = {},
) => ({
  resolve: { alias: platform("node") },
  test: {
    name,
    include,
    exclude: [...configDefaults.exclude, ...except],
    globalSetup: needs ? [`test/needs-${needs}.ts`] : [],
    pool: "forks" as const,
    maxWorkers: 2,
    ...times,
  },
});

/** The parts; CONTRIBUTING.md says what each needs. `test/full` has a configuration of its own. */
export default defineConfig(({ mode }) => ({
  test: {
    provide: { full: mode === "full" },
    projects: [
      inNode("unit", ["test/unit/**/*.test.ts", "test/security/**/*.test.ts", "test/*.test.ts", "src/safetensors/test/**/*.test.ts"], {
        except: BUILT,
      }),
      inNode("media", ["test/media/**/*.test.ts"], { needs: "threads" }),
      inNode("kernels", ["test/kernels/**/*.test.ts"], { except: BUILT }),
      inNode("model", ["test/{model,lifecycle,weights}/**/*.test.ts"], { except: BUILT, needs: "threads" }),
      inNode("serve", ["test/serve/**/*.test.ts"], { except: BUILT }),
      inNode("built", BUILT, { needs: "dist" }),
      inNode("pages", ["test/browser/*.test.ts"]), // drive Chromium from Node
      {
        resolve: { alias: platform("web") },
        optimizeDeps: { include: ["jpeg-js/lib/decoder.js", "@jsquash/jpeg/codec/dec/mozjpeg_dec.js", "mediabunny"] },
        test: {
          name: "browser",
          include: ["test/browser/page/**/*.test.ts"], // run inside Chromium
          sequence: { groupOrder: 1 }, // after Node's: a busy machine makes a page's tasks long
          ...times,
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            provider: inChromium(),
            instances: [{ browser: "chromium" as const }],
          },
        },
      },
    ],
  },
}));
