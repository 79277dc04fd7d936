import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { AxeResults, RunOptions } from "axe-core";
import type { Page } from "playwright";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { messagesOfText } from "../../tools/conversation-form.ts";
import { isQuick } from "../shared/quick.ts";
import { readRepository } from "../support.ts";
import { ask, conversation, type Demo, give, questionOf, ready, send, serveDemo, withoutMarker } from "./demo.ts";
import { picture } from "./serve.ts";

const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };
const detail = conversation("two-round-003"); // long answers, two turns

/** What somebody hostile could have a model say. */
const HOSTILE = [
  "# A title",
  'Some **bold**, *em*, `code`, [a link](https://example.org/x) and <img src=x onerror="window.pwned=1"> &amp; <script>window.pwned=2</script>',
  "[bad](javascript:window.pwned=3) [worse](data:text/html,x) ![pixel](https://example.org/pixel.png)",
  "| a | b |\n|---|--:|\n| 1 | 2 |",
  "- one\n  1. nested",
  '<svg onload="window.pwned=4"></svg>\n<iframe srcdoc="<script>parent.pwned=5</script>"></iframe>',
].join("\n\n");

/** A conversation as `internvl chat --save` writes it, with a system message, two pictures, boxes, and a hostile answer. */
async function keptConversation(): Promise<string> {
  const image = async (name: string) => {
    const bytes = Buffer.from(await readRepository(`weights/nano/images/${name}`));
    return { type: "image", image: `data:image/png;base64,${bytes.toString("base64")}`, maxTiles: 6 };
  };
  const two = [
    await image("poster.png"),
    await image("card-1.png"),
    { type: "text", text: "Image-1: <image>\nImage-2: <image>\nWhere are they?" },
  ];
  const boxes = "Image-1: <ref>a circle</ref><box>[[580, 180, 720, 400]]</box> <ref>a triangle</ref><box>[[660, 700, 810, 920]]</box>";
  const messages = [
    { role: "system", content: "You are terse." },
    { role: "user", content: two },
    { role: "assistant", content: `${boxes}, Image-2: <ref>its shape</ref><box>[[100, 100, 900, 900]]</box>` },
    { role: "user", content: "Write." },
    { role: "assistant", content: HOSTILE },
  ];
  return JSON.stringify({ format: "internvl-conversation", version: 1, messages });
}

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe finds wrong, by rule and element. */
async function axe(page: Page): Promise<string[]> {
  await page.evaluate(AXE); // not as a script of the page's: its policy has none of others'
  const options: RunOptions = { resultTypes: ["violations"] };
  const { violations } = await page.evaluate(
    (given) => (window as unknown as { axe: { run(o: RunOptions): Promise<AxeResults> } }).axe.run(given),
    options,
  );
  return violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target.join(" ")}: ${failureSummary}`));
}

// One load of the model for all of them, in this order: each begins where the one before it has left the page.
describe("the demo page", () => {
  let demo: Demo;
  let page: Page;
  let problems: string[];
  beforeAll(async () => {
    demo = await serveDemo();
    ({ page, problems } = await demo.open({ viewport: DESKTOP }));
    await ready(page);
  });
  afterAll(() => demo?.close());

  it("answers about a dropped picture, lights up its tiles, streams, follows up and stops", async () => {
    const facts = await page.locator("#facts").innerText();
    expect(facts).toMatch(/swiftshader.*computes on the CPU, which is slow/i);
    expect(facts).toContain("bf16 (stored as bfloat16)");
    expect(facts).toMatch(/\d MB/);
    await give("drop", page, `weights/nano/${detail.images[0]}`);
    await page.locator("#pending img").waitFor();
    // How often the answer grew (once would be no stream), what was told of the prompt, and how many of the tiles were lit. Every piece is shown at
    // once here: a busy machine paints too few frames to see them grow.
    await page.evaluate(() => {
      window.requestAnimationFrame = (show) => {
        queueMicrotask(() => show(performance.now()));
        return 1;
      };
      const [lengths, told, lit] = [new Set<number>(), new Set<string>(), new Set<string>()];
      Object.assign(window, { lengths, told, lit });
      new MutationObserver(() => {
        lengths.add(document.querySelector(".answer .text")?.textContent?.length ?? 0);
        told.add(document.querySelector(".answer .progress")?.textContent ?? "");
        const tiles = [...document.querySelectorAll(".question.encoding .tile")];
        if (tiles.length > 0) lit.add(`${tiles.filter(({ classList }) => classList.contains("lit")).length} of ${tiles.length}`);
      }).observe(document.querySelector("#log")!, { childList: true, subtree: true, characterData: true, attributes: true });
    });
    expect(await ask(page, withoutMarker(detail.turns[0]!))).toBe(detail.answers[0]);
    const seen = await page.evaluate(() => {
      const { lengths, told, lit } = window as unknown as Record<string, Set<string>>;
      return { lengths: lengths!.size, told: [...told!], lit: [...lit!] };
    });
    expect(seen.lengths).toBeGreaterThan(5);
    expect(seen.told.some((text) => /^Looking at the pictures: \d+ of \d+ tiles…$/.test(text))).toBe(true);
    expect(seen.told.some((text) => /^Reading the question: \d+ of \d+ tokens…$/.test(text))).toBe(true);
    expect(seen.lit.length).toBeGreaterThan(0); // some were dark while others were encoded
    expect(await page.locator(".tile:not(.lit)").count()).toBe(0);
    const answer = page.locator(".answer").first();
    expect(await answer.locator(".progress").count()).toBe(0);
    expect(await answer.getByRole("button", { name: "Copy" }).isVisible()).toBe(true);
    expect(await answer.getAttribute("aria-live")).toBe("polite");
    expect(await answer.getAttribute("aria-busy")).toBe("false");
    expect(await answer.locator(".statistics").innerText()).toMatch(
      /^\d+ tokens · [\d.]+ tokens\/s · first token after [\d.]+ s · \d+ prompt tokens$/,
    );
    expect(await ask(page, detail.turns[1]!)).toBe(detail.answers[1]);

    await questionOf(page).fill("Please write a poem according to the image.");
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
    await picture(page, "stopped-1280-light");
    expect(await ask(page, detail.turns[1]!)).toBe(detail.answers[1]); // as if the stopped question had not been asked
  });

  it("asks the last question again, and an earlier one that was changed: what followed it goes", async () => {
    const turns = page.locator(".answer");
    const before = await turns.count();
    await page.getByRole("button", { name: "Regenerate" }).click(); // there is one, at the last answer
    await page.locator(".answer.busy").waitFor({ state: "detached" });
    expect(await turns.last().locator(".text").innerText()).toBe(detail.answers[1]);
    expect(await turns.count()).toBe(before);

    const edit = page.getByRole("button", { name: `Edit the question: ${withoutMarker(detail.turns[0]!)}` });
    await edit.click();
    expect(await questionOf(page).inputValue()).toBe(withoutMarker(detail.turns[0]!));
    expect(await page.locator("#pending img").count()).toBe(1);
    await picture(page, "editing-1280-light");
    await page.keyboard.press("Escape");
    expect(await questionOf(page).inputValue()).toBe("");
    expect(await page.locator("#editing").isHidden()).toBe(true);
    expect(await turns.count()).toBe(before);
    await edit.click();
    await page.locator("#settings summary").click();
    await page.getByLabel("Most tokens").fill("2");
    expect(await ask(page, "What shape is it?")).not.toBe("");
    expect(await turns.count()).toBe(1);
    expect(await page.locator(".statistics").innerText()).toMatch(/^2 tokens .* cut off at the limit$/);
    await page.getByLabel("Most tokens").fill("");
  });

  it("takes the settings: tiles at once, and says what is wrong with one", async () => {
    await page.getByRole("button", { name: "New conversation" }).click();
    await page.getByRole("button", { name: "Take the sample poster.png" }).click();
    const tiles = page.locator("#pending span.tile");
    await expect.poll(() => tiles.count()).toBe(6);
    await page.getByLabel("Most tiles a picture").fill("2");
    await expect.poll(() => tiles.count()).toBe(2);
    await page.getByLabel("Most tiles a picture").fill("");
    await page.getByRole("button", { name: "Remove poster.png" }).click();
    await page.getByLabel("Temperature").fill("-1");
    await questionOf(page).fill("What shape is it?");
    await questionOf(page).press("Enter");
    await page.locator(".answer .problem").filter({ hasText: "temperature" }).waitFor();
    await page.getByLabel("Temperature").fill("");
    await page.getByRole("button", { name: "New conversation" }).click();
  });

  it("imports what the command line has kept, draws its boxes, and no answer's HTML is ever HTML", async () => {
    await page.locator("#import-file").setInputFiles({ name: "broken.json", mimeType: "application/json", buffer: Buffer.from("{") });
    await page.getByText(/broken\.json is no conversation that can be read/i).waitFor();
    const kept = await keptConversation();
    await page.locator("#import-file").setInputFiles({ name: "kept.json", mimeType: "application/json", buffer: Buffer.from(kept) });
    await page.locator(".grounding").nth(1).waitFor();
    expect(await page.getByText(/no conversation that can be read/i).isHidden()).toBe(true);
    expect(await page.getByLabel("System message").inputValue()).toBe("You are terse.");

    const first = page.locator(".grounding").first();
    const [frame, box] = await Promise.all([first.locator("img").boundingBox(), first.locator(".box").first().boundingBox()]);
    expect((box!.x - frame!.x) / frame!.width).toBeCloseTo(0.58, 2);
    expect((box!.y - frame!.y) / frame!.height).toBeCloseTo(0.18, 2);
    expect(box!.width / frame!.width).toBeCloseTo(0.14, 2);
    expect(await first.locator("figcaption li").allInnerTexts()).toEqual([
      expect.stringMatching(/^1 a circle 580, 180/),
      expect.stringMatching(/^2 a triangle/),
    ]);
    expect(await page.locator(".grounding").nth(1).innerText()).toMatch(/3 its shape 100, 100, 900, 900/);

    const hostile = page.locator(".answer").nth(1).locator(".text");
    expect(await page.locator(".answer").first().locator(".text").innerText()).toMatch(/^Image-1: a circle \[\[580, 180/);
    expect(await hostile.locator("script, img, iframe, svg, [onerror], [onload]").count()).toBe(0);
    const links = await hostile
      .locator("a")
      .evaluateAll((all) => all.map((a) => [a.getAttribute("href"), a.getAttribute("target"), a.getAttribute("rel")]));
    expect(links).toEqual([["https://example.org/x", "_blank", "noopener noreferrer nofollow"]]);
    expect(await hostile.locator("strong, em, code, h3, table, ul ol").count()).toBe(6);
    expect(await hostile.innerText()).toContain('<img src=x onerror="window.pwned=1"> & <script>window.pwned=2</script>');
    expect(await page.evaluate(() => (window as unknown as { pwned?: number }).pwned)).toBeUndefined();
    await picture(page, "imported-1280-light");

    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export" }).click()]);
    const text = await readFile(await download.path(), "utf8");
    expect(messagesOfText(text, "the export")).toEqual(JSON.parse(kept).messages);
  });

  it("is right for everybody: axe finds nothing, at any size, in light and dark", async () => {
    const looks = ([DESKTOP, PHONE] as const).flatMap((size) => (["light", "dark"] as const).map((colorScheme) => ({ size, colorScheme })));
    for (const { size, colorScheme } of isQuick ? [looks[0]!, looks[3]!] : looks) {
      await page.setViewportSize(size);
      await page.emulateMedia({ colorScheme });
      if (size === PHONE && (await page.locator("#model-line").getAttribute("aria-expanded")) === "false")
        await page.locator("#model-line").click();
      expect(await axe(page), `${size.width} ${colorScheme}`).toEqual([]);
      await picture(page, `axe-${size.width}-${colorScheme}`);
    }
    await page.locator("#model-line").click();
  });

  it("on a phone the model is one line, the conversation comes first, and the composer stays in sight", async () => {
    const boxOf = async (selector: string) => (await page.locator(selector).boundingBox())!;
    expect((await boxOf("#model")).height).toBeLessThan(64);
    expect(await page.locator("#model-line").innerText()).toMatch(/^nano\s*bf16, ready, slow: on the CPU$/);
    expect((await boxOf("#chat")).y).toBeGreaterThanOrEqual(0); // of a page that is scrolled to its start
    for (const where of [0, 1e6, 300]) {
      await page.evaluate((y) => window.scrollTo(0, y), where);
      const { y, height } = await boxOf("#composer");
      expect(y).toBeGreaterThan(0);
      expect(y + height).toBeLessThanOrEqual(PHONE.height);
    }
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(PHONE.width);
    await picture(page, "imported-390-dark");
  });

  it("goes by keyboard alone: everything is reached, and what has the focus is seen", async () => {
    await page.getByRole("button", { name: "New" }).click();
    await page.setViewportSize(DESKTOP);
    await page.locator("#source").focus();
    const reached: string[] = [];
    for (let i = 0; i < 40 && !reached.includes("question"); i++) {
      await page.keyboard.press("Tab");
      const [name, seen] = await page.evaluate(() => {
        const focused = document.activeElement as HTMLElement;
        const shown = focused.id === "files" ? document.querySelector<HTMLElement>(".choose")! : focused;
        return [focused.id || focused.ariaLabel || focused.textContent!.trim(), getComputedStyle(shown).outlineStyle] as const;
      });
      expect(seen, name).toBe("solid");
      reached.push(name);
    }
    expect(reached).toEqual(
      expect.arrayContaining(["weights", "precision", "What fits this adapter", "temperature", "system", "import", "files", "question"]),
    );
    await page.keyboard.press("Shift+Tab"); // a sample
    await page.keyboard.press("Enter");
    await page.locator("#pending img").waitFor();
    await questionOf(page).focus();
    await page.keyboard.type("What shape is it?");
    expect(await send(page)).not.toBe("");
    await page.keyboard.press("Shift+Tab"); // over the composer to the answer's last button, and to the question's
    for (let i = 0; i < 12 && (await page.evaluate(() => document.activeElement?.textContent)) !== "Edit"; i++)
      await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Enter");
    expect(await questionOf(page).inputValue()).toBe("What shape is it?");
    await page.keyboard.press("Escape");
  });

  it("fills in a model of the family with its size, and fetches nothing before “Load”", async () => {
    const requests: string[] = [];
    page.on("request", (request) => requests.push(request.url()));
    await page.getByLabel("Checkpoint").selectOption("family:OpenGVLab/InternVL2_5-4B");
    expect(await page.getByLabel("Hugging Face id").inputValue()).toBe("OpenGVLab/InternVL2_5-4B");
    await page.getByText("It takes 7.8 GiB of GPU memory as published, 4.6 GiB in q8, 2.8 GiB in q4.").waitFor();
    expect(requests).toEqual([]);
    await picture(page, "family-1280-dark");
  });

  it("has written nothing to the console", () => {
    expect(problems).toEqual([]);
  });
});
