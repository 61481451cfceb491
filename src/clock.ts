/** Time and turns of the event loop, passed in so that tests can control both. */

export interface Clock {
  /** Wall-clock time, ms since 1970. */
  wallMs(): number;
  /** Monotonic time, ms. */
  nowMs(): number;
  /** Runs `task` in a later turn, when no socket is corked. native-notes/one-cork-per-loop.md */
  soon(task: () => void): void;
  /** Runs `task` after `delayMs`; returns its cancellation. Does not keep the process alive. */
  later(delayMs: number, task: () => void): () => void;
}

export const SYSTEM_CLOCK: Clock = {
  wallMs: () => Date.now(),
  nowMs: () => performance.now(),
  soon: (task) => void setImmediate(task),
  later(delayMs, task) {
    const timer = setTimeout(task, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
