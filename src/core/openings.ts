/**
 * Openings: what the socket of a new line is given first. A stream's prelude, a gap notice if there
 * is a gap, and as much replay as fits.
 */
import type { Counters } from '../counters.js';
import { CORK_WRITE_BYTES_MAX, OPENING_BYTES_MAX, REPLAY_OPENING_BYTES_MAX } from '../limits.js';
import type { Group } from './group.js';
import { gapBefore } from './poll.js';
import { SliceCache } from './slice-cache.js';
import { countGapAtJoin, type Start } from './start.js';

export class Openings {
  readonly #counters: Counters;
  readonly #buffer = Buffer.allocUnsafeSlow(CORK_WRITE_BYTES_MAX);
  readonly #replays = new SliceCache(REPLAY_OPENING_BYTES_MAX, false);
  #length = 0;
  /** Of the opening made last: see `clean` in core/line-table.ts. */
  clean = 0;

  constructor(counters: Counters) {
    this.#counters = counters;
  }

  /** The opening made last, valid until the next one. */
  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  /**
   * Makes the opening of a line that starts at `start`. Returns its cursor: the id up to which it
   * has been given everything then.
   */
  make(
    group: Group,
    { cursor: from, continuesAfter, gap, isBehind }: Start,
    retryMs: number,
  ): number {
    const { encoding, set, mode } = group;
    const buffer = this.#buffer;
    const { compressed } = group;
    const replays = compressed ?? this.#replays;
    let length = 0;
    if (mode.port.kind === 'stream')
      length = buffer.write(encoding.prelude(continuesAfter, retryMs), 'latin1');
    if (isBehind === true) {
      this.#length = length;
      this.clean = from;
      return from;
    }
    if (gap !== undefined) {
      countGapAtJoin(this.#counters);
      length += encoding.gap(gap.after, gapBefore(set, from, gap)).copy(buffer, length);
    }
    let cursor = from;
    this.clean = Math.max(from, set.lostThrough);
    // A frame too large for the opening is left to the pump, which writes it in pieces.
    while (
      cursor < set.newestId &&
      replays.findNew(group, cursor, this.clean) &&
      length + replays.bytes.length <= OPENING_BYTES_MAX
    ) {
      buffer.set(replays.bytes, length);
      length += replays.bytes.length;
      cursor = replays.end;
      compressed?.given(compressed.plainBytes, compressed.bytes.length);
      this.#counters.deliveries_total += replays.events;
    }
    this.#length = length;
    // Everything after the cursor was evicted: the gap notice already covers it.
    if (set.firstIdAfter(cursor) !== undefined) return cursor;
    const head = Math.max(cursor, set.newestId, set.lostThrough);
    if (head > cursor) this.clean = head;
    return head;
  }
}
