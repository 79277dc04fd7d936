import { expect, it } from "vitest";
import { EngineError, late } from "../../src/errors.ts";

it("a part that does not come is an error of ours, which names it", async () => {
  await expect(late("the part", Promise.resolve(5))).resolves.toBe(5);
  const cause = new TypeError("Failed to fetch dynamically imported module: https://example.com/assets/part.js");
  const error = await late("the part", Promise.reject(cause)).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(EngineError);
  expect(error).toMatchObject({ code: "network", message: "the part could not be loaded", cause });
  expect((error as EngineError).hint).toMatch(/try again/);
});
