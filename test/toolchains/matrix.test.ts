import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { snippetsOf } from "../shared/snippets.ts";
import { pathOf } from "../support.ts";
import { files, inProject, look, reachable, run, serve, tarball } from "./projects.ts";

// The packed package in projects of other tools, each a folder beside this file: built or served by the tool's own command, and asked.

const ANSWERS = {
  tiles: "2x1",
  convert: expect.any(Number),
  server: "nano",
  "ai-sdk": "internvl-webgpu",
  page: "A triangle.",
  worker: "A triangle.",
  "large in a worker": "string",
  error: "bad-input",
};

describe.runIf(reachable)("the packed package (npm run test:full)", () => {
  const of = (name: string, tests: (project: () => string) => void) =>
    inProject(`test/toolchains/${name}`, tests, (project) => {
      cpSync(pathOf("test/toolchains/answers.js"), join(project, "answers.js"));
      cpSync(pathOf("weights/nano"), join(project, "public/nano"), { recursive: true });
    });

  const pages = (name: string, kinds: Record<string, (project: string) => Promise<string>>, server?: string) =>
    of(name, (project) => {
      it.each(Object.entries(kinds))("%s", async (_, open) => {
        const address = await open(project());
        expect(await look(address)).toEqual({ found: ANSWERS, problems: [] });
        if (server) expect(await (await fetch(address + server)).text()).toBe("A triangle.");
      });
    });

  of("node", (project) => {
    it.each([
      ["this Node", process.execPath],
      ["Node 22", "node_modules/node22/bin/node"],
      ["Node 24", "node_modules/node24/bin/node"],
      ["Bun", "node_modules/.bin/bun"],
      ["Deno", "node_modules/.bin/deno run -A"],
    ])("%s: import and require", async (_, runtime) => {
      expect(await run(project(), `${runtime} ask.mjs`)).toBe("A triangle.");
      expect(await run(project(), `${runtime} ask.cjs`)).toBe("A triangle.");
    });

    it("the command, by the package's name and installed for all projects", async () => {
      const chat = 'chat --image node_modules/internvl-webgpu/weights/nano/images/card-1.png "What shape is it?"';
      expect(await run(project(), `npx internvl-webgpu ${chat}`)).toBe("A triangle.");
      await run(project(), `npm install -g --prefix everywhere --no-audit --no-fund --prefer-offline ${tarball}`);
      expect(await run(project(), `everywhere/bin/internvl ${chat}`)).toBe("A triangle.");
    });
  });

  pages("vite", {
    dev: (project) => serve(project, "npx vite --host 127.0.0.1 --port 0"),
    build: (project) => run(project, "npx vite build").then(() => files(project, "dist")),
    "7, dev": (project) => serve(project, "node node_modules/vite7/bin/vite.js --host 127.0.0.1 --port 0"),
    "7, build": (project) => run(project, "node node_modules/vite7/bin/vite.js build").then(() => files(project, "dist")),
  });
  pages("webpack", { build: (project) => run(project, "npx webpack").then(() => files(project, ".", "public")) });
  pages("esbuild", {
    "one file": (project) =>
      run(project, "rm -rf dist; npx esbuild main.js --bundle --format=esm --outdir=dist").then(() => files(project, ".", "public")),
    splitting: (project) =>
      run(project, "rm -rf dist; npx esbuild main.js --bundle --splitting --format=esm --minify --outdir=dist").then(() =>
        files(project, ".", "public"),
      ),
  });
  pages("rollup", { build: (project) => run(project, "npx rollup -c").then(() => files(project, ".", "public")) });
  pages("import-map", {
    "no tool at all": (project) => files(project, ".", "public"),
    "from a CDN": async (project) => {
      const cdn = await files(project, ".");
      const page = readFileSync(join(project, "index.html"), "utf8").replaceAll("/node_modules/", `${cdn}/node_modules/`);
      writeFileSync(join(project, "public/index.html"), page);
      return files(project, "public", ".");
    },
  });
  of("import-map", (project) => {
    const examples = ["docs/browser.md", "src/api/worker.ts"]
      .flatMap((file) => snippetsOf(file, "ts").map((snippet) => ({ ...snippet, file })))
      .filter(({ where, file }) => where === "page" || file === "docs/browser.md");
    it.each(examples)("the example of $at", async ({ code }) => {
      const map = readFileSync(join(project(), "index.html"), "utf8");
      const printed = code.includes("console.log");
      const setting = `const { InternVLWorker } = await import("internvl-webgpu/worker");
        const file = await (await fetch("/nano/images/card-1.png")).blob();
        const output = document.createElement("p");
        Object.assign(globalThis, { InternVLWorker, file, output, show() {} });
        ${printed ? 'await (await (await import("internvl-webgpu")).InternVL.load(new URL("/nano", location.href))).dispose();' : ""}
        console.log = (...words) => output.append(words.join(" "));
        await import("/example.js").catch(({ stack }) => output.append(stack));
        document.title = JSON.stringify({ text: output.textContent });`;
      writeFileSync(
        join(project(), "example.html"),
        map.replace(/<script type="module".*/, `<body><script type="module">${setting}</script>`),
      );
      writeFileSync(join(project(), "example.js"), code.replace('"OpenGVLab/InternVL2_5-1B"', 'new URL("/nano", location.href)'));
      const { found } = await look(`${await files(project(), ".", "public")}/example.html`);
      const cached = expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/nano\/ \d+ true$/);
      expect(found).toEqual({ text: printed ? cached : code.includes("output") ? "A triangle." : "" });
    });

    const [example] = snippetsOf("docs/browser.md", "html");
    it(`the example of ${example!.at}, from a CDN`, async () => {
      const cdn = await files(join(project(), "node_modules"), ".");
      const { version } = JSON.parse(readFileSync(pathOf("package.json"), "utf8"));
      const published = `https://cdn.jsdelivr.net/npm/internvl-webgpu@${version}`;
      expect(example!.code).toContain(published);
      const more = `const images = [await (await fetch("/nano/images/card-1.png")).blob()];
        const vlm = await InternVL.load(new URL("/nano", location.href));
        document.title = JSON.stringify(await vlm.chat("What shape is it?", { images }).then(({ text }) => ({ text })));`;
      const page = example!.code.replace(published, `${cdn}/internvl-webgpu`).replace(/<\/script>\s*$/, `${more}$&`);
      writeFileSync(join(project(), "public/example.html"), `<!doctype html><link rel="icon" href="data:," />${page}`);
      expect(await look(`${await files(project(), "public")}/example.html`)).toEqual({ found: { text: "A triangle." }, problems: [] });
    });

    it("a page with the rules that docs/browser.md asks for, and no others", async () => {
      const told = readFileSync(pathOf("docs/browser.md"), "utf8");
      for (const rule of ["`worker-src blob:`", "`script-src blob:`", "`'wasm-unsafe-eval'`"]) expect(told).toContain(rule);
      const page = readFileSync(join(project(), "index.html"), "utf8");
      const rules = "default-src 'self' data:; script-src 'self' 'unsafe-inline' blob: 'wasm-unsafe-eval'; worker-src blob:";
      const meta = `<meta http-equiv="Content-Security-Policy" content="${rules}" />`;
      writeFileSync(join(project(), "public/rules.html"), page.replace("<title>", `${meta}$&`));
      expect(await look(`${await files(project(), ".", "public")}/rules.html`)).toEqual({ found: ANSWERS, problems: [] });
    });

    it("a page whose rules forbid Blobs: a clear error, and a worker of its own", async () => {
      const { found } = await look(`${await files(project(), ".", "public")}/csp.html`);
      const hint = expect.stringContaining("allow worker-src blob: or give a worker of yours");
      expect(found).toEqual({ refused: { name: "EngineError", code: "network", hint }, text: "A triangle." });
    });
  });
  pages(
    "next",
    {
      dev: (project) => serve(project, "npx next dev -p 0"),
      build: (project) => run(project, "npx next build").then(() => serve(project, "npx next start -p 0")),
      "build --webpack": (project) => run(project, "npx next build --webpack").then(() => serve(project, "npx next start -p 0")),
    },
    "/ask",
  );
  of("react", (project) => {
    it("StrictMode: two loads begin, one is aborted, and nothing is left", async () => {
      const { found, problems } = await look(await serve(project(), "npx vite --host 127.0.0.1 --port 0"));
      expect(found).toEqual({ page: "A triangle.", worker: "A triangle.", devices: 0, workers: 0, loads: 4 });
      expect(problems).toEqual([]);
    });
  });
});
