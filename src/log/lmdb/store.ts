/** The log's tables and what is done with them, each step one transaction. Used by the thread. */
import type { LogFigures, LogRow } from '../../core/event-log.js';
import { HoldlineError } from '../../errors.js';
import { LOG_CHANNELS_MAX, LOG_ID_LEASE, LOG_REMOVALS_PER_STEP } from '../../limits.js';
import { ChannelRows, packPlace, readPlace, readRow } from './channel-rows.js';
import { openTables, writeSchema, type Tables } from './environment.js';
import { idKey, numberKey, readId, recordKey } from './keys.js';
import type { Durability, NewReceipt, ThreadData } from './messages.js';
import type { PackedEntry } from './packing.js';
import { wallMsOf } from './record.js';
import { forgetReceipts, keepReceipt } from './receipts.js';
import { putRow, RowSweep } from './rows.js';
import { collectGarbage, Forgetting, type Change } from './retention.js';
import { freshTotals, readTotals, writeTotals, type Totals } from './totals.js';

/** Removals in a commit beside those that its own entries ask for. */
const SPARE_REMOVALS = 64;

/** An append whose entries are to be committed. */
export interface Commitment {
  readonly entries: readonly PackedEntry[];
  readonly receipt: NewReceipt | undefined;
}

export class Store {
  readonly tables: Tables;
  /** The newest id that was found when it was opened. */
  committedId = 0;
  #forgetting: Forgetting;
  readonly #durability: Durability;
  readonly #rowSweep = new RowSweep();
  /** As the last transaction left them. */
  #totals: Totals;
  /** Channel number from which {@link Store.sweep} goes on. */
  #sweptTo = 0;

  private constructor(tables: Tables, totals: Totals, data: ThreadData) {
    this.tables = tables;
    this.#totals = totals;
    this.#forgetting = new Forgetting(data.retention, data.policies);
    this.#durability = data.durability;
  }

  /**
   * Opens a log, or makes one. Rejects with HOLDLINE_BAD_LOG. `newestId` is that of the same run,
   * when it is opened again; after a crash no id of a lease is given again.
   */
  static async open(data: ThreadData, newestId?: number): Promise<Store> {
    const { tables, isNew } = await openTables(data.directory);
    try {
      const totals = isNew ? freshTotals(data.firstId) : readTotals(tables);
      if (totals === undefined) throw missingTotals();
      const store = new Store(tables, totals, data);
      if (isNew)
        tables.root.transactionSync(() => {
          writeSchema(tables);
          writeTotals(tables, totals);
        });
      else store.#check();
      store.committedId = totals.newestId;
      totals.newestId = Math.max(totals.newestId, newestId ?? totals.leaseEnd);
      return store;
    } catch (error) {
      await tables.root.close();
      throw error instanceof HoldlineError
        ? error
        : new HoldlineError('HOLDLINE_BAD_LOG', damagedWords(String(error)));
    }
  }

  /** What channels keep from now on. */
  usePolicies({ retention, policies }: Pick<ThreadData, 'policies' | 'retention'>): void {
    this.#forgetting = new Forgetting(retention, policies);
  }

  get floor(): number {
    return this.#totals.floor;
  }

  /** Highest id that is committed, or leased. */
  get newestId(): number {
    return this.#totals.newestId;
  }

  get newestWallMs(): number {
    return this.#totals.newestWallMs;
  }

  /** Up to here ids may be given before they are committed. */
  get leaseEnd(): number {
    return this.#totals.leaseEnd;
  }

  /** What a channel has lost of which no row is left. */
  get forgottenThrough(): number {
    return this.#totals.forgottenThrough;
  }

