import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROWS } from "./conformance.ts";
import { type Running, startServer } from "./server.ts";

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
