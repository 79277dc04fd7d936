/** A thread that runs one of our scripts. */
export interface Thread {
  post(message: unknown, transfer: ArrayBuffer[]): void;
  /** Who hears its messages, and why it ended without having been asked to. */
  listen(onMessage: (message: unknown) => void, onEnd: (reason: Error) => void): void;
  /** Whether the process may not exit while it runs (Node). */
  hold(on: boolean): void;
  end(): void;
}
