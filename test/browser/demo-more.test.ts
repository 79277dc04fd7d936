import { readFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { chromium, type Page } from "playwright";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Misbehave, sha256 } from "../hub-server.ts";
import { ELSEWHERE, isQuick } from "../shared/quick.ts";
import { pathOf, readRepository } from "../support.ts";
import { chromiumLaunch } from "./chromium.ts";
import { ask, conversation, type Demo, give, ID, questionOf, ready, send, serveDemo, WEIGHTS } from "./demo.ts";
import { picture } from "./serve.ts";

let demo: Demo;
beforeAll(async () => {
  if (!isQuick) demo = await serveDemo();
});
afterAll(() => demo?.close());

/** Sends half of the weights, then calls `then`; every other request is answered as it should be. */
const halfOfWeights =
  (bytes: Uint8Array, then: (response: Parameters<Misbehave>[1]) => void): Misbehave =>
  ({ method, path, headers }, response) => {
    if (method !== "GET" || !path.startsWith(`/${WEIGHTS}`) || headers.range) return false;
    response.writeHead(200, { etag: `"cdn-${sha256(bytes).slice(0, 8)}"`, "content-length": bytes.length, "accept-ranges": "bytes" });
    response.write(bytes.subarray(0, bytes.length >> 1), () => then(response));
    return true;
  };

