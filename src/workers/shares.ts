/**
 * Shares of a number that all workers have together, such as the lines of `--max-connections`. Each
 * begins with an equal part, and asks for more before it needs it; then the others give back half
 * of what they do not use. So one worker may have all of it, also when another has died.
 */
import { SHARE_STEP_MAX } from '../limits.js';

/** What the supervisor lends. */
export class Pool<Borrower> {
  readonly #total: number;
  /** Most that one borrower may have. */
  readonly #each: number;
  readonly #lent = new Map<Borrower, number>();
  /** Who could not be given all, in the order in which they asked. */
  #short: Borrower[] = [];
  #free: number;

  constructor(total: number, each: number = total) {
    this.#total = total;
    this.#each = each;
    this.#free = total;
  }

  get total(): number {
    return this.#total;
  }

  /** What is not lent. */
  get free(): number {
    return this.#free;
  }

  /** What is lent to one. */
  lentTo(borrower: Borrower): number {
    return this.#lent.get(borrower) ?? 0;
  }

  /** Lends up to `count` more; returns how many. Without any it is remembered that it asked. */
  lend(borrower: Borrower, count: number): number {
    const lent = this.lentTo(borrower);
    const given = Math.max(0, Math.min(count, this.#free, this.#each - lent));
    this.#free -= given;
    this.#lent.set(borrower, lent + given);
    if (given === 0 && lent < this.#each && !this.#short.includes(borrower))
      this.#short.push(borrower);
    return given;
  }

  /** It has given back so many. Returns who is to be lent what it asked for before. */
  giveBack(borrower: Borrower, count: number): Borrower | undefined {
    const lent = this.lentTo(borrower);
    const given = Math.min(lent, Math.max(0, count));
    this.#lent.set(borrower, lent - given);
    this.#free += given;
    return this.#free > 0 ? this.#short.shift() : undefined;
  }

  /** It is gone, and has nothing any more. Returns as {@link giveBack} does. */
  gone(borrower: Borrower): Borrower | undefined {
    this.#short = this.#short.filter((one) => one !== borrower);
    const next = this.giveBack(borrower, this.lentTo(borrower));
    this.#lent.delete(borrower);
    return next;
  }
}

/** What a worker has of it. */
export class Share {
  /** How many it may use. */
  count: number;
  readonly #inUse: () => number;
  readonly #ask: (count: number) => void;
  readonly #giveBack: (count: number) => void;
  #isAsking = false;

  /** `ask` is answered by {@link lent}, if only with 0. */
  constructor(
    count: number,
    inUse: () => number,
    ask: (count: number) => void,
    giveBack: (count: number) => void,
  ) {
    this.count = count;
    this.#inUse = inUse;
    this.#ask = ask;
    this.#giveBack = giveBack;
  }

  /** True while one more may be used. Asks for more before it is used up. */
  get hasRoom(): boolean {
    const inUse = this.#inUse();
    const margin = this.#margin;
    if (this.count - inUse <= margin && !this.#isAsking) {
      this.#isAsking = true;
      this.#ask(2 * margin);
    }
    return this.#inUse() < this.count;
  }

  /** So many more have been lent. */
  lent(count: number): void {
    this.#isAsking = false;
    this.count += count;
  }

  /** Others are short: gives back half of what it does not use. */
  recall(): void {
    const count = Math.ceil((this.count - this.#inUse()) / 2);
    if (count <= 0) return;
    this.count -= count;
    this.#giveBack(count);
  }

  /** What it wants to have left, so that it has more before it needs it. */
  get #margin(): number {
    return Math.min(SHARE_STEP_MAX, Math.max(1, Math.ceil(this.count / 8)));
  }
}
