import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright";
import { build, type PreviewServer, preview } from "vite";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { conversationsOf } from "../shared/nano.ts";
import { pathOf, readRepository } from "../support.ts";
import { chromiumLaunch } from "./chromium.ts";

const conversations = await conversationsOf(readRepository);
const find = (id: string) => conversations.find((c) => c.id === id)!;
const launch = await chromiumLaunch();

let outDir: string;
let server: PreviewServer;
let address: string;
let browser: Browser;

beforeAll(async () => {
  outDir = await mkdtemp(join(tmpdir(), "internvl-demo-"));
  const configFile = pathOf("tools/demo/vite.config.ts");
  await build({ configFile, logLevel: "error", build: { outDir } });
  server = await preview({ configFile, logLevel: "error", build: { outDir }, preview: { port: 0, host: "127.0.0.1" } });
  address = server.resolvedUrls!.local[0]!;
  browser = await chromium.launch(launch);
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
  await rm(outDir, { recursive: true, force: true });
});

/** Set DEMO_SCREENSHOTS to a folder to look at what the page looks like. */
async function picture(page: Page, name: string): Promise<void> {
  const folder = process.env.DEMO_SCREENSHOTS;
  if (folder) await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}

/** Opens the page; whatever it writes as an error to the console fails the test at `close`. */
async function open(options: Parameters<Browser["newPage"]>[0] = {}, from = browser): Promise<{ page: Page; problems: string[] }> {
  const page = await from.newPage(options);
  page.setDefaultTimeout(120_000); // a busy machine computes slowly
  const problems: string[] = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(message.text());
  });
  await page.goto(address);
  return { page, problems };
}

const ready = (page: Page) => page.getByText("Ready.").waitFor({ timeout: 120_000 });

/** Drops files of the repository on the page, as a hand would. */
async function drop(page: Page, ...paths: string[]): Promise<void> {
  const files = await Promise.all(
    paths.map(async (path) => ({ name: path.split("/").at(-1)!, base64: Buffer.from(await readRepository(path)).toString("base64") })),
  );
  const transfer = await page.evaluateHandle(async (list) => {
    const data = new DataTransfer();
    for (const { name, base64 } of list) {
      const blob = await (await fetch(`data:image/${name.endsWith("png") ? "png" : "jpeg"};base64,${base64}`)).blob();
      data.items.add(new File([blob], name, { type: blob.type }));
    }
    return data;
  }, files);
  await page.dispatchEvent("#drop", "drop", { dataTransfer: transfer });
}

/** Asks by keyboard and waits for the answer to be whole. */
async function ask(page: Page, question: string): Promise<string> {
  const before = await page.locator(".answer").count();
  await page.getByRole("textbox", { name: "Question" }).fill(question);
  await page.keyboard.press("Enter");
  const answer = page.locator(".answer").nth(before);
  await answer.locator(".statistics").waitFor({ timeout: 120_000 });
  return answer.locator(".text").innerText();
}

const withoutMarker = (turn: string): string => turn.replace("<image>\n", "");

