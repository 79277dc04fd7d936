import { gibibytes } from "../../src/weights/fit.ts";
import { FAMILY, FORMATS, type Need, needs, ON_PHONES } from "../family.ts";
import { byId, make } from "./dom.ts";
import { explain } from "./explain.ts";

const OWNER = "OpenGVLab/";
/** The option of the picker that stands for a published model. */
const PREFIX = "family:";

/** What a picker's value names, where it names a model of the family. */
export const familySource = (value: string): string | undefined => (value.startsWith(PREFIX) ? value.slice(PREFIX.length) : undefined);

const sizes = (model: string): string => {
  const { bytes } = FAMILY.find((each) => each.model === model)!;
  return `${gibibytes(bytes.bf16)} of GPU memory as published, ${gibibytes(bytes.q8)} in q8, ${gibibytes(bytes.q4)} in q4`;
};

/** What a model of the family takes; `undefined` for any other. */
export const familySizes = (source: string): string | undefined => {
  const model = source.startsWith(OWNER) ? source.slice(OWNER.length) : "";
  return FAMILY.some((each) => each.model === model) ? `It takes ${sizes(model)}.` : undefined;
};

/** The family in the picker, with sizes, and the table of what fits, which is asked for when somebody opens it. */
export function familyPanel(picker: HTMLSelectElement): { show(kept: ReadonlySet<string>): void } {
  const group = make("optgroup", { label: "The family, from Hugging Face" });
  const panel = byId<HTMLDetailsElement>("family");
  const table = byId<HTMLTableElement>("family-table");
  const state = byId("family-state");
  let kept: ReadonlySet<string> = new Set();
  let found: Need[] | undefined;

  /** The best format that fits, where it was asked. */
  function verdict(model: string): string {
    if (!found) return "";
    const best = found.find((need) => need.model === model && need.fits);
    return best ? (best.format === "bf16" ? ", fits" : `, fits in ${best.format}`) : ", too large here";
  }

  function show(now: ReadonlySet<string> = kept): void {
    kept = now;
    const chosen = picker.value;
    group.replaceChildren(
      ...FAMILY.map(({ model, bytes }) => {
        const here = kept.has(OWNER + model) ? ", kept here" : "";
        return new Option(`${model} (${gibibytes(bytes.bf16)}, q4 ${gibibytes(bytes.q4)}${verdict(model)}${here})`, PREFIX + OWNER + model);
      }),
    );
    if (!group.isConnected) picker.append(group);
    picker.value = chosen;
    if (!found) return;
    const cell = ({ bytes, fits }: Need) =>
      make(
        "td",
        { className: fits ? "fits" : "" },
        (bytes / 2 ** 30).toFixed(1),
        make("span", { className: "unseen" }, fits ? " fits" : " too large"),
      );
    const rows = FAMILY.map(({ model }) => {
      const name = make("th", { scope: "row" }, model, ...(kept.has(OWNER + model) ? [make("small", {}, " kept here")] : []));
      return make("tr", {}, name, ...found!.filter((need) => need.model === model).map(cell));
    });
    const head = make("tr", {}, make("td", {}, "GiB"), ...FORMATS.map((format) => make("th", { scope: "col" }, format)));
    table.replaceChildren(table.caption!, make("thead", {}, head), make("tbody", {}, ...rows));
    table.hidden = false;
  }

  async function ask(): Promise<void> {
    state.textContent = "Asking the adapter for memory…";
    try {
      const { openGpu } = await import("../../src/gpu/device.ts");
      const gpu = await openGpu();
      try {
        const { deviceMemory } = navigator as { deviceMemory?: number }; // in GiB, rounded; not every browser tells
        if (gpu.kind === "cpu" && deviceMemory === undefined)
          throw new Error("this adapter computes in the machine's memory, which the browser does not tell");
        found = await needs(gpu, deviceMemory && deviceMemory * 2 ** 30);
        state.textContent =
          gpu.kind === "cpu"
            ? `Green fits. This adapter computes in the machine's memory: about ${deviceMemory} GiB, as the browser says.`
            : `Green fits into what the adapter gives now, beside what is loaded: weights, 8192 tokens of context, activations.${gpu.mobile ? ` ${ON_PHONES}` : ""}`;
      } finally {
        gpu.close();
      }
    } catch (error) {
      state.replaceChildren(explain(error));
    }
    show();
  }

  panel.addEventListener("toggle", () => {
    if (panel.open && !found) void ask();
  });
  return { show };
}
