import { type CachedModel, cachedModels } from "../../src/index.ts";
import { byId, make, megabytes } from "./dom.ts";
import { explain } from "./explain.ts";

/** The option of the picker that stands for a cached model. */
const PREFIX = "cached:";

/** What a picker's value names, where it names a cached model. */
export const cachedSource = (value: string): string | undefined => (value.startsWith(PREFIX) ? value.slice(PREFIX.length) : undefined);
export const cachedValue = (source: string): string => PREFIX + source;

const sizeOf = ({ bytes, complete, damaged }: CachedModel): string =>
  `${megabytes(bytes)}${damaged ? ", damaged" : complete ? "" : ", unfinished"}`;

/** How much room this site has, for people. */
async function room(): Promise<string> {
  const { quota, usage } = await navigator.storage.estimate();
  return quota === undefined ? "" : `Room for ${megabytes(Math.max(0, quota - (usage ?? 0)))} more.`;
}

/**
 * The models kept in this browser: options of the picker, and a list with sizes and delete buttons. `busy` names the one being loaded; `show`
 * gives the names of those that are whole.
 */
export function cachedPanel(
  picker: HTMLSelectElement,
  busy: () => string | undefined,
  changed: (kept: ReadonlySet<string>) => void,
): { show(): Promise<ReadonlySet<string>> } {
  const panel = byId("cached");
  const list = byId("cached-list");
  const group = make("optgroup", { label: "Kept in this browser" });
  const problem = byId("cached-problem");

  async function remove(model: CachedModel): Promise<void> {
    problem.hidden = true;
    if (!confirm(`Delete ${model.source} (${megabytes(model.bytes)}) from this browser?`)) return;
    try {
      await model.remove();
    } catch (error) {
      problem.replaceChildren(explain(error));
      problem.hidden = false;
    }
    if (cachedSource(picker.value) === model.source) {
      picker.value = "hub"; // its option goes away
      picker.dispatchEvent(new Event("change"));
    }
    changed(await show());
    picker.focus();
  }

  async function show(): Promise<ReadonlySet<string>> {
    let models: CachedModel[];
    try {
      models = await cachedModels();
    } catch {
      panel.hidden = true; // no storage here: the download says so, and why
      return new Set();
    }
    const chosen = picker.value;
    const usable = models.filter(({ damaged }) => !damaged);
    group.replaceChildren(...usable.map((model) => new Option(`${model.source} (${sizeOf(model)})`, cachedValue(model.source))));
    if (usable.length > 0) picker.append(group);
    else group.remove();
    picker.value = chosen;
    list.replaceChildren(
      ...models.map((model) => {
        const button = make("button", { type: "button", className: "quiet", ariaLabel: `Delete ${model.source}` }, "Delete");
        button.disabled = model.source === busy();
        button.addEventListener("click", () => void remove(model));
        const name = make("span", {}, make("b", {}, model.source), ` ${sizeOf(model)}`);
        return make("li", {}, name, button);
      }),
    );
    byId("cached-room").textContent = await room();
    panel.hidden = models.length === 0;
    return new Set(usable.filter(({ complete }) => complete).map(({ source }) => source));
  }

  return { show };
}
