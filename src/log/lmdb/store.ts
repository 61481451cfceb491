/** The log's tables and what is done with them, each step one transaction. Used by the thread. */
import type { KeepRules, LogFigures, LogRow } from '../../core/event-log.js';
import { HoldlineError } from '../../errors.js';
import {
  LOG_CHANNELS_MAX,
  LOG_ID_LEASE,
  LOG_REMOVALS_PER_STEP,
  LOG_ROOM_KEPT_BYTES,
} from '../../limits.js';
import { badLog } from './bad-log.js';
import { ChannelRows, packPlace, readPlace, readRow } from './channel-rows.js';
import { CommitLock } from './commit-lock.js';
import { EndGate } from './end-gate.js';
import { openTables, writeSchema, type Tables } from './environment.js';
import { readHoles, withHole, writeHoles, type Hole } from './holes.js';
import { idKey, numberKey, readId, recordKey } from './keys.js';
import { loadLogLibc } from './libc.js';
import type { Durability, NewReceipt, ThreadData } from './messages.js';
import type { PackedEntry } from './packing.js';
import {
  needOfAppends,
  needOfRemovals,
  needOfValue,
  PageCounts,
  SMALL_CHANGE,
  type PageNeed,
} from './page-needs.js';
import { wallMsOf } from './record.js';
import { forgetReceipts, keepReceipt } from './receipts.js';
import { putRow, RowSweep } from './rows.js';
import { collectGarbage, Forgetting, type Change } from './retention.js';
import { Room } from './room.js';
import { freshTotals, noteTime, readTotals, writeTotals, type Totals } from './totals.js';

/** Removals in a commit beside those that its own entries ask for. */
const SPARE_REMOVALS = 64;

/** An append whose entries are to be committed. */
export interface Commitment {
  readonly entries: readonly PackedEntry[];
  readonly receipt: NewReceipt | undefined;
}

export class Store {
  readonly tables: Tables;
  readonly room: Room;
  readonly #gate: EndGate;
  readonly #commitLock: CommitLock;
  /** The newest id that was found when it was opened. */
  committedId = 0;
  #forgetting: Forgetting;
  readonly #durability: Durability;
  readonly #rowSweep = new RowSweep();
  readonly #counts: PageCounts;
  /** Pages behind the last one when only freed ones were left to be used. */
  #leftWhenFull: number | undefined;
  /** As the last transaction left them. */
  #totals: Totals;
  /** See {@link Hole}. */
  holes: readonly Hole[] = [];
  #writtenHoles = this.holes;
  /** Number of the last channel that {@link Store.sweep} has done with; 0: it begins anew. */
  #sweptTo = 0;

  private constructor(
    tables: Tables,
    room: Room,
    commitLock: CommitLock,
    totals: Totals,
    data: ThreadData,
  ) {
    this.tables = tables;
    this.#commitLock = commitLock;
    this.#gate = new EndGate(data.gateWord);
    this.room = room;
    this.#counts = new PageCounts(tables);
    this.#counts.count(room.pages);
    this.#totals = totals;
    this.#forgetting = new Forgetting(data.rules);
    this.#durability = data.durability;
  }

