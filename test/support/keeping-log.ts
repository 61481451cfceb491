/**
 * A log that keeps events in memory and fails as logs on disks and networks do: appends and reads
 * are delayed, fail, or are answered late; it forgets by count; and another server can open what it
 * kept. What goes wrong is decided by its owner, on the owner's clock.
 */
import { SYSTEM_CLOCK, type Clock } from '../../src/clock.js';
import {
  isDeletion,
  type LoggedEntry,
  type LoggedEvent,
  type NewEntry,
} from '../../src/core/event.js';
import {
  LOG_UP,
  type EventLog,
  type History,
  type HistoryPage,
  type HistoryRequest,
  type KeptReceipt,
  type LogState,
  type LoseIds,
  type RequestKey,
} from '../../src/core/event-log.js';
import { HoldlineError } from '../../src/errors.js';
import { lostInHoles, pageBetween, withHole, type Hole } from '../../src/log/lmdb/holes.js';

/** How an append fails: nothing is committed; nobody knows, and it is not, or it is. */
export type AppendFault = 'unavailable' | 'unknown' | 'unknown-kept';

/** What goes wrong; each is asked once for an operation. Times in ms; 0, or absent: at once. */
export interface Faults {
  readonly openMs?: () => number;
  /** Until an append is committed. It is never committed before an earlier one. */
  readonly appendMs?: (entries: readonly NewEntry[]) => number;
  /** From the commit to the publisher's answer. */
  readonly appendAnswerMs?: () => number;
  readonly appendFault?: (entries: readonly NewEntry[]) => AppendFault | undefined;
  /** Until a read looks at what is kept, and from there to its answer. */
  readonly readMs?: () => number;
  readonly readAnswerMs?: () => number;
  readonly readFails?: () => boolean;
  /** Where a page ends that was to end at `through`, after `after`, if it ends before. */
  readonly pageEnd?: (after: number, through: number) => number;
}

