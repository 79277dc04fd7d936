import { matmul } from "../../ops/matmul.ts";
import { addPositions, gatherPatches, pixelUnshuffle } from "../../ops/rowwise.ts";
import { matmul as matmulReference } from "../../reference/matmul.ts";
import * as reference from "../../reference/patch.ts";
import type { MatrixDtype } from "../../tensor/tensor.ts";
import { defineCase, type KernelCase, wholeOf } from "../case.ts";
import type { Random } from "../random.ts";

/** What is in a case's name only where it is more than usual. */
const over = (usual: number, value: number) => (value > usual ? value : undefined);

function gatherCase(size: number, patch: number, tiles: number, spare = 0): KernelCase {
  const params = { size, patch, tiles: over(1, tiles), spare: over(0, spare) };
  return defineCase("patch_gather", params, {
    step: { units: tiles, start: 0 },
    maxUnits: tiles + spare,
    record(program, operands) {
      const pixels = operands.random.values(tiles * 3 * size * size);
      const y = gatherPatches(program, operands.storage("pixels", pixels, (tiles + spare) * 3 * size * size), {
        size,
        patch,
        grid: size / patch,
      });
      const length = tiles * (1 + (size / patch) ** 2) * 3 * patch * patch;
      return [wholeOf("patches", y.buffer, length, () => reference.patches(pixels, tiles, size, patch))];
    },
  });
}

function positionsCase(tokens: number, width: number, tiles: number, spare = 0): KernelCase {
  const params = { tokens, width, tiles: over(1, tiles), spare: over(0, spare) };
  return defineCase("positions", params, {
    step: { units: tiles, start: 0 },
    maxUnits: tiles + spare,
    record(program, operands) {
      const { random } = operands;
      const [xs, token, position] = [random.values(tiles * tokens * width), random.values(width), random.values(tokens * width)];
      const x = operands.activation("x", { base: 0, unit: tokens }, width, xs);
      addPositions(program, x, operands.vector("class", token), operands.vector("position", position));
      return [wholeOf("x", x.buffer, xs.length, () => reference.positions(xs, tokens, token, position))];
    },
  });
}

/** The vision tower's first step as the model does it: patches, their product with the weights, class token and positions. */
function embeddingCase(size: number, patch: number, width: number, weights: MatrixDtype, tiles: number): KernelCase {
  const params = { size, patch, width, weights, tiles: over(1, tiles) };
  return defineCase("patch_embedding", params, {
    step: { units: tiles, start: 0 },
    record(program, operands) {
      const { random } = operands;
      const tokens = 1 + (size / patch) ** 2;
      const k = 3 * patch * patch;
      const [pixels, bias, token] = [random.values(tiles * 3 * size * size), random.values(width), random.values(width)];
      const position = random.values(tokens * width);
      const w = operands.matrix("w", width, k, weights);
      const rows = gatherPatches(program, operands.storage("pixels", pixels), { size, patch, grid: size / patch });
      const x = matmul(program, rows, w.matrix, { bias: operands.vector("bias", bias) });
      addPositions(program, x, operands.vector("class", token), operands.vector("position", position));
      const every = (n: number) => Array.from({ length: n }, (_, i) => i);
      const expected = () => {
        const [xs, all] = [reference.patches(pixels, tiles, size, patch), { rows: every(tiles * tokens), columns: every(width) }];
        const product = matmulReference(xs, w.values, k, { bias }, all);
        return reference.positions(product, tokens, token, position);
      };
      return [wholeOf("x", x.buffer, tiles * tokens * width, expected)];
    },
  });
}

function unshuffleCase(grid: number, width: number, tiles: number, spare = 0): KernelCase {
  const params = { grid, width, tiles: over(1, tiles), spare: over(0, spare) };
  return defineCase("pixel_unshuffle", params, {
    step: { units: tiles, start: 0 },
    maxUnits: tiles + spare,
    record(program, operands) {
      const xs = operands.random.values(tiles * (1 + grid * grid) * width);
      const y = pixelUnshuffle(program, operands.activation("x", { base: 0, unit: 1 + grid * grid }, width, xs), grid);
      return [wholeOf("y", y.buffer, tiles * grid * grid * width, () => reference.pixelUnshuffle(xs, tiles, grid, width))];
    },
  });
}

/** What turns pixels into the vision tower's tokens, and those into the projector's. */
export function patchCases(random: Random): KernelCase[] {
  const cases: KernelCase[] = [];
  for (const [size, patch] of [
    [2, 2],
    [4, 1],
    [15, 5],
    [28, 14],
    [56, 14],
    [63, 9],
    [112, 14],
  ] as const) {
    for (const tiles of [1, 2, 3]) cases.push(gatherCase(size, patch, tiles, tiles - 1));
  }
  cases.push(gatherCase(448, 14, 1)); // the model's own tile
  for (const width of [4, 64, 260, 1024]) {
    for (const tokens of [2, 5, 65]) {
      for (const tiles of [1, 3]) cases.push(positionsCase(tokens, width, tiles, tiles - 1));
    }
  }
  cases.push(positionsCase(1025, 64, 2));
  for (const [size, patch] of [
    [4, 2],
    [28, 14],
    [56, 14],
    [30, 6],
  ] as const) {
    for (const tiles of [1, 2]) {
      cases.push(embeddingCase(size, patch, 64, "bf16", tiles), embeddingCase(size, patch, 20, "bf16", tiles));
    }
  }
  for (const grid of [2, 4, 6, 16, 32]) {
    for (const width of [4, 64, 260]) {
      for (const tiles of [1, 3]) cases.push(unshuffleCase(grid, width, tiles, tiles - 1));
    }
  }
  cases.push(unshuffleCase(32, 1024, 1)); // the model's own
  for (let i = 0; i < 12; i++) {
    const patch = random.integer(1, 16);
    cases.push(gatherCase(patch * random.integer(1, 6), patch, random.integer(1, 4)));
    cases.push(positionsCase(random.integer(1, 40), 4 * random.integer(1, 80), random.integer(1, 4)));
    cases.push(unshuffleCase(2 * random.integer(1, 8), 4 * random.integer(1, 60), random.integer(1, 4)));
  }
  return cases;
}
