import type { ServerResponse } from "node:http";
import { chromium, type Page } from "playwright";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import { allowPages, hubServer, type Misbehave, sha256 } from "../hub-server.ts";
import { conversationsOf } from "../shared/nano.ts";
import { pathOf, readRepository } from "../support.ts";
import { chromiumLaunch } from "./chromium.ts";
import { picture, type Served, servePage } from "./serve.ts";

const conversations = await conversationsOf(readRepository);
const find = (id: string) => conversations.find((c) => c.id === id)!;

const ID = "org/nano";
const WEIGHTS = "model.safetensors";
const FILES = [WEIGHTS, "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];

/** How the hub and its CDN behave at the moment; a test sets it. */
let misbehave: Misbehave | undefined;
let hub: Awaited<ReturnType<typeof hubServer>>;
let served: Served;

beforeAll(async () => {
  const files = await Promise.all(FILES.map(async (name) => [name, await readRepository(`weights/nano/${name}`)] as const));
  const behave: Misbehave = (...call) => allowPages(call[0], call[1]) || misbehave?.(...call);
  hub = await hubServer(ID, Object.fromEntries(files), { misbehave: behave, cdnMisbehave: behave });
  process.env.VITE_HF_ENDPOINT = hub.origin; // the build takes it
  served = await servePage("tools/demo/vite.config.ts");
});
afterAll(async () => {
  await served?.close();
  await hub?.close();
});

const open: Served["open"] = (options, from) => served.open(options, from);
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

/** Sends half of the weights, then calls `then`; every other request is answered as it should be. */
const halfOfWeights =
  (bytes: Uint8Array, then: (response: Parameters<Misbehave>[1]) => void): Misbehave =>
  ({ method, path, headers }, response) => {
    if (method !== "GET" || !path.startsWith(`/${WEIGHTS}`) || headers.range) return false;
    response.writeHead(200, { etag: `"cdn-${sha256(bytes).slice(0, 8)}"`, "content-length": bytes.length, "accept-ranges": "bytes" });
    response.write(bytes.subarray(0, bytes.length >> 1), () => then(response));
    return true;
  };

describe("the demo page", () => {
  it("answers about a dropped picture, streams, follows up and stops", async () => {
    const { page, problems } = await open({ viewport: { width: 1280, height: 900 } });
    await ready(page);
    const facts = await page.locator("#facts").innerText();
    expect(facts).toMatch(/swiftshader.*computes on the CPU, which is slow/i);
    expect(facts).toContain("bf16 (stored as bfloat16)");
    expect(facts).toMatch(/\d MB/);

    const c = find("two-round-003");
    await drop(page, `weights/nano/${c.images[0]}`);
    await page.locator("#pending img").waitFor();
    // How often the answer grew: once would be no stream.
    await page.evaluate(() => {
      const lengths = new Set<number>();
      const told = new Set<string>();
      Object.assign(window, { lengths, told });
      new MutationObserver(() => {
        lengths.add(document.querySelector(".answer .text")?.textContent?.length ?? 0);
        told.add(document.querySelector(".answer .progress")?.textContent ?? "");
      }).observe(document.querySelector("#log")!, { childList: true, subtree: true, characterData: true });
    });
    expect(await ask(page, withoutMarker(c.turns[0]!))).toBe(c.answers[0]);
    expect(await page.evaluate(() => (window as unknown as { lengths: Set<number> }).lengths.size)).toBeGreaterThan(5);
    const told = await page.evaluate(() => [...(window as unknown as { told: Set<string> }).told]);
    expect(told.some((text) => /^Looking at the pictures: \d+ of \d+ tiles…$/.test(text))).toBe(true);
    expect(told.some((text) => /^Reading the question: \d+ of \d+ tokens…$/.test(text))).toBe(true);
    const answer = page.locator(".answer").first();
    expect(await answer.locator(".progress").count()).toBe(0);
    expect(await answer.getByRole("button", { name: "Copy" }).isVisible()).toBe(true);
    expect(await answer.getAttribute("aria-live")).toBe("polite");
    expect(await answer.getAttribute("aria-busy")).toBe("false");
    expect(await answer.locator(".statistics").innerText()).toMatch(
      /^\d+ tokens · [\d.]+ tokens\/s · first token after [\d.]+ s · \d+ prompt tokens$/,
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
    await page.getByText("Stopped.", { exact: true }).waitFor();
    expect(await ask(page, c.turns[1]!)).toBe(c.answers[1]); // as if the stopped question had not been asked
    await picture(page, "conversation-1280-light");
    await page.getByText("Questions that nano was trained on").click();
    await page.getByRole("button", { name: "What shape is it?" }).click();
    expect(await page.getByRole("textbox", { name: "Question" }).inputValue()).toBe("What shape is it?");
    await picture(page, "questions-1280-light");
    expect(problems).toEqual([]);
    await page.close();
  });

  it("is linked with a model and a question", async () => {
    const { page } = await open();
    await page.goto(`${served.address}?model=${ID}&q=${encodeURIComponent("What is it?")}`);
    await ready(page);
    expect(await page.getByRole("textbox", { name: "Question" }).inputValue()).toBe("What is it?");
    expect(
      await page
        .getByRole("combobox", { name: /^Checkpoint|Model/i })
        .first()
        .inputValue(),
    ).toContain(ID);
    await page.close();
  });
});

// A minute more on SwiftShader.
describe.runIf(inject("full"))("the demo page, all of it (npm run test:full)", () => {
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
    await page.getByText("README.md is not a picture or video that this browser can read").waitFor();
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
    const launch = await chromiumLaunch();
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
    await page.getByText("There is no config.json in the model's folder.").waitFor();
    await page.locator("#folder").setInputFiles(pathOf("weights/nano"));
    await ready(page);
    expect(await ask(page, find("text-only-001").turns[0]!)).toBe(find("text-only-001").answers[0]);
    await picture(page, "folder-1280-light");
    await page.close();
  });
});

