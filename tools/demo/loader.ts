import type { LoadOptions } from "../../src/index.ts";
import { cachedPanel, cachedSource, cachedValue } from "./cached.ts";
import { byId } from "./dom.ts";
import { familyPanel, familySizes, familySource } from "./family.ts";
import { loadProgress } from "./load-progress.ts";
import { type Loaded, loadModel, type ModelChoice, remoteChoice } from "./model.ts";
import { modelView } from "./model-view.ts";

/** The model panel: chooses and loads a checkpoint and shows what it is made of. `onChange` hears of every change. */
export function modelPanel(onChange: (loaded: Loaded | undefined) => void): { loaded(): Loaded | undefined; refresh(): void } {
  const picker = byId<HTMLSelectElement>("source");
  const weights = byId<HTMLSelectElement>("weights");
  const precision = byId<HTMLSelectElement>("precision");
  const folder = byId<HTMLInputElement>("folder");
  const hub = byId<HTMLInputElement>("hub");
  const cancel = byId<HTMLButtonElement>("cancel");
  const view = modelView();
  let loaded: Loaded | undefined;
  let note: string | undefined; // what `auto` decided
  let loading: { abort: AbortController; choice: ModelChoice } | undefined;
  const family = familyPanel(picker);
  const busy = () => (loading?.choice.kind === "remote" ? loading.choice.source : undefined);
  const cached = cachedPanel(picker, busy, (kept) => family.show(kept));
  const showKept = async () => family.show(await cached.show());

  /** A token is held by its field alone: it is in no address and no storage. */
  const token = (): string | undefined => byId<HTMLInputElement>("token").value.trim() || undefined;

  async function load(choice: ModelChoice): Promise<void> {
    loading?.abort.abort();
    const mine = { abort: new AbortController(), choice };
    loading = mine;
    const before = loaded;
    loaded = undefined;
    note = undefined;
    onChange(undefined);
    view.facts(undefined);
    view.begin(choice);
    cancel.hidden = choice.kind !== "remote";
    void showKept(); // what is being loaded cannot be deleted
    const { signal } = mine.abort;
    const told = loadProgress();
    const options = {
      ...({ weights: weights.value, precision: precision.value } as Pick<LoadOptions, "weights" | "precision">),
      ...{ signal, token: choice.kind === "remote" ? token() : undefined },
      onProgress: (progress) => {
        if (loading !== mine) return; // another load has begun
        note = progress.note ?? note;
        const { text, part } = told(progress);
        view.progress(text, part);
      },
    } satisfies LoadOptions;
    try {
      await before?.vlm.dispose();
      const fresh = await loadModel(choice, options);
      if (loading !== mine) return void (await fresh.vlm.dispose());
      loaded = fresh;
    } catch (error) {
      if (loading !== mine) return; // another one was chosen meanwhile
      if (signal.aborted) view.say("failed", "Stopped. What was fetched is kept: load it again to go on.", "stopped");
      else {
        view.say("failed", "", "not loaded");
        view.fail(error, () => void load(choice));
      }
    }
    loading = undefined;
    view.end();
    const held = document.activeElement === cancel;
    cancel.hidden = true;
    if (held) picker.focus(); // its button goes away
    await showKept();
    if (loading) return; // another one was chosen meanwhile
    if (loaded && choice.kind === "remote") picker.value = cachedValue(choice.source);
    if (picker.value === "") picker.value = "hub"; // the address stands for another name
    showFields();
    view.facts(loaded, note);
    onChange(loaded);
    if (loaded) view.say("ready", "Ready.", view.brief(loaded)); // not before: a question that is asked now must be heard
  }

  function showFields(): void {
    const member = familySource(picker.value);
    byId("folder-field").hidden = picker.value !== "folder";
    byId("hub-field").hidden = picker.value !== "hub" && member === undefined;
    if (member !== undefined) hub.value = member;
    const sizes = familySizes(hub.value.trim());
    byId("hub-size").textContent = sizes ?? "";
    byId("hub-size").hidden = sizes === undefined;
  }

  /** Loads what the picker says, where that is enough to know. Gigabytes are fetched when somebody presses “Load”. */
  function choose(): void {
    showFields();
    const source = cachedSource(picker.value);
    if (picker.value === "nano") void load({ kind: "nano" });
    else if (source !== undefined) void load({ kind: "remote", source });
    else if (picker.value === "folder" && folder.files?.length) void load({ kind: "folder", files: Array.from(folder.files) });
    else if (!loading && loaded) view.say("ready", "Ready: the model stays until another one is loaded.", view.brief(loaded));
  }

  function loadNamed(): void {
    try {
      void load(remoteChoice(hub.value));
    } catch (error) {
      view.fail(error);
    }
  }

  picker.addEventListener("change", choose);
  folder.addEventListener("change", choose);
  hub.addEventListener("input", showFields);
  for (const how of [weights, precision]) {
    how.addEventListener("change", () => {
      if (byId("hub-field").hidden) choose();
      else if (hub.value.trim() !== "" && picker.value === "hub") loadNamed();
    });
  }
  byId("hub-field").addEventListener("submit", (event) => {
    event.preventDefault();
    loadNamed();
  });
  cancel.addEventListener("click", () => loading?.abort.abort());
  void showKept();
  const linked = new URLSearchParams(location.search).get("model"); // a link to this page can name a model
  if (linked === null) choose();
  else {
    picker.value = "hub";
    hub.value = linked;
    showFields();
    loadNamed();
  }
  return { loaded: () => loaded, refresh: () => view.facts(loaded, note) };
}
