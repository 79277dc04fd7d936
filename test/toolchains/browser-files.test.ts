import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { browserSizes, LIMITS } from "../../tools/browser/sizes.mjs";
import { pathOf } from "../support.ts";

// dist/browser, as the build makes it; the matrix of toolchains (full mode) runs it.

const folder = pathOf("dist/browser");
const files = readdirSync(folder);
const code = (name: string) => readFileSync(join(folder, name), "utf8");
const { exports } = JSON.parse(readFileSync(pathOf("package.json"), "utf8")) as { exports: Record<string, Record<string, string>> };
const entries = Object.entries(exports).filter(([name]) => name !== "./package.json");

/** The names that a module exports; the built files end with one list of them. */
const namesOf = (text: string): string[] =>
  [...text.matchAll(/export\s*\{([^}]*)\}/g)]
    .flatMap(([, list]) =>
      list!.split(",").map(
        (each) =>
          each
            .trim()
            .split(/\s+as\s+/)
            .at(-1)!,
      ),
    )
    .sort();

describe("the files for browsers", () => {
  it(`need at most ${LIMITS.answer} bytes of gzip for an answer about a picture, ${LIMITS.worker} with the model in a worker`, () => {
    const { entry, answer, worker } = browserSizes(folder);
    console.log(`gzip: ${entry} bytes at once, ${answer} for an answer about a picture, ${worker} with the model in a worker`);
    expect(answer).toBeGreaterThan(entry + 10_000); // that it counts at all
    expect(answer).toBeLessThanOrEqual(LIMITS.answer);
    expect(worker).toBeLessThanOrEqual(LIMITS.worker);
  });

  it("import each other and nothing else, by names that every tool finds", () => {
    const written = files.filter((name) => !/^(part|decode-script)/.test(name)); // the others hold workers' scripts, as text
    const imports = written.flatMap((name) =>
      [...code(name).matchAll(/(?:\bfrom|\bimport\s*\(?)\s*["'`]([^"'`\s(),;]+)["'`]/g)].map(([, to]) => to!),
    );
    expect(imports.length).toBeGreaterThan(20);
    expect(imports.filter((to) => !/^\.\/[\w.-]+\.js$/.test(to) || !files.includes(to.slice(2)))).toEqual([]);
    // What bundlers each do in their own way.
    expect(written.filter((name) => /import\.meta|\brequire\(|\bprocess\./.test(code(name)))).toEqual([]);
  });

  it.each(entries)("%s: the same for browsers as for Node", async (_, { types, node, default: browser }) => {
    for (const path of [types, node, browser]) expect(existsSync(pathOf(path!)), path).toBe(true);
    const own = Object.keys((await import(pathOf(node!))) as object).sort();
    expect(namesOf(readFileSync(pathOf(browser!), "utf8"))).toEqual(own);
  });
});