// Drives a real page for half a minute on a quiet machine, for minutes beside other tests.
describe.runIf(inject("full"))("the demo page (npm run test:full)", () => {
  it("answers about a dropped picture, streams, follows up and stops", async () => {
    const { page, problems } = await open({ viewport: { width: 1280, height: 900 } });
    await ready(page);
    const facts = await page.locator("#facts").innerText();
    expect(facts).toMatch(/swiftshader/i);
    expect(facts).toContain("bfloat16, as stored");
    expect(facts).toMatch(/\d MB/);

    const c = find("two-round-003");
    await drop(page, `weights/nano/${c.images[0]}`);
    await page.locator("#pending img").waitFor();
    // How often the answer grew: once would be no stream.
    await page.evaluate(() => {
      const lengths = new Set<number>();
      Object.assign(window, { lengths });
      new MutationObserver(() => lengths.add(document.querySelector(".answer .text")?.textContent?.length ?? 0)).observe(
        document.querySelector("#log")!,
        { childList: true, subtree: true, characterData: true },
      );
    });
    expect(await ask(page, withoutMarker(c.turns[0]!))).toBe(c.answers[0]);
    expect(await page.evaluate(() => (window as unknown as { lengths: Set<number> }).lengths.size)).toBeGreaterThan(5);
    const answer = page.locator(".answer").first();
    expect(await answer.getAttribute("aria-live")).toBe("polite");
    expect(await answer.getAttribute("aria-busy")).toBe("false");
    expect(await answer.locator(".statistics").innerText()).toMatch(
      /^\d+ tokens · [\d.]+ tokens\/s · first after [\d.]+ s · \d+ tokens asked$/,
    );
    expect(await ask(page, c.turns[1]!)).toBe(c.answers[1]);

    await page.getByRole("textbox", { name: "Question" }).fill("Please write a poem according to the image.");
    // Clicked in the page, as soon as the button is there: a hand from outside can come after a short answer's end.
    await page.evaluate(() => {
      const stop = document.querySelector<HTMLButtonElement>("#stop")!;
      new MutationObserver((_, observer) => {
        if (stop.hidden) return;
        observer.disconnect();
        stop.click();
      }).observe(stop, { attributes: true });
    });
    await page.keyboard.press("Enter");
    await page.getByText("Stopped.").waitFor();
    expect(await ask(page, c.turns[1]!)).toBe(c.answers[1]); // as if the stopped question had not been asked
    await picture(page, "conversation-1280-light");
    expect(problems).toEqual([]);
    await page.close();
  });

  it("draws the tiles over the picture, takes several pictures, and fits a phone", async () => {
    const { page, problems } = await open({ viewport: { width: 390, height: 844 }, colorScheme: "dark" });
    await picture(page, "start-390-dark");
    await ready(page);
    await drop(page, "weights/nano/images/poster.png", "weights/nano/images/card-1.png");
    const poster = page.locator("#pending li", { hasText: "poster.png" });
    await expect.poll(() => poster.locator(".tiles span").count()).toBe(6);
    const [image, grid] = await Promise.all([poster.locator("img").boundingBox(), poster.locator(".tiles").boundingBox()]);
    for (const side of ["x", "y", "width", "height"] as const) expect(Math.abs(image![side] - grid![side])).toBeLessThan(1);
    await picture(page, "pictures-390-dark");
    const wide = () => page.evaluate(() => document.documentElement.scrollWidth);
    expect(await wide()).toBeLessThanOrEqual(390);
    await page.getByRole("button", { name: "Remove poster.png" }).click();
    expect(await page.locator("#pending li").count()).toBe(1);
    await drop(page, "weights/nano/images/card-2.png");
    await page.locator("#pending li", { hasText: "card-2.png" }).waitFor();
    const c = find("multi-image-001");
    expect(await ask(page, c.turns[0]!.replaceAll(/Image-\d: <image>\n/g, ""))).toBe(c.answers[0]);
    expect(await wide()).toBeLessThanOrEqual(390);
    await picture(page, "conversation-390-dark");

    await page.getByRole("button", { name: "New conversation" }).click();
    expect(await page.locator("#log li").count()).toBe(0);
    await drop(page, "README.md");
    await page.getByText("README.md is no picture or video that this browser can read").waitFor();
    await page.locator("#files").focus(); // reached by Tab, opened by Space or Enter: it must not be taken out of the order
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("files");
    await page.keyboard.press("Tab");
    expect(await page.evaluate(() => document.activeElement?.getAttribute("aria-label"))).toMatch(/^Take the sample/);
    await picture(page, "problem-390-dark");
    expect(problems).toEqual([]);
    await page.close();
  });

  it("takes a short video", async () => {
    const { page, problems } = await open({ viewport: { width: 1280, height: 900 }, colorScheme: "dark" });
    await ready(page);
    const c = find("video-005");
    const frames = await Promise.all(
      c.video!.map(async (path) => Buffer.from(await readRepository(`weights/nano/${path}`)).toString("base64")),
    );
    const transfer = await page.evaluateHandle(async (list) => {
      const images = await Promise.all(
        list.map(async (base64) => createImageBitmap(await (await fetch(`data:image/png;base64,${base64}`)).blob())),
      );
      const canvas = Object.assign(document.createElement("canvas"), { width: images[0]!.width, height: images[0]!.height });
      const context = canvas.getContext("2d")!;
      const recorder = new MediaRecorder(canvas.captureStream(20), { mimeType: "video/webm", videoBitsPerSecond: 4e6 });
      const chunks: Blob[] = [];
      recorder.ondataavailable = ({ data }) => chunks.push(data);
      const stopped = new Promise((resolve) => {
        recorder.onstop = resolve;
      });
      recorder.start();
      for (const image of images) {
        for (let i = 0; i < 10; i++) {
          context.drawImage(image, 0, 0);
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      }
      recorder.stop();
      await stopped;
      const data = new DataTransfer();
      data.items.add(new File(chunks, "walk.webm", { type: "video/webm" }));
      return data;
    }, frames);
    await page.dispatchEvent("#drop", "drop", { dataTransfer: transfer });
    await page.locator("#pending .video, #picture-problem:not([hidden])").first().waitFor({ timeout: 120_000 });
    expect(await page.locator("#picture-problem").innerText()).toBe("");
    expect(await page.locator("#pending .video img").count()).toBe(4);
    expect(await ask(page, c.turns[0]!)).toBe(c.answers[0]);
    await picture(page, "video-1280-dark");
    expect(problems).toEqual([]);
    await page.close();
  });

  it("says what is missing and what to do", async () => {
    const bare = await chromium.launch({
      ...launch,
      args: [...launch.args, "--disable-gpu", "--disable-software-rasterizer", "--use-webgpu-adapter=none"],
    });
    try {
      const { page } = await open({ viewport: { width: 390, height: 844 } }, bare);
      const problem = page.locator("#problem");
      await problem.waitFor({ timeout: 60_000 });
      expect(await problem.innerText()).toMatch(/offers no WebGPU adapter[\s\S]*graphics acceleration/);
      await picture(page, "no-adapter-390-light");
    } finally {
      await bare.close();
    }
    const { page } = await open({ viewport: { width: 1280, height: 900 } });
    await ready(page);
    await page.getByLabel("Checkpoint").selectOption("folder");
    await page.locator("#folder").setInputFiles(pathOf("weights/nano/images"));
    await page.getByText("There is no config.json among these files.").waitFor();
    await page.locator("#folder").setInputFiles(pathOf("weights/nano"));
    await ready(page);
    expect(await ask(page, find("text-only-001").turns[0]!)).toBe(find("text-only-001").answers[0]);
    await picture(page, "folder-1280-light");
    await page.close();
  });
});
