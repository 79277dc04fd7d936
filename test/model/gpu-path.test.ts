import { describe, inject, it, vi } from "vitest";
import { InternVL } from "../../src/index.ts";
import { platform } from "../../src/platform/node.ts";
import { conversationsOf, nanoSuite } from "../shared/nano.ts";
import { pathOf, readRepository } from "../support.ts";

// What a GPU runs: its table of kernels, its steps, its way to wait. Only what computes is the CPU.
vi.mock("../../src/gpu/adapter-kind.ts", async (original) => ({ ...(await original<object>()), kindOf: () => "gpu" }));

const { name: adapter } = await platform.requestAdapter({});
const folder = pathOf("weights/nano");
const title = "the embedded model by a GPU's kernels";
const all = await conversationsOf(readRepository);
/** One of each kind; all of them in full mode. */
const kindOf = (id: string): string => id.replace(/-\d+$/, "");
const some = all.filter(({ id }, i) => inject("full") || all.findIndex((other) => kindOf(other.id) === kindOf(id)) === i);

if (inject("full") || !/swiftshader/i.test(adapter)) {
  nanoSuite(
    title,
    some,
    () => InternVL.load(folder, { device: { autotune: false }, precision: "exact" }),
    (path) => `${folder}/${path}`,
  );
} else {
  describe(title, () => {
    it.skip("SwiftShader takes minutes to compile a GPU's kernels: npm run test:full, or lavapipe", () => {});
  });
}
