import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { EngineError } from "../../src/errors.ts";
import type { PeerSpec } from "../../src/harness/case.ts";
import type { Peer, PeerRun } from "./bench.ts";

type Floats = Float32Array<ArrayBuffer>;

/** The part of @jax-js/jax that is used here. An operation eats its operands; `ref` is a further reference. */
interface JaxArray {
  readonly ref: JaxArray;
  data(): Promise<Float32Array>;
  blockUntilReady(): Promise<JaxArray>;
  transpose(): JaxArray;
  dispose(): void;
}
interface Jax {
  init(device: "webgpu"): Promise<readonly string[]>;
  defaultDevice(device: "webgpu"): void;
  jit(f: (...args: JaxArray[]) => JaxArray): (...args: JaxArray[]) => JaxArray;
  numpy: {
    array(data: Floats, options: { shape: readonly number[] }): JaxArray;
    dot(a: JaxArray, b: JaxArray): JaxArray;
  };
}

/** It looks for `navigator.gpu` and `navigator.userAgent`, again and again: in this process of a benchmark they are put there. */
async function load(adapterName: string): Promise<Jax> {
  const folder = process.env.INTERNVL_JAX;
  const require = createRequire(folder ? join(folder, "package.json") : import.meta.url);
  try {
    const jax = (await import(pathToFileURL(require.resolve("@jax-js/jax")).href)) as Jax;
    const { create, globals } = await import("webgpu");
    Object.assign(globalThis, globals);
    const gpu = create([`adapter=${adapterName}`]);
    Object.defineProperty(globalThis, "navigator", { value: { gpu, userAgent: "node" }, configurable: true });
    if (!(await jax.init("webgpu")).includes("webgpu")) throw new Error("it finds no WebGPU adapter");
    jax.defaultDevice("webgpu");
    return jax;
  } catch (cause) {
    throw new EngineError("bad-input", `@jax-js/jax does not load${folder ? ` from ${folder}` : ""}: ${(cause as Error).message}`, {
      hint: "npm install --ignore-scripts @jax-js/jax@0.1.25 in a folder, and name that folder in INTERNVL_JAX",
      cause,
    });
  }
}

/** jax-js through its jit on WebGPU: products with weights in f32, whatever the case's weights are held in. It has no other op of ours as one kernel. */
export async function jaxPeer(adapterName: string): Promise<Peer> {
  const jax = await load(adapterName);
  const { numpy } = jax;
  return {
    name: "@jax-js/jax webgpu",
    async prepare(spec: PeerSpec): Promise<PeerRun | undefined> {
      if (spec.op !== "matmul" || spec.w.scales) return undefined;
      const { m, n, k, x, w } = spec;
      const a = numpy.array(x, { shape: [m, k] });
      const b = numpy.array(w.values, { shape: [n, k] }); // as it lies in a checkpoint
      // Transposed inside the jit it costs nothing, and the sum runs along memory: several times as fast as with [k, n] from the start.
      const product = jax.jit((l, r) => numpy.dot(l, r.transpose()));
      const output = Float32Array.from(await product(a.ref, b.ref).data());
      return {
        output,
        async run(iterations) {
          let last: JaxArray | undefined;
          for (let i = 0; i < iterations; i++) {
            last?.dispose();
            last = product(a.ref, b.ref);
          }
          (await last?.blockUntilReady())?.dispose();
        },
        async dispose() {
          a.dispose();
          b.dispose();
        },
      };
    },
  };
}
