/** silu(gate) · up, silu(x) = x / (1 + exp(-x)). */
export const swiglu = (gate: number, up: number): number => (gate / (1 + Math.exp(-gate))) * up;
