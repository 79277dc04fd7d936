import { Conversation } from "./chat.ts";
import { picturePanel } from "./composer.ts";
import { byId } from "./dom.ts";
import { modelPanel } from "./loader.ts";

const question = byId<HTMLTextAreaElement>("question");
const [send, stop, reset] = ["send", "stop", "reset"].map((id) => byId<HTMLButtonElement>(id)) as [
  HTMLButtonElement,
  HTMLButtonElement,
  HTMLButtonElement,
];

const conversation = new Conversation(byId("log"));
const pictures = picturePanel(() => model?.loaded()?.config);
let model: ReturnType<typeof modelPanel> | undefined;
model = modelPanel(() => {
  conversation.reset(); // another model has not seen what was said
  pictures.show();
  refresh();
});

function refresh(): void {
  send.disabled = !model?.loaded() || conversation.busy || question.value.trim() === "";
  send.hidden = conversation.busy;
  stop.hidden = !conversation.busy;
  reset.disabled = conversation.empty;
  document.body.classList.toggle("talking", !conversation.empty);
}

async function ask(): Promise<void> {
  const loaded = model?.loaded();
  const text = question.value.trim();
  if (!loaded || conversation.busy || text === "") return;
  question.value = "";
  const asking = conversation.ask(loaded, text, pictures.take());
  refresh();
  await asking;
  model?.refresh();
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
  if (event.key === "Escape") conversation.stop();
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
reset.addEventListener("click", () => {
  conversation.reset();
  refresh();
  question.focus();
});