/** What is kept, for as many logs as open it one after another. */
export class KeepingStore {
  lastId: number;
  readonly floor: number;
  /** Events of each channel that are kept; all are when it is Infinity. */
  keepEvents: number;
  readonly receipts = new Map<string, KeptReceipt>();
  readonly #events = new Map<string, LoggedEvent[]>();
  readonly #lost = new Map<string, number>();
  /** Channels that were deleted, and to which nothing was published since. */
  readonly #deleted = new Set<string>();
  /** Ids of which it may have lost events. */
  holes: readonly Hole[] = [];
  /** Pages that were read when more than they were to have was lost: of those nobody knows. */
  readonly #unclear: Hole[] = [];
  /** When ids were given, oldest first; what the event of each did, unless it is a deletion. */
  readonly #times: {
    readonly id: number;
    readonly wallMs: number;
    readonly event?: { readonly channel: string; readonly wasDeleted: boolean };
  }[] = [];

  constructor(firstId = 1, keepEvents = Infinity) {
    this.floor = firstId - 1;
    this.lastId = this.floor;
    this.keepEvents = keepEvents;
  }

  /** The channel's events that are kept, oldest first. */
  eventsOf(channel: string): readonly LoggedEvent[] {
    return this.#events.get(channel) ?? [];
  }

  /** Highest id of the channel that is not kept any more; `floor` without one. */
  lostOf(channel: string): number {
    return this.#lost.get(channel) ?? this.floor;
  }

  /** Gives ids, keeps the entries, and forgets what is too much. */
  commit(entries: readonly NewEntry[], wallMs: number): LoggedEntry[] {
    return entries.map((entry) => {
      const id = ++this.lastId;
      if (isDeletion(entry)) {
        this.#times.push({ id, wallMs });
        this.forget(entry.channel, id);
        this.#deleted.add(entry.channel);
        return { id, channel: entry.channel, isDeletion: true };
      }
      const { channel, type, data, json } = entry;
      this.#times.push({
        id,
        wallMs,
        event: { channel, wasDeleted: this.#deleted.delete(channel) },
      });
      const event: LoggedEvent = { id, channel, type, data: Uint8Array.from(data), json };
      const kept = this.#events.get(channel);
      if (kept === undefined) this.#events.set(channel, [event]);
      else kept.push(event);
      const surplus = this.eventsOf(channel).length - this.keepEvents;
      if (surplus > 0) this.forget(channel, this.eventsOf(channel)[surplus - 1]?.id as number);
      return event;
    });
  }

  /**
   * The process was killed before the disk had its last events, at most so many of this start; ids
   * go on as many ids further.
   */
  loseLast(eventsMax: number, ids: number): void {
    let after = this.lastId;
    for (let lost = 0; lost < eventsMax; lost++) {
      const { id = 0, event } = this.#times.at(-1) ?? {};
      const kept = event && this.#events.get(event.channel);
      if (id <= (this.holes.at(-1)?.through ?? 0) || event === undefined) break;
      if (kept?.at(-1)?.id !== id) break;
      this.#times.pop();
      kept.pop();
      if (event.wasDeleted) this.#deleted.add(event.channel);
      after = id - 1;
    }
    this.lastId += ids;
    this.holes = withHole(this.holes, { after, through: this.lastId });
  }

  /** True when nobody knows whether events between two ids are lost. */
  mayHaveLost(after: number, before: number): boolean {
    const isIn = (hole: Hole): boolean => hole.through > after && hole.after < before;
    return this.holes.some(isIn) || this.#unclear.some(isIn);
  }

  /** Forgets the channel's events up to `id`, as retention and deletions do. */
  forget(channel: string, id: number): void {
    const kept = this.#events.get(channel) ?? [];
    const gone = kept.filter((event) => event.id <= id);
    const last = gone.at(-1);
    if (last === undefined) return;
    this.#lost.set(channel, last.id);
    kept.splice(0, gone.length);
  }

  read({ channels, after, eventsMax, bytesMax, ...asked }: HistoryRequest): HistoryPage {
    const from = Math.max(after, this.floor);
    const { through, lostThrough } = pageBetween(this.holes, from, asked.through);
    const start = Math.max(from, lostThrough);
    const found = channels
      .flatMap((channel) => between(this.eventsOf(channel), start, through, eventsMax + 1))
      .sort((a, b) => a.id - b.id);
    const events = fitting(found, eventsMax, bytesMax);
    const isCut = events.length < found.length;
    const isUnclear = channels.some((channel) => this.lostOf(channel) > asked.through);
    if (isUnclear) this.#unclear.push({ after, through: asked.through });
    const lost = channels.map((channel) => Math.max(lostThrough, this.lostOf(channel)));
    return {
      events,
      through: isCut ? (events.at(-1)?.id as number) : through,
      lostThrough: Math.max(...lost),
      lostByChannel: lost,
    };
  }

  newest(
    channel: string,
    { through, eventsMax, bytesMax }: Parameters<History['newest']>[1],
  ): HistoryPage {
    const kept = this.eventsOf(channel);
    const end = indexAfter(kept, through);
    const newestFirst = kept.slice(Math.max(0, end - eventsMax), end).toReversed();
    const events = fitting(newestFirst, eventsMax, bytesMax).toReversed();
    const older = kept[end - events.length - 1];
    const isDeleted = this.#deleted.has(channel);
    const lost = Math.max(older?.id ?? this.lostOf(channel), lostInHoles(this.holes, through));
    return { events, through, lostThrough: lost, isDeleted };
  }

  idBefore(wallMs: number): number {
    return this.#times.findLast((given) => given.wallMs < wallMs)?.id ?? this.floor;
  }
}

/** Index of the first event above `id`. */
function indexAfter(events: readonly LoggedEvent[], id: number): number {
  let low = 0;
  for (let high = events.length; low < high;) {
    const middle = (low + high) >> 1;
    if ((events[middle] as LoggedEvent).id <= id) low = middle + 1;
    else high = middle;
  }
  return low;
}

function between(
  events: readonly LoggedEvent[],
  after: number,
  through: number,
  count: number,
): readonly LoggedEvent[] {
  const from = indexAfter(events, after);
  return events.slice(from, Math.min(from + count, indexAfter(events, through)));
}

/** As many as fit from the front; the first always does. */
function fitting(
  events: readonly LoggedEvent[],
  eventsMax: number,
  bytesMax: number,
): LoggedEvent[] {
  const fits: LoggedEvent[] = [];
  let bytes = 0;
  for (const event of events) {
    bytes += event.data.length;
    if (fits.length === eventsMax || (fits.length > 0 && bytes > bytesMax)) break;
    fits.push(event);
  }
  return fits;
}

export class KeepingLog implements EventLog {
  isOpen = false;
  state: LogState = LOG_UP;
  /** Reads so far, of pages and of times. */
  reads = 0;
  readonly history: History;

  readonly #store: KeepingStore;
  readonly #clock: Clock;
  readonly #faults: Faults;
  #lose: LoseIds | undefined;
  #take: ((entries: readonly LoggedEntry[]) => void) | undefined;
  /** Appends that are not committed, the first first; all of them wait for it. */
  readonly #waiting: { isDue: boolean; readonly commit: () => void }[] = [];
  #isDead = false;

