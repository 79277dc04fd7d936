import type { Page } from "playwright";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { kernelCases } from "../../src/harness/index.ts";
import { picture, type Served, servePage } from "./serve.ts";

describe("the kernel page", () => {
  let served: Served;
  beforeAll(async () => {
    served = await servePage("tools/kernels/page/vite.config.ts");
  });
  afterAll(() => served?.close());

  const open = (options: Parameters<Served["open"]>[0]) =>
    served.open({ viewport: { width: 1280, height: 900 }, permissions: ["clipboard-read", "clipboard-write"], ...options });
  const state = (page: Page) => page.getByRole("status");
  const cellsOf = (page: Page, table: string) =>
    page
      .locator(`${table} tbody tr`)
      .evaluateAll((rows) => rows.map((row) => [...(row as HTMLTableRowElement).cells].map((cell) => cell.textContent ?? "")));
  const copied = async (page: Page) => {
    await page.getByRole("button", { name: "Copy JSON" }).click();
    await page.getByText("Copied.").waitFor();
    return JSON.parse(await page.evaluate(() => navigator.clipboard.readText()));
  };

  it("tests the cases that are asked for, by keyboard, and gives the command line's document", async () => {
    const { page, problems } = await open({});
    await picture(page, "kernels-start-1280-light");
    const filter = "grid=4,";
    const cases = kernelCases(1).filter(({ name, size }) => name.includes(filter) && size !== "full");
    expect(cases.length).toBeGreaterThan(0);
    await page.getByLabel("Part of a case's name").fill(filter);
    await page.getByText(`${cases.length} case${cases.length === 1 ? "" : "s"} to test.`).waitFor();
    await page.keyboard.press("Enter");
    await state(page).getByText(`${cases.length} passed, 0 failed, 0 unsupported.`).waitFor();
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("test"); // the focus is not lost with the stop button
    const rows = await cellsOf(page, "#tests");
    expect(rows.map(([op]) => op)).toEqual([...new Set(cases.map(({ op }) => op))]);
    const document = await copied(page);
    expect(Object.keys(document)).toEqual(["adapters"]);
    const [report] = document.adapters;
    expect(report).toMatchObject({ adapter: expect.stringMatching(/swiftshader/i), passed: cases.length, failed: 0, unsupported: 0 });
    for (const [op, count, passed, failed, unsupported, worst, worstCase] of rows) {
      const own = cases.filter((each) => each.op === op).length;
      expect([count, passed, failed, unsupported].map(Number)).toEqual([own, own, 0, 0]);
      expect(report.ops[op!]).toEqual({ cases: own, worstNmse: expect.any(Number), worstCase });
      expect(Number(worst)).toBeCloseTo(report.ops[op!].worstNmse, 12);
    }
    await picture(page, "kernels-tested-1280-light");
    expect(problems).toEqual([]);
    await page.close();
  });

  it("stops, says what no case has, fits a phone", async () => {
    const { page, problems } = await open({ viewport: { width: 390, height: 844 }, colorScheme: "dark" });
    const filter = page.getByLabel("Part of a case's name");
    await filter.fill("no such case");
    await page.getByText('No case\'s name contains "no such case".').waitFor();
    expect(await page.getByRole("button", { name: "Test" }).isDisabled()).toBe(true);
    await filter.fill("");
    await page.getByRole("button", { name: "Test" }).click();
    await state(page)
      .getByText(/^\d+ of \d{3,}: /)
      .waitFor();
    await page.keyboard.press("Escape");
    await state(page)
      .getByText(/^Stopped after \d+ of \d+ cases\.$/)
      .waitFor();
    await page.getByLabel("Op").selectOption("pixel_unshuffle"); // the adapter is opened anew
    await page.getByRole("button", { name: "Test" }).click();
    await state(page)
      .getByText(/^\d+ passed, 0 failed/)
      .waitFor();
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
    await picture(page, "kernels-tested-390-dark");
    expect(problems).toEqual([]);
    await page.close();
  });

  // The ceilings, which every benchmark measures first, take SwiftShader more than a minute.
  it.runIf(inject("full"))("measures ceilings and times cases (npm run test:full)", async () => {
    const { page, problems } = await open({ viewport: { width: 390, height: 844 } });
    await page.getByLabel("Op").selectOption("rope");
    await page.getByLabel("Part of a case's name").fill("rows=1,");
    await page.getByRole("button", { name: "Benchmark" }).click();
    await state(page).getByText("1 timed.").waitFor({ timeout: 230_000 });
    const report = await copied(page);
    expect(Object.keys(report)).toEqual(["adapter", "ceilings", "cases", "problems"]);
    expect(report.problems).toEqual([]);
    for (const value of Object.values(report.ceilings)) expect(value).toBeGreaterThan(0);
    const [row] = await cellsOf(page, "#speeds");
    const { name, n, ms, minMs, maxMs, gflops, gbps, fraction } = report.cases[0];
    const times = [...[ms, minMs, maxMs].map((value: number) => value.toFixed(3)), String(n)];
    expect(row).toEqual([name, ...times, gflops.toFixed(1), gbps.toFixed(2), `${(100 * fraction).toFixed(1)} %`]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
    await picture(page, "kernels-bench-390-light");
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.emulateMedia({ colorScheme: "dark" });
    await picture(page, "kernels-bench-1280-dark");
    expect(problems).toEqual([]);
    await page.close();
  });
});
