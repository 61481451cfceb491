/**
 * Readings that were left at the end of a page. The next page mostly begins there, soon: a reading
 * that goes on is one request, where a new one makes NATS count all that follows while nothing is
 * published to the stream.
 */
import type { Clock } from '../../clock.js';
import { NATS_READING_KEPT_MS, NATS_READINGS_KEPT_MAX } from '../../limits.js';
import type { Reading } from './reading.js';

interface Kept {
  readonly reading: Reading;
  readonly cancel: () => void;
}

export class KeptReadings {
  readonly #clock: Clock;
  /** By what they read and where they stand, the one that was left first first. */
  readonly #kept = new Map<string, Kept>();
  #isClosed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The reading of a subject that stands at an id, which is the caller's from now on. */
  take(subject: string, at: number): Reading | undefined {
    const key = keyOf(subject, at);
    const kept = this.#kept.get(key);
    if (kept === undefined) return undefined;
    kept.cancel();
    this.#kept.delete(key);
    return kept.reading;
  }

  /** Keeps a reading for a while; ends it then, or when it is one too many. */
  keep(subject: string, reading: Reading): void {
    if (this.#isClosed) {
      reading.end();
      return;
    }
    const key = keyOf(subject, reading.lastId);
    this.#end(key);
    const cancel = this.#clock.later(NATS_READING_KEPT_MS, () => this.#end(key));
    this.#kept.set(key, { reading, cancel });
    if (this.#kept.size <= NATS_READINGS_KEPT_MAX) return;
    for (const first of this.#kept.keys()) {
      this.#end(first);
      return;
    }
  }

  /** Ends all, and keeps no more. */
  close(): void {
    this.#isClosed = true;
    for (const key of this.#kept.keys()) this.#end(key);
  }

  #end(key: string): void {
    const kept = this.#kept.get(key);
    if (kept === undefined) return;
    kept.cancel();
    this.#kept.delete(key);
    kept.reading.end();
  }
}

function keyOf(subject: string, at: number): string {
  return `${at} ${subject}`;
}
