import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, it } from "vitest";
import { createSha256 } from "../../../src/platform/sha256.ts";
import { noise } from "../../hub-server.ts";

it("the browser's SHA-256 is Node's, however the message is cut", () => {
  const message = noise(1000);
  fc.assert(
    fc.property(fc.nat(1000), fc.array(fc.nat(200), { maxLength: 10 }), (length, cuts) => {
      const hash = createSha256();
      let at = 0;
      for (const cut of [...cuts, length]) {
        const end = Math.min(length, at + cut);
        hash.update(message.subarray(at, end));
        at = end;
      }
      hash.update(message.subarray(at, length));
      expect(hash.hex()).toBe(createHash("sha256").update(message.subarray(0, length)).digest("hex"));
    }),
  );
  for (const length of [0, 55, 56, 63, 64, 65, 119, 120, 128]) {
    const hash = createSha256();
    hash.update(message.subarray(0, length));
    expect(hash.hex()).toBe(createHash("sha256").update(message.subarray(0, length)).digest("hex"));
  }
});
