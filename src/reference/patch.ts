/** Patches of pixels [tiles, 3, size, size] as rows [tiles · (1 + grid²), 3 · patch²]; row 0 of a tile is zero. */
export function patches(pixels: Float32Array, tiles: number, size: number, patch: number): Float32Array<ArrayBuffer> {
  const grid = size / patch;
  const width = 3 * patch * patch;
  const out = new Float32Array(tiles * (1 + grid * grid) * width);
  let at = 0;
  for (let tile = 0; tile < tiles; tile++) {
    at += width;
    for (let r = 0; r < grid; r++) {
      for (let c = 0; c < grid; c++) {
        for (let channel = 0; channel < 3; channel++) {
          for (let y = 0; y < patch; y++) {
            const from = ((tile * 3 + channel) * size + r * patch + y) * size + c * patch;
            out.set(pixels.subarray(from, from + patch), at);
            at += patch;
          }
        }
      }
    }
  }
  return out;
}

/** x [tiles · tokens, width] with positions [tokens, width] added, after row 0 of every tile became the class token [width]. */
export function positions(x: ArrayLike<number>, tokens: number, classEmbedding: Float32Array, position: Float32Array): Float64Array {
  const width = classEmbedding.length;
  return Float64Array.from({ length: x.length }, (_, i) => {
    const token = Math.floor(i / width) % tokens;
    return (token === 0 ? classEmbedding[i % width]! : x[i]!) + position[token * width + (i % width)]!;
  });
}

/** Pixel unshuffle by 2 (v2): x [tiles · (1 + grid²), width] → [tiles · (grid/2)², 4 width], the class token dropped. */
export function pixelUnshuffle(x: Float32Array, tiles: number, grid: number, width: number): Float32Array {
  const side = grid / 2;
  const out = new Float32Array(tiles * side * side * 4 * width);
  let at = 0;
  for (let tile = 0; tile < tiles; tile++) {
    for (let r = 0; r < side; r++) {
      for (let c = 0; c < side; c++) {
        for (let i = 0; i < 4; i++) {
          const token = tile * (1 + grid * grid) + 1 + (2 * r + (i >> 1)) * grid + 2 * c + (i & 1); // down, then right
          out.set(x.subarray(token * width, (token + 1) * width), at);
          at += width;
        }
      }
    }
  }
  return out;
}
