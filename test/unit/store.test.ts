import { afterEach, describe, it } from "vitest";
import { platform } from "#platform";
import { temporaryFolder } from "../hub-server.ts";
import { STORE_CASES } from "../store-cases.ts";

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

describe("a folder on disk", () => {
  it.each(Object.entries(STORE_CASES))("%s", async (_, body) => {
    const { path, remove } = temporaryFolder();
    closing.push(remove);
    await body(await platform.openStore("hub", path));
  });
});
