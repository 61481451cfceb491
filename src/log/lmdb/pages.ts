/** What is read of a log's past: pages of several channels in id order, and the newest of one. */
import type { HistoryRequest } from '../../core/event-log.js';
import { LOG_READ_SLICE_BYTES, LOG_READ_SLICE_EVENTS } from '../../limits.js';
import { ChannelRows, readPlace } from './channel-rows.js';
import type { Tables } from './environment.js';
import { lostInHoles, pageBetween } from './holes.js';
import { idKey, idOfRecord, readId, recordKey } from './keys.js';
import type { FoundEvent } from './packing.js';
import type { Store } from './store.js';
import { readRecord } from './record.js';

export interface FoundPage {
  readonly events: readonly FoundEvent[];
  readonly through: number;
  readonly lostThrough: number;
  readonly lostByChannel?: readonly number[];
  /** Of the newest: the channel was deleted, and nothing was published to it since. */
  readonly isDeleted: boolean;
}

type Cursor = Iterator<{ readonly key: Buffer; readonly value: Buffer }>;

/** One channel's events, the next one first. */
interface Source {
  readonly channel: number;
  readonly cursor: Cursor;
  next: { readonly id: number; readonly record: Buffer } | undefined;
}

/**
 * Events of several channels in id order; at most as many as one slice may have, so a page may have
 * fewer than were asked for.
 */
export function readPage(store: Store, request: HistoryRequest): FoundPage {
  const { channels, after } = request;
  const hole = pageBetween(store.holes, Math.max(after, store.floor), request.through);
  const { through } = hole;
  const eventsMax = Math.min(request.eventsMax, LOG_READ_SLICE_EVENTS);
  const bytesMax = Math.min(request.bytesMax, LOG_READ_SLICE_BYTES);
  const rows = new ChannelRows(store.tables);
  const least = Math.max(store.floor, hole.lostThrough);
  const lostByChannel: number[] = [];
  const sources: Source[] = [];
  for (const [channel, name] of channels.entries()) {
    const row = rows.get(name);
    lostByChannel.push(Math.max(least, row?.lostThrough ?? store.forgottenThrough));
    if (row === undefined || row.events === 0) continue;
    const start = Math.max(after, row.lostThrough, hole.lostThrough) + 1;
    if (start > through) continue;
    const range = { start: recordKey(row.number, start), end: recordKey(row.number, through + 1) };
    const cursor = store.tables.records.getRange(range)[Symbol.iterator]();
    sources.push({ channel, cursor, next: nextOf(cursor) });
  }
  const events: FoundEvent[] = [];
  let bytes = 0;
  let isWhole = true;
  for (;;) {
    let first: Source | undefined;
    for (const source of sources)
      if (
        source.next !== undefined &&
        (first?.next === undefined || source.next.id < first.next.id)
      )
        first = source;
    if (first?.next === undefined) break;
    const { id, record } = first.next;
    bytes += readRecord(record).data.length;
    if (events.length >= eventsMax || (bytes > bytesMax && events.length > 0)) {
      isWhole = false;
      break;
    }
    events.push({ id, channel: first.channel, record });
    first.next = nextOf(first.cursor);
  }
  for (const { cursor } of sources) cursor.return?.();
  const end = isWhole ? through : (events.at(-1)?.id ?? after);
  const lostThrough = Math.max(least, ...lostByChannel);
  return { events, through: end, lostThrough, lostByChannel, isDeleted: false };
}

function nextOf(cursor: Cursor): Source['next'] {
  const next = cursor.next();
  if (next.done === true) return undefined;
  const { key, value: record } = next.value;
  return { id: idOfRecord(key), record };
}

