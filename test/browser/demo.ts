import type { Page } from "playwright";
import { allowPages, hubServer, type Misbehave } from "../hub-server.ts";
import { conversationsOf } from "../shared/nano.ts";
import { readRepository } from "../support.ts";
import { type Served, servePage } from "./serve.ts";

const conversations = await conversationsOf(readRepository);
export const conversation = (id: string) => conversations.find((c) => c.id === id)!;

/** nano, as the test's hub has it. */
export const ID = "org/nano";
export const WEIGHTS = "model.safetensors";
const FILES = [WEIGHTS, "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];

/** The demo on a server, beside a hub that holds nano. */
export interface Demo extends Served {
  hub: Awaited<ReturnType<typeof hubServer>>;
  /** How the hub and its CDN behave at the moment; a test sets it. */
  misbehave: Misbehave | undefined;
}

export async function serveDemo(): Promise<Demo> {
  const files = await Promise.all(FILES.map(async (name) => [name, await readRepository(`weights/nano/${name}`)] as const));
  const behave: Misbehave = (...call) => allowPages(call[0], call[1]) || demo?.misbehave?.(...call);
  const hub = await hubServer(ID, Object.fromEntries(files), { misbehave: behave, cdnMisbehave: behave });
  process.env.VITE_HF_ENDPOINT = hub.origin; // the build takes it
  const served = await servePage("tools/demo/vite.config.ts");
  const close = async () => {
    await served.close();
    await hub.close();
  };
  const demo: Demo = { ...served, hub, misbehave: undefined, close };
  return demo;
}

/** Waits until a model is there. */
export const ready = (page: Page) => page.locator('#model[data-state="ready"]').waitFor({ timeout: 120_000 });

/** Drops files of the repository on the page, or pastes them, as a hand would. */
export async function give(how: "drop" | "paste", page: Page, ...paths: string[]): Promise<void> {
  const files = await Promise.all(
    paths.map(async (path) => ({ name: path.split("/").at(-1)!, base64: Buffer.from(await readRepository(path)).toString("base64") })),
  );
  const transfer = await page.evaluateHandle(async (list) => {
    const data = new DataTransfer();
    for (const { name, base64 } of list) {
      const type = { png: "image/png", webm: "video/webm" }[name.split(".").at(-1)!] ?? "image/jpeg";
      const blob = await (await fetch(`data:${type};base64,${base64}`)).blob();
      data.items.add(new File([blob], name, { type: blob.type }));
    }
    return data;
  }, files);
  if (how === "drop") return page.dispatchEvent("#drop", "drop", { dataTransfer: transfer });
  await page.evaluate(
    (clipboardData) =>
      document.querySelector("#question")!.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true })),
    transfer,
  );
}

export const questionOf = (page: Page) => page.getByRole("textbox", { name: "Question" });

/** Presses Enter in the composer and waits for the answer to be whole. */
export async function send(page: Page): Promise<string> {
  const answers = page.locator(".answer");
  await questionOf(page).press("Enter");
  await page.locator(".answer:last-child .statistics").waitFor({ timeout: 120_000 });
  return answers.last().locator(".text").innerText();
}

/** Asks by keyboard and waits for the answer to be whole. */
export async function ask(page: Page, question: string): Promise<string> {
  await questionOf(page).fill(question);
  return send(page);
}

export const withoutMarker = (turn: string): string => turn.replace("<image>\n", "");
