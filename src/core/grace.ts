/**
 * Grace: how long a healthy line that refuses bytes may hold its channels, who is given it, and
 * what each channel can spend on lines that used it in vain. Arithmetic only; core/grace-windows.ts
 * keeps the windows and core/lines.ts who is in one.
 */
import {
  GRACE_BUDGET_MS_PER_SECOND,
  GRACE_DEBT_MS_MAX,
  GRACE_DISTRUST_SECONDS,
  GRACE_MS_MIN,
  GRACE_MS,
  GRACE_TRUST_SECONDS,
} from '../limits.js';

/**
 * Has kept up for GRACE_TRUST_SECONDS, or has come through a grace: it is given GRACE_MS_MIN even
 * where the budget is used up.
 */
export const PROVEN = 0;
/** Has shown nothing yet, or little since it failed: it is given grace out of the budget only. */
export const YOUNG = 1;
/** Held its channels in vain less than GRACE_DISTRUST_SECONDS ago: it is given none. */
export const DISTRUSTED = 2;

/** The second from which a line is {@link PROVEN}, when it opens. */
export function trustedFromOpening(openedSecond: number): number {
  return openedSecond + GRACE_TRUST_SECONDS;
}

/**
 * The second from which it is again, when it has held its channels in vain. Seconds are rounded up,
 * so that it is never a new line's.
 */
export function trustedFromFailure(second: number): number {
  return second + GRACE_TRUST_SECONDS + 1;
}

/**
 * True for a line that has never failed. One that has proves itself by time and not by its next
 * success.
 */
export function isUnblemished(trustedFrom: number, openedSecond: number): boolean {
  return trustedFrom <= trustedFromOpening(openedSecond);
}

/** What the line is at that second. Seconds are those of the pump's life. */
export function trustOf(trustedFrom: number, openedSecond: number, second: number): number {
  if (second >= trustedFrom) return PROVEN;
  if (isUnblemished(trustedFrom, openedSecond)) return YOUNG;
  return second >= trustedFrom - GRACE_TRUST_SECONDS + GRACE_DISTRUST_SECONDS ? YOUNG : DISTRUSTED;
}

/** How long a window lasts that begins with `leftMs` in the budget. */
export function graceWindowMs(leftMs: number): number {
  return Math.max(GRACE_MS_MIN, Math.min(GRACE_MS, leftMs));
}

/**
 * What a line must have been given more than when the window ends: all that had entered at its
 * beginning if it lasts GRACE_MS, of a shorter one that share, so that the pace asked for is the
 * same. `through` is the least cursor of those in grace.
 */
export function graceGoal(through: number, newestId: number, windowMs: number): number {
  return through + Math.floor(((newestId - through) * windowMs) / GRACE_MS);
}

/**
 * A channel's budget of vain grace, ms: filled by the clock, at most GRACE_BUDGET_MS_PER_SECOND.
 * What is spent beyond it is a debt, so that over time no more is spent than that, save by proven
 * lines; the debt is bounded, so that young ones are given grace again.
 */
export class GraceBudget {
  #leftMs = GRACE_BUDGET_MS_PER_SECOND;
  #asOfMs: number;
  /** Time up to here has been paid for, by whichever group. */
  #paidThroughMs = 0;

  constructor(nowMs: number) {
    this.#asOfMs = nowMs;
  }

  /** What may be spent now; negative while there is a debt. */
  leftMs(nowMs: number): number {
    const filledMs = ((nowMs - this.#asOfMs) * GRACE_BUDGET_MS_PER_SECOND) / 1000;
    return Math.min(GRACE_BUDGET_MS_PER_SECOND, this.#leftMs + filledMs);
  }

  /**
   * The channel was held in vain from `sinceMs` until now. Time that two groups held it together is
   * paid for once.
   */
  spend(sinceMs: number, nowMs: number): void {
    const spentMs = nowMs - Math.max(sinceMs, this.#paidThroughMs);
    this.#leftMs = Math.max(-GRACE_DEBT_MS_MAX, this.leftMs(nowMs) - spentMs);
    this.#asOfMs = nowMs;
    this.#paidThroughMs = nowMs;
  }
}
