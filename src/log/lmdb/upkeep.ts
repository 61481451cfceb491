/**
 * What is done with a log on disk beside serving it: a copy of it while a server writes it, a log
 * made from such a copy, its schema, and all that it keeps, in order.
 */
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import type { LogRow } from '../../core/event-log.js';
import type { LoggedEntry, LoggedEvent } from '../../core/event.js';
import { asError } from '../../errors.js';
import { LOG_ID_LEASE, LOG_READ_SLICE_EVENTS } from '../../limits.js';
import { badDirectory, badLog, noLogIn } from './bad-log.js';
import { readPlace, readRow, type ChannelRow } from './channel-rows.js';
import { DATA_FILE } from './data-file.js';
import { openTables, SCHEMA, type Tables } from './environment.js';
import { idKey, numberKey, readId, recordKey } from './keys.js';
import { loadLogLibc } from './libc.js';
import { isLockedElsewhere, LOCK_FILE, lockDirectory } from './lock.js';
import { makeDirectory } from './make-directory.js';
import { eventOf } from './record.js';
import { Room } from './room.js';
import { findRows } from './rows.js';
import { readTotals, writeTotals, type Totals } from './totals.js';

/** First ids above this are the clock's, ms × 1000. */
const CLOCK_IDS_FROM = 1e12;
const IDS_PER_MS = 1000;

/** In the directory of a copy or of a restored log, while it is made. */
const UNFINISHED = 'unfinished';

/** Pages that a transaction writes at the most which only puts the totals. */
const ROOM_OF_TOTALS = 100;

/** What a log, or a copy of one, has. */
export interface LogFacts {
  readonly schema: number;
  readonly events: number;
  readonly bytes: number;
  readonly newestId: number;
  /** Of its file. */
  readonly fileBytes: number;
}

/**
 * Copies a log into a directory that is empty or not there, as it is at one moment, while a server
 * may write it. Rejects with HOLDLINE_BAD_LOG; then nothing is left of the copy.
 */
export async function backUp(directory: string, target: string): Promise<LogFacts> {
  const { tables } = await openTables(directory, { readOnly: true });
  try {
    makeEmptyDirectory(target);
    // Only a whole copy has the name of one, whatever ends this process.
    const unfinished = join(target, UNFINISHED);
    try {
      makeDirectory(unfinished);
      await tables.root.backup(unfinished, true);
      moveFinished(unfinished, target);
    } catch (error) {
      rmSync(unfinished, { recursive: true, force: true });
      rmSync(join(target, DATA_FILE), { force: true });
      throw badLog(`not copied: ${asError(error).message}`);
    }
  } finally {
    await tables.root.close();
  }
  return factsOf(target);
}

/**
 * Makes a log from a copy, in a directory that is empty or not there. Ids go on far above those of
 * the copy: what was given after it was made is not given again. Rejects with HOLDLINE_BAD_LOG.
 */
export async function restore(copy: string, directory: string, nowMs: number): Promise<LogFacts> {
  if (isLockedElsewhere(copy))
    throw badLog(
      `a server writes the log in ${JSON.stringify(copy)}, which is no copy; make one with holdline log backup`,
    );
  await factsOf(copy, { isCopy: true });
  makeEmptyDirectory(directory);
  const unlock = await lockDirectory(directory);
  try {
    // Only a finished log has the name of one, whatever ends this process.
    const unfinished = join(directory, UNFINISHED);
    try {
      makeDirectory(unfinished);
      copyFileSync(join(copy, DATA_FILE), join(unfinished, DATA_FILE));
      await raiseIds(unfinished, nowMs);
      moveFinished(unfinished, directory);
    } catch (error) {
      rmSync(unfinished, { recursive: true, force: true });
      rmSync(join(directory, DATA_FILE), { force: true });
      throw badLog(`not restored: ${asError(error).message}`);
    }
    return await factsOf(directory);
  } finally {
    unlock();
  }
}

/** Ids of the log go on far above those that it has, and above those that a clock has given. */
async function raiseIds(directory: string, nowMs: number): Promise<void> {
  const { tables } = await openTables(directory);
  try {
    const room = Room.open(directory, await loadLogLibc());
    try {
      const totals = totalsOf(tables);
      const above = totals.floor < CLOCK_IDS_FROM ? 0 : nowMs * IDS_PER_MS;
      totals.leaseEnd = Math.max(totals.leaseEnd, totals.newestId + LOG_ID_LEASE, above);
      room.take(ROOM_OF_TOTALS);
      tables.root.transactionSync(() => writeTotals(tables, totals));
      room.giveBack();
    } finally {
      room.close();
    }
  } finally {
    await tables.root.close();
  }
}

/**
 * Brings a log to the schema of this program; returns the one it had. There is one schema so far,
 * so there is nothing to do. Rejects with HOLDLINE_BAD_LOG for a newer one, and when a server runs.
 */
export async function upgrade(directory: string): Promise<number> {
  const { schema } = await factsOf(directory);
  const unlock = await lockDirectory(directory);
  unlock();
  return schema;
}

async function factsOf(directory: string, { isCopy = false } = {}): Promise<LogFacts> {
  const { tables } = await openTables(directory, { readOnly: true, isCopy });
  try {
    const { events, bytes, newestId } = totalsOf(tables);
    const fileBytes = statSync(join(directory, DATA_FILE)).size;
    return { schema: SCHEMA, events, bytes, newestId, fileBytes };
  } finally {
    await tables.root.close();
  }
}