// Each of these loads models of its own.
describe.skipIf(isQuick)(`the demo page, all of it (${ELSEWHERE})`, () => {
  it("is linked with a model and a question", async () => {
    const { page } = await demo.open();
    await page.goto(`${demo.address}?model=${ID}&q=${encodeURIComponent("What is it?")}`);
    await ready(page);
    expect(await questionOf(page).inputValue()).toBe("What is it?");
    expect(await page.getByLabel("Checkpoint").inputValue()).toContain(ID);
    await page.close();
  });

  it("draws the tiles over the picture, takes several pictures, and fits a phone", async () => {
    const { page, problems } = await demo.open({ viewport: { width: 390, height: 844 }, colorScheme: "dark" });
    await picture(page, "start-390-dark");
    await ready(page);
    await give("drop", page, "weights/nano/images/poster.png", "weights/nano/images/card-1.png");
    const poster = page.locator("#pending li", { hasText: "poster.png" });
    await expect.poll(() => poster.locator(".tiles span").count()).toBe(6);
    const apart = async () => {
      const [image, grid] = await Promise.all([poster.locator("img").boundingBox(), poster.locator(".tiles").boundingBox()]);
      if (!image || !grid) return Number.POSITIVE_INFINITY; // the list is drawn anew when the other picture has been read
      return Math.max(...(["x", "y", "width", "height"] as const).map((side) => Math.abs(image[side] - grid[side])));
    };
    await expect.poll(apart).toBeLessThan(1);
    await picture(page, "pictures-390-dark");
    const wide = () => page.evaluate(() => document.documentElement.scrollWidth);
    expect(await wide()).toBeLessThanOrEqual(390);
    await page.getByRole("button", { name: "Remove poster.png" }).click();
    expect(await page.locator("#pending li").count()).toBe(1);
    await give("drop", page, "weights/nano/images/card-2.png");
    await page.locator("#pending li", { hasText: "card-2.png" }).waitFor();
    const c = conversation("multi-image-001");
    expect(await ask(page, c.turns[0]!.replaceAll(/Image-\d: <image>\n/g, ""))).toBe(c.answers[0]);
    expect(await wide()).toBeLessThanOrEqual(390);
    await picture(page, "conversation-390-dark");

    await page.getByRole("button", { name: "New conversation" }).click();
    expect(await page.locator("#log li").count()).toBe(0);
    await give("drop", page, "README.md");
    await page.getByText("README.md is not a picture or video that this browser can read").waitFor();
    await page.locator("#files").focus(); // reached by Tab, opened by Space or Enter: it must not be taken out of the order
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("files");
    await page.keyboard.press("Tab");
    expect(await page.evaluate(() => document.activeElement?.getAttribute("aria-label"))).toMatch(/^Take the sample/);
    await picture(page, "problem-390-dark");
    expect(problems).toEqual([]);
    await page.close();
  });

  it("takes new pictures in a later turn, goes on with weights in another format, and is imported again as it was exported", async () => {
    const { page, problems } = await demo.open({ viewport: { width: 1280, height: 900 } });
    await ready(page);
    await give("paste", page, "weights/nano/images/poster.png", "weights/nano/images/card-1.png");
    await expect.poll(() => page.locator("#pending li").count()).toBe(2);
    await ask(page, "Describe the two images.");
    await give("drop", page, "weights/nano/images/card-2.png");
    await page.locator("#pending li").waitFor();
    const answer = await ask(page, "What shape is it?");
    expect(await page.locator(".question").nth(1).locator("img").count()).toBe(1);
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export" }).click()]);
    const kept = await readFile(await download.path(), "utf8");
    const pictures = (kept.match(/"data:image\/png;base64,/g) ?? []).length;
    expect(pictures).toBe(3);

    await page.getByLabel("Precision").selectOption("exact");
    await ready(page);
    expect(await page.locator(".answer").count()).toBe(2);
    await page.getByRole("button", { name: "Regenerate" }).click();
    await page.locator(".answer.busy").waitFor({ state: "detached" });
    expect(await page.locator(".answer:last-child .text").innerText()).toBe(answer); // of this picture, which the new model has not seen

    await page.getByRole("button", { name: "New conversation" }).click();
    await page.locator("#import-file").setInputFiles({ name: "kept.json", mimeType: "application/json", buffer: Buffer.from(kept) });
    await expect.poll(() => page.locator(".question img").count()).toBe(3);
    expect(await page.locator(".question > p").allInnerTexts()).toEqual(["Describe the two images.", "What shape is it?"]);
    await page.getByRole("button", { name: "Edit the question: What shape is it?" }).click();
    expect(await send(page)).toBe(answer);
    await picture(page, "later-1280-light");
    expect(problems).toEqual([]);
    await page.close();
  });

  it("asks what fits this adapter when somebody wants to know", async () => {
    const { page, problems } = await demo.open({ viewport: { width: 1280, height: 900 } });
    await ready(page);
    await page.evaluate(() => Object.defineProperty(navigator, "deviceMemory", { value: 4 }));
    await page.locator("#family summary").click();
    await page.getByText("Green fits.").waitFor({ timeout: 60_000 });
    const row = (model: string) => page.getByRole("row", { name: model }).locator("td").allInnerTexts();
    expect((await row("InternVL2_5-1B")).map((text) => text.replace(/\s+/g, " "))).toEqual(["2.4 fits", "1.6 fits", "1.1 fits"]);
    expect((await row("InternVL2_5-4B")).map((text) => text.replace(/\s+/g, " "))).toEqual(["7.8 too large", "4.6 too large", "2.8 fits"]);
    expect(await page.locator("#source option", { hasText: "InternVL2_5-4B" }).innerText()).toMatch(/fits in q4\)$/);
    await picture(page, "fits-1280-light");
    expect(problems).toEqual([]);
    await page.close();
  });

  it("takes a short video", async () => {
    const { page, problems } = await demo.open({ viewport: { width: 1280, height: 900 }, colorScheme: "dark" });
    await ready(page);
    const c = conversation("video-005");
    await give("drop", page, "test/fixtures/video/walk.webm"); // its frames, a second each
    await page.locator("#pending .video, #picture-problem:not([hidden])").first().waitFor({ timeout: 120_000 });
    expect(await page.locator("#picture-problem").innerText()).toBe("");
    expect(await page.locator("#pending .video img").count()).toBe(4);
    expect(await ask(page, c.turns[0]!)).toBe(c.answers[0]);
    await picture(page, "video-1280-dark");
    expect(problems).toEqual([]);
    await page.close();
  });

  it("says what is missing and what to do", async () => {
    const launch = await chromiumLaunch();
    const bare = await chromium.launch({
      ...launch,
      args: [...launch.args, "--disable-gpu", "--disable-software-rasterizer", "--use-webgpu-adapter=none"],
    });
    try {
      const { page } = await demo.open({ viewport: { width: 390, height: 844 } }, bare);
      const problem = page.locator("#problem");
      await problem.waitFor({ timeout: 60_000 });
      expect(await problem.innerText()).toMatch(/offers no WebGPU adapter[\s\S]*graphics acceleration/);
      await picture(page, "no-adapter-390-light");
    } finally {
      await bare.close();
    }
    const { page } = await demo.open({ viewport: { width: 1280, height: 900 } });
    await ready(page);
    await page.getByLabel("Checkpoint").selectOption("folder");
    await page.locator("#folder").setInputFiles(pathOf("weights/nano/images"));
    await page.getByText("There is no config.json in the model's folder.").waitFor();
    await page.locator("#folder").setInputFiles(pathOf("weights/nano"));
    await ready(page);
    expect(await ask(page, conversation("text-only-001").turns[0]!)).toBe(conversation("text-only-001").answers[0]);
    await picture(page, "folder-1280-light");
    await page.close();
  });
});

/** Chooses “Hugging Face…”, types what to load, and presses Enter. */
async function loadNamed(page: Page, name: string): Promise<void> {
  if (await page.getByLabel("Checkpoint").isHidden()) await page.locator("#model-line").click(); // a phone's one line
  await page.getByLabel("Checkpoint").selectOption("hub");
  await page.getByLabel("Hugging Face id").fill(name);
  await page.keyboard.press("Enter");
}

describe.skipIf(isQuick)(`the demo page's downloads (${ELSEWHERE})`, () => {
  const desktop = { viewport: { width: 1280, height: 900 } };
  let weights: Uint8Array;
  beforeAll(async () => {
    weights = await readRepository(`weights/nano/${WEIGHTS}`);
  });
  afterEach(() => {
    demo.misbehave = undefined;
  });

  it("a tab that is closed half-way: another one goes on, answers, finds the model again, deletes it", async () => {
    const context = await demo.browser.newContext(desktop);
    const { page: first } = await demo.open({}, context);
    demo.misbehave = halfOfWeights(weights, () => {}); // and then nothing more comes
    await loadNamed(first, ID);
    await first
      .locator("#load-state")
      .filter({ hasText: /^Downloading: 4\.[5-9] MB of 9\.\d MB/ })
      .waitFor();
    await picture(first, "downloading-1280-light");
    await first.close();

    demo.misbehave = undefined;
    const { page, problems } = await demo.open({}, context);
    await page.getByText(/^org\/nano 4\.\d MB, unfinished$/).waitFor();
    await picture(page, "unfinished-1280-light");
    demo.hub.cdn.log.length = 0;
    await page.getByLabel("Checkpoint").selectOption(`cached:${ID}`);
    await ready(page);
    const resumed = demo.hub.cdn.gets(WEIGHTS).map(({ headers }) => headers.range);
    expect(resumed.filter((range) => /^bytes=[1-9]\d{6}-$/.test(range ?? ""))).toHaveLength(1); // not from the start
    const c = conversation("text-only-001");
    expect(await ask(page, c.turns[0]!)).toBe(c.answers[0]);
    expect(await page.getByLabel("Checkpoint").inputValue()).toBe(`cached:${ID}`);

    await page.reload();
    demo.hub.cdn.log.length = 0;
    await page.getByLabel("Weights on the GPU").selectOption("q8");
    await page.getByLabel("Checkpoint").selectOption(`cached:${ID}`);
    await page.getByText("q8 (stored as bfloat16)").waitFor();
    expect(demo.hub.cdn.gets(WEIGHTS)).toEqual([]);
    await page.getByText(/^org\/nano 9\.\d MB$/).waitFor();
    await picture(page, "cached-1280-light");
    page.once("dialog", (dialog) => dialog.accept());
    await page.getByRole("button", { name: `Delete ${ID}` }).click();
    await page.locator("#cached").waitFor({ state: "hidden" });
    expect((await page.locator("#source option").allInnerTexts()).filter((text) => text.includes(ID))).toEqual([]);
    expect(problems.filter((text) => !text.includes("404"))).toEqual([]); // a checkpoint need not have every file that is asked for
    await context.close();
  });

  it("what cannot be had is reported, with what to do", async () => {
    const bare = await demo.browser.newContext();
    await bare.addInitScript(() => Object.defineProperty(Navigator.prototype, "gpu", { value: undefined }));
    const { page: old } = await demo.open({}, bare);
    await old
      .locator("#problem")
      .filter({ hasText: /this browser has no WebGPU.*a current Chrome/i })
      .waitFor();
    await bare.close();

    const { page } = await demo.open({ viewport: { width: 390, height: 844 }, colorScheme: "dark" });
    const told = (text: RegExp) => page.locator("#problem").filter({ hasText: text }).waitFor();
    await ready(page);
    await loadNamed(page, "not a model");
    await told(/"not a model" names no model\.Give a Hugging Face id such as/);
    await loadNamed(page, "org/unknown");
    await told(/No model "org\/unknown" \(main\).*401.*No repository has this name.*the field “Token”/);

    // Less room than the model needs.
    const devtools = await page.context().newCDPSession(page);
    await devtools.send("Storage.overrideQuotaForOrigin", { origin: new URL(demo.address).origin, quotaSize: 3e6 });
    await loadNamed(page, ID);
    await told(
      /org\/nano at main needs 9\.\d MB more in the browser's storage, which has room for [\d.]+ [kM]B\.Delete models that are kept here/,
    );
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
    await picture(page, "quota-390-dark");
    await page.close();
  });

  it("a token opens a private model, goes to its server alone, and is kept nowhere", async () => {
    const secret = "hf_secretOfThisTest";
    demo.misbehave = ({ headers }, response, server) => {
      if (server.origin !== demo.hub.origin || headers.authorization === `Bearer ${secret}`) return false;
      response.writeHead(401, { "x-error-code": "RepoNotFound" }).end();
      return true;
    };
    const context = await demo.browser.newContext(desktop);
    const { page } = await demo.open({}, context);
    await ready(page);
    await loadNamed(page, ID);
    await page.locator("#problem").filter({ hasText: "401" }).waitFor();
    demo.hub.cdn.log.length = 0;
    await page.getByLabel("Token, for private models only").fill(secret);
    await page.getByRole("button", { name: "Load", exact: true }).click();
    await ready(page);
    expect(demo.hub.log.some(({ headers }) => headers.authorization === `Bearer ${secret}`)).toBe(true);
    expect(demo.hub.cdn.log.filter(({ headers }) => headers.authorization)).toEqual([]);
    expect(page.url()).not.toContain(secret);
    expect(JSON.stringify(await context.storageState({ indexedDB: true }))).not.toContain(secret);
    expect(await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]))).not.toContain(secret);
    await page.reload();
    expect(await page.locator("#token").inputValue()).toBe("");
    await context.close();
  });

  it("Cancel keeps what was fetched", async () => {
    const { page } = await demo.open(desktop);
    demo.misbehave = halfOfWeights(weights, () => {});
    await loadNamed(page, ID);
    await page
      .locator("#load-state")
      .filter({ hasText: /^Downloading: 4\.[5-9] MB of/ })
      .waitFor();
    await page.getByRole("button", { name: "Cancel" }).focus();
    await page.keyboard.press("Enter");
    await page.getByText("Stopped. What was fetched is kept").waitFor();
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("source"); // the focus is not lost with the button
    demo.misbehave = undefined;
    demo.hub.cdn.log.length = 0;
    await page.getByRole("button", { name: "Load" }).click();
    await ready(page);
    expect(demo.hub.cdn.gets(WEIGHTS).some(({ headers }) => /^bytes=[1-9]\d{6}-$/.test(headers.range ?? ""))).toBe(true);
    await page.close();
  });

  // The library waits longer after each of five failures: ten seconds and more.
  it("the network is lost half-way: a message, and the rest on “Try again”", async () => {
    const { page } = await demo.open(desktop);
    await ready(page);
    let lost = false;
    let hanging: ServerResponse | undefined;
    const half = halfOfWeights(weights, (response) => {
      lost = true;
      hanging = response;
    });
    demo.misbehave = (request, response, server) => {
      if (lost) response.destroy();
      return lost || half(request, response, server);
    };
    await loadNamed(page, ID);
    await page
      .locator("#load-state")
      .filter({ hasText: /^Downloading: 4\.[5-9] MB of/ })
      .waitFor(); // the line breaks when the half is here, and not still on its way
    hanging!.destroy();
    await page.getByRole("button", { name: "Try again" }).waitFor();
    expect(await page.locator("#problem").innerText()).toMatch(/Cannot fetch .*model\.safetensors[\s\S]*what was fetched is kept/);
    await picture(page, "network-1280-light");
    demo.misbehave = undefined;
    demo.hub.cdn.log.length = 0;
    await page.getByRole("button", { name: "Try again" }).click();
    await ready(page);
    expect(demo.hub.cdn.gets(WEIGHTS).some(({ headers }) => /^bytes=[1-9]\d{6}-$/.test(headers.range ?? ""))).toBe(true);
    await page.close();
  });
});
