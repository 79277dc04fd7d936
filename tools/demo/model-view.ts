import { kindOf } from "../../src/gpu/adapter-kind.ts";
import { byId, make, megabytes } from "./dom.ts";
import { explain } from "./explain.ts";
import type { Loaded, ModelChoice } from "./model.ts";

const nameOf = (choice: ModelChoice): string => {
  if (choice.kind === "nano") return "nano";
  return choice.kind === "folder" ? "local folder" : choice.source;
};

/** What the page shows of a load and of the model that it gives: on a phone it is one line, which opens the rest. */
export function modelView() {
  const section = byId("model");
  const line = byId("model-line");
  const bar = byId<HTMLProgressElement>("load-progress");
  const state = byId("load-state");
  const problem = byId("problem");
  const facts = byId("facts");

  line.addEventListener("click", () => {
    line.ariaExpanded = String(section.classList.toggle("open"));
  });

  /** The state in words, on the line as well. */
  function say(now: "loading" | "ready" | "failed", text: string, brief = text): void {
    section.dataset.state = now;
    state.textContent = text;
    byId("model-brief").textContent = brief;
  }

  return {
    say,
    begin(choice: ModelChoice): void {
      byId("model-name").textContent = nameOf(choice);
      problem.hidden = true;
      bar.hidden = false;
      bar.removeAttribute("value");
      say("loading", "Opening…");
    },
    progress(text: string, part: number | undefined): void {
      if (part === undefined)
        bar.removeAttribute("value"); // unknown: the bar moves
      else bar.value = part;
      say("loading", text);
    },
    end(): void {
      bar.hidden = true;
    },
    fail(error: unknown, again?: () => void): void {
      problem.replaceChildren(explain(error));
      if (again) {
        const button = make("button", { type: "button", className: "quiet" }, "Try again");
        button.addEventListener("click", again);
        problem.append(button);
      }
      problem.hidden = false;
    },
    /** @param note what `weights: "auto"` decided */
    facts(loaded: Loaded | undefined, note?: string): void {
      facts.hidden = !loaded;
      if (!loaded) return;
      const { vlm, stored, config } = loaded;
      const slow = kindOf({ name: vlm.adapter }) === "cpu";
      const rows: [string, string][] = [
        ["Adapter", slow ? `${vlm.adapter}: it computes on the CPU, which is slow` : vlm.adapter],
        ["Weights", `${vlm.weights} (stored as ${stored})`],
        ...(note ? [["Because", note] as [string, string]] : []),
        ["GPU memory", megabytes(vlm.memory().bytes)],
        ["Tiles", `${config.tileSize} × ${config.tileSize}, up to ${config.maxTiles} a picture`],
      ];
      facts.replaceChildren(...rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
    },
    /** What the line says of a model that is there. */
    brief: ({ vlm }: Loaded): string => `${vlm.weights}, ready${kindOf({ name: vlm.adapter }) === "cpu" ? ", slow: on the CPU" : ""}`,
  };
}