  constructor(store: KeepingStore, faults: Faults = {}, clock: Clock = SYSTEM_CLOCK) {
    this.#store = store;
    this.#faults = faults;
    this.#clock = clock;
    this.history = {
      read: (request) =>
        this.#read(() => {
          const { after, through } = request;
          const end = faults.pageEnd?.(after, through) ?? through;
          return store.read({ ...request, through: end });
        }),
      newest: (channel, bounds) => this.#read(() => store.newest(channel, bounds)),
      idBefore: (wallMs) => this.#read(() => store.idBefore(wallMs)),
    };
  }

  async open(): Promise<void> {
    await this.#pause(this.#faults.openMs?.());
    this.isOpen = true;
  }

  append(
    entries: readonly NewEntry[],
    request?: RequestKey & { readonly subscribers: number },
  ): Promise<readonly number[]> {
    const fault = this.#faults.appendFault?.(entries);
    return new Promise((resolve, reject) => {
      const answer = (settle: () => void): void => {
        const ms = this.#faults.appendAnswerMs?.() ?? 0;
        if (ms > 0) this.#clock.later(ms, () => this.#isDead || settle());
        else settle();
      };
      const waiter = {
        isDue: false,
        commit: () => {
          if (fault === 'unavailable' || fault === 'unknown') {
            answer(() => reject(failed(fault)));
            return;
          }
          const logged = this.#store.commit(entries, this.#clock.wallMs());
          const ids = logged.map(({ id }) => id);
          if (request !== undefined) this.#keep(request, ids);
          this.#take?.(logged);
          answer(() => (fault === undefined ? resolve(ids) : reject(failed('unknown'))));
        },
      };
      this.#waiting.push(waiter);
      const due = (): void => {
        waiter.isDue = true;
        this.#commitDue();
      };
      const ms = this.#faults.appendMs?.(entries) ?? 0;
      if (ms > 0) this.#clock.later(ms, due);
      else due();
    });
  }

  kept(key: string): Promise<KeptReceipt | undefined> {
    return this.#read(() => this.#store.receipts.get(key));
  }

  /**
   * Another server commits entries. This one is not handed those that `isSkipped`, with everything
   * below them: the last one is told as lost, of its channel only or of all.
   */
  skip(entries: readonly NewEntry[], isSkipped: 'all' | 'channel'): void {
    const logged = this.#store.commit(entries, this.#clock.wallMs());
    const last = logged.at(-1) as LoggedEntry;
    this.#store.forget(last.channel, last.id);
    this.#lose?.(last.id, isSkipped === 'all' ? undefined : last.channel);
  }

  tail(take: (entries: readonly LoggedEntry[]) => void, lose?: LoseIds): () => void {
    this.#take = take;
    this.#lose = lose;
    return () => {
      this.#take = undefined;
    };
  }

  lastId(): number {
    return this.#store.lastId;
  }

  floor(): number {
    return this.#store.floor;
  }

  close(): Promise<void> {
    for (const waiter of this.#waiting) waiter.isDue = true;
    this.#commitDue();
    this.crash();
    return Promise.resolve();
  }

  /** The process is killed: what is not committed never is, and nothing is answered any more. */
  crash(): void {
    this.#isDead = true;
    this.#take = undefined;
  }

  #keep(
    { key, digest, subscribers }: RequestKey & { readonly subscribers: number },
    ids: number[],
  ) {
    const receipt = {
      firstId: ids[0] as number,
      lastId: ids.at(-1) as number,
      count: ids.length,
      subscribers,
    };
    this.#store.receipts.set(key, { digest, receipt });
  }

  #commitDue(): void {
    while (!this.#isDead && this.#waiting[0]?.isDue === true) this.#waiting.shift()?.commit();
  }

  async #read<Found>(look: () => Found): Promise<Found> {
    this.reads++;
    const fails = this.#faults.readFails?.() ?? false;
    await this.#pause(this.#faults.readMs?.());
    if (fails) throw failed('unavailable');
    const found = look();
    await this.#pause(this.#faults.readAnswerMs?.());
    return found;
  }

  #pause(ms = 0): Promise<void> | undefined {
    if (ms <= 0) return undefined;
    return new Promise((resolve) => void this.#clock.later(ms, () => this.#isDead || resolve()));
  }
}

function failed(fault: 'unavailable' | 'unknown'): HoldlineError {
  return fault === 'unavailable'
    ? new HoldlineError('HOLDLINE_LOG_UNAVAILABLE', 'the log is away; try again')
    : new HoldlineError('HOLDLINE_OUTCOME_UNKNOWN', 'the log did not answer; use the same key');
}
