/**
 * Appends that a log was asked for and has not answered: those of this turn, which travel as one
 * message, and those that its thread has, in order.
 */
import type { Clock } from '../../clock.js';
import { isDeletion, type LoggedEntry, type NewEntry } from '../../core/event.js';
import type { RequestKey } from '../../core/event-log.js';
import type { HoldlineError } from '../../errors.js';
import { IDEMPOTENCY_MS } from '../../limits.js';
import type { KeptReceipts } from '../kept-receipts.js';
import type { NewReceipt, ToThread } from './messages.js';
import { packedBytes, packEntries } from './packing.js';

interface PendingAppend {
  readonly sequence: number;
  readonly entries: readonly NewEntry[];
  readonly bytes: number;
  readonly receipt: NewReceipt | undefined;
  readonly resolve: (ids: readonly number[]) => void;
  readonly reject: (error: HoldlineError) => void;
}

/** An append that is committed. */
interface Committed {
  readonly sequence: number;
  readonly firstId: number;
}

export type AppendMessage = Extract<ToThread, { kind: 'append' }> & {
  readonly packed: Buffer<ArrayBuffer>;
};

export class PendingAppends {
  /** The id that was handed over last. */
  lastId = 0;
  readonly #clock: Clock;
  readonly #receipts: KeptReceipts;
  readonly #hand: (entries: readonly LoggedEntry[]) => void;
  #turn: PendingAppend[] = [];
  #sent: PendingAppend[] = [];
  #entries = 0;
  #sequence = 0;
  /** Sequence of the last that was rejected though it may be committed. */
  #givenUp = 0;

  /** `hand` gets what is committed, before the publishers hear of it. */
  constructor(
    clock: Clock,
    receipts: KeptReceipts,
    hand: (entries: readonly LoggedEntry[]) => void,
  ) {
    this.#clock = clock;
    this.#receipts = receipts;
    this.#hand = hand;
  }

  /** Entries that were asked for and have no ids yet. */
  get entries(): number {
    return this.#entries;
  }

  /** True while the thread has some. */
  get areSent(): boolean {
    return this.#sent.length > 0;
  }

  /** True while the thread has some that were rejected: it is not known what becomes of them. */
  get areUnknown(): boolean {
    const [first] = this.#sent;
    return first !== undefined && first.sequence <= this.#givenUp;
  }

  /** True when something is to be sent at the end of this turn. */
  get isTurnBegun(): boolean {
    return this.#turn.length > 0;
  }

  add(
    entries: readonly NewEntry[],
    request?: RequestKey & { readonly subscribers: number },
  ): Promise<readonly number[]> {
    return new Promise((resolve, reject) => {
      let bytes = 0;
      for (const entry of entries) bytes += packedBytes(entry);
      const receipt = request && {
        ...request,
        untilMs: this.#clock.wallMs() + IDEMPOTENCY_MS,
      };
      const sequence = ++this.#sequence;
      this.#entries += entries.length;
      this.#turn.push({ sequence, entries, bytes, receipt, resolve, reject });
    });
  }

  /** What is to be sent; undefined if nothing is. It counts as sent. */
  takeTurn(): AppendMessage | undefined {
    const turn = this.#turn;
    if (turn.length === 0) return undefined;
    this.#turn = [];
    this.#sent.push(...turn);
    const packed = packEntries(
      turn.flatMap(({ entries }) => entries),
      this.#clock.wallMs(),
    );
    const appends = turn.map(({ sequence, entries, bytes, receipt }) => ({
      sequence,
      count: entries.length,
      bytes,
      onlyDeletes: entries.every(isDeletion),
      receipt,
    }));
    return { kind: 'append', appends, packed };
  }

  /** What was not sent after all. */
  rejectTurn(error: HoldlineError): void {
    this.#reject(this.#turn.splice(0), error);
  }

  /**
   * Hands over what is committed, then answers. False if the thread skipped one: what comes from
   * there on is left, since nobody knows its ids.
   */
  settle(committed: readonly Committed[]): boolean {
    const logged: LoggedEntry[] = [];
    const answers: { readonly append: PendingAppend; readonly ids: readonly number[] }[] = [];
    for (const { sequence, firstId } of committed) {
      const append = this.#sent[0];
      if (append?.sequence !== sequence) break;
      this.#sent.shift();
      const { entries, receipt } = append;
      this.#entries -= entries.length;
      for (const [index, entry] of entries.entries())
        logged.push(loggedEntry(entry, firstId + index));
      this.lastId = firstId + entries.length - 1;
      if (receipt !== undefined) this.#keep(receipt, firstId, entries.length);
      answers.push({ append, ids: entries.map((_, index) => firstId + index) });
    }
    if (logged.length > 0) this.#hand(logged);
    for (const { append, ids } of answers) append.resolve(ids);
    return answers.length === committed.length;
  }

  #keep({ key, digest, subscribers, untilMs }: NewReceipt, firstId: number, count: number): void {
    const receipt = { firstId, lastId: this.lastId, count, subscribers };
    const leftMs = Math.min(untilMs - this.#clock.wallMs(), IDEMPOTENCY_MS);
    this.#receipts.keep(key, { digest, receipt }, leftMs);
  }

  /**
   * The thread was started again: of what the one before it had, in order, the highest id that is
   * committed says how much is. That is handed over; the rest was not published.
   */
  settleAfterRestart(committedId: number, newestId: number, error: HoldlineError): void {
    let id = this.lastId;
    const committed: Committed[] = [];
    for (const { sequence, entries } of this.#sent) {
      if (id + entries.length > committedId) break;
      committed.push({ sequence, firstId: id + 1 });
      id += entries.length;
    }
    this.settle(committed);
    this.#reject(this.#sent.splice(0), error);
    // Ids that were leased, and that nobody gets.
    this.lastId = Math.max(this.lastId, newestId);
  }

  /** Answers what was sent. It stays: if it is committed, it is still to be handed over. */
  rejectSent(error: HoldlineError): void {
    for (const { sequence, reject } of this.#sent) {
      this.#givenUp = sequence;
      reject(error);
    }
  }

  /** Those that the thread has refused. */
  refuse(sequences: readonly number[], error: HoldlineError): void {
    const refused = new Set(sequences);
    const gone = this.#sent.filter(({ sequence }) => refused.has(sequence));
    this.#sent = this.#sent.filter(({ sequence }) => !refused.has(sequence));
    this.#reject(gone, error);
  }

  /** What has left the queues without ids. */
  #reject(gone: readonly PendingAppend[], error: HoldlineError): void {
    for (const { entries, reject } of gone) {
      this.#entries -= entries.length;
      reject(error);
    }
  }
}

function loggedEntry(entry: NewEntry, id: number): LoggedEntry {
  if (isDeletion(entry)) return { id, channel: entry.channel, isDeletion: true };
  const { channel, type, data, json } = entry;
  return { id, channel, type, data, json };
}
