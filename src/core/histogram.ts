/** A histogram with fixed bounds: what is counted falls into the first bucket that holds it. */

export class Histogram {
  /** Upper bounds of the buckets, rising; a last bucket takes what is above them all. */
  readonly bounds: readonly number[];
  /** How many fell into each bucket: one more than there are bounds. */
  readonly counts: Float64Array;
  /** Sum of all that was counted. */
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  /** Counts a value, `times` times. */
  observe(value: number, times = 1): void {
    const { bounds } = this;
    let bucket = 0;
    while (bucket < bounds.length && value > (bounds[bucket] as number)) bucket++;
    (this.counts[bucket] as number) += times;
    this.sum += value * times;
  }
}
