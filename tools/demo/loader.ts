import { kindOf } from "../../src/gpu/adapter-kind.ts";
import type { Progress, WeightFormat } from "../../src/index.ts";
import { cachedPanel, cachedSource, cachedValue } from "./cached.ts";
import { byId, make, megabytes } from "./dom.ts";
import { explain } from "./explain.ts";
import { type Loaded, loadModel, type ModelChoice, remoteChoice } from "./model.ts";

const PHASES: Record<string, string> = {
  resolve: "Asking the server",
  verify: "Checking",
  compile: "Compiling kernels",
};

/** Megabytes a second and what is left, from the reports of a download. */
function speedometer(): (loaded: number, total: number) => string {
  const seen: { time: number; loaded: number }[] = [];
  return (loaded, total) => {
    const time = performance.now();
    seen.push({ time, loaded });
    while (seen.length > 2 && time - seen[0]!.time > 10_000) seen.shift();
    const seconds = (time - seen[0]!.time) / 1000;
    const rate = seconds > 1 ? (loaded - seen[0]!.loaded) / seconds : 0;
    if (rate <= 0) return "";
    const left = (total - loaded) / rate;
    return `, ${megabytes(rate)} a second, ${left < 90 ? `${Math.ceil(left)} s` : `${Math.ceil(left / 60)} min`} left`;
  };
}

/** The model panel: chooses and loads a checkpoint and shows what it is made of. `onChange` hears of every change. */
export function modelPanel(onChange: (loaded: Loaded | undefined) => void): { loaded(): Loaded | undefined; refresh(): void } {
  const picker = byId<HTMLSelectElement>("source");
  const weights = byId<HTMLSelectElement>("weights");
  const folder = byId<HTMLInputElement>("folder");
  const hub = byId<HTMLInputElement>("hub");
  const bar = byId<HTMLProgressElement>("load-progress");
  const cancel = byId<HTMLButtonElement>("cancel");
  const state = byId("load-state");
  const facts = byId("facts");
  const problem = byId("problem");
  let loaded: Loaded | undefined;
  let note: string | undefined; // what `auto` decided
  let loading: { abort: AbortController; choice: ModelChoice } | undefined;
  const cached = cachedPanel(picker, () => (loading?.choice.kind === "remote" ? loading.choice.source : undefined));

  function showProblem(error: unknown, again?: () => void): void {
    problem.replaceChildren(explain(error));
    if (again) {
      const button = make("button", { type: "button", className: "quiet" }, "Try again");
      button.addEventListener("click", again);
      problem.append(button);
    }
    problem.hidden = false;
  }

  function refresh(): void {
    facts.hidden = !loaded;
    if (!loaded) return;
    const { vlm, stored, config } = loaded;
    const rows: [string, string][] = [
      ["Adapter", kindOf({ name: vlm.adapter }) === "cpu" ? `${vlm.adapter}: it computes on the CPU, which is slow` : vlm.adapter],
      ["Weights", `${vlm.weights} (stored as ${stored})`],
      ...(note ? [["Because", note] as [string, string]] : []),
      ["GPU memory", megabytes(vlm.memory().bytes)],
      ["Tiles", `${config.tileSize} × ${config.tileSize}, up to ${config.maxTiles} a picture`],
    ];
    facts.replaceChildren(...rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  }

  function progressOf(isCurrent: () => boolean): (progress: Progress) => void {
    const speed = speedometer();
    return ({ phase, loaded: done, total, note: decided }) => {
      if (!isCurrent()) return; // another load has begun
      if (decided) note = decided;
      const measured = (phase === "upload" || phase === "download") && total > 0;
      if (measured) bar.value = done / total;
      else bar.removeAttribute("value"); // unknown: the bar moves
      const bytes = `${megabytes(done)} of ${megabytes(total)}`;
      if (phase === "download") state.textContent = `Downloading: ${bytes}${speed(done, total)}`;
      else state.textContent = phase === "upload" ? `Loading weights: ${bytes}` : `${PHASES[phase] ?? "Working"}…`;
    };
  }

  async function load(choice: ModelChoice): Promise<void> {
    loading?.abort.abort();
    const mine = { abort: new AbortController(), choice };
    loading = mine;
    const before = loaded;
    loaded = undefined;
    note = undefined;
    onChange(undefined);
    refresh();
    problem.hidden = true;
    bar.hidden = false;
    bar.removeAttribute("value");
    cancel.hidden = choice.kind !== "remote";
    state.textContent = "Opening…";
    void cached.show(); // what is being loaded cannot be deleted
    try {
      await before?.vlm.dispose();
      const { signal } = mine.abort;
      const fresh = await loadModel(choice, {
        weights: weights.value as WeightFormat,
        signal,
        onProgress: progressOf(() => loading === mine),
      });
      if (loading !== mine) return void (await fresh.vlm.dispose());
      loaded = fresh;
    } catch (error) {
      if (loading !== mine) return; // another one was chosen meanwhile
      state.textContent = mine.abort.signal.aborted ? "Stopped. What was fetched is kept: load it again to go on." : "";
      if (!mine.abort.signal.aborted) showProblem(error, () => void load(choice));
    }
    loading = undefined;
    bar.hidden = true;
    const held = document.activeElement === cancel;
    cancel.hidden = true;
    if (held) picker.focus(); // its button goes away
    await cached.show();
    if (loading) return; // another one was chosen meanwhile
    if (loaded && choice.kind === "remote") picker.value = cachedValue(choice.source);
    if (picker.value === "") picker.value = "hub"; // the address stands for another name
    showFields();
    refresh();
    onChange(loaded);
    if (loaded) state.textContent = "Ready."; // not before: a question that is asked now must be heard
  }

  function showFields(): void {
    byId("folder-field").hidden = picker.value !== "folder";
    byId("hub-field").hidden = picker.value !== "hub";
  }

  /** Loads what the picker says, where that is enough to know. */
  function choose(): void {
    showFields();
    const source = cachedSource(picker.value);
    if (picker.value === "nano") void load({ kind: "nano" });
    else if (source !== undefined) void load({ kind: "remote", source });
    else if (picker.value === "folder" && folder.files?.length) void load({ kind: "folder", files: Array.from(folder.files) });
    else if (!loading) state.textContent = loaded ? "Ready: the model stays until another one is loaded." : "";
  }

  picker.addEventListener("change", choose);
  folder.addEventListener("change", choose);
  weights.addEventListener("change", () => {
    if (picker.value === "hub" && hub.value.trim() === "") return;
    if (picker.value === "hub") loadNamed();
    else choose();
  });
  function loadNamed(): void {
    try {
      void load(remoteChoice(hub.value));
    } catch (error) {
      showProblem(error);
    }
  }
  byId("hub-field").addEventListener("submit", (event) => {
    event.preventDefault();
    loadNamed();
  });
  cancel.addEventListener("click", () => loading?.abort.abort());
  void cached.show();
  const linked = new URLSearchParams(location.search).get("model"); // a link to this page can name a model
  if (linked === null) choose();
  else {
    picker.value = "hub";
    hub.value = linked;
    showFields();
    loadNamed();
  }
  return { loaded: () => loaded, refresh };
}
