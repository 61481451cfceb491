/**
 * Which lines are furthest behind, owed most or open longest: a bounded list for operators, made in
 * one walk over the tables.
 */
import type { Group } from './group.js';
import { CATCHING_UP, DRAINED, HEALTHY, STALLED } from './lines.js';
import type { Transport } from './ports.js';

/**
 * By events that a line has yet to be given, by bytes that wait for it, or by the time that it has
 * been open.
 */
export const LINE_ORDERS = ['lag', 'bytes', 'age'] as const;
export type LineOrder = (typeof LINE_ORDERS)[number];

/** A line as operators see it. */
export interface LineFigures {
  readonly channels: readonly string[];
  readonly transport: Transport;
  readonly state: 'catching-up' | 'healthy' | 'stalled' | 'drained';
  /** Id up to which it has been given everything. */
  readonly cursor: number;
  /** Events held that it has yet to be given, and their bytes in its encoding, at most. */
  readonly lagEvents: number;
  readonly lagBytes: number;
  /** True when events were dropped that it has not been given and not been told of. */
  readonly lapped: boolean;
  /**
   * Bytes that were written and have not left the process: exact for a WebSocket, an upper bound
   * for a stalled stream.
   */
  readonly unsentBytes: number;
  /** Null for a line that is not stalled. */
  readonly stalledMs: number | null;
  readonly ageMs: number;
}

/** Times of a table's row. */
export interface RowTimes {
  /** Since something was last written to it, ms, to a step of the heartbeat wheel. */
  sinceWriteMs(lastWrite: number): number;
  /** Since it was opened, ms, to a second. */
  ageMs(openedSeconds: number): number;
}

const STATES = {
  [CATCHING_UP]: 'catching-up',
  [HEALTHY]: 'healthy',
  [STALLED]: 'stalled',
  [DRAINED]: 'drained',
} as const;

/** A row that may come to stand in the list. */
interface Candidate<Socket> {
  readonly group: Group<Socket>;
  readonly row: number;
  readonly key: number;
}

/**
 * The first `limit` lines in that order, the largest first. Takes about 50 ns a line that is at the
 * head.
 */
export function rankLines<Socket>(
  groups: Iterable<Group<Socket>>,
  order: LineOrder,
  limit: number,
  times: RowTimes,
): LineFigures[] {
  let candidates: Candidate<Socket>[] = [];
  let least = -Infinity;
  const cut = (): void => {
    candidates = candidates.sort((one, other) => other.key - one.key).slice(0, limit);
  };
  for (const group of groups) {
    const lag = new Lag(group);
    for (let row = 0; row < group.table.count; row++) {
      const key = keyOf(group, row, order, lag);
      if (key <= least) continue;
      candidates.push({ group, row, key });
      // Sorted now and then and not at each: a walk over all lines stays a walk.
      if (candidates.length < 2 * limit) continue;
      cut();
      least = candidates.at(-1)!.key;
    }
  }
  cut();
  return candidates.map(({ group, row }) => figuresOf(group, row, times));
}

/**
 * Bytes that were written to lines and have not left the process, over all of them: at most, see
 * {@link LineFigures.unsentBytes}.
 */
export function unsentBytesOf<Socket>(groups: Iterable<Group<Socket>>): number {
  let bytes = 0;
  for (const group of groups) {
    for (
      let row = 0, stalled = group.table.stalledCount;
      stalled > 0 && row < group.table.count;
      row++
    ) {
      if (group.table.states[row] !== STALLED) continue;
      stalled--;
      bytes += unsentBytes(group, row);
    }
  }
  return bytes;
}

function keyOf<Socket>(
  group: Group<Socket>,
  row: number,
  order: LineOrder,
  lag: Lag<Socket>,
): number {
  if (order === 'age') return -(group.table.openedSeconds[row] as number);
  lag.look(group.table.cursors[row] as number);
  return order === 'lag' ? lag.events : lag.bytes + unsentBytes(group, row);
}

function figuresOf<Socket>(group: Group<Socket>, row: number, times: RowTimes): LineFigures {
  const { table } = group;
  const state = table.states[row] as keyof typeof STATES;
  const cursor = table.cursors[row] as number;
  const lag = new Lag(group);
  lag.look(cursor);
  return {
    channels: group.channels.map((channel) => channel.name),
    transport: group.mode.transport,
    state: STATES[state],
    cursor,
    lagEvents: lag.events,
    lagBytes: lag.bytes,
    lapped: group.hasLost(cursor, table.losses[row] as number),
    unsentBytes: unsentBytes(group, row),
    // Nothing is written to a stalled line, so the last write is the one that was refused.
    stalledMs: state === STALLED ? times.sinceWriteMs(table.lastWrites[row] as number) : null,
    ageMs: times.ageMs(table.openedSeconds[row] as number),
  };
}

function unsentBytes<Socket>(group: Group<Socket>, row: number): number {
  if (group.table.states[row] !== STALLED) return 0;
  const { port } = group.mode;
  return port.kind === 'poll' ? 0 : port.unsentBytes(group.table.sockets[row] as Socket);
}

/**
 * What is held behind a cursor of a group's line. Lines in step have one cursor, so the last answer
 * is kept.
 */
class Lag<Socket> {
  events = 0;
  bytes = 0;
  readonly #group: Group<Socket>;
  readonly #newest: number;
  #cursor = Infinity;

  constructor(group: Group<Socket>) {
    this.#group = group;
    this.#newest = group.newestId;
  }

  /** Sets `events` and `bytes`. */
  look(cursor: number): void {
    if (cursor === this.#cursor) return;
    this.#cursor = cursor;
    this.events = 0;
    this.bytes = 0;
    if (cursor >= this.#newest) return;
    for (const channel of this.#group.channels) {
      const held = channel.heldAfter(cursor, this.#group.encoding);
      this.events += held.events;
      this.bytes += held.bytes;
    }
  }
}
