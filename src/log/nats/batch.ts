/** The messages of one append on their way to the stream, and what its publisher is told. */
import { HoldlineError } from '../../errors.js';

/** The stream has a message. */
export interface Ack {
  readonly id: number;
  /** It had it before, under the same message id. */
  readonly isRepeat: boolean;
  /** It was sent more than once: what the stream had before may be of the first time. */
  readonly isResent: boolean;
}

/** The stream does not have what was not acknowledged, unless it is UNKNOWN. */
export type FailureCode =
  | 'HOLDLINE_LOG_UNAVAILABLE'
  | 'HOLDLINE_TOO_LARGE'
  | 'HOLDLINE_OUTCOME_UNKNOWN';

export class Batch {
  /** Messages that were sent and have not been answered. */
  inFlight = 0;
  readonly #count: number;
  readonly #before: number;
  readonly #resolve: (acks: readonly Ack[]) => void;
  readonly #reject: (error: HoldlineError) => void;
  readonly #acks: Ack[] = [];
  #ackedCount = 0;
  /** Why it fails, once what is on its way has been answered. */
  #problem: string | undefined;
  /** As what, then. */
  #code: FailureCode = 'HOLDLINE_LOG_UNAVAILABLE';
  #isOver = false;

  /** `before` entries of the same request are in the stream already. */
  constructor(
    count: number,
    before: number,
    resolve: (acks: readonly Ack[]) => void,
    reject: (error: HoldlineError) => void,
  ) {
    this.#count = count;
    this.#before = before;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Its publisher has been answered. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** False for one that fails: what waits of it is not sent. */
  get isLive(): boolean {
    return !this.#isOver && this.#problem === undefined;
  }

  acked(index: number, ack: Ack): void {
    this.#acks[index] = ack;
    this.#ackedCount++;
    if (this.#isOver) return;
    if (this.#ackedCount === this.#count) {
      this.#isOver = true;
      this.#resolve(this.#acks);
    } else {
      this.#settle();
    }
  }

  /** The stream does not have one of its messages, or nobody knows; the first problem is told. */
  failed(problem: string, code: FailureCode): void {
    if (this.#problem === undefined || code === 'HOLDLINE_OUTCOME_UNKNOWN') this.#code = code;
    this.#problem ??= problem;
    this.#settle();
  }

  /** A batch that fails is answered when nothing of it is on its way: it can say what is kept. */
  #settle(): void {
    if (this.#problem !== undefined && this.inFlight === 0) this.giveUp(this.#code, this.#problem);
  }

  /** Answers with an error, unless it is answered. */
  giveUp(code: FailureCode, problem: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const acked = this.#before + this.#ackedCount;
    const count = this.#before + this.#count;
    const isKnown = code !== 'HOLDLINE_OUTCOME_UNKNOWN';
    const published =
      acked === 0 && isKnown
        ? 'nothing was published'
        : `${acked} of ${count} events were published${isKnown ? '' : ', and of the others it is not known'}`;
    const again =
      code === 'HOLDLINE_TOO_LARGE'
        ? 'publish less at once, or raise it'
        : 'try again after Retry-After';
    const advice =
      (acked === 0 && isKnown) || code === 'HOLDLINE_TOO_LARGE'
        ? again
        : 'the same request with the same Idempotency-Key publishes what is missing';
    this.#reject(new HoldlineError(code, `${problem}; ${published}; ${advice}`));
  }
}