  get figures(): LogFigures {
    return { events: this.#totals.events, bytes: this.#totals.bytes };
  }

  /** Commits appends in one transaction; their ids follow {@link Store.newestId}. */
  commit(appends: readonly Commitment[], nowMs: number): void {
    this.#change((change) => {
      const { tables, totals } = change;
      const touched = new Set<number>();
      let added = 0;
      for (const { entries, receipt } of appends) {
        const firstId = totals.newestId + 1;
        for (const { channel, record } of entries) {
          const id = ++totals.newestId;
          let row = change.rows.get(channel);
          if (row === undefined) {
            totals.channels++;
            row = change.rows.make(channel, ++totals.channelNumber, totals.forgottenThrough);
          }
          if (record === undefined) {
            row.isDeleted = true;
            change.rows.changed(row);
            if (row.events === 0) continue;
            row.lostThrough = id;
            void tables.garbage.put(numberKey(row.number), Buffer.alloc(1));
            continue;
          }
          row.isDeleted = false;
          void tables.records.put(recordKey(row.number, id), record);
          // A clock that goes back does not: times are searched.
          const wallMs = Math.max(wallMsOf(record), totals.newestWallMs);
          totals.newestWallMs = wallMs;
          const place = { number: row.number, bytes: record.length, wallMs };
          tables.order.putSync(idKey(id), packPlace(place), { append: true });
          row.events++;
          row.bytes += record.length;
          change.rows.changed(row);
          totals.events++;
          totals.bytes += record.length;
          touched.add(row.number);
          added++;
        }
        if (receipt !== undefined && entries.length > 0)
          keepReceipt(tables, receipt, firstId, entries.length);
      }
      if (this.#durability === 'sync') totals.leaseEnd = totals.newestId;
      const removals = 2 * added + SPARE_REMOVALS;
      if (this.#forgetting.hasPolicies)
        for (const number of touched) {
          const row = change.rows.at(number);
          if (row !== undefined) this.#forgetting.channel(change, row, nowMs, removals);
        }
      this.#forgetting.wholeLog(change, nowMs, removals);
      forgetReceipts(change.tables, nowMs, appends.length + SPARE_REMOVALS);
      return true;
    });
  }

  /** Leases ids: as many as are needed, and a block. None of them is given again after a crash. */
  lease(count: number): void {
    this.#change(({ totals }) => {
      totals.leaseEnd = totals.newestId + count + LOG_ID_LEASE;
      return true;
    });
  }

  /**
   * A step of what can wait: garbage of deletions, ages, bounds that were lowered, receipts and
   * rows whose time is over. Returns true if there may be more of it now.
   */
  sweep(nowMs: number): boolean {
    let gone = 0;
    this.#change((change) => {
      gone += collectGarbage(change, LOG_REMOVALS_PER_STEP);
      gone += this.#forgetting.wholeLog(change, nowMs, LOG_REMOVALS_PER_STEP);
      gone += this.#sweepChannels(change, nowMs);
      gone += forgetReceipts(change.tables, nowMs, LOG_REMOVALS_PER_STEP);
      gone += this.#rowSweep.step(change.tables, nowMs);
      return gone > 0;
    });
    return gone >= LOG_REMOVALS_PER_STEP;
  }

  /** Channels by turns: those above their policy, and empty ones when there are too many. */
  #sweepChannels(change: Change, nowMs: number): number {
    const { tables, totals, rows } = change;
    if (!this.#forgetting.hasPolicies && totals.channels <= LOG_CHANNELS_MAX) return 0;
    let gone = 0;
    const seen = [
      ...tables.channels.getKeys({
        start: numberKey(this.#sweptTo + 1),
        limit: CHANNELS_PER_SWEEP,
      }),
    ].map((key) => key.readUInt32BE(0));
    this.#sweptTo = seen.length < CHANNELS_PER_SWEEP ? 0 : (seen.at(-1) ?? 0);
    for (const number of seen) {
      const row = rows.at(number);
      if (row === undefined || gone >= LOG_REMOVALS_PER_STEP) continue;
      gone += this.#forgetting.channel(change, row, nowMs, LOG_REMOVALS_PER_STEP - gone);
      if (row.events > 0 || totals.channels <= LOG_CHANNELS_MAX) continue;
      totals.forgottenThrough = Math.max(totals.forgottenThrough, row.lostThrough);
      totals.channels--;
      rows.remove(row);
      gone++;
    }
    return gone;
  }

  /** Throws HOLDLINE_LOG_UNAVAILABLE when there are too many. */
  putRow(row: LogRow): void {
    this.#change((change) => {
      putRow(change.tables, row);
      return true;
    });
  }

  /** Pages that a transaction freed are used from the second one after it: goes that far. */
  settle(): void {
    for (const step of [1, 2])
      this.tables.root.transactionSync(() => {
        void this.tables.facts.put(SETTLE_KEY, Buffer.of(step));
      });
  }

  /** Writes something that needs as much room as `bytes`, and removes it: is there room again? */
  probe(bytes: number): void {
    const { root, facts } = this.tables;
    // In pieces: what is free need not be side by side.
    const keys = Array.from({ length: Math.ceil(bytes / PROBE_PIECE_BYTES) }, (_, index) =>
      Buffer.from(`probe ${index}`),
    );
    const piece = Buffer.alloc(PROBE_PIECE_BYTES);
    root.transactionSync(() => {
      for (const key of keys) void facts.put(key, piece);
    });
    root.transactionSync(() => {
      for (const key of keys) void facts.remove(key);
    });
  }

  /** Ends the lease, so that ids go on without a hole, and closes. */
  async close(): Promise<void> {
    try {
      this.#change(({ totals }) => {
        if (totals.leaseEnd === totals.newestId) return false;
        totals.leaseEnd = totals.newestId;
        return true;
      });
    } finally {
      await this.tables.root.close();
    }
  }

  /** Closes without writing anything, after a failure. */
  async abandon(): Promise<void> {
    await this.tables.root.close();
  }

  /** Does a change in one transaction: all of it, or nothing when it returns false or throws. */
  #change(change: (change: Change) => boolean): void {
    const { tables } = this;
    const totals = { ...this.#totals };
    const rows = new ChannelRows(tables);
    let isDone = false;
    tables.root.transactionSync(() => {
      if (!change({ tables, totals, rows })) return tables.abort;
      rows.write();
      writeTotals(tables, totals);
      isDone = true;
      return undefined;
    });
    if (isDone) this.#totals = totals;
  }

  /** Reads what a damaged file would not have: the ends of the log. Throws if it is not there. */
  #check(): void {
    const { order, records, channels } = this.tables;
    for (const reverse of [false, true])
      for (const { key, value } of order.getRange({
        ...(reverse ? { start: idKey(Number.MAX_SAFE_INTEGER) } : {}),
        reverse,
        limit: 1,
      })) {
        const { number, bytes } = readPlace(value);
        const record = records.get(recordKey(number, readId(key)));
        const row = channels.get(numberKey(number));
        if (record?.length !== bytes || row === undefined) throw missingTotals();
        readRow(number, row);
      }
  }
}

const SETTLE_KEY = Buffer.from('settled');
const PROBE_PIECE_BYTES = 3_500;
const CHANNELS_PER_SWEEP = 1000;

function missingTotals(): HoldlineError {
  return new HoldlineError('HOLDLINE_BAD_LOG', damagedWords('what it says of itself is missing'));
}

function damagedWords(words: string): string {
  return `the log is damaged (${words}); restore a backup`;
}
