import { fileURLToPath } from "node:url";
import type { Rollup } from "vite";
import { configDefaults, defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { inChromium } from "./test/browser/provider.ts";

const pathOf = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const platform = (name: "node" | "web") => ({ "#platform": pathOf(`./src/platform/${name}.ts`) });
// A busy machine is no failure.
const times = { testTimeout: 240_000, hookTimeout: 240_000, expect: { poll: { timeout: 60_000 } } };

/** What runs dist/, as a user does: the command line, the packed package, a process's first use of the library. */
const BUILT = ["test/**/*cli*.test.ts", "test/toolchains/**/*.test.ts", "test/lifecycle/{first-use,grammar-thread,snippets}.test.ts"];

/** What mocks or looks at how a device is opened, or loses several: each file has a process and devices of its own. */
const DEVICES = ["adapter", "device", "devices", "ready"].map((name) => `test/lifecycle/${name}.test.ts`);
DEVICES.push("test/model/gpu-path.test.ts", "test/model/precision.test.ts");

/** Gives all models of a process one device: compiling is most of a load on SwiftShader. */
const oneDevice = {
  name: "one-device",
  enforce: "pre" as const,
  async resolveId(this: Rollup.PluginContext, id: string, importer: string | undefined) {
    const found = id.endsWith("/device.ts") ? await this.resolve(id, importer, { skipSelf: true }) : null;
    const instead = pathOf("./test/shared/one-device.ts");
    return found?.id === pathOf("./src/gpu/device.ts") && importer?.split("?")[0] !== instead ? instead : null;
  },
};

/** A worker waits for its adapter half of the time: on two cores three, and a page beside them, are done sooner than two. */
const WORKERS = 3;

/** A part of the tests that runs in Node, and alone with `--project NAME`. */
const inNode = (
  name: string,
  include: string[],
  { except = [], needs, together }: { except?: string[]; needs?: "dist" | "threads"; together?: "modules" | "device" } = {},
) => ({
  plugins: together === "device" ? [oneDevice] : [],
  resolve: { alias: platform("node") },
  test: {
    name,
    include,
    exclude: [...configDefaults.exclude, ...except],
    globalSetup: needs ? [`test/needs-${needs}.ts`] : [],
    pool: "forks" as const,
    maxWorkers: WORKERS,
    isolate: !together,
    ...times,
  },
});

/**
 * A part's files follow one another, since a process can take the next file of its own part alone; parts with files that take long come first, so
 * that no worker is left with one in the end.
 */
class PartAfterPart extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const place = ({ project }: TestSpecification) => ORDER.indexOf(project.name);
    return sorted.toSorted((a, b) => place(a) - place(b)); // stable
  }
}
const ORDER = ["serve", "built", "device", "pages", "kernels", "model", "media", "unit"];

/** A part that runs inside Chromium, a page at a time. */
const inPage = (name: string, files: string, { except = [], last = false }: { except?: string[]; last?: boolean } = {}) => ({
  plugins: [oneDevice], // of a file, which has a page of its own
  resolve: { alias: platform("web") },
  optimizeDeps: { include: ["jpeg-js/lib/decoder.js", "@jsquash/jpeg/codec/dec/mozjpeg_dec.js", "mediabunny", "marked"] },
  test: {
    name,
    include: [`test/browser/page/${files}.test.ts`],
    exclude: [...configDefaults.exclude, ...except],
    maxWorkers: WORKERS,
    sequence: { groupOrder: last ? 1 : 0 },
    ...times,
    browser: {
      enabled: true,
      headless: true,
      fileParallelism: false,
      screenshotFailures: false,
      provider: inChromium(),
      instances: [{ browser: "chromium" as const }],
    },
  },
});

/** What looks at how long a page's tasks take, or at videos that go on playing: a busy machine would make them late. */
const IN_TIME = "{images,pictures,video,worker}";

/** The parts; CONTRIBUTING.md says what each needs. `test/full` has a configuration of its own. */
export default defineConfig(({ mode }) => ({
  test: {
    provide: { full: mode === "full" },
    sequence: { sequencer: PartAfterPart },
    projects: [
      inNode("unit", ["test/unit/**/*.test.ts", "test/security/**/*.test.ts", "test/*.test.ts", "src/safetensors/test/**/*.test.ts"], {
        except: BUILT,
        together: "modules",
      }),
      inNode("media", ["test/media/**/*.test.ts"], { needs: "threads" }),
      inNode("kernels", ["test/kernels/**/*.test.ts"], { except: BUILT, together: "device" }),
      inNode("model", ["test/{model,lifecycle,weights}/**/*.test.ts"], {
        except: [...BUILT, ...DEVICES],
        needs: "threads",
        together: "device",
      }),
      inNode("device", DEVICES),
      inNode("serve", ["test/serve/**/*.test.ts"], { except: BUILT }),
      inNode("built", BUILT, { needs: "dist" }),
      inNode("pages", ["test/browser/*.test.ts"]), // drive Chromium from Node
      inPage("browser", "*", { except: [`**/${IN_TIME}.test.ts`] }), // beside Node's
      inPage("browser-in-time", IN_TIME, { last: true }),
    ],
  },
}));