function totalsOf(tables: Tables): Totals {
  const totals = readTotals(tables);
  if (totals !== undefined) return totals;
  throw badLog('the log is damaged; restore a backup');
}

/** A log that no server has open, to be read from its beginning to its end. */
export class LogReader {
  readonly #tables: Tables;
  readonly #unlock: () => void;

  private constructor(tables: Tables, unlock: () => void) {
    this.#tables = tables;
    this.#unlock = unlock;
  }

  /** Rejects with HOLDLINE_BAD_LOG, also when a server runs. */
  static async open(directory: string): Promise<LogReader> {
    if (!existsSync(join(directory, DATA_FILE))) throw noLogIn(directory);
    const unlock = await lockDirectory(directory);
    try {
      const { tables } = await openTables(directory, { readOnly: true });
      return new LogReader(tables, unlock);
    } catch (error) {
      unlock();
      throw error;
    }
  }

  /**
   * All events that are kept, in id order, and deletions: of channels that have none since, and
   * where the history of a channel begins that has lost something later than the oldest event.
   */
  async *records(): AsyncGenerator<LoggedEntry> {
    const channels = new Map<number, ChannelRow | undefined>();
    const marks = this.#marks();
    let marked = 0;
    let after = 0;
    for (;;) {
      const slice = this.#slice(after, channels);
      for (const event of slice.events) {
        for (let mark = marks[marked]; mark !== undefined && mark.id < event.id;) {
          yield mark;
          mark = marks[++marked];
        }
        yield event;
      }
      if (slice.through === undefined) break;
      after = slice.through;
    }
    yield* marks.slice(marked);
  }

  /**
   * The id of the first entry, if entries were to follow one another up to the last id that was
   * given: then none of them has a lower id than here.
   */
  firstIdWithoutHoles(): number {
    const { newestId, leaseEnd } = totalsOf(this.#tables);
    const marks = this.#marks();
    const channels = new Map<number, ChannelRow | undefined>();
    let count = marks.length;
    for (const { key, value } of this.#tables.order.getRange())
      if (isKept(this.#row(readPlace(value).number, channels), readId(key))) count++;
    return Math.max(newestId, leaseEnd, marks.at(-1)?.id ?? 0) + 1 - count;
  }

  /**
   * Where they end what their channels have lost; those of channels that had lost nothing follow
   * the newest entry.
   */
  #marks(): readonly LoggedEntry[] {
    const { channels, order } = this.#tables;
    const { floor, newestId } = totalsOf(this.#tables);
    const [oldest] = order.getKeys({ limit: 1 });
    const oldestId = oldest === undefined ? Infinity : readId(oldest);
    let endId = newestId;
    const marks: LoggedEntry[] = [];
    for (const { key, value } of channels.getRange()) {
      const { name, events, isDeleted, lostThrough } = readRow(key.readUInt32BE(0), value);
      // Without an event behind it the channel would count as deleted.
      const hasLostAmid = events > 0 && lostThrough > oldestId;
      if (isDeleted || hasLostAmid)
        marks.push({
          id: lostThrough > floor ? lostThrough : ++endId,
          channel: name,
          isDeletion: true,
        });
    }
    return marks.sort((one, other) => one.id - other.id);
  }

  #slice(
    after: number,
    channels: Map<number, ChannelRow | undefined>,
  ): { readonly events: readonly LoggedEvent[]; readonly through: number | undefined } {
    const { order, records } = this.#tables;
    const events: LoggedEvent[] = [];
    let through: number | undefined;
    for (const { key, value } of order.getRange({
      start: idKey(after + 1),
      limit: LOG_READ_SLICE_EVENTS,
    })) {
      const id = readId(key);
      const { number } = readPlace(value);
      const row = this.#row(number, channels);
      const record = records.get(recordKey(number, id));
      through = id;
      if (record !== undefined && isKept(row, id)) events.push(eventOf(id, row.name, record));
    }
    return { events, through };
  }

  /** The row of a channel; `channels` has those that were read before. */
  #row(number: number, channels: Map<number, ChannelRow | undefined>): ChannelRow | undefined {
    if (!channels.has(number)) {
      const packed = this.#tables.channels.get(numberKey(number));
      channels.set(number, packed === undefined ? undefined : readRow(number, packed));
    }
    return channels.get(number);
  }

  /** What is kept beside the events. */
  rows(nowMs: number): LogRow[] {
    return findRows(this.#tables, nowMs);
  }

  async close(): Promise<void> {
    await this.#tables.root.close();
    this.#unlock();
  }
}

/** False for what a deletion has left behind. */
function isKept(row: ChannelRow | undefined, id: number): row is ChannelRow {
  return row !== undefined && id > row.lostThrough;
}

/** Throws HOLDLINE_BAD_LOG for one that holds anything. */
function makeEmptyDirectory(path: string): void {
  let names: string[];
  try {
    makeDirectory(path);
    names = readdirSync(path);
  } catch (error) {
    throw badDirectory(path, error, 'made');
  }
  const there = names.find((name) => name !== LOCK_FILE && name !== 'lost+found');
  if (there !== undefined)
    throw badLog(
      `${path} is not empty ("${there}"); give an empty directory, or one that is not there`,
    );
}

/** The file of a log that is made in `unfinished` is that of `directory` from now on. */
function moveFinished(unfinished: string, directory: string): void {
  const file = join(unfinished, DATA_FILE);
  chmodSync(file, 0o600);
  flush(file);
  renameSync(file, join(directory, DATA_FILE));
  rmSync(unfinished, { recursive: true });
  flush(directory);
}

function flush(path: string): void {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
