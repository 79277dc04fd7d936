import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { HeldImage } from "../../src/api/pictures.ts";
import { EngineError, type Message } from "../../src/index.ts";
import { checkSave, loadConversation, saveConversation } from "../../tools/cli/conversation.ts";
import { pathOf } from "../support.ts";

const card = pathOf("weights/nano/images/card-1.png");
const cardUrl = `data:image/png;base64,${readFileSync(card).toString("base64")}`;
const folder = mkdtempSync(join(tmpdir(), "internvl-conversation-"));
const file = join(folder, "talk.json");
beforeEach(() => rmSync(file, { recursive: true, force: true }));
afterAll(() => rmSync(folder, { recursive: true }));

const said = (image: unknown, text = "<image>\nWhat is it?"): Message[] => [
  { role: "system", content: "Be brief. 你好" },
  { role: "user", content: [{ type: "image", image, maxTiles: 12 } as never, { type: "text", text }] },
  { role: "assistant", content: "A triangle." },
];
const imageOf = (messages: readonly Message[]): unknown => (messages[1]!.content as unknown as { image: unknown }[])[0]!.image;
const refusal = async (work: Promise<unknown>): Promise<string> => {
  const error = await work.then(
    () => new Error("nothing was refused"),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof EngineError)) throw error;
  expect(error.hint).toBeTruthy();
  return `${error.code}: ${error.message}`;
};

describe("a conversation is kept", () => {
  it.each<[string, unknown, unknown]>([
    ["a path, as a data URL", card, cardUrl],
    ["a file: URL", pathToFileURL(card).href, cardUrl],
    ["an address, as it is", "https://host/a.png", "https://host/a.png"],
    ["a data URL", cardUrl, cardUrl],
    ["several in one place", [card, "http://host/b.png"], [cardUrl, "http://host/b.png"]],
    ["pixels", { data: "AAAA", width: 1, height: 1, channels: 3 }, { data: "AAAA", width: 1, height: 1, channels: 3 }],
    ["a file that is gone, as its whole path", join(folder, "gone.png"), join(folder, "gone.png")],
  ])("with %s", async (_, image, kept) => {
    await saveConversation(file, said(image));
    const read = await loadConversation(file);
    expect(read).toEqual(said(kept));
    await saveConversation(file, read); // in place of the first, and nothing else is left behind
    expect(await loadConversation(file)).toEqual(read);
    expect(readdirSync(folder)).toEqual(["talk.json"]);
  });

  it("with what a reply's history holds of bytes", async () => {
    const history = said("");
    (history[1]!.content as unknown[])[0] = new HeldImage([new Uint8Array(readFileSync(card))], 12);
    await saveConversation(file, history);
    expect(imageOf(await loadConversation(file))).toBe(cardUrl);
    expect((history[1]!.content as unknown[])[0]).toBeInstanceOf(HeldImage);
  });

  it("with pictures in OpenAI's form", async () => {
    const history = said("");
    (history[1]!.content as unknown[])[0] = { type: "image_url", image_url: { url: card, detail: "low" } };
    await saveConversation(file, history);
    expect((await loadConversation(file))[1]!.content[0]).toEqual({ type: "image_url", image_url: { url: cardUrl, detail: "low" } });
  });

  it("and paths in it are relative to its folder", async () => {
    writeFileSync(file, JSON.stringify({ format: "internvl-conversation", version: 1, messages: said("../pictures/a.png") }));
    expect(imageOf(await loadConversation(file))).toBe(join(folder, "../pictures/a.png"));
  });
});

const whole = (parts: object) => JSON.stringify({ format: "internvl-conversation", version: 1, messages: [], ...parts });

describe("a file that is no conversation is refused", () => {
  it.each<[string, RegExp]>([
    ["", /it is empty/],
    [whole({ messages: said(card) }).slice(0, 200), /not JSON, or cut off \(200 characters\)/],
    ["[]", /it is an empty list/],
    ["null", /it is null/],
    ['{"messages": []}', /it is an object with messages/],
    [whole({ version: 2 }), /is a conversation of version 2, this program reads version 1/],
    [whole({ version: "1" }), /its version is "1"/],
    [whole({ messages: {} }), /its messages are an object without keys/],
    [whole({ messages: said(card).slice(0, 2) }), /messages\[1\] is a question without an answer/],
    [whole({ messages: [{ role: "tool", content: "" }] }), /messages\[0\]\.role is "tool"/],
    [whole({ messages: said(7) }), /image 1 of messages\[1\] is 7, needs a picture/],
    [whole({ messages: [{ role: "user", content: [{ type: "text" }] }] }), /messages\[0\]\.content\[0\]\.text is undefined/],
  ])("%s", async (text, message) => {
    writeFileSync(file, text);
    expect(await refusal(loadConversation(file))).toMatch(message);
  });

  it("one that is not there, and a folder", async () => {
    expect(await refusal(loadConversation(file))).toMatch(/cannot read .*no such file/);
    mkdirSync(file);
    expect(await refusal(loadConversation(file))).toMatch(/it is a folder/);
  });
});

describe("where it cannot be saved is reported before", () => {
  it("another file is not lost, a conversation is written over", async () => {
    await checkSave(file);
    writeFileSync(file, "my notes");
    expect(await refusal(checkSave(file))).toMatch(/exists and is no conversation: it would be lost/);
    await saveConversation(file, []);
    await checkSave(file);
  });

  it("no folder, a folder in its place, an empty name", async () => {
    expect(await refusal(checkSave(join(folder, "none/talk.json")))).toMatch(/cannot write .*no such file or folder/);
    expect(await refusal(checkSave(folder))).toMatch(/it is a folder/);
    expect(await refusal(checkSave(" "))).toMatch(/empty text/);
    expect(await refusal(saveConversation(join(folder, "none/talk.json"), []))).toMatch(/cannot write/);
  });
});
