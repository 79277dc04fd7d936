import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { pathOf } from "../support.ts";
import { files, inProject, newPage, reachable, run, serve } from "./projects.ts";

// Each of examples/, with the packed package, as its README says.

const card = pathOf("weights/nano/images/card-1.png");

describe.runIf(reachable)("examples (npm run test:full)", () => {
  inProject("examples/node-script", (project) => {
    it("answers", async () => expect(await run(project(), "npm start --silent")).toBe("A triangle."));
  });

  inProject("examples/batch-captions", (project) => {
    it("writes a line a picture", async () => {
      await run(project(), "npm start");
      const lines = readFileSync(join(project(), "captions.csv"), "utf8").trim().split("\n");
      expect(lines.length).toBeGreaterThan(10);
      expect(lines[0]).toBe("file,caption,error");
      expect(lines).toContain('"card-1.png","A triangle.",""');
      for (const line of lines.slice(1)) expect(line).toMatch(/^"[^"]+","[^"]+",""$/);
    });
  });

  inProject("examples/ocr-to-json", (project) => {
    it("answers in JSON", async () => {
      const answer = JSON.parse(await run(project(), "npm start --silent"));
      expect(answer).toEqual({ number: expect.any(Number), colour: expect.stringMatching(/^[a-z]+$/) });
    });
  });

  inProject("examples/video-summary", (project) => {
    it("says what happens", async () => expect(await run(project(), "npm start --silent")).toBe("A yellow star moves up."));
  });

  inProject("examples/kernel-author", (project) => {
    it("passes on every adapter", async () => expect(await run(project(), "npm start --silent")).toMatch(/softplus +4 +4 +0 +0/));
  });

  inProject("examples/vite-chat", (project) => {
    it("chats about a picture and goes on", async () => {
      await run(project(), "npm run build");
      const page = await newPage();
      const origin = await files(project(), "dist", "node_modules/internvl-webgpu/weights");
      await page.goto(`${origin}/?model=${origin}/nano`);
      const ask = async (question: string) => {
        await page.getByLabel("Question").fill(question);
        await page.getByRole("button", { name: "Ask" }).click({ timeout: 120_000 });
        await page.locator("button:enabled").waitFor({ timeout: 120_000 });
        return page.locator("dd").last().innerText();
      };
      await page.locator("button:enabled").waitFor({ timeout: 120_000 });
      await page.getByLabel("Pictures").setInputFiles(card);
      expect(await ask("What shape is it?")).toBe("A triangle.");
      expect(await ask("What shape is it?")).toBe("A triangle.");
      await page.close();
    });
  });

  inProject("examples/next-chat", (project) => {
    it("answers from the server", async () => {
      await run(project(), "npm run build");
      const page = await newPage();
      await page.goto(await serve(project(), "npm start -- -p 0"));
      await page.getByLabel("Picture").setInputFiles(card);
      await page.getByLabel("Question").fill("What shape is it?");
      await page.getByRole("button", { name: "Ask" }).click();
      await expect.poll(() => page.locator("output").innerText(), { timeout: 120_000 }).toBe("A triangle.");
      await page.close();
    });
  });
});
