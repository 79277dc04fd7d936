export const LIMIT: number;
export function browserSizes(folder: string): { entry: number; answer: number; worker: number };
