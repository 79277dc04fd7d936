import type { ModelConfig } from "../../src/model/config.ts";
import { byId, make } from "./dom.ts";
import { explain } from "./explain.ts";
import { openPicture, type Picture } from "./pictures.ts";
import { mostTiles, onTiles } from "./settings.ts";
import { showPicture } from "./tiles.ts";

const SAMPLES = ["card-5.png", "poster.png", "sign.jpg"];

/** The pictures for the next question. */
export interface PicturePanel {
  take(): Picture[];
  put(pictures: readonly Picture[]): void;
  /** Shows them anew: another model sees other tiles. */
  show(): void;
}

/** Pictures are dropped, pasted, chosen, or one of the samples. */
export function picturePanel(config: () => ModelConfig | undefined): PicturePanel {
  const list = byId("pending");
  const input = byId<HTMLInputElement>("files");
  const problem = byId("picture-problem");
  let pictures: Picture[] = [];

  function show(): void {
    list.replaceChildren(
      ...pictures.map((picture) => {
        const remove = make("button", { type: "button", className: "remove", ariaLabel: `Remove ${picture.name}` }, "×");
        remove.addEventListener("click", () => {
          pictures = pictures.filter((other) => other !== picture);
          show();
          byId("question").focus();
        });
        const figure = showPicture(picture, config(), mostTiles());
        figure.querySelector(".frames")!.lastElementChild!.append(remove);
        return make("li", {}, figure);
      }),
    );
  }

  async function add(files: Iterable<File>): Promise<void> {
    problem.hidden = true;
    for (const file of files) {
      try {
        pictures.push(await openPicture(file));
      } catch (error) {
        problem.replaceChildren(explain(error));
        problem.hidden = false;
      }
      show();
    }
  }

  onTiles(show);
  input.addEventListener("change", async () => {
    await add(input.files ?? []);
    input.value = ""; // the same file may be chosen again
  });
  takeFromPage(add);
  byId("samples").append("or one of", ...SAMPLES.map((name) => sampleButton(name, add)));

  function put(given: readonly Picture[]): void {
    pictures = [...given];
    problem.hidden = true;
    show();
  }
  return {
    show,
    put,
    take() {
      const taken = pictures;
      put([]);
      return taken;
    },
  };
}

type Add = (files: Iterable<File>) => Promise<void>;

/** Takes what is dropped and pasted. The whole page does: a picture that misses the frame must not replace the page. */
function takeFromPage(add: Add): void {
  const drop = byId("drop");
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", ({ relatedTarget }) => {
    if (!relatedTarget) drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    void add(event.dataTransfer?.files ?? []);
  });
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files;
    if (!files?.length) return; // text goes where the cursor is
    event.preventDefault();
    void add(files);
  });
}

/** A button that takes one of the samples. */
function sampleButton(name: string, add: Add): HTMLButtonElement {
  const src = `nano/images/${name}`;
  const button = make("button", { type: "button", ariaLabel: `Take the sample ${name}` }, make("img", { src, alt: "" }));
  button.addEventListener("click", async () => {
    const blob = await (await fetch(src)).blob();
    await add([new File([blob], name, { type: blob.type })]);
  });
  return button;
}
