import { afterEach } from "vitest";
import { temporaryFolder } from "../../hub-server.ts";

/** What the tests of a file push is called after each of them, the last first. */
export function closingAfterEach(): (() => unknown)[] {
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });
  return closing;
}

/** A folder for one test. */
export function folderIn(closing: (() => unknown)[]): string {
  const { path, remove } = temporaryFolder();
  closing.push(remove);
  return path;
}
