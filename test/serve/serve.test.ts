import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { advisorySuite } from "./advisories.ts";
import { clientSuite } from "./clients.ts";
import { ROWS as FIRST, tableOf } from "./conformance.ts";
import { MORE } from "./conformance-more.ts";
import { figures, loadSuite } from "./load.ts";
import { lostSuite } from "./lost.ts";
import { pathOf } from "./pictures.ts";
import { pythonSuite } from "./python.ts";
import { securitySuite } from "./security.ts";
import { type Running, startServer } from "./server.ts";
import { workerSuite } from "./worker.ts";

const ROWS = [...FIRST, ...MORE];

// One server for all of these: the conformance table, clients, load.
let server: Running;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server?.close());

describe("conformance", () => {
  it("has a row for each field of each endpoint", () => {
    expect(ROWS.length).toBeGreaterThanOrEqual(60);
    const names = ROWS.map(({ endpoint, field }) => `${endpoint} ${field}`);
    expect(new Set(names).size).toBe(names.length);
  });

  it.each(ROWS.map((row) => [row.endpoint, row.field, row] as const))("%s: %s", (_endpoint, _field, row) => row.check(server));
});

describe("clients", () => clientSuite(() => server));
describe("Python", () => pythonSuite(() => server));
describe("security", () => securitySuite(() => server));
describe("advisories", () => advisorySuite(() => server));
describe("a lost device", lostSuite);
describe("complete in a worker", workerSuite);
describe("load", () => loadSuite(() => server, inject("full")));
describe.runIf(inject("full"))("figures", () => figures(() => server));

it("docs/serving.md has the conformance table as it is tested", async () => {
  const table = readFileSync(pathOf("docs/serving.md"), "utf8").split("<!-- conformance -->\n")[1]!.trim();
  expect(table).toBe(tableOf(ROWS));
});
