import { EngineError } from "../errors.ts";

/** ImageNet's statistics, as upstream's `build_transform` uses them. */
const MEAN = [0.485, 0.456, 0.406];
const STD = [0.229, 0.224, 0.225];

/** [channel][byte] → normalised value. Each step rounds to float32, as torchvision's ToTensor and Normalize do. */
const TABLE = MEAN.map((mean, c) =>
  Float32Array.from({ length: 256 }, (_, byte) => {
    const unit = Math.fround(byte / 255);
    const centred = Math.fround(unit - Math.fround(mean));
    return centred / Math.fround(STD[c]!);
  }),
);

/** tiles: [count, tileSize, tileSize, 3] bytes → pixel values [count, 3, tileSize, tileSize], the vision model's input. */
export function normalizeTiles(tiles: Uint8Array, count: number, tileSize: number): Float32Array {
  const area = tileSize * tileSize;
  if (tiles.length !== count * area * 3) {
    throw new EngineError(
      "bad-input",
      `tiles have ${tiles.length} bytes, ${count} tiles of ${tileSize} x ${tileSize} x 3 need ${count * area * 3}`,
    );
  }
  const values = new Float32Array(tiles.length);
  for (let tile = 0; tile < count; tile++) {
    for (let c = 0; c < 3; c++) {
      const table = TABLE[c]!;
      const to = (tile * 3 + c) * area;
      for (let i = 0, from = tile * 3 * area + c; i < area; i++, from += 3) values[to + i] = table[tiles[from]!]!;
    }
  }
  return values;
}
