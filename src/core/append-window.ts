/**
 * How much of one channel a log that answers later may have been given and not have answered: so
 * much that it answers hardly later than it would answer little (APPEND_LATE_MS,
 * APPEND_LATE_TIMES). The rest waits with its channel, so that what another channel publishes
 * stands behind little of it. One window for all channels, each of which may fill it. A log is too
 * slow for it when all that it committed in a round was late: a moment in which the log or this
 * process stood still makes a few commits late, and says nothing of how much waits there.
 */
import {
  APPEND_LATE_MS,
  APPEND_LATE_TIMES,
  APPEND_PROBE_MS,
  APPEND_WINDOW_BYTES_MAX,
  APPEND_WINDOW_BYTES_MIN,
} from '../limits.js';

/**
 * Share of itself by which it shrinks after a round that was late, and of what was committed in
 * good time by which it grows. Until it shrank first: half, and all.
 */
const STEP_SHARE = 0.25;
const FIRST_SHRINK_SHARE = 0.5;

export class AppendWindow {
  #bytes = APPEND_WINDOW_BYTES_MIN;
  /** The fastest commit since the window was last made small to see how fast the log is. */
  #leastMs = Infinity;
  /** When it was made small last: what was given before was given with another window. */
  #resetMs = -Infinity;
  /** It has shrunk since then. */
  #hasShrunk = false;
  /** When the round began; it is over with the first commit of what was given in it. */
  #roundMs = -Infinity;
  /** Nothing was committed in good time in this round. */
  #isRoundLate = true;

  /** True when `bytes` more may be given beside those that the log has of the channel. */
  hasRoom(givenBytes: number, bytes: number): boolean {
    return givenBytes === 0 || givenBytes + bytes <= this.#bytes;
  }

  /** The log has committed so many bytes. `isWanted`: publishes to the same channel wait. */
  committed(bytes: number, beganMs: number, nowMs: number, isWanted: boolean): void {
    if (nowMs >= this.#resetMs + APPEND_PROBE_MS) this.#reset(nowMs);
    if (beganMs < this.#resetMs) return;
    const latencyMs = nowMs - beganMs;
    this.#leastMs = Math.min(this.#leastMs, latencyMs);
    const lateMs = Math.max(APPEND_LATE_MS, APPEND_LATE_TIMES * this.#leastMs);
    if (latencyMs <= this.#leastMs + lateMs) {
      this.#isRoundLate = false;
      if (isWanted) this.#grow(bytes);
    }
    if (beganMs < this.#roundMs) return;
    if (this.#isRoundLate) this.#shrink();
    this.#roundMs = nowMs;
    this.#isRoundLate = true;
  }

  #reset(nowMs: number): void {
    this.#bytes = APPEND_WINDOW_BYTES_MIN;
    this.#leastMs = Infinity;
    this.#resetMs = nowMs;
    this.#hasShrunk = false;
    this.#roundMs = nowMs;
    this.#isRoundLate = true;
  }

  #grow(bytes: number): void {
    const share = this.#hasShrunk ? STEP_SHARE : 1;
    this.#bytes = Math.min(APPEND_WINDOW_BYTES_MAX, this.#bytes + bytes * share);
  }

  #shrink(): void {
    const share = this.#hasShrunk ? STEP_SHARE : FIRST_SHRINK_SHARE;
    this.#hasShrunk = true;
    this.#bytes = Math.max(APPEND_WINDOW_BYTES_MIN, this.#bytes * (1 - share));
  }
}
