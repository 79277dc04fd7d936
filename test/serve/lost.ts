import { expect, it } from "vitest";
import { partsOf } from "../../src/api/internvl.ts";
import { createHandler } from "../../src/server.ts";
import { Loading } from "../../tools/cli/serve.ts";
import { pathOf } from "./pictures.ts";
import { TRIANGLE } from "./server.ts";

/** A device that is lost under a server, with `--reload-on-loss` and without. */
export function lostSuite(): void {
  it.each([true, false])("is told by /health and by requests, those under way too; reloaded: %s", async (reloadOnLoss) => {
    const service = new Loading({
      model: pathOf("weights/nano"),
      port: 0,
      host: "",
      slots: 1,
      reloadOnLoss,
      adapter: process.env.INTERNVL_ADAPTER,
    });
    const handler = createHandler(service);
    const health = async () => {
      const response = await handler(new Request("http://localhost/health"));
      return [response.status, ((await response.json()) as { status: string }).status];
    };
    const ask = (more: object = {}) =>
      handler(
        new Request("http://localhost/v1/chat/completions", {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ ...TRIANGLE, model: undefined, ...more }),
        }),
      );
    expect(await health()).toEqual([503, "loading"]);
    expect((await ask()).status).toBe(503);
    await service.load();
    expect(await health()).toEqual([200, "ok"]);

    const streamed = await ask({
      stream: true,
      temperature: 2,
      seed: 1,
      max_tokens: 1000,
      messages: [{ role: "user", content: "Count." }],
    });
    partsOf(service.vlm!).gpu.device.destroy();
    const text = await streamed.text();
    expect(text).toMatch(/data: \{"error":\{[^\n]*"type":"server_error","param":null,"code":"(device_lost|unavailable)"\}\}\n\n$/);
    if (reloadOnLoss) {
      await expect.poll(health, { timeout: 60_000 }).toEqual([200, "ok"]);
      const answer = (await (await ask()).json()) as { choices: { message: { content: string } }[] };
      expect(answer.choices[0]!.message.content).toBe("A triangle.");
    } else {
      expect(await health()).toEqual([503, "device lost"]);
      const refused = await ask();
      expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "5"]);
      expect(((await refused.json()) as { error: { code: string } }).error.code).toBe("device_lost");
    }
    service.stopping = true;
    expect(await health()).toEqual([503, "stopping"]);
    await service.stop();
  });
}
