/**
 * Refills: a ring that holds nothing of before, since its channel was made after a start or its
 * ring was dropped, is filled from what the log keeps when somebody first asks for that. Publishes
 * never wait for it.
 */
import { HISTORY_REFILL_BYTES_MAX } from '../limits.js';
import type { Channels } from './channels.js';
import type { HistoryReads } from './history-reads.js';

export class Refills {
  readonly #channels: Channels;
  readonly #reads: HistoryReads;
  /** By the channel's name. */
  readonly #underWay = new Map<string, Promise<void>>();

  constructor(channels: Channels, reads: HistoryReads) {
    this.#channels = channels;
    this.#reads = reads;
  }

  /**
   * Fills the rings of those channels; undefined when there is nothing to be done. Rejects with
   * HOLDLINE_LOG_UNAVAILABLE; then a ring may hold less than the log.
   */
  of(names: readonly string[]): Promise<unknown> | undefined {
    const unread = names.filter((name) => this.#channels.isUnread(name));
    if (unread.length === 0) return undefined;
    return Promise.all(unread.map((name) => this.#underWay.get(name) ?? this.#begin(name)));
  }

  #begin(name: string): Promise<void> {
    const refill = this.#reads
      .inTurnOrRefused(() => this.#refill(name))
      .finally(() => this.#underWay.delete(name));
    this.#underWay.set(name, refill);
    return refill;
  }

  async #refill(name: string): Promise<void> {
    const { events, bytes } = this.#channels.replayOf(name);
    const through = this.#channels.member(name).lostThrough;
    const page = await this.#reads.newest(name, {
      through,
      eventsMax: events,
      bytesMax: Math.min(bytes, HISTORY_REFILL_BYTES_MAX),
    });
    this.#channels.refill(name, through, page);
  }
}
