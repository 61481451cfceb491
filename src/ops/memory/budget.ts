/**
 * Admission by measured memory: past the budget no line is opened, and what is open is left alone.
 * Between two looks at the process each line that opens counts for what a line has been seen to
 * cost.
 */
import { HoldlineError } from '../../errors.js';
import { MEMORY_ADMIT_SHARE } from '../../limits.js';

/** The process as it was seen. */
export interface MemoryReading {
  readonly rssBytes: number;
  /**
   * The part of it that the allocator keeps from lines that closed: the next ones take it first.
   */
  readonly reusableBytes: number;
  /** What the kernel holds for its sockets. */
  readonly kernelBytes: number;
  /** What one more line costs. */
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

  /**
   * True from the line that found no room until there is some again, with a margin, so that it does
   * not open and shut all the time.
   */
  get isFull(): boolean {
    return this.#full;
  }

  /** What counted against the budget at the last look, bytes. */
  get usedBytes(): number {
    const { rssBytes, reusableBytes, kernelBytes } = this.#latest;
    return Math.round(rssBytes - reusableBytes + kernelBytes);
  }

  /** Takes the newest look. */
  update(latest: MemoryReading): void {
    this.#latest = latest;
    if (this.usedBytes < MEMORY_ADMIT_SHARE * this.budgetBytes) this.#full = false;
  }

  /**
   * Throws HOLDLINE_BAD_OPTION when the process alone takes so much that no line would be admitted.
   */
  checkStart(): void {
    if (this.usedBytes < MEMORY_ADMIT_SHARE * this.budgetBytes) return;
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `the memory budget of ${inMiB(this.budgetBytes)} (--memory-budget) has no room for a line: ` +
        `the process takes ${inMiB(this.usedBytes)} before the first one; give that and about 1 KiB a line, or no budget`,
    );
  }

  /**
   * Throws HOLDLINE_MEMORY_FULL when one more line would not fit. `openedTotal` is the number of
   * lines opened by now.
   */
  checkRoom(openedTotal: number): void {
    const { lineBytes } = this.#latest;
    const expectedBytes = this.usedBytes + (openedTotal - this.#latest.openedTotal + 1) * lineBytes;
    if (expectedBytes > this.budgetBytes) this.#full = true;
    if (!this.#full) return;
    throw new HoldlineError(
      'HOLDLINE_MEMORY_FULL',
      `about ${inMiB(expectedBytes)} of the ${inMiB(this.budgetBytes)} that process and sockets may take are in use (--memory-budget); try again later`,
    );
  }
}

function inMiB(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
