/**
 * The grace period: how long a healthy line that refuses bytes may hold up its channels, which
 * lines are given one, and what a channel can spend on lines that fail. Arithmetic only:
 * core/grace-windows.ts keeps the windows, and core/line-table.ts which lines are in grace.
 */
import {
  GRACE_BUDGET_MS_MAX,
  GRACE_BUDGET_MS_PER_SECOND,
  GRACE_DEBT_MS_MAX,
  GRACE_DISTRUST_SECONDS,
  GRACE_MS_MIN,
  GRACE_MS,
  GRACE_TRUST_SECONDS,
} from '../limits.js';

/**
 * Trusted: has kept up for GRACE_TRUST_SECONDS, or has passed a grace period. It is given
 * GRACE_MS_MIN even when the budget is used up.
 */
export const PROVEN = 0;
/**
 * Has not proven itself yet, or not again since it failed. It is given grace from the budget only.
 */
export const YOUNG = 1;
/** Failed less than GRACE_DISTRUST_SECONDS ago: it is given none. */
export const DISTRUSTED = 2;

/** The second from which a new line is {@link PROVEN}. */
export function trustedFromOpening(openedSecond: number): number {
  return openedSecond + GRACE_TRUST_SECONDS;
}

/**
 * The second from which a line that failed is proven again. Rounded up, so that it differs from a
 * new line's.
 */
export function trustedFromFailure(second: number): number {
  return second + GRACE_TRUST_SECONDS + 1;
}

/**
 * The same after a pause that ended well but that the budget could not pay for: the longer it was,
 * the later, and after GRACE_MS_MIN as after a failure. Never sooner than before, and always as for
 * a line that failed, which no success makes proven.
 */
export function trustedFromPause(
  second: number,
  pauseMs: number,
  trustedFrom: number,
  openedSecond: number,
): number {
  const share = Math.min(1, pauseMs / GRACE_MS_MIN);
  const from = second + 1 + Math.ceil(GRACE_TRUST_SECONDS * share);
  return Math.max(from, trustedFrom, trustedFromOpening(openedSecond) + 1);
}

/** True for a line that has never failed. One that failed is trusted after a time only. */
export function isUnblemished(trustedFrom: number, openedSecond: number): boolean {
  return trustedFrom <= trustedFromOpening(openedSecond);
}

/** The line's trust at a second of the hub's life. */
export function trustOf(trustedFrom: number, openedSecond: number, second: number): number {
  if (second >= trustedFrom) return PROVEN;
  if (isUnblemished(trustedFrom, openedSecond)) return YOUNG;
  return second >= trustedFrom - GRACE_TRUST_SECONDS + GRACE_DISTRUST_SECONDS ? YOUNG : DISTRUSTED;
}

/**
 * How long a window lasts when `leftMs` is left in the budget: half of that, so that one line that
 * fails leaves something to those that come after it. Less than GRACE_YOUNG_MS_MIN is none.
 */
export function graceWindowMs(leftMs: number): number {
  return Math.min(GRACE_MS, leftMs / 2);
}

/** The same when a proven line may be in grace: GRACE_MS_MIN at least. */
export function provenWindowMs(leftMs: number): number {
  return Math.max(GRACE_MS_MIN, graceWindowMs(leftMs));
}

/**
 * The id that a line's cursor must have passed when the window ends. In GRACE_MS it must take all
 * that had entered at the beginning, in a shorter window that share of it: the pace is the same.
 * `through` is the least cursor of the lines in grace.
 */
export function graceGoal(through: number, newestId: number, windowMs: number): number {
  return through + Math.floor(((newestId - through) * windowMs) / GRACE_MS);
}

/**
 * A channel's budget for lines that fail, ms. The clock fills it up to GRACE_BUDGET_MS_MAX.
 * Spending more makes a debt, so in the long run only proven lines can exceed the budget. The debt
 * is bounded, so that new lines are given grace again.
 */
export class GraceBudget {
  #leftMs = GRACE_BUDGET_MS_MAX;
  #asOfMs: number;
  /** Time up to here has been paid for, by any group. */
  #paidThroughMs = 0;

  constructor(nowMs: number) {
    this.#asOfMs = nowMs;
  }

  /** What may be spent now; negative while there is a debt. */
  leftMs(nowMs: number): number {
    const filledMs = ((nowMs - this.#asOfMs) * GRACE_BUDGET_MS_PER_SECOND) / 1000;
    return Math.min(GRACE_BUDGET_MS_MAX, this.#leftMs + filledMs);
  }

  /**
   * Lines that failed held up the channel from `sinceMs` until now. Time for which another group
   * paid already is not paid for again.
   */
  spend(sinceMs: number, nowMs: number): void {
    const spentMs = nowMs - Math.max(sinceMs, this.#paidThroughMs);
    this.#leftMs = Math.max(-GRACE_DEBT_MS_MAX, this.leftMs(nowMs) - spentMs);
    this.#asOfMs = nowMs;
    this.#paidThroughMs = nowMs;
  }
}
