import { EngineError } from "../../src/errors.ts";
import { make } from "./dom.ts";

/** What somebody at this page can do about an error, beyond the error's own hint. */
const HELP: Partial<Record<string, string>> = {
  "no-webgpu":
    "This page needs WebGPU: a current Chrome or Edge, Safari 26, or Firefox 141 or newer (on some systems it has to be turned on there: dom.webgpu.enabled in about:config), opened over https or localhost.",
  "no-adapter":
    "WebGPU is there, but no graphics adapter. Turn on “Use graphics acceleration” in the browser's settings, and update the graphics driver. On Linux, Chrome may need --enable-unsafe-webgpu --enable-features=Vulkan.",
  "out-of-memory": "Close other pages that use the graphics adapter, or take a smaller checkpoint.",
  "device-lost": "The graphics adapter was taken away, often by a driver that restarted. Load the model again.",
  "context-overflow": "Start a new conversation, or ask about fewer pictures at once.",
};

/** The library's options as this page calls them. */
const FIELDS: readonly (readonly [RegExp, string])[] = [
  [/the option `token`/g, "the field “Token”"],
  [/\bmaxTiles\b/g, "“Most tiles a picture”"],
  [/\bweights: "(\w+)"/g, "“Weights on the GPU”: $1"],
];
const asFields = (hint: string): string => FIELDS.reduce((text, [option, field]) => text.replace(option, field), hint);

/** A sentence begins with a capital letter, but not where a name is its first word. */
const sentence = (text: string): string => (/^[a-z]+(?:[’']s)?,? /.test(text) ? `${text.charAt(0).toUpperCase()}${text.slice(1)}` : text);

/** An error for people: what went wrong, and what to do. */
export function explain(error: unknown): DocumentFragment {
  const fragment = document.createDocumentFragment();
  const known = error instanceof EngineError ? error : undefined;
  const message = error instanceof Error ? error.message : String(error);
  fragment.append(make("strong", {}, `${sentence(message)}.`));
  const hints = [known?.hint && asFields(known.hint), known && HELP[known.code]].filter((hint) => hint !== undefined);
  for (const hint of hints) fragment.append(make("p", {}, `${sentence(hint)}${/[.!?]$/.test(hint) ? "" : "."}`));
  return fragment;
}
