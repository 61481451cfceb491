/**
 * Keeps a thread from being ended in the middle of a transaction. lmdb holds a mutex from the begin
 * of a transaction to its commit, across JavaScript, and takes it again when the thread ends: one
 * that is ended between the two waits for itself, and a process that ends waits for its threads. So
 * whoever ends the thread shuts this gate first.
 */

const OPEN = 0;
const WITHIN = 1;
const SHUT = 2;

export class EndGate {
  /** Shared by the thread and who ends it. */
  readonly word: Int32Array;

  constructor(word: Int32Array = new Int32Array(new SharedArrayBuffer(4))) {
    this.word = word;
  }

  /** For the thread: does what must not be cut in two. Waits for its end when the gate is shut. */
  within<Result>(work: () => Result): Result {
    if (Atomics.compareExchange(this.word, 0, OPEN, WITHIN) === SHUT)
      Atomics.wait(this.word, 0, SHUT);
    try {
      return work();
    } finally {
      Atomics.store(this.word, 0, OPEN);
      Atomics.notify(this.word, 0);
    }
  }

  /**
   * For who ends the thread: from now on nothing begins there. Waits for what has begun; false when
   * that is not done in time.
   */
  shut(waitMs: number): boolean {
    const deadlineMs = performance.now() + waitMs;
    while (Atomics.compareExchange(this.word, 0, OPEN, SHUT) === WITHIN) {
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0) return false;
      Atomics.wait(this.word, 0, WITHIN, leftMs);
    }
    return true;
  }
}
