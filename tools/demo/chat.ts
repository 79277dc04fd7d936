import { EngineError } from "../../src/errors.ts";
import type { ChatReply, ChatResult, ImageLike, Message, PromptProgress } from "../../src/index.ts";
import type { ModelConfig } from "../../src/model/config.ts";
import { make } from "./dom.ts";
import { explain } from "./explain.ts";
import type { Loaded } from "./model.ts";
import { type Picture, showPicture } from "./pictures.ts";

/** One conversation and its messages on the page. */
export class Conversation {
  readonly #log: HTMLElement;
  #history: readonly Message[] | undefined;
  #abort: AbortController | undefined;

  constructor(log: HTMLElement) {
    this.#log = log;
  }

  get busy(): boolean {
    return this.#abort !== undefined;
  }

  get empty(): boolean {
    return this.#log.childElementCount === 0;
  }

  stop(): void {
    this.#abort?.abort();
  }

  reset(): void {
    this.stop();
    this.#history = undefined;
    this.#log.replaceChildren();
  }

  /** Asks and streams the answer into the page; says so there when it fails. */
  async ask({ vlm, config }: Loaded, question: string, pictures: readonly Picture[]): Promise<void> {
    this.#abort = new AbortController();
    const answer = this.#addMessages(question, pictures, config);
    const text = answer.querySelector<HTMLElement>(".text")!;
    const progress = make("p", { className: "note progress" });
    text.before(progress);
    const images: ImageLike[] = pictures.filter(({ kind }) => kind === "image").flatMap((picture) => picture.images);
    const video = pictures.filter(({ kind }) => kind === "video").flatMap((picture) => picture.images);
    try {
      const reply = vlm.chat(question, {
        images,
        ...(video.length ? { video } : {}),
        history: this.#history,
        signal: this.#abort.signal,
        onProgress: (at) => {
          progress.textContent = progressText(at);
        },
      });
      await stream(reply, text, () => progress.remove());
      const result = await reply;
      this.#history = result.history;
      text.textContent = result.text;
      answer.append(statistics(result), copyButton(result.text));
    } catch (error) {
      if (error instanceof EngineError && error.code === "aborted") {
        // What was not answered is not part of the conversation: the next question follows the last whole answer.
        answer.append(make("p", { className: "note" }, "Stopped."));
      } else answer.append(make("div", { className: "problem", role: "alert" }, explain(error)));
    } finally {
      progress.remove();
      this.#abort = undefined;
      answer.setAttribute("aria-busy", "false");
      answer.classList.remove("busy");
    }
  }

  #addMessages(question: string, pictures: readonly Picture[], config: ModelConfig): HTMLElement {
    const asked = make(
      "li",
      { className: "question" },
      ...pictures.map((picture) => showPicture(picture, config)),
      make("p", {}, question),
    );
    // Announced once it is whole: aria-busy keeps a screen reader from reading every piece.
    const answer = make("li", { className: "answer busy", ariaLive: "polite", ariaBusy: "true" }, make("p", { className: "text" }));
    this.#log.append(asked, answer);
    answer.scrollIntoView({ block: "nearest" });
    return answer;
  }
}

/** How far the prompt is: pictures first, then all of its tokens. */
const progressText = ({ phase, loaded, total }: PromptProgress): string =>
  phase === "vision" ? `Looking at the pictures: ${loaded} of ${total} tiles…` : `Reading the question: ${loaded} of ${total} tokens…`;

function copyButton(text: string): HTMLElement {
  const button = make("button", { type: "button", className: "quiet" }, "Copy");
  button.addEventListener("click", () => {
    navigator.clipboard.writeText(text).then(
      () => button.replaceChildren("Copied"),
      () => button.replaceChildren("The browser does not let it be copied"),
    );
  });
  return button;
}

/** @param begins called before the first piece */
async function stream(reply: ChatReply, into: HTMLElement, begins: () => void): Promise<void> {
  for await (const piece of reply) {
    begins();
    into.append(piece);
    into.scrollIntoView({ block: "nearest" });
  }
}

function statistics({ usage, timings, finishReason }: ChatResult): HTMLElement {
  const { completionTokens, promptTokens } = usage;
  const perSecond = completionTokens > 1 ? ((completionTokens - 1) / timings.decode) * 1000 : undefined;
  const first = (timings.prepare + timings.firstToken) / 1000;
  const parts = [
    `${completionTokens} tokens`,
    ...(perSecond === undefined ? [] : [`${perSecond.toFixed(1)} tokens/s`]),
    `first token after ${first.toFixed(2)} s`,
    `${promptTokens} prompt tokens`,
    ...(finishReason === "length" ? ["cut off at the limit"] : []),
  ];
  return make("p", { className: "statistics" }, parts.join(" · "));
}
