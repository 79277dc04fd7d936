import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { fixtureUrl, pathOf } from "./pictures.ts";
import type { Running } from "./server.ts";

const python = process.env.PYTHON ?? "python3";
const run = (...args: string[]) => promisify(execFile)(python, args, { cwd: pathOf("") });

/** The model card's snippet for `lmdeploy serve api_server`, as docs/serving.md has it: another address, and a picture that is here. */
export function pythonSuite(running: () => Running): void {
  const snippet = () => /^```python\n(.*?)^```/ms.exec(readFileSync(pathOf("docs/serving.md"), "utf8"))![1]!;

  it("the model card's Python snippet, by Python's openai", async ({ skip }) => {
    const version = await run("-c", "import openai; print(openai.__version__)").catch(() => undefined);
    if (!version) {
      console.log(
        `SKIPPED: ${python} has no package openai (pip install openai; PYTHON names another): the model card's snippet did not run`,
      );
      return skip();
    }
    const script = snippet().replace("http://127.0.0.1:23333", running().url);
    const { stdout } = await run("-c", script);
    expect(stdout).toMatch(/^ChatCompletion\(id='chatcmpl-.*content='.+'.*finish_reason='(stop|length)'/);
    const greedy = await run(
      "-c",
      script.replace("temperature=0.8", "temperature=0").replace("print(response)", "print(response.choices[0].message.content)"),
    );
    expect(greedy.stdout.trim()).toBe("A red triangle.");
    const more = `
from openai import OpenAI, BadRequestError
client = OpenAI(api_key="YOUR_API_KEY", base_url="${running().url}/v1")
ask = dict(model="nano", messages=[{"role": "user", "content": "Hello, who are you?"}], temperature=0, max_tokens=4)
whole = client.chat.completions.create(**ask).choices[0].message.content
parts = [chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(stream=True, **ask)]
assert whole and "".join(parts) == whole, (whole, parts)
try:
    client.chat.completions.create(**{**ask, "temperature": 9})
    raise SystemExit("no error")
except BadRequestError as error:
    assert error.param == "temperature", error
`;
    await run("-c", more);
  });

  it("the requests that it sends, as they are on the wire", async () => {
    // Of openai 3.22.1 for Python.
    const headers = {
      accept: "application/json",
      "user-agent": "OpenAI/Python 3.22.1",
      "x-stainless-lang": "python",
      "x-stainless-async": "false",
      "x-stainless-retry-count": "0",
      authorization: "Bearer YOUR_API_KEY",
    };
    const models = await (await fetch(`${running().url}/v1/models`, { headers })).json();
    const content = [
      { type: "text", text: "describe this image" },
      { type: "image_url", image_url: { url: fixtureUrl("card-1") } },
    ];
    const body = { messages: [{ role: "user", content }], model: models.data[0].id, temperature: 0.8, top_p: 0.8 };
    const post = { method: "POST", headers: { ...headers, "content-type": "application/json" }, body: JSON.stringify(body) };
    const response = await fetch(`${running().url}/v1/chat/completions`, post);
    expect(response.status).toBe(200);
    expect((await response.json()).choices[0].message.content.length).toBeGreaterThan(0);
  });
}
