import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { type FirefoxPage, findFirefox, openFirefox } from "./firefox.ts";
import { type Served, servePage } from "./serve.ts";

const firefox = inject("full") ? findFirefox() : undefined;
if (inject("full") && !firefox)
  console.warn(
    "SKIPPED: the demo in Firefox: there is none here. Install it (Debian: apt-get install firefox-esr), or set FIREFOX to its path.",
  );

describe.skipIf(!firefox)(`the demo page in Firefox (${inject("full") ? "skipped: there is none here" : "npm run test:full"})`, () => {
  let served: Served;
  beforeAll(async () => {
    served = await servePage("tools/demo/vite.config.ts");
  });
  afterAll(() => served?.close());

  /** Waits for the page's message about what is missing, or for a model that is there. */
  async function outcome(page: FirefoxPage): Promise<{ gpu: boolean; state: string; problem: string; wide: number; policy: boolean }> {
    for (;;) {
      const seen = (await page.evaluate(`
        const problem = document.querySelector("#problem");
        return {
          gpu: navigator.gpu !== undefined,
          state: document.querySelector("#model").dataset.state,
          problem: problem.hidden ? "" : problem.innerText,
          wide: document.documentElement.scrollWidth,
          policy: document.querySelector("meta[http-equiv]") !== null,
        };`)) as Awaited<ReturnType<typeof outcome>>;
      if (seen.problem !== "" || seen.state === "ready") return seen;
      await new Promise((later) => setTimeout(later, 100));
    }
  }

  it.each([
    [
      "without WebGPU",
      { "dom.webgpu.enabled": false },
      /this browser has no WebGPU[\s\S]*a current Chrome or Edge, Safari 26, or Firefox 141/i,
    ],
    // Where the machine has no adapter for Firefox, that is what is said.
    ["with WebGPU, as far as it has an adapter", { "dom.webgpu.enabled": true }, /offers no WebGPU adapter|this browser has no WebGPU/i],
  ])("opens %s, and says what is missing", async (name, preferences, message) => {
    const page = await openFirefox(firefox!, served.address, preferences);
    try {
      const { gpu, state, problem, wide, policy } = await outcome(page);
      console.log(`Firefox ${name}: navigator.gpu ${gpu}, ${state}, ${problem.split("\n")[0]}`);
      if (state !== "ready") expect(problem).toMatch(message);
      expect(state === "ready" && !gpu).toBe(false);
      expect(policy).toBe(true);
      expect(wide).toBeLessThanOrEqual(1280);
      // The page works as far as it can: nothing of it waits for the model.
      expect(
        await page.evaluate(`document.querySelector("#questions button").click(); return document.querySelector("#question").value;`),
      ).toMatch(/describe/);
      if (process.env.PAGE_SCREENSHOTS) await writeFile(join(process.env.PAGE_SCREENSHOTS, `firefox-${gpu}.png`), await page.screenshot());
    } finally {
      await page.close();
    }
  });
});