/** The newest events of a channel, read slice by slice, between which commits may come. */
export class NewestSearch {
  readonly #channel: string;
  readonly #bounds: {
    readonly through: number;
    readonly eventsMax: number;
    readonly bytesMax: number;
  };
  /** Newest first. */
  readonly #found: FoundEvent[] = [];
  #bytes = 0;
  #before: number;
  /** Highest id that did not fit. */
  #leftOut = 0;

  constructor(
    channel: string,
    bounds: { readonly through: number; readonly eventsMax: number; readonly bytesMax: number },
  ) {
    this.#channel = channel;
    this.#bounds = bounds;
    this.#before = bounds.through + 1;
  }

  /**
   * Reads a slice; returns the page when nothing is left to be read. After a failed write the store
   * is another one than that of the slice before.
   */
  step(store: Store): FoundPage | undefined {
    const { eventsMax, bytesMax, through } = this.#bounds;
    const row = new ChannelRows(store.tables).get(this.#channel);
    const isDone =
      row === undefined ||
      row.events === 0 ||
      this.#slice(store.tables, row.number, row.lostThrough, eventsMax, bytesMax);
    if (!isDone) return undefined;
    // A deletion or the retention may have come between two slices.
    const logLost = Math.max(store.floor, row?.lostThrough ?? store.forgottenThrough);
    const events = this.#found.filter(({ id }) => id > logLost).toReversed();
    const isDeleted = row?.isDeleted === true;
    // Events below a hole are found all the same: some may have followed them.
    const lostThrough = Math.max(logLost, this.#leftOut, lostInHoles(store.holes, through));
    return { events, through, lostThrough, isDeleted };
  }

  /** Returns true when the last slice was read. */
  #slice(
    { records }: Tables,
    number: number,
    lostThrough: number,
    eventsMax: number,
    bytesMax: number,
  ): boolean {
    const range = {
      start: recordKey(number, this.#before - 1),
      end: recordKey(number, lostThrough),
      reverse: true,
    };
    let sliceBytes = 0;
    let sliceEvents = 0;
    for (const { key, value: record } of records.getRange(range)) {
      const id = idOfRecord(key);
      const { length } = readRecord(record).data;
      const isFull =
        this.#found.length >= eventsMax ||
        (this.#bytes + length > bytesMax && this.#found.length > 0);
      if (isFull) {
        this.#leftOut = id;
        return true;
      }
      if (sliceBytes >= LOG_READ_SLICE_BYTES || sliceEvents >= LOG_READ_SLICE_EVENTS) return false;
      this.#found.push({ id, channel: 0, record });
      this.#bytes += length;
      this.#before = id;
      sliceBytes += length;
      sliceEvents++;
    }
    return true;
  }
}

/** The last id that was given before a time; the floor if all that are kept were given later. */
export function idBefore(store: Store, wallMs: number, nowMs: number): number {
  const { setBack, newestWallMs, newestId, floor } = store;
  const { order } = store.tables;
  const oldest = firstOf(order, { start: idKey(0) });
  // Behind this one times begin anew. It is from a clock that was ahead, or the clock was behind
  // then.
  const last = firstOf(order, { start: idKey(setBack.id), reverse: true });
  const lastMs = last !== undefined && last.wallMs > nowMs ? setBack.wallMs : (last?.wallMs ?? 0);
  if (Math.max(lastMs, newestWallMs) < wallMs) return newestId;
  if (oldest === undefined) return floor;
  const isBehind = wallMs > lastMs;
  let low = isBehind ? Math.max(floor, setBack.id) : floor;
  let from = isBehind ? Math.max(oldest.id, setBack.id + 1) : oldest.id;
  let to = isBehind ? newestId : setBack.id;
  // On either side times never fall as ids rise: a search by halves, of ids that need not be there.
  while (from <= to) {
    const middle = from + Math.floor((to - from) / 2);
    const found = firstOf(order, { start: idKey(middle) });
    if (found !== undefined && found.id <= to && found.wallMs < wallMs) {
      low = found.id;
      from = found.id + 1;
    } else to = middle - 1;
  }
  return low;
}

function firstOf(
  order: Tables['order'],
  range: { readonly start: Buffer; readonly reverse?: true },
): { readonly id: number; readonly wallMs: number } | undefined {
  for (const { key, value } of order.getRange({ ...range, limit: 1 }))
    return { id: readId(key), wallMs: readPlace(value).wallMs };
  return undefined;
}
