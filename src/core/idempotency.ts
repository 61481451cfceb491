/**
 * Publishing at most once for an idempotency key: a repeat gets the first receipt, and a concurrent
 * duplicate awaits the first attempt.
 */
import type { Counters } from '../counters.js';
import { HoldlineError, isOutcomeUnknown } from '../errors.js';
import { WAITING_DUPLICATES_MAX } from '../limits.js';
import type { EventLog, Receipt, RequestKey } from './event-log.js';
import { publisherLeft } from './intake.js';
import type { Reservation } from './publish-memory.js';

export class Idempotency {
  readonly #log: Pick<EventLog, 'kept'>;
  readonly #counters: Counters;
  readonly #underWay = new Map<string, Promise<Receipt>>();
  #waitingDuplicates = 0;

  constructor(log: Pick<EventLog, 'kept'>, counters: Counters) {
    this.#log = log;
    this.#counters = counters;
  }

  /**
   * The receipt kept for the request, or that of `publish`, which commits it to the log. Only
   * success is kept: when the first attempt fails, a waiting duplicate publishes, unless nobody
   * knows whether the first did, which then holds for both. A publisher that releases its
   * reservation while it waits has left. Rejects with HOLDLINE_IDEMPOTENCY_MISMATCH when the key
   * was used for another request.
   */
  async once(
    request: RequestKey,
    reservation: Reservation,
    publish: () => Promise<Receipt>,
  ): Promise<Receipt> {
    const { key } = request;
    for (
      let first = this.#underWay.get(key);
      first !== undefined;
      first = this.#underWay.get(key)
    ) {
      await this.#waitFor(first, reservation);
    }
    const attempt = this.#attempt(request, publish);
    this.#underWay.set(key, attempt);
    try {
      return await attempt;
    } finally {
      this.#underWay.delete(key);
    }
  }

  async #attempt(request: RequestKey, publish: () => Promise<Receipt>): Promise<Receipt> {
    const { key, digest } = request;
    const kept = await this.#log.kept(key);
    if (kept === undefined) {
      const receipt = await publish();
      // Without events another process was first, and its receipt is kept by now.
      return receipt.count > 0 ? receipt : this.#attempt(request, publish);
    }
    if (kept.digest !== digest) {
      throw new HoldlineError(
        'HOLDLINE_IDEMPOTENCY_MISMATCH',
        'this Idempotency-Key was used for another body, type or Content-Type; use a new key for a new event',
      );
    }
    this.#counters.idempotent_repeats_total++;
    return kept.receipt;
  }

  async #waitFor(first: Promise<Receipt>, reservation: Reservation): Promise<void> {
    if (this.#waitingDuplicates >= WAITING_DUPLICATES_MAX) {
      throw new HoldlineError(
        'HOLDLINE_PUBLISH_BUSY',
        `${WAITING_DUPLICATES_MAX} publishes already wait for others with the same Idempotency-Key; try again after Retry-After`,
      );
    }
    this.#waitingDuplicates++;
    const left = new Promise<void>((resolve) => {
      reservation.onRelease = resolve;
    });
    let failure: unknown;
    const ended = first.then(ignore, (error: unknown) => {
      failure = error;
    });
    await Promise.race([ended, left]);
    reservation.onRelease = undefined;
    this.#waitingDuplicates--;
    if (reservation.isReleased) throw publisherLeft();
    // Another failure is the first publisher's alone; this one tries again.
    if (isOutcomeUnknown(failure)) throw failure;
  }
}

function ignore(): void {}
