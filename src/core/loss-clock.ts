/**
 * Counts the losses of all channels of a hub, in the order in which they happen, so that a line can
 * tell a loss that was not reported to it from an older one.
 */
export class LossClock {
  #count = 0;

  /** Losses so far. */
  get count(): number {
    return this.#count;
  }

  /** A channel has lost events: returns the new count. */
  tick(): number {
    return ++this.#count;
  }
}
