import type { PromptProgress } from "../../src/index.ts";
import { chooseGrid } from "../../src/media/tiles.ts";
import type { ModelConfig } from "../../src/model/config.ts";
import { make } from "./dom.ts";
import type { Picture } from "./pictures.ts";

/** The picture with the tiles that the model sees drawn over it. `config` is unknown until a model is loaded. */
export function showPicture(picture: Picture, config: ModelConfig | undefined, most?: number): HTMLElement {
  const { name, kind, width, height, previews } = picture;
  const tiled = kind === "image" && config;
  const [columns, rows] = tiled
    ? chooseGrid(width, height, {
        minTiles: config.minTiles,
        maxTiles: picture.maxTiles ?? most ?? (config.dynamicTiles ? config.maxTiles : 1),
        tileSize: config.tileSize,
      })
    : [1, 1];
  const cells = columns * rows;
  const whole = cells > 1 && config?.thumbnail;
  const shown = previews.map((src, i) => {
    const grid = make("div", { className: "tiles", ariaHidden: "true" });
    grid.style.gridTemplate = `repeat(${rows}, 1fr) / repeat(${columns}, 1fr)`;
    if (cells === 1) grid.append(make("i", { className: "tile" }));
    else grid.append(...Array.from({ length: cells }, (_, cell) => make("span", { className: "tile" }, String(cell + 1))));
    if (whole) grid.append(make("i", { className: "tile whole" }));
    return framed(src, kind === "video" ? `${name}, frame ${i + 1}` : name, picture, grid);
  });
  const tiles = cells > 1 ? `${cells} tiles (${columns} × ${rows})${whole ? " + the whole" : ""}` : "1 tile";
  const text = kind === "video" ? `${previews.length} frames, 1 tile each` : config ? tiles : "";
  return make(
    "figure",
    { className: kind },
    make("div", { className: "frames" }, ...shown),
    make("figcaption", {}, make("b", {}, name), ` ${width} × ${height}${text ? ` · ${text}` : ""}`),
  );
}

/** A picture as large as its box, with something that lies exactly over it. */
export function framed(src: string, alt: string, { width, height }: Pick<Picture, "width" | "height">, over: HTMLElement): HTMLElement {
  const frame = make("div", { className: "picture" }, make("img", { src, alt }), over);
  frame.style.aspectRatio = `${width} / ${height}`;
  frame.style.setProperty("--shape", String(width / height));
  return frame;
}

/**
 * Lights up the tiles that are encoded, of a question's pictures. Those of earlier turns may be encoded again before them (`total` is more then),
 * and some of its own may be known already.
 */
export function lightUp(question: HTMLElement, { phase, loaded, total }: PromptProgress): void {
  const tiles = [...question.querySelectorAll(".tile")];
  const lit = phase === "vision" ? loaded - total + tiles.length : tiles.length;
  for (const [i, tile] of tiles.entries()) tile.classList.toggle("lit", i < lit);
  question.classList.toggle("encoding", lit < tiles.length);
}
