import { readFileSync } from "node:fs";
import { test } from "vitest";
import { createHash } from "node:crypto";
import jpegjs from "jpeg-js";
import { decodeImage } from "../../src/media/decode.ts";
const dir = "test/fixtures/preprocess/";
const cases = JSON.parse(readFileSync(`${dir}cases.json`, "utf8")).cases;
test("x", () => {
  for (const c of cases) {
    const t = Date.now();
    const b = new Uint8Array(readFileSync(dir + c.file));
    const im = decodeImage(b);
    const same = createHash("sha256").update(im.data).digest("hex") === c.decoded_sha256;
    let msg = "";
    if (c.decoded_png) {
      const ref = decodeImage(new Uint8Array(readFileSync(dir + c.decoded_png)));
      const raw = jpegjs.decode(b, { useTArray: true, formatAsRGBA: false });
      for (const [n, d] of [["ours", im.data], ["raw jpeg-js", raw.data]] as const) {
        let max = 0, sum = 0; const hist: number[] = [];
        for (let i = 0; i < d.length; i++) { const e = Math.abs(d[i]! - ref.data[i]!); max = Math.max(max, e); sum += e; hist[Math.min(e,9)] = (hist[Math.min(e,9)] ?? 0) + 1; }
        msg += ` ${n} max ${max} mean ${(sum / d.length).toFixed(4)} [${hist.join(",")}]`;
      }
    }
    console.log(c.file, same, Date.now() - t, msg);
  }
});
