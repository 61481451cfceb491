/**
 * Turns of bodies that come in very many pieces: each piece is a call from native code, so that a
 * read of 64 KiB in chunks of one byte takes 16 ms. Such sockets are paused, and one of them is
 * read in a turn of the loop.
 */

/** A body that can wait for its turn. */
interface Turn {
  /** It is read again. */
  resume(): void;
}

export class BodyTurns {
  readonly #waiting: Turn[] = [];
  #isScheduled = false;

  /** Adds a paused body. */
  wait(turn: Turn): void {
    this.#waiting.push(turn);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#waiting.length === 0) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#waiting.shift()?.resume();
      this.#schedule();
    });
  }
}
