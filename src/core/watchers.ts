/**
 * Watchers: streams that are told how many subscribers each channel has, as
 * core/subscriber-counts.ts has it.
 *
 * A stream begins with `{"reset":true}`: everything told before is void, and a channel that is not
 * told after it has no subscribers. Then come all counts, then each that changes, at most once a
 * second for a channel.
 *
 * A watcher is a place in the list of counts. One that takes no bytes stays where it is, and goes
 * on from there; it is reset if a channel that it knows of has left the list meanwhile. While
 * nobody watches, nothing is counted and no timer runs.
 */
import type { Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import { ENDS, HoldlineError, type EndCode } from '../errors.js';
import {
  CORK_WRITE_BYTES_MAX,
  WATCH_CORKS_PER_TURN,
  WATCH_COUNTS_PER_TURN,
  WATCH_TICK_MS,
  WATCHERS_MAX,
  WATCHERS_PER_CREDENTIAL_MAX,
} from '../limits.js';
import { messageText, type Encoding } from './frame.js';
import type { LinePort } from './ports.js';
import { SubscriberCounts, type CountedChannels } from './subscriber-counts.js';

/** A stream that is to be told counts. */
export interface WatchRequest<Socket> {
  readonly socket: Socket;
  readonly port: LinePort<Socket>;
  /** Of heartbeats, ends and probes. */
  readonly encoding: Encoding;
  /** True for the channels whose counts it may be told. */
  readonly sees: (channel: string) => boolean;
  /** When the client of an event stream is to come back after the connection breaks, ms. */
  readonly retryMs: number;
  /** Whose it is, for a bound; undefined for an operator, who has none of his own. */
  readonly credential: string | undefined;
  readonly user: string | undefined;
  /** When the stream has to end, ms since 1970; Infinity for never. */
  readonly endsAtMs: number;
}

interface Watcher extends WatchRequest<unknown> {
  readonly handle: number;
  /** It has been told everything up to this seq. */
  seq: number;
  /** The newest seq when it was reset. */
  resetSeq: number;
  isReset: boolean;
  isStalled: boolean;
  /** It was stalled, and its socket may take bytes again. */
  isDrained: boolean;
  /** It goes on in the next turn of the loop. */
  isWaiting: boolean;
  lastWriteMs: number;
}

/** Hears of every line that comes to a channel or leaves it, while somebody watches. */
export interface LineCountListener {
  changed(name: string, before: number, after: number): void;
}

/** What watchers need of the hub. */
interface WatchersParts {
  readonly channels: CountedChannels;
  /** Sets who hears of lines; undefined: nobody. */
  listen(listener: LineCountListener | undefined): void;
}

export class Watchers {
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #parts: WatchersParts;
  readonly #heartbeatMs: number;
  readonly #watchers = new Map<number, Watcher>();
  #lastHandle = 0;
  /** Undefined while nobody watches. */
  #counts: SubscriberCounts | undefined;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, counters: Counters, parts: WatchersParts, heartbeatMs: number) {
    this.#clock = clock;
    this.#counters = counters;
    this.#parts = parts;
    this.#heartbeatMs = heartbeatMs;
  }

  /** Streams that are open. */
  get count(): number {
    return this.#watchers.size;
  }

  /** Throws HOLDLINE_WATCHERS_FULL if no more can watch now, in all or with this credential. */
  checkPlace(credential: string | undefined): void {
    if (this.#watchers.size < WATCHERS_MAX) {
      if (credential === undefined) return;
      let theirs = 0;
      for (const watcher of this.#watchers.values())
        if (watcher.credential === credential) theirs++;
      if (theirs < WATCHERS_PER_CREDENTIAL_MAX) return;
    }
    throw new HoldlineError(
      'HOLDLINE_WATCHERS_FULL',
      `at most ${WATCHERS_MAX} streams may watch, and ${WATCHERS_PER_CREDENTIAL_MAX} with one credential; close one of them, or try again later`,
    );
  }

  /**
   * Opens a stream, whose first bytes are written at once, in the caller's cork. Returns its handle
   * for {@link left} and {@link drained}. Throws as {@link checkPlace} does.
   */
  open<Socket>(request: WatchRequest<Socket>): number {
    this.checkPlace(request.credential);
    const handle = ++this.#lastHandle;
    const watcher: Watcher = {
      ...(request as WatchRequest<unknown>),
      handle,
      seq: 0,
      resetSeq: 0,
      isReset: false,
      isStalled: false,
      isDrained: false,
      isWaiting: false,
      lastWriteMs: 0,
    };
    this.#watchers.set(handle, watcher);
    this.#counters.watchers_opened_total++;
    if (this.#counts === undefined) this.#start();
    if (this.#reset(watcher)) this.#goOn(watcher);
    return handle;
  }

  /** The watcher's socket is gone. */
  left(handle: number): void {
    this.#remove(handle);
  }

  /** The watcher's socket has drained: it goes on in the next turn of the loop. */
  drained(handle: number): void {
    const watcher = this.#watchers.get(handle);
    if (watcher?.isStalled !== true) return;
    watcher.isDrained = true;
    this.#goOn(watcher);
  }

  /** Ends the streams of a user, in the next turn of the loop. Returns how many there are. */
  disconnect(user: string, code: EndCode): number {
    const theirs = [...this.#watchers.values()].filter((watcher) => watcher.user === user);
    if (theirs.length > 0)
      this.#clock.soon(() => {
        for (const watcher of theirs)
          if (this.#watchers.get(watcher.handle) === watcher) this.#end(watcher, code);
      });
    return theirs.length;
  }

  /** Ends all streams; clients of event streams come back after `retryMs`, asked for each. */
  endAll(code: EndCode, retryMs: () => number): void {
    for (const watcher of this.#watchers.values()) this.#end(watcher, code, retryMs());
  }

  /** No timer runs from now on. */
  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#counts = undefined;
    this.#parts.listen(undefined);
  }

  #start(): void {
    const counts = new SubscriberCounts(this.#parts.channels);
    this.#counts = counts;
    this.#parts.listen(counts);
    this.#clock.soon(() => this.#read(counts));
    this.#cancel = this.#clock.later(WATCH_TICK_MS, () => this.#tick(counts));
  }

  /** Takes in the channels that are there, some a turn. */
  #read(counts: SubscriberCounts): void {
    if (counts !== this.#counts) return;
    const isDone = counts.read(WATCH_COUNTS_PER_TURN);
    this.#feedAll();
    if (!isDone) this.#clock.soon(() => this.#read(counts));
  }

  #tick(counts: SubscriberCounts): void {
    if (counts !== this.#counts) return;
    this.#cancel = this.#clock.later(WATCH_TICK_MS, () => this.#tick(counts));
    const nowMs = this.#clock.nowMs();
    const wallMs = this.#clock.wallMs();
    let least = Infinity;
    for (const watcher of this.#watchers.values()) {
      if (watcher.endsAtMs <= wallMs) {
        this.#end(watcher, 'expired');
        continue;
      }
      least = Math.min(least, watcher.seq);
      // One that is silent hears something within an interval.
      const isSilent = nowMs + WATCH_TICK_MS - watcher.lastWriteMs >= this.#heartbeatMs;
      if (isSilent && !watcher.isStalled && !this.#isBehind(watcher, counts))
        this.#write(watcher, watcher.encoding.heartbeat(undefined));
    }
    counts.forget(least);
    counts.tick();
    this.#read(counts);
  }

  #feedAll(): void {
    for (const watcher of this.#watchers.values())
      if (!watcher.isStalled && !watcher.isWaiting) this.#feed(watcher);
  }

  #goOn(watcher: Watcher): void {
    if (watcher.isWaiting) return;
    watcher.isWaiting = true;
    this.#clock.soon(() => {
      watcher.isWaiting = false;
      if (this.#watchers.get(watcher.handle) !== watcher) return;
      if (watcher.isStalled) {
        if (!watcher.isDrained) return;
        // A drain is a hint: the socket takes bytes again when it has taken the probe.
        watcher.isDrained = false;
        watcher.isStalled = false;
        if (!this.#write(watcher, watcher.encoding.probe)) return;
      }
      this.#feed(watcher);
    });
  }

  /** Tells a watcher what it has not been told, a few corks a turn. */
  #feed(watcher: Watcher): void {
    const counts = this.#counts;
    if (counts === undefined) return;
    if (counts.floor > Math.max(watcher.seq, watcher.resetSeq)) {
      if (!this.#reset(watcher)) return;
    }
    for (let corks = 0; this.#isBehind(watcher, counts); corks++) {
      if (corks === WATCH_CORKS_PER_TURN) {
        this.#goOn(watcher);
        return;
      }
      let text = '';
      watcher.seq = counts.after(watcher.seq, WATCH_COUNTS_PER_TURN, (name, count, seq) => {
        if (!watcher.sees(name) || (count === 0 && seq <= watcher.resetSeq)) return true;
        const row = messageText(watcher.encoding, { channel: name, subscribers: count });
        // A name has no character of more than a byte (http/request.ts).
        if (text.length + row.length > CORK_WRITE_BYTES_MAX) return false;
        text += row;
        return true;
      });
      if (text !== '' && !this.#write(watcher, Buffer.from(text, 'latin1'))) return;
    }
  }

  #isBehind(watcher: Watcher, counts: SubscriberCounts): boolean {
    return watcher.seq < counts.newest;
  }

  /** What it knows is void. Returns false if it took no bytes. */
  #reset(watcher: Watcher): boolean {
    const first = !watcher.isReset;
    watcher.isReset = true;
    watcher.seq = 0;
    watcher.resetSeq = (this.#counts as SubscriberCounts).newest;
    if (!first) this.#counters.watch_resets_total++;
    const text = messageText(
      watcher.encoding,
      { reset: true },
      first ? watcher.retryMs : undefined,
    );
    return this.#write(watcher, Buffer.from(text));
  }

  #write(watcher: Watcher, bytes: Uint8Array): boolean {
    watcher.lastWriteMs = this.#clock.nowMs();
    const isTaken = watcher.port.write(watcher.socket, bytes);
    if (!isTaken) watcher.isStalled = true;
    return isTaken;
  }

  #end(watcher: Watcher, code: EndCode, retryMs?: number): void {
    this.#remove(watcher.handle);
    const { port, socket, encoding } = watcher;
    port.end(socket, encoding.end(code, ENDS[code].reconnect, retryMs), code);
  }

  #remove(handle: number): void {
    if (this.#watchers.delete(handle) && this.#watchers.size === 0) this.stop();
  }
}
