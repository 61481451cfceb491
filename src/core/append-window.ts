/**
 * How much of one channel a log that answers later may have been given and not have answered: so
 * much that it answers hardly later than it would answer little (APPEND_LATE_MS,
 * APPEND_LATE_TIMES). The rest waits with its channel, so that what another channel publishes
 * stands behind little of it. One window for all channels, each of which may fill it.
 */
import {
  APPEND_LATE_MS,
  APPEND_LATE_TIMES,
  APPEND_PROBE_MS,
  APPEND_WINDOW_BYTES_MAX,
  APPEND_WINDOW_BYTES_MIN,
} from '../limits.js';

/**
 * Share of itself by which it shrinks when the log answers late, at most once in that time, and of
 * what was committed in good time by which it grows. Until it was first late: half, and all.
 */
const STEP_SHARE = 0.25;
const FIRST_SHRINK_SHARE = 0.5;

export class AppendWindow {
  #bytes = APPEND_WINDOW_BYTES_MIN;
  #shrankMs = -Infinity;
  /** The fastest commit since the window was last made small to see how fast the log is. */
  #leastMs = Infinity;
  /** When it was made small last: what was given before was given with another window. */
  #resetMs = -Infinity;

  /** True when `bytes` more may be given beside those that the log has of the channel. */
  hasRoom(givenBytes: number, bytes: number): boolean {
    return givenBytes === 0 || givenBytes + bytes <= this.#bytes;
  }

  /** The log has committed so many bytes. `isWanted`: publishes to the same channel wait. */
  committed(bytes: number, beganMs: number, nowMs: number, isWanted: boolean): void {
    const latencyMs = nowMs - beganMs;
    if (nowMs >= this.#resetMs + APPEND_PROBE_MS) {
      this.#resetMs = nowMs;
      this.#leastMs = Infinity;
      this.#bytes = APPEND_WINDOW_BYTES_MIN;
    }
    if (beganMs < this.#resetMs) return;
    this.#leastMs = Math.min(this.#leastMs, latencyMs);
    const hasBeenLate = this.#shrankMs > this.#resetMs;
    const lateMs = Math.max(APPEND_LATE_MS, APPEND_LATE_TIMES * this.#leastMs);
    if (latencyMs > this.#leastMs + lateMs) {
      if (beganMs < this.#shrankMs) return;
      this.#shrankMs = nowMs;
      const share = hasBeenLate ? STEP_SHARE : FIRST_SHRINK_SHARE;
      this.#bytes = Math.max(APPEND_WINDOW_BYTES_MIN, this.#bytes * (1 - share));
    } else if (isWanted) {
      const share = hasBeenLate ? STEP_SHARE : 1;
      this.#bytes = Math.min(APPEND_WINDOW_BYTES_MAX, this.#bytes + bytes * share);
    }
  }
}
