/**
 * Work that is done at its first use and kept: calls at the same time share one attempt. An attempt that fails is the failure of those who
 * waited for it and is forgotten, so that a later call tries again.
 */
export function once<T>(work: () => Promise<T>): () => Promise<T> {
  let attempt: Promise<T> | undefined;
  return () => {
    if (attempt) return attempt;
    const mine = work();
    attempt = mine;
    mine.catch(() => {
      attempt = undefined;
    });
    return mine;
  };
}
