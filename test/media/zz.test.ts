import { readFileSync, readdirSync } from "node:fs";
import { test } from "vitest";
import { decodeImage } from "../../src/media/decode.ts";
test("x", () => {
  for (const dir of ["test/media/extra/"]) for (const f of readdirSync(dir)) {
    if (!/\.(png|jpg)$/.test(f) || f.endsWith(".rgb.png")) continue;
    const ref = decodeImage(new Uint8Array(readFileSync(dir + f.replace(/\.\w+$/, ".rgb.png"))));
    try {
      const im = decodeImage(new Uint8Array(readFileSync(dir + f)));
      const d = im.data;
      let max = 0, sum = 0; const hist: number[] = [];
      for (let i = 0; i < d.length; i++) { const e = Math.abs(d[i]! - ref.data[i]!); max = Math.max(max, e); sum += e; hist[Math.min(e,9)] = (hist[Math.min(e,9)] ?? 0) + 1; }
      console.log(f, im.width, im.height, ref.width, ref.height, "max", max, "mean", (sum / d.length).toFixed(4), hist.join(","));
    } catch (e) { console.log(f, (e as Error).message); }
  }
});
