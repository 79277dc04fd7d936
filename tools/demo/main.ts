import { picturePanel } from "./composer.ts";
import { Conversation } from "./conversation.ts";
import { byId } from "./dom.ts";
import { exportConversation, importConversation } from "./exchange.ts";
import { explain } from "./explain.ts";
import { modelPanel } from "./loader.ts";
import { setSystem, settings, showTiles } from "./settings.ts";
import type { Turn } from "./turn.ts";

const button = (id: string) => byId<HTMLButtonElement>(id);
const question = byId<HTMLTextAreaElement>("question");
const [send, stop, reset, save] = [button("send"), button("stop"), button("reset"), button("export")];

const pictures = picturePanel(() => model?.loaded()?.config);
/** The turn whose question is in the composer again. */
let editing: Turn | undefined;
const conversation = new Conversation(byId("log"), {
  answering() {
    const loaded = model?.loaded();
    return loaded && { loaded, settings: settings() };
  },
  edit(turn) {
    if (conversation.busy) return;
    setEditing(turn);
    question.value = turn.question;
    pictures.put(turn.pictures);
    refresh();
    question.focus();
  },
  changed: () => refresh(),
});
let model: ReturnType<typeof modelPanel> | undefined;
model = modelPanel((loaded) => {
  if (loaded) showTiles(loaded.config.dynamicTiles ? loaded.config.maxTiles : 1);
  conversation.stop();
  pictures.show();
  refresh();
});

function setEditing(turn: Turn | undefined): void {
  editing = turn;
  byId("editing").hidden = turn === undefined;
}

function refresh(): void {
  const { busy, empty } = conversation;
  send.disabled = !model?.loaded() || busy || question.value.trim() === "";
  send.hidden = busy;
  stop.hidden = !busy;
  reset.disabled = empty;
  save.disabled = busy || conversation.messages.length === 0;
  for (const again of document.querySelectorAll<HTMLButtonElement>("#log .again")) again.disabled = busy || !model?.loaded();
  document.body.classList.toggle("talking", !empty);
}

async function ask(): Promise<void> {
  const text = question.value.trim();
  if (!model?.loaded() || conversation.busy || text === "") return;
  if (editing) conversation.dropFrom(editing);
  setEditing(undefined);
  question.value = "";
  await conversation.ask(text, pictures.take());
  model?.refresh();
  if (matchMedia("(pointer: fine)").matches) question.focus({ preventScroll: true }); // a phone would bring its keyboard up over the answer
}

/** Empties the composer. */
function clear(): void {
  setEditing(undefined);
  question.value = "";
  pictures.put([]);
  refresh();
  question.focus();
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  void ask();
});
question.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  void ask();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (conversation.busy) conversation.stop();
  else if (editing) clear();
});
question.addEventListener("input", refresh);
question.value = new URLSearchParams(location.search).get("q") ?? ""; // a link can bring a question along
for (const sample of byId("questions").querySelectorAll("button")) {
  sample.addEventListener("click", () => {
    question.value = sample.textContent ?? "";
    refresh();
    question.focus();
  });
}
stop.addEventListener("click", () => conversation.stop());
button("edit-cancel").addEventListener("click", clear);
reset.addEventListener("click", () => {
  if (editing) clear();
  conversation.reset();
  question.focus();
});

const file = byId<HTMLInputElement>("import-file");
const problem = byId("exchange-problem");
save.addEventListener("click", () => {
  const { system } = settings();
  exportConversation([...(system === undefined ? [] : [{ role: "system" as const, content: system }]), ...conversation.messages]);
});
button("import").addEventListener("click", () => file.click());
file.addEventListener("change", async () => {
  const [chosen] = file.files ?? [];
  file.value = ""; // the same file may be chosen again
  if (!chosen) return;
  problem.hidden = true;
  try {
    const { system, turns } = await importConversation(chosen);
    if (editing) clear();
    setSystem(system);
    conversation.restore(turns);
  } catch (error) {
    problem.replaceChildren(explain(error));
    problem.hidden = false;
  }
});
