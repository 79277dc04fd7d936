import { readFileSync } from "node:fs";
import { defineKernelCase } from "internvl-webgpu/testing";

const code = readFileSync(new URL("softplus.wgsl", import.meta.url), "utf8");

/** The kernel on `count` values: multiples of a workgroup's 64, and not. */
const softplus = (count) =>
  defineKernelCase(
    "softplus",
    { count },
    {
      step: { units: count, start: 0 },
      bound: { nmse: 1e-10, largest: 1e-5 },
      record(program, { random, activation }) {
        const xs = random.values(count);
        const x = activation("x", { base: 0, unit: 1 }, 1, xs); // [count, 1]
        const y = program.activation("y", x.rows, 1);
        const kernel = { shader: "softplus", code, consts: { COUNT: count }, bindings: "uurw" };
        program.dispatch({ kernel, params: [], buffers: [x.buffer, y.buffer], workgroups: () => [Math.ceil(count / 64), 1, 1] });
        const expected = () => xs.map((value) => Math.log1p(Math.exp(value)));
        return [{ label: "y", buffer: y.buffer, kind: "f32", length: count, expected }];
      },
    },
  );

export default [1, 63, 64, 1000].map(softplus);
