import type { FileStore } from "../src/platform/store.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Not Vitest's expect: these cases also run in a worker, where there is no Vitest. */
function same(actual: unknown, expected: unknown): void {
  const [has, needs] = [actual, expected].map((value) => JSON.stringify(value) ?? String(value));
  if (has !== needs) throw new Error(`has ${has}, needs ${needs}`);
}

async function textOf(store: FileStore, path: string): Promise<string | undefined> {
  const source = await store.open(path);
  if (!source) return undefined;
  const bytes = await source.read(0, source.size);
  await source.close?.();
  return new TextDecoder().decode(bytes);
}

/** What every store must do: on disk, in a page, in a worker. Each case gets a store of its own. */
export const STORE_CASES: Readonly<Record<string, (store: FileStore) => Promise<void>>> = {
  "has nothing at first": async (store) => {
    same(await store.open("a/b"), undefined);
    same(await store.readText("a/b"), undefined);
    await store.remove("a/b");
  },

  "writes from front to back, goes on behind what is kept, and cuts off the rest": async (store) => {
    const first = await store.append("a/b/file", 0);
    await first.write(utf8("hello "));
    await first.write(utf8("world"));
    await first.close();
    same(await textOf(store, "a/b/file"), "hello world");
    const second = await store.append("a/b/file", 6);
    await second.write(utf8("you"));
    await second.close();
    same(await textOf(store, "a/b/file"), "hello you");
    const third = await store.append("a/b/file", 5);
    await third.clear();
    await third.write(utf8("x"));
    await third.close();
    same(await textOf(store, "a/b/file"), "x");
  },

  "reads ranges": async (store) => {
    await store.writeText("file", "0123456789");
    const source = (await store.open("file"))!;
    same(source.size, 10);
    same(new TextDecoder().decode(await source.read(3, 4)), "3456");
    await source.close?.();
  },

  "renames over what is there": async (store) => {
    await store.writeText("one/file", "new");
    await store.writeText("two/file", "old");
    await store.rename("one/file", "two/file");
    same(await store.readText("two/file"), "new");
    same(await store.open("one/file"), undefined);
  },

  "replaces texts as a whole, and removes": async (store) => {
    await store.writeText("file", "a long text");
    await store.writeText("file", "short");
    same(await store.readText("file"), "short");
    await store.remove("file");
    same(await store.readText("file"), undefined);
  },

  "gives a file another name": async (store) => {
    await store.writeText("repo/blobs/0123", "content");
    await store.link("repo/blobs/0123", "repo/snapshots/abc/config.json");
    same(await textOf(store, "repo/snapshots/abc/config.json"), "content");
    await store.writeText("repo/blobs/4567", "other");
    await store.link("repo/blobs/4567", "repo/snapshots/abc/config.json");
    same(await textOf(store, "repo/snapshots/abc/config.json"), "other");
  },

  "lists what a folder holds, and removes it with all below": async (store) => {
    await store.writeText("repo/blobs/0123", "content");
    await store.writeText("repo/refs/heads/main", "x");
    await store.link("repo/blobs/0123", "repo/config.json");
    await store.writeText("other/file", "stays");
    const found = await store.list("repo");
    same(
      found.sort((a, b) => (a.name < b.name ? -1 : 1)),
      [
        { name: "blobs", kind: "folder", bytes: 0 },
        { name: "config.json", kind: "link", bytes: 0 },
        { name: "refs", kind: "folder", bytes: 0 },
      ],
    );
    same(await store.list("repo/blobs"), [{ name: "0123", kind: "file", bytes: 7 }]);
    same((await store.list("")).length, 2);
    await store.removeFolder("repo");
    same(await store.list("repo"), []);
    same(await store.list(""), [{ name: "other", kind: "folder", bytes: 0 }]);
    await store.removeFolder("repo");
  },

  "lets one at a time behind a lock": async (store) => {
    const order: string[] = [];
    const one = await store.lock("locks/x");
    const waiting = store.lock("locks/x").then(async (release) => {
      order.push("two");
      await release();
    });
    const elsewhere = await store.lock("locks/y");
    await elsewhere();
    await new Promise((fulfil) => setTimeout(fulfil, 50));
    order.push("one");
    await one();
    await waiting;
    same(order, ["one", "two"]);
  },

  "stops waiting for a lock when told to": async (store) => {
    const release = await store.lock("locks/x");
    const abort = new AbortController();
    const waiting = store.lock("locks/x", abort.signal);
    abort.abort();
    const outcome = await waiting.catch((error: Error) => error.name);
    same(outcome, "AbortError");
    await release();
    await (await store.lock("locks/x"))();
  },

  "knows how much room there is": async (store) => {
    same((await store.space())! > 1e6, true);
  },
};
