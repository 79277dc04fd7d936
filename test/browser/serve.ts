import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright";
import { build, preview } from "vite";
import { pathOf } from "../support.ts";
import { chromiumLaunch } from "./chromium.ts";

/** A built page on a server, and a browser to look at it with. */
export interface Served {
  address: string;
  browser: Browser;
  /** Opens the page; whatever it writes as an error to the console is in `problems`. */
  open(options?: Parameters<Browser["newPage"]>[0], from?: Browser | BrowserContext): Promise<{ page: Page; problems: string[] }>;
  close(): Promise<void>;
}

/** Builds what a configuration of Vite says, serves it and starts Chromium. */
export async function servePage(config: string): Promise<Served> {
  const outDir = await mkdtemp(join(tmpdir(), "internvl-page-"));
  const configFile = pathOf(config);
  await build({ configFile, logLevel: "error", build: { outDir } });
  const server = await preview({ configFile, logLevel: "error", build: { outDir }, preview: { port: 0, host: "127.0.0.1" } });
  const address = server.resolvedUrls!.local[0]!;
  const browser = await chromium.launch(await chromiumLaunch());
  return {
    address,
    browser,
    async open(options = {}, from = browser) {
      const page = await ("newContext" in from ? from.newPage(options) : from.newPage());
      page.setDefaultTimeout(120_000); // a busy machine computes slowly
      const problems: string[] = [];
      page.on("pageerror", (error) => problems.push(String(error)));
      page.on("console", (message) => {
        if (message.type() === "error") problems.push(message.text());
      });
      await page.goto(address);
      return { page, problems };
    },
    async close() {
      await browser.close();
      await server.close();
      await rm(outDir, { recursive: true, force: true });
    },
  };
}

/** Set PAGE_SCREENSHOTS to a folder to look at what the page looks like. */
export async function picture(page: Page, name: string): Promise<void> {
  const folder = process.env.PAGE_SCREENSHOTS;
  if (folder) await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}
