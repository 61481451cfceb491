/**
 * What a log forgets: what is above its bounds, oldest first, and what deletions have left behind.
 * Each call is a bounded step within a write transaction.
 */
import { compilePattern, type ChannelPattern } from '../../auth/pattern.js';
import type { KeepRules, Retention } from '../../core/event-log.js';
import type { ChannelRow, ChannelRows } from './channel-rows.js';
import { readPlace } from './channel-rows.js';
import type { Tables } from './environment.js';
import { idKey, idOfRecord, numberKey, readId, recordKey } from './keys.js';
import { isBefore, type Totals } from './totals.js';

const IDS_AT_ONCE = 32;
const NO_BOUNDS: Retention = { events: 0, bytes: 0, ageMs: 0 };

/** One transaction: its tables, its totals and the rows it has seen. */
export interface Change {
  readonly tables: Tables;
  readonly totals: Totals;
  readonly rows: ChannelRows;
}

export class Forgetting {
  readonly #whole: Retention;
  readonly #policies: readonly { readonly pattern: ChannelPattern; readonly bounds: Retention }[];
  readonly hasPolicies: boolean;

  /** The first policy that matches a channel counts, as everywhere. */
  constructor({ retention, policies }: KeepRules) {
    this.#whole = retention;
    this.#policies = policies.flatMap(({ channels, keepEvents, keepBytes, keepAge }) => {
      const pattern = compilePattern(channels);
      const bounds = { events: keepEvents ?? 0, bytes: keepBytes ?? 0, ageMs: keepAge ?? 0 };
      return pattern === undefined ? [] : { pattern, bounds };
    });
    this.hasPolicies = this.#policies.some(
      ({ bounds }) => bounds.events + bounds.bytes + bounds.ageMs > 0,
    );
  }

  /** False when nothing has to go although so much comes. */
  mayForget(totals: Totals, events: number, bytes: number): boolean {
    const { events: eventsMax, bytes: bytesMax, ageMs } = this.#whole;
    return (
      this.hasPolicies ||
      ageMs > 0 ||
      (eventsMax > 0 && totals.events + events > eventsMax) ||
      (bytesMax > 0 && totals.bytes + bytes > bytesMax)
    );
  }

  /** The oldest of the whole log, while it is above its bounds; returns how many went. */
  wholeLog(change: Change, nowMs: number, entriesMax: number): number {
    const { totals, tables } = change;
    const { events, bytes, ageMs } = this.#whole;
    const isOver = (): boolean =>
      (events > 0 && totals.events > events) || (bytes > 0 && totals.bytes > bytes);
    if (!isOver() && ageMs === 0) return 0;
    const oldest: (ReturnType<typeof readPlace> & { readonly id: number })[] = [];
    let willGo = 0;
    let bytesGo = 0;
    for (const { key, value } of tables.order.getRange({ limit: entriesMax })) {
      const event = { id: readId(key), ...readPlace(value) };
      const over =
        (events > 0 && totals.events - willGo > events) ||
        (bytes > 0 && totals.bytes - bytesGo > bytes);
      if (!over && !(ageMs > 0 && isBefore(totals, event, nowMs - ageMs, nowMs))) break;
      oldest.push(event);
      willGo++;
      bytesGo += event.bytes;
    }
    for (const { id, number, bytes: size } of oldest) {
      const row = change.rows.at(number);
      if (row === undefined) void tables.order.remove(idKey(id));
      else forgetEvent(change, row, id, size);
    }
    return oldest.length;
  }

  /** The oldest of one channel, while it is above the bounds of its policy. */
  channel(change: Change, row: ChannelRow, nowMs: number, entriesMax: number): number {
    const { events, bytes, ageMs } = this.#boundsOf(row.name);
    if (events + bytes + ageMs === 0 || row.events === 0) return 0;
    const isOver = (): boolean =>
      (events > 0 && row.events > events) || (bytes > 0 && row.bytes > bytes);
    if (!isOver() && ageMs === 0) return 0;
    let gone = 0;
    while (gone < entriesMax) {
      // Few at a time: mostly there is one to go, or none.
      const ids = idsOf(change.tables, row.number, Math.min(IDS_AT_ONCE, entriesMax - gone));
      for (const id of ids) {
        const packed = change.tables.order.get(idKey(id));
        const place = packed === undefined ? undefined : readPlace(packed);
        const isOld =
          ageMs > 0 &&
          place !== undefined &&
          isBefore(change.totals, { id, wallMs: place.wallMs }, nowMs - ageMs, nowMs);
        if (!isOver() && !isOld) return gone;
        forgetEvent(change, row, id, place?.bytes ?? 0);
        gone++;
      }
      if (ids.length === 0) break;
    }
    return gone;
  }

  #boundsOf(name: string): Retention {
    for (const { pattern, bounds } of this.#policies) if (pattern.matches(name)) return bounds;
    return NO_BOUNDS;
  }
}

/** Records that a deletion has left behind; returns how many went. */
export function collectGarbage(change: Change, entriesMax: number): number {
  const { tables, rows } = change;
  let gone = 0;
  const numbers = [...tables.garbage.getKeys({ limit: entriesMax })].map((key) =>
    key.readUInt32BE(0),
  );
  for (const number of numbers) {
    if (gone >= entriesMax) break;
    const row = rows.at(number);
    let isDone = true;
    if (row !== undefined)
      for (const id of idsOf(tables, number, entriesMax - gone + 1)) {
        if (id > row.lostThrough) break;
        if (gone >= entriesMax) {
          isDone = false;
          break;
        }
        const packed = tables.order.get(idKey(id));
        forgetEvent(change, row, id, packed === undefined ? 0 : readPlace(packed).bytes);
        gone++;
      }
    if (isDone) void tables.garbage.remove(numberKey(number));
  }
  return gone;
}

/** The oldest ids of a channel, read before any of them goes. */
function idsOf(tables: Tables, number: number, limit: number): number[] {
  const range = { start: recordKey(number, 0), end: recordKey(number + 1, 0), limit };
  return [...tables.records.getKeys(range)].map(idOfRecord);
}

function forgetEvent(
  { tables, totals, rows }: Change,
  row: ChannelRow,
  id: number,
  bytes: number,
): void {
  void tables.records.remove(recordKey(row.number, id));
  void tables.order.remove(idKey(id));
  row.events--;
  row.bytes -= bytes;
  totals.events--;
  totals.bytes -= bytes;
  if (id > row.lostThrough) row.lostThrough = id;
  rows.changed(row);
}
