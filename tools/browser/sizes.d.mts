export const LIMITS: { answer: number; worker: number };
export function browserSizes(folder: string): { entry: number; answer: number; worker: number };
