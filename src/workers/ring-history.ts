/**
 * The history of a log in memory, kept by the supervisor for workers that start anew: the newest
 * events of each channel in rings, within `--replay-…` and `--replay-total` as in a server of one
 * process.
 */
import { SYSTEM_CLOCK, type Clock } from '../clock.js';
import { Channels, type ChannelsOptions } from '../core/channels.js';
import type { ChannelSet, Member } from '../core/channel-set.js';
import type { LoggedEntry, LoggedEvent } from '../core/event.js';
import type { History, HistoryPage, HistoryRequest } from '../core/event-log.js';
import { makeCounters } from '../counters.js';
import { EVENT_COST_BYTES, ID_TIMES_MAX, ID_TIME_STEP_MS } from '../limits.js';
import type { PolicyOptions } from '../core/channel-policies.js';

export class RingHistory implements History {
  readonly #channels: Channels;
  readonly #floor: number;
  readonly #times: IdTimes;

  constructor(options: ChannelsOptions, floor: number, clock: Clock = SYSTEM_CLOCK) {
    this.#channels = new Channels(makeCounters(), options, floor, clock);
    this.#floor = floor;
    this.#times = new IdTimes(clock);
  }

  /** Policies of the channels that come from now on. */
  usePolicies(policies: readonly PolicyOptions[]): void {
    this.#channels.usePolicies(policies);
  }

  /** Channels that are known, and bytes of their rings. */
  get figures(): { readonly channels: number; readonly ringBytes: number } {
    return { channels: this.#channels.count, ringBytes: this.#channels.rings.bytes };
  }

  /** Takes what the log commits, in id order. */
  take(entries: readonly LoggedEntry[]): void {
    for (const entry of entries) {
      this.#times.given(entry.id);
      this.#channels.enter(this.#channels.placeOf(entry), entry);
    }
  }

  read(request: HistoryRequest): Promise<HistoryPage> {
    const { channels, after, through, eventsMax, bytesMax } = request;
    const set = this.#channels.setOf(channels);
    const cursors = set.channels.map((member) => ({ member, seq: member.seqAfter(after, false) }));
    const events: LoggedEvent[] = [];
    let bytes = 0;
    for (;;) {
      const next = leastOf(cursors, through);
      if (next === undefined) break;
      const event = next.member.eventAt(next.seq++);
      if (event === undefined) continue;
      const size = event.data.length + EVENT_COST_BYTES;
      if (events.length === eventsMax || (events.length > 0 && bytes + size > bytesMax)) {
        const last = events.at(-1)?.id ?? after;
        return Promise.resolve(this.#pageOf(set, events, last));
      }
      bytes += size;
      events.push(copyOf(event));
    }
    return Promise.resolve(this.#pageOf(set, events, through));
  }

  newest(
    channel: string,
    bounds: { readonly through: number; readonly eventsMax: number; readonly bytesMax: number },
  ): Promise<HistoryPage> {
    const { through, eventsMax, bytesMax } = bounds;
    const [member] = this.#channels.setOf([channel]).channels as [Member];
    const begin = member.seqAfter(0, false);
    const events: LoggedEvent[] = [];
    let bytes = 0;
    let seq = member.seqAfter(through, false);
    for (; seq > begin; seq--) {
      const event = member.eventAt(seq - 1);
      if (event === undefined) continue;
      bytes += event.data.length + EVENT_COST_BYTES;
      if (events.length === eventsMax || (events.length > 0 && bytes > bytesMax)) break;
      events.push(copyOf(event));
    }
    const lostThrough = seq > begin ? member.idAt(seq - 1) : member.lostThrough;
    const isDeleted = this.#channels.isDeleted(channel);
    const page = this.#page(events.toReversed(), through, lostThrough);
    return Promise.resolve({ ...page, isDeleted });
  }

  idBefore(wallMs: number): Promise<number> {
    return Promise.resolve(this.#times.before(wallMs) ?? this.#floor);
  }

  #pageOf(set: ChannelSet, events: readonly LoggedEvent[], through: number): HistoryPage {
    const lostByChannel = set.channels.map((member) => Math.max(member.lostThrough, this.#floor));
    return { ...this.#page(events, through, set.lostThrough), lostByChannel };
  }

  #page(events: readonly LoggedEvent[], through: number, lostThrough: number): HistoryPage {
    return { events, through, lostThrough: Math.max(lostThrough, this.#floor) };
  }
}

interface Cursor {
  readonly member: Member;
  seq: number;
}

/** The cursor with the lowest id up to `through`. */
function leastOf(cursors: readonly Cursor[], through: number): Cursor | undefined {
  let least: Cursor | undefined;
  let leastId = through + 1;
  for (const cursor of cursors) {
    if (cursor.seq >= cursor.member.endSeq(false)) continue;
    const id = cursor.member.idAt(cursor.seq);
    if (id >= leastId) continue;
    leastId = id;
    least = cursor;
  }
  return least;
}

/** A ring's data is only valid until the ring changes. */
function copyOf(event: LoggedEvent): LoggedEvent {
  return { ...event, data: Uint8Array.prototype.slice.call(event.data) };
}

/** When ids were given: pairs of time and id, one a step of time, thinned out as they grow old. */
class IdTimes {
  readonly #clock: Clock;
  /** Rising. Each id is the last one before its time, so what is read errs on the side of more. */
  #times: { readonly wallMs: number; readonly idBefore: number }[] = [];
  #nextMs = -Infinity;
  #lastId: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  given(id: number): void {
    const wallMs = this.#clock.wallMs();
    // The clock was set back: ids of times that are yet to come count to the time before them.
    while (this.#times.length > 0 && this.#times.at(-1)!.wallMs > wallMs) {
      this.#times.pop();
      this.#nextMs = wallMs;
    }
    if (wallMs >= this.#nextMs) {
      this.#nextMs = wallMs + ID_TIME_STEP_MS;
      this.#times.push({ wallMs, idBefore: this.#lastId ?? id - 1 });
      if (this.#times.length > ID_TIMES_MAX)
        this.#times = this.#times.filter((_time, index) => index % 2 === 0);
    }
    this.#lastId = id;
  }

  /** The last id that was certainly given before; undefined if there is none. */
  before(wallMs: number): number | undefined {
    let low = 0;
    let high = this.#times.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#times[middle]!.wallMs <= wallMs) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? undefined : this.#times[low - 1]!.idBefore;
  }
}
