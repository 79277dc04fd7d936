import type { Program, Step } from "../../gpu/program.ts";
import { type AttentionKernel, attendInBlocks, flash, type RowsAttention } from "../attention-kernels.ts";
import { kvReader } from "../kv-cache.ts";
import { matrixDirectives, matrixOf, SUBGROUP_MATRIX } from "./units.ts";

const REALS_BLOCK = 32; // queries or keys

/** Attention on matrix units: operands in f16, then attention.flash_subgroup_matrix. */
function onMatrixUnits(program: Program, a: RowsAttention, wanted: (step: Step) => boolean): void {
  const { gpu } = program;
  const { causal, precision, rows, keys, heads, group, headDim, batches, dtype } = a;
  const { M, N, K } = matrixOf(gpu)!;
  const two = (needed: boolean) => (needed ? 2 : 1);
  // In auto only the queries of the decoder keep two parts: with keys that are far from zero (Qwen2.5's) the error of one shows in logits.
  const QPARTS = two(causal || precision === "exact");
  const KPARTS = two(dtype === "f32" && precision === "exact");
  const PPARTS = two(precision === "exact");
  const block = 4 * M;
  const room = (count: number, of: number) => Math.ceil(count / of) * of;
  const [qRoom, kvRoom] = [room(rows, Math.max(block, REALS_BLOCK)), room(keys, REALS_BLOCK)];
  const qPart = batches * heads * qRoom * headDim;
  const kvPart = (batches * heads * kvRoom * headDim) / group;
  program.arena.scope(() => {
    const reals = {
      buffer: program.arena.take((QPARTS * qPart + 2 * KPARTS * kvPart) * 2),
      sizes: [qRoom, kvRoom, qPart / 32, kvPart / 32],
    };
    const parts = { QPARTS, KPARTS };
    attendInBlocks(program, { shader: "attention.reals", consts: parts }, a, {
      block: REALS_BLOCK,
      libs: [kvReader(a)],
      reals: { ...reals, binding: "w" },
      workgroups: (step) => {
        const most = causal ? Math.max(room(step.units, block), step.start + step.units) : Math.max(qRoom, kvRoom);
        return wanted(step) ? [Math.ceil(most / REALS_BLOCK), heads + (2 * heads) / group, causal ? 1 : step.units] : [0, 0, 0];
      },
    });
    attendInBlocks(
      program,
      {
        shader: "attention.flash_subgroup_matrix",
        directives: matrixDirectives("f16"),
        consts: { M, N, K, WIDTH: gpu.subgroups.size!, ...parts, PPARTS },
      },
      a,
      {
        block,
        libs: [],
        splits: (step) => (wanted(step) ? 1 : 0),
        reals: { ...reals, binding: "r" },
      },
    );
  });
}

/** Attention on matrix units, by its variants. */
export const ATTENTIONS = {
  /**
   * On matrix units, but for short chunks whose keys are split. Of smaller fragments (Intel's) a subgroup has too few registers: it spills. Of 32
   * lanes two share a row. Loads from arrays of another type came with the form `typed`.
   */
  flash_subgroup_matrix: {
    needs: {
      features: [SUBGROUP_MATRIX],
      widthMultipleOf: 32,
      device: (gpu) => matrixOf(gpu)?.M === 16 && gpu.subgroups.size! <= 32 && gpu.matrixSyntax === "typed",
    },
    record: (program, a) => flash(program, a, onMatrixUnits),
  },
} satisfies Record<string, AttentionKernel>;
