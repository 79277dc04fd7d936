import { expect, it } from "vitest";
import { tileCache } from "../../src/api/tile-cache.ts";

it("a part's name is not that of another model's part: one worker's history would get the other's picture", () => {
  const [one, other] = [tileCache(), tileCache()];
  const part = {};
  expect(one.idOf(part)).toBe(one.idOf(part));
  expect(new Set([one.idOf(part), one.idOf({}), other.idOf({}), other.idOf({})]).size).toBe(4);
});
