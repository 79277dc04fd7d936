import "vitest";

declare module "vitest" {
  interface ProvidedContext {
    /** Whether everything runs (`npm run test:full`), also what takes minutes on a software adapter. */
    full: boolean;
  }
}