  /**
   * Opens a log, or makes one. Rejects with HOLDLINE_BAD_LOG. `before` is what the same thread had
   * open until now; after a crash no id of a lease is given again, which leaves a hole.
   */
  static async open(data: ThreadData, before?: Store): Promise<Store> {
    const { tables, isNew } = await openTables(data.directory, {
      gate: new EndGate(data.gateWord),
    });
    let room: Room | undefined;
    let commitLock: CommitLock | undefined;
    try {
      const libc = await loadLogLibc();
      room = Room.open(data.directory, libc);
      commitLock = CommitLock.open(data.directory, libc);
      const totals = isNew ? freshTotals(data.firstId) : readTotals(tables);
      if (totals === undefined) throw missingTotals();
      const store = new Store(tables, room, commitLock, totals, data);
      if (isNew)
        store.#change(SMALL_CHANGE, () => {
          writeSchema(tables);
          return true;
        });
      else store.#check();
      store.committedId = totals.newestId;
      store.#begin(before);
      return store;
    } catch (error) {
      room?.close();
      commitLock?.close();
      await tables.root.close();
      throw error instanceof HoldlineError ? error : badLog(damagedWords(String(error)));
    }
  }

  /**
   * Goes on where the same thread was. Otherwise what a crash has lost is known from here on, and
   * written with the next commit.
   */
  #begin(before: Store | undefined): void {
    const totals = this.#totals;
    const { newestId, leaseEnd } = totals;
    this.#writtenHoles = readHoles(this.tables);
    this.holes = before?.holes ?? this.#writtenHoles;
    if (before !== undefined) {
      totals.newestId = Math.max(newestId, before.newestId);
      this.#sweptTo = before.#sweptTo;
    } else if (leaseEnd > newestId) {
      totals.newestId = leaseEnd;
      this.holes = withHole(this.holes, { after: newestId, through: leaseEnd });
    }
  }

  /** What is kept from now on. */
  keepTo(rules: KeepRules): void {
    this.#forgetting = new Forgetting(rules);
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

  /** Where times begin anew, since the clock was set back; zeros when it never was. */
  get setBack(): { readonly id: number; readonly wallMs: number } {
    return { id: this.#totals.setBackId, wallMs: this.#totals.setBackMs };
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

  /**
   * Commits appends in one transaction; their ids follow {@link Store.newestId}, which then says
   * how many are committed: on a disk that is nearly full it may be only the first of them. Events
   * leave some room to deletions, unless they are owed: answered, and in the way of deletions.
   */
  commit(appends: readonly Commitment[], nowMs: number, areOwed = false): void {
    let some = appends;
    let need = this.#needOf(some, areOwed);
    while (!this.#hasRoom(need)) {
      if (some.length <= 1) throw this.room.problem;
      some = some.slice(0, some.length >> 1);
      need = this.#needOf(some, areOwed);
    }
    this.#commit(some, need, nowMs);
  }

  #needOf(appends: readonly Commitment[], areOwed: boolean): EventsNeed {
    let events = 0;
    let bytes = 0;
    for (const { entries } of appends)
      for (const { record } of entries)
        if (record !== undefined) {
          events++;
          bytes += record.length;
        }
    const removals = this.#forgetting.mayForget(this.#totals, events, bytes)
      ? removalsWith(events)
      : 0;
    const need = needOfAppends(appends, removals, this.room.pageBytes);
    return { ...need, leavesRoom: events > 0 && !areOwed };
  }

  #commit(appends: readonly Commitment[], need: EventsNeed, nowMs: number): void {
    this.#change(need, (change) => {
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
          const clockMs = wallMsOf(record);
          noteTime(totals, clockMs, id - 1);
          // Times are searched, so they do not fall with a clock that goes back a little.
          const wallMs = Math.max(clockMs, totals.newestWallMs);
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
      // Of all channels together: the room and the time of a commit are for so many.
      let left = removalsWith(added);
      if (this.#forgetting.hasPolicies)
        for (const number of touched) {
          const row = change.rows.at(number);
          if (row !== undefined) left -= this.#forgetting.channel(change, row, nowMs, left);
        }
      this.#forgetting.wholeLog(change, nowMs, left);
      forgetReceipts(change.tables, nowMs, appends.length + SPARE_REMOVALS);
      return true;
    });
  }

  /** Leases ids: as many as are needed, and a block. None of them is given again after a crash. */
  lease(count: number): void {
    this.#change(SMALL_CHANGE, ({ totals }) => {
      totals.leaseEnd = totals.newestId + count + LOG_ID_LEASE;
      return true;
    });
  }

  /**
   * A step of what can wait: garbage of deletions, ages, bounds that were lowered, receipts and
   * rows whose time is over. Returns true if there may be more of it now.
   */
  sweep(nowMs: number): boolean {
    this.#counts.count(this.room.pages);
    const most = this.#removalsNow();
    let gone = 0;
    this.#change(needOfRemovals(most), (change) => {
      const isSetBack = noteTime(change.totals, nowMs, change.totals.newestId);
      gone += collectGarbage(change, most);
      gone += this.#forgetting.wholeLog(change, nowMs, most - gone);
      gone += this.#sweepChannels(change, nowMs, most - gone);
      gone += forgetReceipts(change.tables, nowMs, most - gone);
      gone += this.#rowSweep.step(change.tables, most - gone);
      return gone > 0 || isSetBack;
    });
    return gone >= most;
  }

  /** Channels are left that {@link Store.sweep} has not looked at since it began anew. */
  get isAmidChannels(): boolean {
    return this.#sweptTo > 0;
  }

  /** Removals of one step: on a full disk no more than there is room for. */
  #removalsNow(): number {
    const wanted = this.#most(needOfRemovals(LOG_REMOVALS_PER_STEP));
    const left = this.room.reserve(wanted);
    if (left >= wanted) return LOG_REMOVALS_PER_STEP;
    return Math.max(1, Math.min(LOG_REMOVALS_PER_STEP, this.#counts.removalsFor(left)));
  }

  /** Channels by turns: those above their policy, and empty ones when there are too many. */
  #sweepChannels(change: Change, nowMs: number, most: number): number {
    const { tables, totals, rows } = change;
    if (most <= 0) return 0;
    if (!this.#forgetting.hasPolicies && totals.channels <= LOG_CHANNELS_MAX) {
      this.#sweptTo = 0;
      return 0;
    }
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
      if (row === undefined) continue;
      gone += this.#forgetting.channel(change, row, nowMs, most - gone);
      if (gone >= most) {
        // It may have more to forget: the next step goes on with it.
        this.#sweptTo = number - 1;
        break;
      }
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
    const need = needOfValue(JSON.stringify(row).length, this.room.pageBytes);
    this.#change(need, (change) => {
      putRow(change.tables, row);
      return true;
    });
  }

  /** Pages that a transaction freed are used from the second one after it: goes that far. */
  settle(): void {
    for (const step of [1, 2])
      this.#change(SMALL_CHANGE, ({ tables }) => {
        void tables.facts.put(SETTLE_KEY, Buffer.of(step));
        return true;
      });
  }

  /** Throws what the system says of the disk unless there is room for so many bytes of events. */
  checkRoom(bytes: number): void {
    const pages = Math.ceil(bytes / this.room.pageBytes);
    const few = { added: SMALL_COMMIT_PAGES, changed: 0, leavesRoom: true };
    if (!this.#hasRoom(few, pages)) throw this.room.problem;
  }

  /** Ends the lease unless ids of it were lost, so that ids go on without a hole, and closes. */
  async close({ isLeaseLost = false } = {}): Promise<void> {
    try {
      this.#change(SMALL_CHANGE, ({ totals }) => {
        if (isLeaseLost || totals.leaseEnd === totals.newestId) return false;
        totals.leaseEnd = totals.newestId;
        return true;
      });
      this.room.giveBack();
    } finally {
      await this.abandon();
    }
  }

  /** Closes without writing anything, after a failure. */
  async abandon(): Promise<void> {
    this.room.close();
    this.#commitLock.close();
    await this.tables.root.close();
  }

  #most(need: PageNeed): number {
    return this.#counts.most(need, this.room.pages);
  }

  /** Is there room for it, and `more` pages? */
  #hasRoom(need: EventsNeed, more = 0): boolean {
    const kept = need.leavesRoom ? Math.ceil(LOG_ROOM_KEPT_BYTES / this.room.pageBytes) : 0;
    let most = this.#most(need);
    if (this.room.reserve(most + more + kept) >= most + more + kept) {
      this.#leftWhenFull = undefined;
      return true;
    }
    this.#counts.count(this.room.pages);
    most = this.#most(need);
    const left = this.room.reserve(most);
    if (kept === 0) return left >= most;
    // On a full disk freed pages will do, if there are many. LMDB may find none that are side by
    // side, or they are read yet: there is room behind the last page for that, but not for long.
    if (left < most + kept / 4 || this.#counts.free < 2 * (most + more) + kept) return false;
    this.#leftWhenFull ??= left;
    return left >= this.#leftWhenFull;
  }

  /**
   * Does a change in one transaction: all of it, or nothing when it returns false or throws. Throws
   * what the system says of the disk when there is no room for it.
   */
  #change(need: PageNeed, change: (change: Change) => boolean): void {
    const { tables } = this;
    this.room.take(this.#most(need));
    const totals = { ...this.#totals };
    const rows = new ChannelRows(tables);
    let isDone = false;
    const transaction = (): unknown =>
      tables.root.transactionSync(() => {
        if (!change({ tables, totals, rows })) return tables.abort;
        rows.write();
        writeTotals(tables, totals);
        if (this.holes !== this.#writtenHoles) writeHoles(tables, this.holes);
        isDone = true;
        return undefined;
      });
    this.#commitLock.within(() => this.#gate.within(transaction));
    if (!isDone) return;
    this.#totals = totals;
    this.#writtenHoles = this.holes;
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
const CHANNELS_PER_SWEEP = 1000;
/** That a commit of few events may need, 128 KB. */
const SMALL_COMMIT_PAGES = 32;

interface EventsNeed extends PageNeed {
  /** True for events, which leave some room to what makes room. */
  readonly leavesRoom: boolean;
}

/** Removals in a commit of so many events. */
function removalsWith(events: number): number {
  return 2 * events + SPARE_REMOVALS;
}

function missingTotals(): HoldlineError {
  return badLog(damagedWords('what it says of itself is missing'));
}

function damagedWords(words: string): string {
  return `the log is damaged (${words}); restore a backup`;
}
