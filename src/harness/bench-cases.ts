import { attentionCases } from "./bench-attention.ts";
import type { BenchCase } from "./bench-case.ts";
import { matmulCases } from "./bench-matmul.ts";
import { rowCases } from "./bench-rows.ts";

/** Everything that is timed, family by family. */
export const benchCases = (): BenchCase[] => [...matmulCases(), ...attentionCases(), ...rowCases()];
