import { EngineError } from "../../src/errors.ts";
import type { Box, ChatResult, Message, PromptProgress } from "../../src/index.ts";
import type { ModelConfig } from "../../src/model/config.ts";
import { make, quietButton } from "./dom.ts";
import { explain } from "./explain.ts";
import { grounding } from "./grounding.ts";
import { markdown } from "./markdown.ts";
import type { Picture } from "./pictures.ts";
import { lightUp, showPicture } from "./tiles.ts";

/** What the buttons of a turn do. */
export interface TurnActions {
  edit(turn: Turn): void;
  regenerate(turn: Turn): void;
  /** The turn has become longer. */
  grown(): void;
}

/** A question with its answer, and both on the page. */
export class Turn {
  readonly question: string;
  readonly pictures: readonly Picture[];
  readonly asked: HTMLElement;
  readonly answer: HTMLElement;
  /** The conversation up to this answer, once that is whole. */
  history: readonly Message[] | undefined;
  readonly #text = make("div", { className: "text" });
  readonly #progress = make("p", { className: "note progress" });
  readonly #actions: TurnActions;
  #written = "";
  #frame: number | undefined;

  constructor(question: string, pictures: readonly Picture[], actions: TurnActions, config?: ModelConfig, maxTiles?: number) {
    this.question = question;
    this.pictures = pictures;
    this.#actions = actions;
    const edit = quietButton("Edit", () => actions.edit(this), { className: "quiet again", ariaLabel: `Edit the question: ${question}` });
    const shown = pictures.map((picture) => showPicture(picture, config, maxTiles));
    this.asked = make("li", { className: "question" }, ...shown, make("p", {}, question), make("div", { className: "tools" }, edit));
    // Announced once it is whole: aria-busy keeps a screen reader from reading every piece.
    this.answer = make("li", { className: "answer busy", ariaLive: "polite", ariaBusy: "true" }, this.#progress, this.#text);
  }

  /** How far the prompt is: pictures first, then all of its tokens. */
  progress(at: PromptProgress): void {
    const { phase, loaded, total } = at;
    lightUp(this.asked, at);
    this.#progress.textContent =
      phase === "vision" ? `Looking at the pictures: ${loaded} of ${total} tiles…` : `Reading the question: ${loaded} of ${total} tokens…`;
  }

  /** One more piece of the answer. The Markdown is read again once a frame: a later piece can change what an earlier one means. */
  write(piece: string): void {
    this.#progress.remove();
    this.#written += piece;
    this.#frame ??= requestAnimationFrame(() => this.#show());
  }

  #show(): void {
    this.#frame = undefined;
    this.#text.replaceChildren(markdown(withoutTags(this.#written)));
    this.#actions.grown();
  }

  /** @param before the pictures of the questions that the answer may point at, up to this one's */
  finish(result: ChatResult, before: readonly (readonly Picture[])[]): void {
    this.#whole(result.text, result.boxes, result.history, before);
    this.answer.append(statistics(result), this.#tools("Copy", "Regenerate"));
  }

  /** An answer that was imported. */
  restore(
    { answer, boxes, history }: { answer: string; boxes: readonly Box[]; history: Message[] },
    before: readonly (readonly Picture[])[],
  ): void {
    this.#whole(answer, boxes, history, before);
    this.answer.append(this.#tools("Copy", "Regenerate"));
  }

  #whole(text: string, boxes: readonly Box[], history: readonly Message[], before: readonly (readonly Picture[])[]): void {
    this.history = history;
    this.#written = text;
    this.#end();
    this.answer.append(...grounding(boxes, before));
  }

  /** The answer has ended early. What was not answered is not part of the conversation: the next question follows the last whole answer. */
  fail(error: unknown): void {
    this.#end();
    const stopped = error instanceof EngineError && error.code === "aborted";
    const note = stopped
      ? make("p", { className: "note" }, "Stopped.")
      : make("div", { className: "problem", role: "alert" }, explain(error));
    this.answer.append(note, this.#tools(...(this.#written ? ["Copy" as const] : []), "Regenerate"));
  }

  #end(): void {
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
    this.#show();
    this.#progress.remove();
    this.asked.classList.remove("encoding");
    this.answer.classList.remove("busy");
    this.answer.ariaBusy = "false";
  }

  #tools(...names: ("Copy" | "Regenerate")[]): HTMLElement {
    const buttons = {
      Copy: () => copyButton(this.#written),
      Regenerate: () => quietButton("Regenerate", () => this.#actions.regenerate(this), { className: "quiet again regenerate" }),
    };
    return make("div", { className: "tools" }, ...names.map((name) => buttons[name]()));
  }
}

/** The text without the tags of boxes, which are drawn: most models' texts come without them. */
const withoutTags = (text: string): string => text.replace(/<\/?ref>|<\/box>/g, "").replaceAll("<box>", " ");

const copyButton = (text: string): HTMLElement =>
  quietButton("Copy", (button) => {
    navigator.clipboard.writeText(text).then(
      () => button.replaceChildren("Copied"),
      () => button.replaceChildren("The browser does not let it be copied"),
    );
  });

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
