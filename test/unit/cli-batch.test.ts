import { spawn, spawnSync } from "node:child_process";
import { existsSync, linkSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { type Ended, hostedCli } from "../shared/cli.ts";
import { pathOf } from "../support.ts";

// The built program, as a user runs it: npm ci builds it.
const main = pathOf("dist/tools/cli/main.js");
const card = pathOf("weights/nano/images/card-1.png");
const root = mkdtempSync(join(tmpdir(), "internvl-batch-test-"));
afterAll(() => rmSync(root, { recursive: true }));
let folder = root;
beforeEach(() => {
  folder = mkdtempSync(join(root, "case-"));
});

type Row = { id: unknown; answers?: string[]; hash?: string; error?: { code: string; message: string } };
const rowsOf = (text: string): Row[] => text.split("\n").flatMap((line) => (line ? [JSON.parse(line) as Row] : []));
const out = (): Row[] => rowsOf(readFileSync(join(folder, "out.jsonl"), "utf8"));
const good = (id: unknown, question = "What shape is it?") => JSON.stringify({ id, turns: [question], images: [card] });
const write = (name: string, ...lines: string[]) => writeFileSync(join(folder, name), lines.map((line) => `${line}\n`).join(""));
const byId = (rows: Row[]): Map<unknown, Row> => new Map(rows.map((row) => [row.id, row]));

const host = hostedCli();
afterAll(() => host.close());

async function batch(...args: string[]): Promise<Ended> {
  const { stderr, ...ended } = await host.run(["batch", ...args], folder);
  return { ...ended, stderr: stderr.replace(/^no --model: the embedded toy.*\n?/m, "") };
}

describe("internvl batch", () => {
  it("a bad line fails alone, whatever its shape, and keeps its id", async () => {
    const bad: [line: string, id: unknown, message: RegExp][] = [
      ['{"turns":["Hi"],"images":[1]}', 2, /line 2: images\[0\] is 1, needs a text/],
      ['{"id":"s","turns":["Hi"],"images":"a.png"}', "s", /images is "a\.png", needs a list/],
      ['{"id":"v","turns":["Hi"],"video":"a.mp4"}', "v", /video is "a\.mp4", needs a list/],
      ['{"id":"i","turns":["Hi"],"image":"a.png"}', "i", /no option "image"; did you mean "images"\?/],
      ['{"id":7,"turns":"Hi"}', 7, /turns is "Hi", needs a list/],
      ['{"id":8.5,"turns":[]}', 8.5, /turns is an empty list/],
      ['{"id":"t","turns":["Hi",null]}', "t", /turns\[1\] is null/],
      ['{"id":"n"}', "n", /no "turns"/],
      ['{"id":"m","turns":["Hi"],"maxTiles":"5"}', "m", /maxTiles is "5", needs an integer from 1 to 40/],
      ['{"id":[1],"turns":["Hi"]}', 11, /id is a list of 1/],
      ['{"id":12345678901234567890,"turns":["Hi"]}', 12, /id is 12345678901234567000, needs .*15 digits/],
      ['{"id":"p","turns":["Hi"],"__proto__":{}}', "p", /no option "__proto__"/],
      ['{"id":"cut \\"off\\"","turns":["Hi"', 'cut "off"', /line 14: it is not JSON/],
      ["{", 15, /not JSON/],
      ["null", 16, /is null, needs an object/],
      ['[{"turns":["Hi"]}]', 17, /a list of 1, needs an object/],
      ['{"id":"gone","turns":["Hi"],"images":["nope.png"]}', "gone", /nope\.png.*no such file/],
      ['{"id":"a","turns":["Hi"]}', "a", /its id "a" is line 1's already/],
    ];
    write("in.jsonl", good("a"), ...bad.map(([line]) => line));
    const { status, stdout, stderr } = await batch("in.jsonl");
    const rows = rowsOf(stdout);
    expect(rows).toHaveLength(1 + bad.length);
    expect(rows.find(({ answers }) => answers)).toEqual({ id: "a", answers: ["A triangle."], tokenIds: [[32, 334, 13, 1002]] });
    for (const [, id, message] of bad) {
      const row = rows.find((each) => each.id === id && each.error);
      expect(row?.error, String(id)).toMatchObject({ code: "bad-input", message: expect.stringMatching(message) });
    }
    expect(stderr).toBe(`${rows.length} conversations, 0 of them done before, ${bad.length} failed`);
    expect(status).toBe(1);
  });

  it("takes stdin, UTF-16, a byte order mark, CRLF, empty lines and a last line without its end", async () => {
    const text = `\ufeff${good("a")}\r\n\r\n   \n${good("b", "What color is it?")}`;
    const answers = { a: ["A triangle."], b: ["Red."] };
    writeFileSync(join(folder, "in.jsonl"), text);
    const input = Buffer.from(text, "utf16le");
    const piped = spawnSync(process.execPath, [main, "batch", "-", "--in-order"], { input, encoding: "utf8" });
    for (const { status, stdout } of [await batch("in.jsonl", "--in-order"), piped]) {
      expect(Object.fromEntries(rowsOf(stdout).map(({ id, answers: said }) => [id, said]))).toEqual(answers);
      expect(rowsOf(stdout).map(({ id }) => id)).toEqual(["a", "b"]);
      expect(status).toBe(0);
    }
  });

  it("goes on by id and content: asks what is new, failed or was cut, and nothing twice", async () => {
    write("in.jsonl", good("a"), '{"id":"b","turns":["Hi"],"image":1}', good("c"));
    expect((await batch("in.jsonl", "-o", "out.jsonl")).status).toBe(1);
    const first = byId(out());
    expect([...first.keys()].sort()).toEqual(["a", "b", "c"]);
    // The bad line is mended, one is put in front, and the earlier run was killed in its last row, behind a whole one.
    write("in.jsonl", good("new"), good("a"), good("b"), good("c"));
    writeFileSync(join(folder, "out.jsonl"), `${JSON.stringify(first.get("b"))}\n${JSON.stringify(first.get("a"))}\n{"id":"c","answ`);
    expect(await batch("in.jsonl", "-o", "out.jsonl", "--in-order")).toMatchObject({
      status: 0,
      stderr: "4 conversations, 1 of them done before, 0 failed",
    });
    expect(out().map(({ id, answers }) => [id, answers])).toEqual(["new", "a", "b", "c"].map((id) => [id, ["A triangle."]]));
    // A whole row without the end of its line is not lost, nor glued to the next one.
    const [a, ...rest] = out();
    writeFileSync(join(folder, "out.jsonl"), JSON.stringify(a));
    expect((await batch("in.jsonl", "-o", "out.jsonl")).stderr).toContain("1 of them done before");
    expect(new Set(out().map(({ id }) => id))).toEqual(new Set([a, ...rest].map((row) => row?.id)));
    // All is answered: no model is needed.
    expect(await batch("in.jsonl", "-o", "out.jsonl", "--model", "nope")).toMatchObject({ status: 0 });
    expect(readdirSync(folder).sort()).toEqual(["in.jsonl", "out.jsonl"]);
  });

  it("refuses an output that is another's before anything is touched", async () => {
    write("in.jsonl", good("a"), good("b"));
    const answered = (id: unknown, hash?: string) => JSON.stringify({ id, answers: ["x"], tokenIds: [[1]], hash });
    const others: [text: string, message: RegExp][] = [
      ["dear diary", /not the output of a batch: line 1 is not JSON/],
      [`${answered("a")}\ndear diary`, /line 2 is not JSON/],
      ["5\n", /line 1 has no id/],
      ['{"id":"a"}\n', /neither "answers" nor "error"/],
      [`${answered("c")}\n`, /another input: no line has the id "c"/],
      [`${answered("a", "0123456789abcdef")}\n`, /its row "a" answers something else than line 1 asks/],
      [`${JSON.stringify({ id: "a", answers: ["x", "y"], tokenIds: [[1], [1]] })}\n`, /its row "a" answers something else/],
    ];
    for (const [text, message] of others) {
      writeFileSync(join(folder, "out.jsonl"), text);
      const { status, stderr } = await batch("in.jsonl", "-o", "out.jsonl");
      expect(stderr).toMatch(message);
      expect(status).toBe(1);
      expect(readFileSync(join(folder, "out.jsonl"), "utf8")).toBe(text);
    }
    const input = readFileSync(join(folder, "in.jsonl"), "utf8");
    symlinkSync("in.jsonl", join(folder, "soft"));
    linkSync(join(folder, "in.jsonl"), join(folder, "hard"));
    for (const name of ["in.jsonl", "./in.jsonl", "soft", "hard"])
      expect(await batch("in.jsonl", "-o", name)).toMatchObject({ status: 1, stderr: expect.stringMatching(/is the input itself/) });
    expect(readFileSync(join(folder, "in.jsonl"), "utf8")).toBe(input);
  });

  it.each([
    ["in a folder that is not there", "nope/out.jsonl", /cannot write into "nope": there is no such/],
    ["below a file", "in.jsonl/out", /cannot write into "in\.jsonl"|"in\.jsonl" is not a folder/],
    ["that is a folder", ".", /cannot write "\.": it is a folder/],
    ["that is nothing", "", /-o is an empty text/],
    ["on a full disk", "/dev/full", /cannot write "\/dev\/full": no space is left on the disk/],
  ])("an output %s is told in a line", async (_, path, message) => {
    write("in.jsonl", good("a"));
    const model = path === "/dev/full" ? [] : ["--model", "nope"]; // told before the model is looked for
    const { status, stderr } = await batch("in.jsonl", "-o", path, ...model);
    expect(stderr).toMatch(message);
    expect(stderr.split("\n"), stderr).toHaveLength(1);
    expect(status).toBe(1);
  });

  it("one that hangs holds back nothing; two runs do not write one file; Ctrl-C ends with 130, and the next run goes on", async () => {
    const server = createServer(() => {}); // takes questions and never answers
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const hanging = JSON.stringify({ id: "hang", turns: ["What?"], images: [`http://127.0.0.1:${port}/x.png`] });
    const others = Array.from({ length: 12 }, (_, i) => good(i));
    write("in.jsonl", hanging, ...others);
    const child = spawn(process.execPath, [main, "batch", "in.jsonl", "-o", "out.jsonl"], { cwd: folder });
    let stderr = "";
    child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
    const ended = new Promise((resolve) => child.once("close", resolve));
    const lines = () => (existsSync(join(folder, "out.jsonl")) ? out().length : 0);
    while (lines() < 12 && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await batch("in.jsonl", "-o", "out.jsonl")).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/another internvl \(process \d+\) writes "out\.jsonl"/),
    });
    child.kill("SIGINT");
    expect(await ended).toBe(130);
    server.closeAllConnections();
    server.close();
    expect(stderr).toMatch(/internvl: aborted: stopped by SIGINT \(the same command goes on with what is missing\)\n$/);
    expect(existsSync(join(folder, "out.jsonl.lock"))).toBe(false);
    writeFileSync(join(folder, "out.jsonl.lock"), `${child.pid} 1\n`); // of a run that was killed
    write("in.jsonl", good("hang"), ...others);
    expect((await batch("in.jsonl", "-o", "out.jsonl")).stderr).toBe("13 conversations, 12 of them done before, 0 failed");
    expect(new Set(out().map(({ id }) => id)).size).toBe(13);
    expect(existsSync(join(folder, "out.jsonl.lock"))).toBe(false);
  });
});
