import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { acceptChat } from "../../src/api/accept.ts";
import { acceptLoad } from "../../src/api/accept-load.ts";
import { EngineError } from "../../src/errors.ts";
import { decodeImage } from "../../src/media/decode.ts";
import { noSuchAdapter, notGiven } from "../../src/platform/no-adapter.ts";
import { failureOf } from "../../src/server/failure.ts";
import { told } from "../../tools/cli/failures.ts";
import { program } from "../../tools/cli/program.ts";
import { pathOf } from "../support.ts";

const read = (path: string): string => readFileSync(pathOf(path), "utf8");

/** `chat`, `kernels bench`, …, with their options. */
const leaves = (command: Command, before = ""): { name: string; flags: string[] }[] =>
  command.commands.flatMap((each) => {
    const name = `${before}${each.name()}`;
    return each.commands.length > 0 ? leaves(each, `${name} `) : [{ name, flags: each.options.map(({ long }) => long!) }];
  });
const commands = leaves(program("0"));

describe("what the pages say of commands", () => {
  it("every command takes --json, and all that compute --adapter", () => {
    expect(commands.filter(({ flags }) => !flags.includes("--json"))).toEqual([]);
    const without = commands.filter(({ flags }) => !flags.includes("--adapter")).map(({ name }) => name);
    expect(without).toEqual(["pull", "list", "rm", "kernels compile"]); // its adapters are GPUs that are not there
    expect(read("README.md")).toContain("Every command takes `--json`, and every one that computes `--adapter TEXT`");
  });

  it.each(["chat", "batch"])("docs/command-line.md names every flag of %s", (name) => {
    const text = read("docs/command-line.md");
    const { flags } = commands.find((each) => each.name === name)!;
    expect(flags.filter((flag) => !new RegExp(`${flag}(?![\\w-])`).test(text))).toEqual([]);
  });

  it("docs/serving.md's table has every flag of serve, and no other", () => {
    const table = read("docs/serving.md").split("| flag |")[1]!.split("\n\n")[0]!;
    const named = table.split("\n").flatMap((line) => line.split(" | ")[0]!.match(/--[a-z][\w-]*/g) ?? []);
    expect(named.sort()).toEqual(commands.find(({ name }) => name === "serve")!.flags.sort());
  });

  it("README names every command", () => {
    expect(commands.map(({ name }) => name).filter((name) => !read("README.md").includes(`\`internvl ${name}`))).toEqual([]);
  });
});

describe("what docs/library.md says of options", () => {
  const optionsOf = (call: () => unknown): string[] => {
    try {
      call();
    } catch (error) {
      if (error instanceof EngineError) return error.hint!.replace("it has ", "").split(", ");
    }
    throw new Error("an unknown option was taken");
  };
  it.each([
    ["load", () => acceptLoad("m", { nothing: 1 })],
    ["chat", () => acceptChat("q", { nothing: 1 })],
  ])("it names every one of %s", (_, call) => {
    const text = read("docs/library.md");
    expect(optionsOf(call).filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
  });
});

describe("hints", () => {
  const adapters = [
    noSuchAdapter(["llvmpipe"], "voodoo", false, "linux"),
    noSuchAdapter([], "nvidia", true, "linux"),
    notGiven("llvmpipe"),
  ];

  it("speak to a program of its options, and to the command line of its flags", () => {
    for (const error of adapters) {
      expect(error.hint).toContain('device: { adapter: "part of its name" }');
      expect(error.hint).not.toMatch(/--|command line/);
      expect(told(error).line).toContain('--adapter "part of its name"');
      expect(told(error).line).not.toContain("device:");
    }
  });

  it("a picture that is too large: the library, the command line and a server's client can raise different things", async () => {
    const bytes = new Uint8Array(readFileSync(pathOf("weights/nano/images/card-1.png")));
    const error = await decodeImage(bytes, { maxPixels: 9 }).catch((thrown: EngineError) => thrown as EngineError);
    expect((error as EngineError).hint).toBe("Scale the picture down, or raise maxPixels.");
    expect(told(error).line).toContain("(Scale the picture down, or raise --max-pixels.)");
    expect(failureOf(error).body.error.message).toMatch(/\(Scale the picture down\.\)$/);
  });

  it("a file of another kind: pixels are offered to programs alone", async () => {
    const error = await decodeImage(new TextEncoder().encode("GIF89a")).catch((thrown: EngineError) => thrown as EngineError);
    expect((error as EngineError).hint).toContain("{ data, width, height }");
    for (const text of [told(error).line, failureOf(error).body.error.message]) expect(text).not.toContain("{ data");
  });

  it("no text sends a user to a page that is not installed with the package, or speaks of what there is not", () => {
    const files = execFileSync("git", ["ls-files", "src", "tools/cli"], { cwd: pathOf(""), encoding: "utf8" }).split("\n");
    const code = files.filter((file) => file.endsWith(".ts") && !file.includes("/test/") && !file.endsWith(".gen.ts"));
    const strings = (text: string) => text.replace(/\/\*[\s\S]*?\*\/|(^|\s)\/\/.*$/gm, "");
    expect(
      code.filter((file) => /see [\w/]*README|images of all turns|\ba (AVIF|ICO|SVG|MP4|AVI|HTML)\b/.test(strings(read(file)))),
    ).toEqual([]);
  });
});
