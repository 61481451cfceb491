/**
 * How many subscribers each channel has, as those who watch are told it: a list of channels in the
 * order in which their counts were last told. Each channel stands in it once, so whoever has been
 * told everything up to a place goes on from there, however far behind, and nothing is queued for
 * anybody.
 *
 * Time is divided into seconds by {@link SubscriberCounts.tick}. What is told for a channel at the
 * end of one is the most lines that it had within it. So a rise is told at the next tick, and a
 * fall when it has lasted a whole second: a poll that ends and is asked again at once changes
 * nothing, and neither does a client that reconnects.
 */
import { WATCH_CHANGES_MAX, WATCH_GONE_MAX } from '../limits.js';

/** What is counted: channels with their open lines, waiting polls among them. */
export interface CountedChannels {
  [Symbol.iterator](): Iterator<CountedChannel>;
  get(name: string): CountedChannel | undefined;
}

export interface CountedChannel {
  readonly name: string;
  readonly lineCount: number;
}

/** A channel whose count was told. */
interface Told {
  readonly name: string;
  count: number;
  /** When it was told, on a count that rises by one; and its index in the list. */
  seq: number;
  index: number;
}

/** Holes of the list that are not worth closing. */
const HOLES_MIN = 64;

export class SubscriberCounts {
  /** Seq of what was told last. */
  newest = 0;
  /**
   * Channels without subscribers that were told up to this seq are not in the list any more:
   * whoever was told less knows a count that may be wrong, and begins anew.
   */
  floor = 0;

  readonly #channels: CountedChannels;
  /** In order of seq, with holes where a channel was told again. */
  #list: (Told | undefined)[] = [];
  #seqs: number[] = [];
  readonly #byName = new Map<string, Told>();
  /** Channels that were told to have no subscribers, in order. */
  #gone: { readonly told: Told; readonly seq: number }[] = [];
  /** By name: the most lines within this second, of the channels whose count changed. */
  #most = new Map<string, number>();
  /** The channels that were there at the beginning and have not been looked at yet. */
  #unread: Iterator<CountedChannel> | undefined;

  /** Nothing is told before {@link read} has been called until it returns true. */
  constructor(channels: CountedChannels) {
    this.#channels = channels;
    this.#unread = channels[Symbol.iterator]();
  }

  /** Channels in the list. */
  get size(): number {
    return this.#byName.size;
  }

  /**
   * Takes in up to `limit` of the channels that are there already. Returns true when it has all.
   */
  read(limit: number): boolean {
    for (let i = 0; i < limit && this.#unread !== undefined; i++) {
      const next = this.#unread.next();
      if (next.done === true) {
        this.#unread = undefined;
        break;
      }
      const { name, lineCount } = next.value;
      // What has changed since the beginning is told at the next tick.
      if (!this.#byName.has(name) && !this.#most.has(name)) this.#tell(name, lineCount);
    }
    return this.#unread === undefined;
  }

  /** A line has come to the channel, or has left it. */
  changed(name: string, before: number, after: number): void {
    const most = this.#most.get(name);
    if (most === undefined) {
      if (this.#most.size >= WATCH_CHANGES_MAX) this.#restart();
      else this.#most.set(name, Math.max(before, after));
    } else if (after > most) {
      this.#most.set(name, after);
    }
  }

  /** A second is over. */
  tick(): void {
    const over = this.#most;
    this.#most = new Map();
    for (const [name, most] of over) {
      if (most !== (this.#byName.get(name)?.count ?? 0)) this.#tell(name, most);
      const now = this.#channels.get(name)?.lineCount ?? 0;
      if (now !== most) this.#most.set(name, now);
    }
  }

  /**
   * Hands over what was told after `seq`, `limit` channels at the most, in order, until `take`
   * returns false. Returns the seq up to which it was taken.
   */
  after(
    seq: number,
    limit: number,
    take: (name: string, count: number, seq: number) => boolean,
  ): number {
    let through = seq;
    let left = limit;
    for (let index = this.#indexAfter(seq); index < this.#list.length; index++) {
      const told = this.#list[index];
      if (told !== undefined) {
        if (left-- === 0 || !take(told.name, told.count, told.seq)) return through;
      }
      through = this.#seqs[index] as number;
    }
    return this.newest;
  }

  /**
   * Everybody has been told everything up to `seq`: channels without subscribers go. When there are
   * more than WATCH_GONE_MAX that somebody has not been told, they go, too. To be called before
   * each tick.
   */
  forget(seq: number): void {
    this.#forget(seq);
    if (this.#gone.length > WATCH_GONE_MAX) {
      this.floor = this.newest;
      this.#forget(this.floor);
    }
    this.#close();
  }

  #forget(seq: number): void {
    let count = 0;
    for (const { told, seq: toldSeq } of this.#gone) {
      if (toldSeq > seq) break;
      count++;
      // It may have been told again.
      if (told.seq !== toldSeq) continue;
      this.#byName.delete(told.name);
      this.#list[told.index] = undefined;
    }
    this.#gone.splice(0, count);
  }

  #tell(name: string, count: number): void {
    let told = this.#byName.get(name);
    if (told === undefined) {
      if (count === 0) return;
      told = { name, count, seq: 0, index: 0 };
      this.#byName.set(name, told);
    } else {
      this.#list[told.index] = undefined;
    }
    told.count = count;
    told.seq = ++this.newest;
    told.index = this.#list.length;
    this.#list.push(told);
    this.#seqs.push(told.seq);
    if (count === 0) this.#gone.push({ told, seq: told.seq });
  }

  /** More changed within a second than is kept: everybody begins anew. */
  #restart(): void {
    this.#list = [];
    this.#seqs = [];
    this.#byName.clear();
    this.#gone = [];
    this.#most.clear();
    this.floor = ++this.newest;
    this.#unread = this.#channels[Symbol.iterator]();
  }

  /** Closes the holes when they are more than half of the list. */
  #close(): void {
    if (this.#list.length - this.#byName.size <= this.#byName.size + HOLES_MIN) return;
    this.#list = this.#list.filter((told) => told !== undefined);
    this.#list.forEach((told, index) => ((told as Told).index = index));
    this.#seqs = this.#list.map((told) => (told as Told).seq);
  }

  /** Index of the first place of the list above `seq`. */
  #indexAfter(seq: number): number {
    let low = 0;
    let high = this.#seqs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#seqs[middle] as number) <= seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
