import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, inject, it } from "vitest";
import { program } from "../../tools/cli/program.ts";
import { snippetsOf } from "../shared/snippets.ts";
import { pathOf } from "../support.ts";

// The pages and the reference of the site (`npm run docs`).

const listed: string[] = JSON.parse(readFileSync(pathOf("typedoc.json"), "utf8")).projectDocuments;
const pages = readdirSync(pathOf("docs")).filter((name) => name.endsWith(".md"));
const all = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  "weights/README.md",
  "examples/README.md",
  ...pages.map((name) => `docs/${name}`),
];

/** What GitHub calls a heading. */
const anchor = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, "")
    .replaceAll(" ", "-");
const anchorsOf = (text: string): string[] => [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchor(heading!));

it("every page is on the site, and named where readers begin", () => {
  expect(listed.filter((path) => path.startsWith("docs/")).sort()).toEqual(
    pages
      .filter((name) => name !== "index.md")
      .map((name) => `docs/${name}`)
      .sort(),
  );
  const start = readFileSync(pathOf("docs/index.md"), "utf8");
  for (const name of pages.filter((name) => name !== "index.md")) expect(start).toContain(`](${name})`);
});

it("links between pages lead somewhere", () => {
  const broken = all.flatMap((page) => {
    const text = readFileSync(pathOf(page), "utf8").replace(/^```.*?^```/gms, "");
    return [...text.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g)]
      .filter(([, to, at]) => {
        const target = to ? join(dirname(page), to) : page;
        return !existsSync(pathOf(target)) || (at && !anchorsOf(readFileSync(pathOf(target), "utf8")).includes(at));
      })
      .map(([link]) => `${page}: ${link}`);
  });
  expect(broken).toEqual([]);
});

it("commands in examples have flags that there are", () => {
  const commands = all.flatMap((page) =>
    snippetsOf(page, "sh").flatMap(({ at, code }) =>
      [...code.matchAll(/^(?:\w+=\S+ )*(?:npx )?internvl(?:-webgpu)? ((?:kernels )?[a-z]+)(.*)$/gm)].map(([, name, rest]) => ({
        at,
        name: name!,
        rest: rest!,
      })),
    ),
  );
  expect(commands.length).toBeGreaterThan(15);
  const unknown = commands.filter(({ name, rest }) => {
    const command = name
      .split(" ")
      .reduce((at, word) => at?.commands.find((each) => each.name() === word), program("0") as ReturnType<typeof program> | undefined);
    const flags = rest.replace(/ # .*$/, "").match(/(?<= )--[\w-]+/g) ?? [];
    return !command || flags.some((flag) => !command.options.some(({ long }) => long === flag));
  });
  expect(unknown).toEqual([]);
});

it("the example for React is what the matrix runs", () => {
  const { code } = snippetsOf("docs/browser.md", "jsx")[0]!;
  expect(readFileSync(pathOf("test/toolchains/react/main.jsx"), "utf8")).toContain(code.slice(code.indexOf("/**")));
});

interface Reflection {
  name: string;
  kindString?: string;
  kind: number;
  children?: Reflection[];
  signatures?: Reflection[];
  parameters?: Reflection[];
  comment?: { summary: { text: string }[]; blockTags?: { tag: string }[] };
}

it.runIf(inject("full"))("the site is built without a warning; who takes options has an example (npm run test:full)", () => {
  const folder = mkdtempSync(join(tmpdir(), "internvl-docs-"));
  try {
    const args = ["--out", join(folder, "site"), "--json", join(folder, "site.json")];
    const made = spawnSync(pathOf("node_modules/.bin/typedoc"), args, { cwd: pathOf(""), encoding: "utf8" });
    expect(made.status, made.stdout + made.stderr).toBe(0);
    const site: Reflection = JSON.parse(readFileSync(join(folder, "site.json"), "utf8"));
    const entries = site.children!.filter(({ name }) => name.startsWith("internvl-webgpu"));
    const { exports } = JSON.parse(readFileSync(pathOf("package.json"), "utf8"));
    const names = Object.keys(exports).map((name) => name.replace(/^\./, "internvl-webgpu"));
    expect(entries.map(({ name }) => name).sort()).toEqual(names.filter((name) => !name.endsWith(".json")).sort());
    const called = entries.flatMap(({ name: entry, children = [] }) =>
      children.flatMap(({ name, signatures, children = [] }) =>
        [{ name, signatures }, ...children].flatMap(({ name: own, signatures = [] }) =>
          signatures.map((each) => ({ ...each, name: `${entry}.${own === name ? name : `${name}.${own}`}` })),
        ),
      ),
    );
    const optional = called.filter(({ parameters = [] }) => parameters.some(({ name }) => /^(options|request|asked|choice)$/.test(name)));
    expect(optional.length).toBeGreaterThan(15);
    const elsewhere = ["internvl-webgpu.EngineError.constructor", "internvl-webgpu.Complete"]; // the library makes it; at InternVL.complete
    const without = optional.filter(({ name, comment }) => {
      if (elsewhere.includes(name)) return false;
      const summary = comment?.summary.map(({ text }) => text).join("") ?? "";
      return !comment?.blockTags?.some(({ tag }) => tag === "@example") && !/^As `InternVL\.\w+`/.test(summary);
    });
    expect(without.map(({ name }) => name)).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