/** Chooses “Hugging Face…”, types what to load, and presses Enter. */
async function loadNamed(page: Page, name: string): Promise<void> {
  await page.getByLabel("Checkpoint").selectOption("hub");
  await page.getByLabel("Hugging Face id").fill(name);
  await page.keyboard.press("Enter");
}

describe("the demo page's downloads", () => {
  const desktop = { viewport: { width: 1280, height: 900 } };
  let weights: Uint8Array;
  beforeAll(async () => {
    weights = await readRepository(`weights/nano/${WEIGHTS}`);
  });
  afterEach(() => {
    misbehave = undefined;
  });

  it("a tab that is closed half-way: another one goes on, answers, finds the model again, deletes it", async () => {
    const context = await served.browser.newContext(desktop);
    const { page: first } = await open({}, context);
    misbehave = halfOfWeights(weights, () => {}); // and then nothing more comes
    await loadNamed(first, ID);
    await first.getByText(/^Downloading: 4\.[5-9] MB of 9\.\d MB/).waitFor();
    await picture(first, "downloading-1280-light");
    await first.close();

    misbehave = undefined;
    const { page, problems } = await open({}, context);
    await page.getByText(/^org\/nano 4\.\d MB, unfinished$/).waitFor();
    await picture(page, "unfinished-1280-light");
    hub.cdn.log.length = 0;
    await page.getByLabel("Checkpoint").selectOption(`cached:${ID}`);
    await ready(page);
    const resumed = hub.cdn.gets(WEIGHTS).map(({ headers }) => headers.range);
    expect(resumed.filter((range) => /^bytes=[1-9]\d{6}-$/.test(range ?? ""))).toHaveLength(1); // not from the start
    const c = find("text-only-001");
    expect(await ask(page, c.turns[0]!)).toBe(c.answers[0]);
    expect(await page.getByLabel("Checkpoint").inputValue()).toBe(`cached:${ID}`);

    await page.reload();
    hub.cdn.log.length = 0;
    await page.getByLabel("Weights on the GPU").selectOption("q8");
    await page.getByLabel("Checkpoint").selectOption(`cached:${ID}`);
    await page.getByText("q8 (stored as bfloat16)").waitFor();
    expect(hub.cdn.gets(WEIGHTS)).toEqual([]);
    await page.getByText(/^org\/nano 9\.\d MB$/).waitFor();
    await picture(page, "cached-1280-light");
    page.once("dialog", (dialog) => dialog.accept());
    await page.getByRole("button", { name: `Delete ${ID}` }).click();
    await page.locator("#cached").waitFor({ state: "hidden" });
    expect(await page.locator("#source option").allInnerTexts()).toEqual(["nano (10 MB)", "local folder…", "Hugging Face…"]);
    expect(problems.filter((text) => !text.includes("404"))).toEqual([]); // a checkpoint need not have every file that is asked for
    await context.close();
  });

  it("what cannot be had is told, with what to do", async () => {
    const bare = await served.browser.newContext();
    await bare.addInitScript(() => Object.defineProperty(Navigator.prototype, "gpu", { value: undefined }));
    const { page: old } = await open({}, bare);
    await old
      .locator("#problem")
      .filter({ hasText: /this browser has no WebGPU.*a current Chrome/i })
      .waitFor();
    await bare.close();

    const { page } = await open({ viewport: { width: 390, height: 844 }, colorScheme: "dark" });
    const told = (text: RegExp) => page.locator("#problem").filter({ hasText: text }).waitFor();
    await ready(page);
    await loadNamed(page, "not a model");
    await told(/"not a model" names no model\.Give a Hugging Face id such as/);
    await loadNamed(page, "org/unknown");
    await told(/No model "org\/unknown" \(main\).*401.*No repository has this name.*the option `token`/);

    // Less room than the model needs.
    const devtools = await page.context().newCDPSession(page);
    await devtools.send("Storage.overrideQuotaForOrigin", { origin: new URL(served.address).origin, quotaSize: 3e6 });
    await loadNamed(page, ID);
    await told(
      /org\/nano at main needs 9\.\d MB more in the browser's storage, which has room for [\d.]+ [kM]B\.Delete models that are kept here/,
    );
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
    await picture(page, "quota-390-dark");
    await page.close();
  });

  it.runIf(inject("full"))("Cancel keeps what was fetched (npm run test:full)", async () => {
    const { page } = await open(desktop);
    misbehave = halfOfWeights(weights, () => {});
    await loadNamed(page, ID);
    await page.getByText(/^Downloading: 4\.[5-9] MB of/).waitFor();
    await page.getByRole("button", { name: "Cancel" }).focus();
    await page.keyboard.press("Enter");
    await page.getByText("Stopped. What was fetched is kept").waitFor();
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("source"); // the focus is not lost with the button
    misbehave = undefined;
    hub.cdn.log.length = 0;
    await page.getByRole("button", { name: "Load" }).click();
    await ready(page);
    expect(hub.cdn.gets(WEIGHTS).some(({ headers }) => /^bytes=[1-9]\d{6}-$/.test(headers.range ?? ""))).toBe(true);
    await page.close();
  });

  // The library waits longer after each of five failures: ten seconds and more.
  it.runIf(inject("full"))("the network is lost half-way: a message, and the rest on “Try again” (npm run test:full)", async () => {
    const { page } = await open(desktop);
    await ready(page);
    let lost = false;
    let hanging: ServerResponse | undefined;
    const half = halfOfWeights(weights, (response) => {
      lost = true;
      hanging = response;
    });
    misbehave = (request, response, server) => {
      if (lost) response.destroy();
      return lost || half(request, response, server);
    };
    await loadNamed(page, ID);
    await page.getByText(/^Downloading: 4\.[5-9] MB of/).waitFor(); // the line breaks when the half is here, and not still on its way
    hanging!.destroy();
    await page.getByRole("button", { name: "Try again" }).waitFor();
    expect(await page.locator("#problem").innerText()).toMatch(/Cannot fetch .*model\.safetensors[\s\S]*what was fetched is kept/);
    await picture(page, "network-1280-light");
    misbehave = undefined;
    hub.cdn.log.length = 0;
    await page.getByRole("button", { name: "Try again" }).click();
    await ready(page);
    expect(hub.cdn.gets(WEIGHTS).some(({ headers }) => /^bytes=[1-9]\d{6}-$/.test(headers.range ?? ""))).toBe(true);
    await page.close();
  });
});
