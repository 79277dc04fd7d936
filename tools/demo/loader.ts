import type { Progress, WeightFormat, WeightSource } from "../../src/index.ts";
import { byId, make, megabytes } from "./dom.ts";
import { explain } from "./explain.ts";
import { folderSource, type Loaded, loadModel, nanoSource } from "./model.ts";

const PHASES: Record<string, string> = {
  resolve: "Opening",
  download: "Downloading",
  verify: "Checking",
  upload: "Loading",
  compile: "Compiling kernels",
};

/** The model panel: chooses and loads a checkpoint and shows what it is made of. `onChange` hears of every change. */
export function modelPanel(onChange: (loaded: Loaded | undefined) => void): { loaded(): Loaded | undefined; refresh(): void } {
  const source = byId<HTMLSelectElement>("source");
  const weights = byId<HTMLSelectElement>("weights");
  const folder = byId<HTMLInputElement>("folder");
  const bar = byId<HTMLProgressElement>("load-progress");
  const state = byId("load-state");
  const facts = byId("facts");
  const problem = byId("problem");
  let loaded: Loaded | undefined;
  let loading = new AbortController();

  function progress({ phase, loaded: done, total }: Progress): void {
    const share = total > 0 ? done / total : 0;
    if (phase === "upload") bar.value = share;
    else bar.removeAttribute("value"); // unknown: the bar moves
    state.textContent =
      phase === "upload" ? `Loading weights: ${megabytes(done)} of ${megabytes(total)}` : `${PHASES[phase] ?? "Working"}…`;
  }

  function refresh(): void {
    facts.hidden = !loaded;
    if (!loaded) return;
    const { vlm, stored, config } = loaded;
    const rows: [string, string][] = [
      ["Adapter", vlm.adapter],
      ["Weights", weights.value === "auto" ? `${stored}, as stored` : `f32, widened from ${stored}`],
      ["GPU memory", megabytes(vlm.memory().bytes)],
      ["Tiles", `${config.tileSize} × ${config.tileSize}, up to ${config.maxTiles} a picture`],
    ];
    facts.replaceChildren(...rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  }

  async function load(from: WeightSource): Promise<void> {
    loading.abort();
    const mine = new AbortController();
    loading = mine;
    const before = loaded;
    loaded = undefined;
    onChange(undefined);
    refresh();
    problem.hidden = true;
    bar.hidden = false;
    state.textContent = "Opening…";
    try {
      await before?.vlm.dispose();
      const options = { weights: weights.value as WeightFormat, signal: mine.signal, onProgress: progress };
      const fresh = await loadModel(from, options);
      if (mine.signal.aborted) return void (await fresh.vlm.dispose());
      loaded = fresh;
      state.textContent = "Ready.";
      refresh();
      onChange(loaded);
    } catch (error) {
      if (mine.signal.aborted) return; // another one was chosen meanwhile
      state.textContent = "";
      problem.replaceChildren(explain(error));
      problem.hidden = false;
    } finally {
      if (loading === mine) bar.hidden = true;
    }
  }

  function choose(): void {
    byId("folder-field").hidden = source.value !== "folder";
    if (source.value === "nano") void load(nanoSource());
    else if (folder.files?.length) void load(folderSource(folder.files));
    else state.textContent = loaded ? "Choose a folder, or go on with the model that is loaded." : "Choose a folder.";
  }

  source.addEventListener("change", choose);
  weights.addEventListener("change", choose);
  folder.addEventListener("change", choose);
  choose();
  return { loaded: () => loaded, refresh };
}
