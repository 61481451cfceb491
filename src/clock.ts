/** Time and turns of the event loop, passed in so that tests can control both. */

export interface Clock {
  /** Wall-clock time, ms since 1970. */
  wallMs(): number;
  /** Monotonic time, ms. */
  nowMs(): number;
  /** Runs `task` in a later turn, when no socket is corked. native-notes/one-cork-per-loop.md */
  soon(task: () => void): void;
  /**
   * The same, before all that `soon` was asked for, as slices of sweeps are: for what somebody
   * outside of this loop is to begin with while they run.
   */
  soonest(task: () => void): void;
  /** Runs `task` after `delayMs`; returns its cancellation. Does not keep the process alive. */
  later(delayMs: number, task: () => void): () => void;
}

let soonest: (() => void)[] = [];

function runSoonest(): void {
  const tasks = soonest;
  soonest = [];
  for (const task of tasks) task();
}

export const SYSTEM_CLOCK: Clock = {
  wallMs: () => Date.now(),
  nowMs: () => performance.now(),
  soon(task) {
    setImmediate(() => {
      if (soonest.length > 0) runSoonest();
      task();
    });
  },
  soonest(task) {
    if (soonest.push(task) === 1) setImmediate(runSoonest);
  },
  later(delayMs, task) {
    const timer = setTimeout(task, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Resolves after so many ms. */
export function pause(clock: Pick<Clock, 'later'>, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.later(ms, resolve));
}

/**
 * What the wall clock says, but never more than has gone by since this was called: one that is set
 * ahead for a while makes nothing old.
 */
export function steadyWall(clock: Pick<Clock, 'wallMs' | 'nowMs'>): () => number {
  const beganMs = clock.wallMs() - clock.nowMs();
  return () => Math.min(clock.wallMs(), beganMs + clock.nowMs());
}

/**
 * Runs `task` after `delayMs` without what was waited for; returns its cancellation. Where the loop
 * was held and it is late, it waits on for as long as it was late, at most `delayMs`: timers come
 * before sockets and sweeps, and what these bring is to come first.
 */
export function giveUpAfter(
  clock: Pick<Clock, 'later' | 'nowMs' | 'soon'>,
  delayMs: number,
  task: () => void,
): () => void {
  const dueMs = clock.nowMs() + delayMs;
  let isCancelled = false;
  let cancel = clock.later(delayMs, () => {
    const lateMs = clock.nowMs() - dueMs;
    cancel = clock.later(Math.min(lateMs, delayMs), () => {
      // Another timer may fire before the sockets are looked at.
      clock.soon(() => {
        if (!isCancelled) task();
      });
    });
  });
  return () => {
    isCancelled = true;
    cancel();
  };
}
