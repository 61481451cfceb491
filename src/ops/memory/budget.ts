/**
 * Admission by measured memory: above the budget no line is opened, and open lines stay. Between
 * two readings each new line counts for what one is known to cost.
 */
import { HoldlineError } from '../../errors.js';
import { MEMORY_ADMIT_SHARE } from '../../limits.js';
import { QUIET_LINE_BYTES } from './line-cost.js';

/** One reading of the process. */
export interface MemoryReading {
  readonly rssBytes: number;
  /** The part that is not in use: garbage, and what the allocator keeps. */
  readonly reusableBytes: number;
  /** Held by the kernel for its sockets. */
  readonly kernelBytes: number;
  /** Cost of one more line. */
  readonly lineBytes: number;
  /** Lines opened since the start. */
  readonly openedTotal: number;
}

const NOTHING: MemoryReading = {
  rssBytes: 0,
  reusableBytes: 0,
  kernelBytes: 0,
  lineBytes: 0,
  openedTotal: 0,
};

export class MemoryBudget {
  readonly budgetBytes: number;
  #latest = NOTHING;
  #full = false;

  constructor(budgetBytes: number) {
    this.budgetBytes = budgetBytes;
  }

  /** True from the first line that found no room until use is below MEMORY_ADMIT_SHARE. */
  get isFull(): boolean {
    return this.#full;
  }

  /** What counted against the budget at the last reading, bytes. */
  get usedBytes(): number {
    const { rssBytes, reusableBytes, kernelBytes } = this.#latest;
    return Math.round(rssBytes - reusableBytes + kernelBytes);
  }

  /** The part of it that is this process's, bytes. */
  get processBytes(): number {
    const { rssBytes, reusableBytes } = this.#latest;
    return Math.round(rssBytes - reusableBytes);
  }

  /** Takes the latest reading. */
  update(latest: MemoryReading): void {
    this.#latest = latest;
    if (this.usedBytes < MEMORY_ADMIT_SHARE * this.budgetBytes) this.#full = false;
  }

  /**
   * Throws HOLDLINE_BAD_OPTION when the process leaves no room for a line, with `othersCount` more
   * that are about to start and take as much each.
   */
  checkStart(othersCount: number): void {
    const usedBytes = this.usedBytes + othersCount * this.processBytes;
    if (usedBytes < MEMORY_ADMIT_SHARE * this.budgetBytes) return;
    const who = othersCount === 0 ? 'the process takes' : 'workers and supervisor take about';
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `the memory budget of ${inMiB(this.budgetBytes)} (--memory-budget) has no room for a line: ` +
        `${who} ${inMiB(usedBytes)} before the first one; ` +
        `add about ${QUIET_LINE_BYTES} bytes for each line, or give no budget`,
    );
  }

  /**
   * Throws HOLDLINE_MEMORY_FULL when one more line would not fit; `openedTotal` lines have been
   * opened since the start.
   */
  checkRoom(openedTotal: number): void {
    const { lineBytes } = this.#latest;
    const expectedBytes = this.usedBytes + (openedTotal - this.#latest.openedTotal + 1) * lineBytes;
    if (expectedBytes > this.budgetBytes) this.#full = true;
    if (!this.#full) return;
    throw new HoldlineError(
      'HOLDLINE_MEMORY_FULL',
      `about ${inMiB(expectedBytes)} of the ${inMiB(this.budgetBytes)} of --memory-budget ` +
        'are in use; try again later',
    );
  }
}

function inMiB(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
