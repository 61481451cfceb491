/**
 * A token bucket: so many a second, and a burst after a pause. More may be taken than is there,
 * which is then owed: what is taken next waits for it. Kept as one time, the one at which the
 * bucket is full again (a leaky bucket as a meter, ITU-T I.371, annex A).
 */
export class TokenBucket {
  readonly #intervalMs: number;
  /** How far ahead of now the bucket may be full and one is still there. */
  readonly #leewayMs: number;
  #fullAtMs: number;

  /** Full at `nowMs`, which here and below is monotonic. */
  constructor(perSecond: number, burst: number, nowMs: number) {
    this.#intervalMs = 1000 / perSecond;
    this.#leewayMs = (burst - 1) * this.#intervalMs;
    this.#fullAtMs = nowMs;
  }

  /** The ms until one will be there; 0 if one is. */
  waitMs(nowMs: number): number {
    const waitMs = this.#fullAtMs - nowMs - this.#leewayMs;
    return Math.max(0, Math.ceil(waitMs));
  }

  /** Takes one if one is there; returns 0 then, otherwise the ms until one will be. */
  take(nowMs: number): number {
    const waitMs = this.waitMs(nowMs);
    if (waitMs === 0) this.owe(1, nowMs);
    return waitMs;
  }

  /** Takes `count` more, whether they are there or not. */
  owe(count: number, nowMs: number): void {
    this.#fullAtMs = Math.max(this.#fullAtMs, nowMs) + count * this.#intervalMs;
  }

  /** True when it is as full as a new one, so that nothing is lost when it is forgotten. */
  isFull(nowMs: number): boolean {
    return this.#fullAtMs <= nowMs;
  }
}
