import { platform } from "#platform";
import { InternVLWorker } from "../../src/api/worker.ts";
import { EngineError } from "../../src/errors.ts";
import { parseHubId } from "../../src/hub/hub-id.ts";
import { openSource } from "../../src/hub/source.ts";
import { cachedModels, type LoadOptions, type WeightSource } from "../../src/index.ts";
import type { ModelConfig } from "../../src/model/config.ts";
import { readConfig } from "../../src/model/open-checkpoint.ts";
import { memorySource } from "../../src/safetensors/index.ts";

/** A loaded model with what the page shows of it. */
export interface Loaded {
  vlm: InternVLWorker;
  config: ModelConfig;
  /** How the checkpoint stores its weights. */
  stored: string;
}

/** Where a model comes from: what lies beside the page, a chosen folder's files, or what `InternVL.load` downloads into the cache. */
export type ModelChoice = { kind: "nano" } | { kind: "folder"; files: readonly File[] } | { kind: "remote"; source: string };

/** Where `org/name` is looked for, if not at Hugging Face: set when the page is built or served. */
const ENDPOINT: string | undefined = import.meta.env.VITE_HF_ENDPOINT;

/** The model that lies beside the page. */
function nanoSource(): WeightSource {
  return {
    async open(name) {
      let response: Response;
      try {
        response = await fetch(new URL(`nano/${name}`, document.baseURI));
      } catch (cause) {
        throw new EngineError("network", `nano/${name} cannot be fetched: ${(cause as Error).message}`, {
          hint: "check the connection and reload the page",
          cause,
        });
      }
      if (response.status === 404 || response.headers.get("content-type")?.startsWith("text/html")) return undefined; // a server's index page
      if (!response.ok)
        throw new EngineError("network", `nano/${name} answers ${response.status} ${response.statusText}`, { hint: "reload the page" });
      return memorySource(name, new Uint8Array(await response.arrayBuffer()));
    },
  };
}

/** What somebody typed: an id or an http(s) address. @throws EngineError bad-input */
export function remoteChoice(text: string): ModelChoice {
  const source = text.trim();
  if (/^https?:\/\//i.test(source) && URL.canParse(source)) return { kind: "remote", source };
  if (parseHubId(source)) return { kind: "remote", source };
  throw new EngineError("bad-input", source ? `${JSON.stringify(source)} names no model` : "no model is named", {
    hint: "give a Hugging Face id such as OpenGVLab/InternVL2_5-1B, or the https address of a folder with a checkpoint",
  });
}

/** The files of a download that has ended, from the cache. */
async function fromCache(source: string, token: string | undefined): Promise<WeightSource> {
  const address = source.replace(/\/*$/, "/"); // a folder's address is remembered with its last slash
  const found = (await cachedModels()).find((model) => model.source === source || model.source === address);
  return found?.files ?? openSource(source, { endpoint: ENDPOINT, token }); // an address of Hugging Face stands for its repository
}

async function describe(source: WeightSource): Promise<Omit<Loaded, "vlm">> {
  const { config, configBytes: bytes } = await readConfig(source);
  const { torch_dtype } = JSON.parse(new TextDecoder().decode(bytes)) as { torch_dtype?: string };
  return { config, stored: torch_dtype ?? "as the files say" };
}

export type LoadRequest = Pick<LoadOptions, "weights" | "precision" | "token" | "signal" | "onProgress">;

/** Opens a checkpoint in a worker, which also downloads it. @throws EngineError as `InternVL.load` */
export async function loadModel(choice: ModelChoice, { token, ...options }: LoadRequest): Promise<Loaded> {
  await platform.requestAdapter({}); // before gigabytes are fetched that nothing could run
  if (choice.kind === "remote") {
    const vlm = await InternVLWorker.load(choice.source, { ...options, token, endpoint: ENDPOINT });
    return { vlm, ...(await describe(await fromCache(choice.source, token))) };
  }
  const source = choice.kind === "nano" ? nanoSource() : await openSource(choice.files);
  const config = await describe(source); // first: a wrong folder is reported at once
  return { vlm: await InternVLWorker.load(choice.kind === "nano" ? source : choice.files, options), ...config };
}
