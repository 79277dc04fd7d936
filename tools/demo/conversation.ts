import type { ChatOptions, Message } from "../../src/index.ts";
import type { ImportedTurn } from "./exchange.ts";
import type { Loaded } from "./model.ts";
import type { Picture } from "./pictures.ts";
import { Turn } from "./turn.ts";

/** What the conversation needs of the page. */
export interface Page {
  /** The model that answers, and how; undefined where none is loaded. */
  answering(): { loaded: Loaded; settings: ChatOptions } | undefined;
  /** Puts a question back into the composer. */
  edit(turn: Turn): void;
  /** An answer has begun or ended, or turns have come or gone. */
  changed(): void;
}

/** One conversation and its turns on the page. */
export class Conversation {
  readonly #log: HTMLElement;
  readonly #page: Page;
  #turns: Turn[] = [];
  #abort: AbortController | undefined;

  constructor(log: HTMLElement, page: Page) {
    this.#log = log;
    this.#page = page;
  }

  get busy(): boolean {
    return this.#abort !== undefined;
  }

  get empty(): boolean {
    return this.#turns.length === 0;
  }

  /** What was said and answered so far. */
  get messages(): readonly Message[] {
    return this.#turns.findLast(({ history }) => history)?.history ?? [];
  }

  stop(): void {
    this.#abort?.abort();
  }

  reset(): void {
    this.stop();
    this.#turns = [];
    this.#log.replaceChildren();
    this.#page.changed();
  }

  /** Takes a turn away, with all that follows. */
  dropFrom(turn: Turn): void {
    const at = this.#turns.indexOf(turn);
    if (at < 0) return;
    for (const { asked, answer } of this.#turns.splice(at)) {
      asked.remove();
      answer.remove();
    }
  }

  /** Shows a conversation that was imported, in place of this one. */
  restore(turns: readonly ImportedTurn[]): void {
    this.reset();
    const config = this.#page.answering()?.loaded.config;
    for (const each of turns) this.#add(each.question, each.pictures, config).restore(each, this.#pictures());
    this.#page.changed();
  }

  /** Asks and streams the answer into the page; says so there when it fails. */
  async ask(question: string, pictures: readonly Picture[]): Promise<void> {
    const answering = this.#page.answering();
    if (!answering || this.busy) return;
    const { loaded, settings } = answering;
    const history = this.messages;
    const turn = this.#add(question, pictures, loaded.config, settings.maxTiles);
    const abort = new AbortController();
    this.#abort = abort;
    this.#page.changed();
    const video = pictures.filter(({ kind }) => kind === "video").flatMap(({ images }) => images);
    try {
      const reply = loaded.vlm.chat(question, {
        ...settings,
        // Several images of one picture are the combined form: one `<image>` takes them all.
        images: pictures.filter(({ kind }) => kind === "image").map(({ images }) => (images.length === 1 ? images[0]! : images)),
        ...(video.length > 0 ? { video } : {}),
        history,
        signal: abort.signal,
        onProgress: (at) => turn.progress(at),
      });
      for await (const piece of reply) turn.write(piece);
      turn.finish(await reply, this.#pictures());
    } catch (error) {
      turn.fail(error);
    } finally {
      this.#follow();
      if (this.#abort === abort) this.#abort = undefined;
      this.#page.changed();
    }
  }

  /** The pictures of the questions that were answered, and of the last one. */
  #pictures(): (readonly Picture[])[] {
    return this.#turns.filter((turn) => turn.history || turn === this.#turns.at(-1)).map(({ pictures }) => pictures);
  }

  #add(...[question, pictures, config, maxTiles]: [string, readonly Picture[], Loaded["config"]?, number?]): Turn {
    const actions = {
      edit: (turn: Turn) => this.#page.edit(turn),
      regenerate: (turn: Turn) => {
        if (!this.#page.answering() || this.busy) return;
        this.dropFrom(turn);
        void this.ask(turn.question, turn.pictures);
      },
      grown: () => this.#follow(),
    };
    const turn = new Turn(question, pictures, actions, config, maxTiles);
    this.#turns.push(turn);
    this.#log.append(turn.asked, turn.answer);
    window.scrollTo(0, document.body.scrollHeight);
    return turn;
  }

  /** Keeps the end in sight, unless somebody has scrolled up to read. */
  #follow(): void {
    const { scrollHeight } = document.documentElement;
    const below = scrollHeight - window.innerHeight - window.scrollY;
    if (this.busy && below < 200) window.scrollTo(0, scrollHeight);
  }
}
