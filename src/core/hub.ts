/**
 * The hub: channels, feeds and lines, and the way of an event from the log into the rings. Knows no socket: lines are whatever
 * the socket port writes to.
 */
import type { Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import { ENDS, HoldlineError, type EndCode } from '../errors.js';
import {
  CHANNELS,
  CORK_WRITE_BYTES,
  ENTERED_PER_TURN,
  LAST_EVENTS,
  EVENT_COST_BYTES,
  OPENING_BYTES,
  PUBLISH_WAIT_MS,
  SWEEP_WORK_BYTES,
  WAITING_PUBLISHERS,
  WAITING_PUBLISH_BYTES,
} from '../limits.js';
import type { EventLog } from '../log/log.js';
import { Channel, lossesSoFar, type Replay } from './channel.js';
import type { LoggedEvent, NewEvent } from './event.js';
import { Feed } from './feed.js';
import type { Dialect } from './frame.js';
import { Heartbeat } from './heartbeat.js';
import { HEALTHY, Lines, STALLED } from './lines.js';
import { isGap, type Position } from './position.js';
import { Pump, type SlowPolicy, type SocketPort } from './pump.js';

export interface HubOptions {
  readonly replay: Replay;
  /** Bytes of all rings; past it the least recently published channel's is dropped. */
  readonly replayTotalBytes: number;
  readonly heartbeatMs: number;
  readonly flushIntervalMs: number;
  readonly slow: SlowPolicy;
  /** Bytes that one sweep may have to write; the default is the limit, tests take less. */
  readonly sweepWorkBytes?: number;
}

/** A line that was just opened. */
export interface Joined {
  readonly handle: number;
  /** What the socket is given first: prelude, a gap if there is one, and replay. Valid until the next join. */
  readonly opening: Buffer;
}

/** A publish that was accepted. */
export interface Published {
  readonly ids: readonly number[];
  /** Lines on the channel when the events were accepted. */
  readonly subscribers: number;
}

/** A publish that waits for room. */
interface Waiter {
  readonly events: readonly NewEvent[];
  readonly bytes: number;
  readonly resolve: (published: Promise<Published>) => void;
  readonly cancelDeadline: () => void;
}

/** Where a line starts. */
interface Start {
  readonly cursor: number;
  /** The position its prelude tells. */
  readonly continuesAfter: number;
  /** What the gap that it is told comes after, null where that is no id of ours; undefined when there is no gap. */
  readonly gapAfter: number | null | undefined;
  /** Events up to here may be lost. */
  readonly lostThrough: number;
}

/** What an event counts for against room and queue. */
function costOf(event: NewEvent): number {
  return event.data.length + EVENT_COST_BYTES;
}

function channelsFull(): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_CHANNELS_FULL',
    `${CHANNELS} channels have lines already; use one of them or try again later`,
  );
}

export class Hub<Socket> {
  readonly lines = new Lines<Socket, Feed<Socket>>();

  readonly #log: EventLog;
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #port: SocketPort<Socket>;
  readonly #options: HubOptions;
  readonly #pump: Pump<Socket>;
  readonly #heartbeat: Heartbeat<Socket>;
  readonly #channels = new Map<string, Channel<Feed<Socket>>>();
  readonly #feeds = new Map<string, Feed<Socket>>();
  #feedsMade = 0;

  /** Id of the newest event that entered its ring: a caught-up line has been given everything up to it. */
  #head: number;
  /** Positions at or below it may be of a channel that was forgotten, or of another log. */
  #floor: number;
  /** Accepted events that have not entered their ring yet, in id order from `#queueStart`. */
  #queue: LoggedEvent[] = [];
  #queueStart = 0;
  #queueBytes = 0;
  #enterScheduled = false;
  /** Publishers that wait for room, first come first, by channel name. */
  readonly #waiting = new Map<string, Waiter[]>();
  #waitingCount = 0;
  #waitingBytes = 0;
  /** Ends of the order of last publish over the channels that hold a ring. */
  #oldest: Channel<Feed<Socket>> | undefined;
  #newest: Channel<Feed<Socket>> | undefined;
  #ringBytes = 0;
  #ringCount = 0;
  readonly #opening = Buffer.allocUnsafeSlow(CORK_WRITE_BYTES);
  readonly #mergeBuffer = Buffer.allocUnsafeSlow(CORK_WRITE_BYTES);
  readonly #stopTail: () => void;
  /** Told of the channels of every line that opens or closes, once; maybe in the middle of a sweep, so they only take note. */
  onJoin: ((channels: readonly string[]) => void) | undefined;
  onLeave: ((channels: readonly string[]) => void) | undefined;

  constructor(log: EventLog, port: SocketPort<Socket>, clock: Clock, counters: Counters, options: HubOptions) {
    this.#log = log;
    this.#clock = clock;
    this.#counters = counters;
    this.#port = port;
    this.#options = options;
    this.#head = log.lastId();
    this.#floor = log.floor();
    this.#pump = new Pump(port, this, clock, counters, options);
    this.#stopTail = log.tail(this.#head, (events) => this.#take(events));
    this.#heartbeat = new Heartbeat(port, this.#pump, clock, counters, this.#feedsView(), () => this.#head, options.heartbeatMs);
    this.#heartbeat.start();
  }

  /** Takes no more events and beats no more. */
  stop(): void {
    this.#heartbeat.stop();
    this.#stopTail();
  }

  /** Id of the newest event that entered. */
  get head(): number {
    return this.#head;
  }

  /** A plain picture of what is held, for `/-/stats`. */
  get gauges() {
    let stalled = 0;
    for (const feed of this.#feeds.values()) stalled += feed.table.stalledCount;
    return {
      head: this.#head,
      floor: this.#floor,
      linesOpen: this.lines.open,
      linesStalled: stalled,
      channels: this.#channels.size,
      rings: this.#ringCount,
      ringBytes: this.#ringBytes,
      queueEvents: this.#queue.length - this.#queueStart,
      queueBytes: this.#queueBytes,
      waitingPublishers: this.#waitingCount,
      waitingBytes: this.#waitingBytes,
    };
  }

  // ── publish ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Publishes a batch to one channel, all or nothing; resolves when it has its ids. While the channel's lines have not been given
   * what was accepted before, it waits, at most PUBLISH_WAIT_MS; then it is refused with HOLDLINE_PUBLISH_BUSY.
   */
  publish(channel: string, events: readonly NewEvent[]): Promise<Published> {
    // The channel's row is made here: where there is no place for one the publisher hears it, before anything is accepted.
    if (this.#channelIfPlace(channel) === undefined) return Promise.reject(channelsFull());
    if (!this.#waiting.has(channel) && this.#hasRoom(channel, events)) return this.#append(channel, events);
    return this.#wait(channel, events);
  }

  /** Accepted events go first, so none is admitted while some wait for a ring; a batch is admitted by its first event. */
  #hasRoom(name: string, events: readonly NewEvent[]): boolean {
    const first = events[0];
    return this.#queueBytes === 0 && (first === undefined || (this.#channels.get(name)?.hasRoom(costOf(first)) ?? true));
  }

  async #append(name: string, events: readonly NewEvent[]): Promise<Published> {
    const ids = await this.#log.append(events);
    this.#counters.events_accepted_total += ids.length;
    return { ids, subscribers: this.#channels.get(name)?.lineCount ?? 0 };
  }

  #wait(name: string, events: readonly NewEvent[]): Promise<Published> {
    let bytes = 0;
    for (const event of events) bytes += costOf(event);
    if (this.#waitingCount >= WAITING_PUBLISHERS || this.#waitingBytes + bytes > WAITING_PUBLISH_BYTES) {
      const error = new HoldlineError(
        'HOLDLINE_PUBLISH_BUSY',
        `${this.#waitingCount} publishers wait for room already; try again after Retry-After`,
      );
      return Promise.reject(error);
    }
    this.#counters.publish_waited_total++;
    this.#pump.flush();
    return new Promise<Published>((resolve, reject) => {
      const cancelDeadline = this.#clock.later(PUBLISH_WAIT_MS, () => {
        this.#unwait(name, waiter);
        reject(
          new HoldlineError(
            'HOLDLINE_PUBLISH_BUSY',
            `no room on ${name} for ${PUBLISH_WAIT_MS} ms: its lines take less than is published; try again after Retry-After`,
          ),
        );
      });
      const waiter: Waiter = { events, bytes, resolve, cancelDeadline };
      const line = this.#waiting.get(name);
      if (line === undefined) this.#waiting.set(name, [waiter]);
      else line.push(waiter);
      this.#waitingCount++;
      this.#waitingBytes += bytes;
    });
  }

  #unwait(name: string, waiter: Waiter): void {
    const line = this.#waiting.get(name) as Waiter[];
    line.splice(line.indexOf(waiter), 1);
    if (line.length === 0) this.#waiting.delete(name);
    this.#waitingCount--;
    this.#waitingBytes -= waiter.bytes;
    waiter.cancelDeadline();
  }

  /** Lets in whoever has room now. */
  #admit(): void {
    if (this.#waitingCount === 0) return;
    for (const [name, line] of this.#waiting) {
      for (let first = line[0]; first !== undefined && this.#hasRoom(name, first.events); first = line[0]) {
        this.#unwait(name, first);
        first.resolve(this.#append(name, first.events));
      }
    }
  }

  // ── log → rings ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #take(events: readonly LoggedEvent[]): void {
    for (const event of events) {
      this.#queue.push(event);
      this.#queueBytes += costOf(event);
    }
    this.#enter();
  }

  /**
   * Moves accepted events into their rings, in id order over all channels (a line on several channels is given rising ids), as
   * long as there is room. A large batch enters in portions.
   */
  #enter(): void {
    let portion = ENTERED_PER_TURN;
    while (this.#queueStart < this.#queue.length) {
      const event = this.#queue[this.#queueStart] as LoggedEvent;
      const channel = this.#channelIfPlace(event.channel);
      const cost = costOf(event);
      if (channel?.hasRoom(cost) === false) {
        this.#pump.flush();
        break;
      }
      if (portion-- === 0) {
        this.#enterSoon();
        break;
      }
      this.#queueStart++;
      this.#queueBytes -= cost;
      if (channel !== undefined) this.#enterRing(channel, event);
      else this.#enterNowhere(event);
    }
    // Compacted when the front half is done, so that a shift costs O(1) an event.
    if (this.#queueStart * 2 >= this.#queue.length) {
      this.#queue = this.#queueStart === this.#queue.length ? [] : this.#queue.slice(this.#queueStart);
      this.#queueStart = 0;
    }
  }

  #enterSoon(): void {
    if (this.#enterScheduled) return;
    this.#enterScheduled = true;
    this.#clock.soon(() => {
      this.#enterScheduled = false;
      this.#enter();
      this.#admit();
    });
  }

  #enterRing(channel: Channel<Feed<Socket>>, event: LoggedEvent): void {
    this.#touch(channel);
    this.#counters.events_evicted_total += channel.enter(event);
    this.#counters.events_entered_total++;
    this.#recount(channel);
    this.#head = event.id;
    if (this.#ringBytes > this.#options.replayTotalBytes) this.#reclaimRings(channel);
    for (const feed of channel.feeds) this.#pump.wake(feed);
  }

  /** The event's channel was forgotten while it waited, and lines have taken every place since: it is lost, and the floor tells. */
  #enterNowhere(event: LoggedEvent): void {
    this.#counters.events_entered_total++;
    this.#counters.events_evicted_total++;
    this.#head = event.id;
    this.#floor = event.id;
  }

  /** A sweep over the feed is complete: what its lines have been given may be evicted, and what waited may enter. */
  swept(feed: Feed<Socket>): void {
    for (const channel of feed.channels) {
      this.#counters.events_evicted_total += channel.evict();
      this.#recount(channel);
    }
    if (this.#queueStart < this.#queue.length) this.#enter();
    this.#admit();
  }

  /** True when everything accepted has been given to every line that takes it. Asking hurries a flush interval along. */
  get isSettled(): boolean {
    this.#pump.flush();
    return this.#waitingCount === 0 && this.#queueBytes === 0 && this.#pump.isIdle;
  }

  // ── channels and rings ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** The channel of that name, made on first need; undefined when lines hold every place. */
  #channelIfPlace(name: string): Channel<Feed<Socket>> | undefined {
    const known = this.#channels.get(name);
    if (known !== undefined) return known;
    if (this.#channels.size >= CHANNELS && !this.#forgetOne()) return undefined;
    const channel = new Channel<Feed<Socket>>(name, this.#options.replay, this.#options.sweepWorkBytes ?? SWEEP_WORK_BYTES);
    this.#channels.set(name, channel);
    return channel;
  }

  /** Makes the channel the most recently published one. */
  #touch(channel: Channel<Feed<Socket>>): void {
    if (this.#newest === channel) return;
    if (channel.newer === undefined) this.#ringCount++;
    else this.#unlink(channel);
    channel.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = channel;
    else this.#newest.newer = channel;
    this.#newest = channel;
  }

  #unlink(channel: Channel<Feed<Socket>>): void {
    if (channel.older === undefined) this.#oldest = channel.newer;
    else channel.older.newer = channel.newer;
    if (channel.newer === undefined) this.#newest = channel.older;
    else channel.newer.older = channel.older;
    channel.older = undefined;
    channel.newer = undefined;
  }

  /** Drops rings of the least recently published channels until the rest fits `--replay-total`; never one that a line still needs. */
  #reclaimRings(except: Channel<Feed<Socket>>): void {
    let channel = this.#oldest;
    while (channel !== undefined && this.#ringBytes > this.#options.replayTotalBytes) {
      const next: Channel<Feed<Socket>> | undefined = channel.newer;
      if (channel !== except && channel.isSwept) this.#dropRing(channel);
      channel = next;
    }
  }

  /** Rings grow where they are used; what that adds up to is counted here. */
  #recount(channel: Channel<Feed<Socket>>): void {
    const bytes = channel.memoryBytes;
    this.#ringBytes += bytes - channel.countedBytes;
    channel.countedBytes = bytes;
  }

  #dropRing(channel: Channel<Feed<Socket>>): void {
    this.#counters.events_evicted_total += channel.drop();
    this.#recount(channel);
    this.#counters.rings_dropped_total++;
    this.#ringCount--;
    this.#unlink(channel);
  }

  /** Drops what the channel holds, as a retention rule or an operator may: positions below its newest event are gaps from here on. */
  dropChannel(name: string): void {
    const channel = this.#channels.get(name);
    if (channel !== undefined && channel.length > 0 && channel.isSwept) this.#dropRing(channel);
  }

  /**
   * Forgets the channel without lines that was published to longest ago; false when all have lines. What it lost is in the floor
   * from here on.
   */
  #forgetOne(): boolean {
    let victim = this.#oldest;
    while (victim !== undefined && victim.lineCount > 0) victim = victim.newer;
    for (const channel of victim === undefined ? this.#channels.values() : []) {
      if (channel.lineCount === 0) {
        victim = channel;
        break;
      }
    }
    if (victim === undefined) return false;
    if (victim.length > 0) this.#dropRing(victim);
    this.#floor = Math.max(this.#floor, victim.lostThrough);
    this.#channels.delete(victim.name);
    this.#counters.channels_forgotten_total++;
    return true;
  }

  // ── lines ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Opens a line on `names` (distinct) in one turn of the loop: its replay and its place in the live stream fit each other. The
   * caller writes `opening` to the socket at once. Throws HOLDLINE_CHANNELS_FULL.
   */
  join(socket: Socket, names: readonly string[], dialect: Dialect, position: Position, retryMs: number): Joined {
    const feed = this.#feedOf(names, dialect);
    const start = this.#startOf(feed, position);
    let length = this.#opening.write(dialect.prelude(start.continuesAfter, retryMs), 'latin1');
    if (start.gapAfter !== undefined) {
      this.#counters.gaps_total++;
      this.#counters.gaps_at_join_total++;
      length += dialect
        .gap(start.gapAfter, feed.firstIdAfter(Math.max(start.cursor, start.lostThrough)) ?? null)
        .copy(this.#opening, length);
    }
    let cursor = start.cursor;
    // A frame too large for the opening is left to the pump, which knows how to cut it.
    while (cursor < feed.newestId && feed.cut(cursor, OPENING_BYTES - length, this.#mergeBuffer, false)) {
      this.#opening.set(feed.sliceBytes, length);
      length += feed.sliceBytes.length;
      cursor = feed.sliceEnd;
      this.#counters.deliveries_total += feed.sliceEvents;
    }
    // What followed is gone, and the line has been told.
    if (feed.firstIdAfter(cursor) === undefined) cursor = Math.max(cursor, feed.newestId);
    const handle = this.lines.add(feed, socket, cursor, lossesSoFar(), this.#pump.step);
    for (const channel of feed.channels) {
      channel.lineCount++;
      // The first line of a dialect has had its frames made.
      this.#recount(channel);
    }
    this.#counters.lines_opened_total++;
    this.onJoin?.(names);
    if (cursor >= feed.newestId) feed.table.setState(this.lines.rowOf(handle), HEALTHY);
    else this.#pump.wakeBehind(feed);
    return { handle, opening: this.#opening.subarray(0, length) };
  }

  /** Where a line at `position` starts. */
  #startOf(feed: Feed<Socket>, position: Position): Start {
    const lostThrough = Math.max(feed.lostThrough, this.#floor);
    if (position.kind === 'after') {
      const { id } = position;
      const lastId = this.#log.lastId();
      const gapAfter = isGap(id, lostThrough, lastId) ? id : undefined;
      if (id === 0 || id > lastId) return this.#everythingHeld(feed, gapAfter, lostThrough);
      return { cursor: id, continuesAfter: id, gapAfter, lostThrough };
    }
    if (position.kind === 'foreign') return this.#everythingHeld(feed, null, lostThrough);
    const first = position.kind === 'last' ? this.#lastN(feed, position.count) : undefined;
    const cursor = first === undefined ? this.#head : first - 1;
    return { cursor, continuesAfter: cursor, gapAfter: undefined, lostThrough };
  }

  #everythingHeld(feed: Feed<Socket>, gapAfter: Start['gapAfter'], lostThrough: number): Start {
    const first = feed.firstIdAfter(0);
    const cursor = first === undefined ? this.#head : first - 1;
    return { cursor, continuesAfter: cursor, gapAfter, lostThrough };
  }

  /** Id of the first of the newest `count` events over the feed's channels, or undefined when there is none. */
  #lastN(feed: Feed<Socket>, count: number): number | undefined {
    const nths = feed.channels.map(() => 0);
    let first: number | undefined;
    for (let taken = 0; taken < Math.min(count, LAST_EVENTS); taken++) {
      let best = -1;
      let bestId = -1;
      for (const [i, channel] of feed.channels.entries()) {
        const id = channel.newestIdAt(nths[i] as number);
        if (id !== undefined && id > bestId) {
          best = i;
          bestId = id;
        }
      }
      if (best < 0) break;
      nths[best] = (nths[best] as number) + 1;
      first = bestId;
    }
    return first;
  }

  /** The line's first write was refused in part. */
  stalled(handle: number, socket: Socket): void {
    const feed = this.lines.feedOf(handle, socket);
    if (feed !== undefined) this.#pump.stall(feed, this.lines.rowOf(handle));
  }

  /** The line's socket has drained. */
  drained(handle: number, socket: Socket): void {
    const feed = this.lines.feedOf(handle, socket);
    if (feed !== undefined) this.#pump.drained(feed, this.lines.rowOf(handle));
  }

  /** The line's socket is gone. */
  left(handle: number, socket: Socket): void {
    const feed = this.lines.feedOf(handle, socket);
    if (feed === undefined) return;
    const stalled = feed.table.stalledCount;
    this.#remove(handle);
    if (feed.table.stalledCount < stalled) this.#counters.lines_closed_stalled_total++;
  }

  /** Ends a line with an end event. */
  endSlow(feed: Feed<Socket>, row: number): void {
    this.#end(feed, row, 'slow');
  }

  /**
   * Ends up to `count` lines that are owed nothing, with an end event. A stalled line is left to read on: once its socket has
   * drained it is caught up, and is owed nothing. Returns how many lines are left.
   */
  endSome(count: number, code: EndCode): number {
    for (const feed of this.#feeds.values()) {
      const { table, newestId } = feed;
      for (let row = table.count - 1; row >= 0 && count > 0; row--) {
        if (table.states[row] === STALLED || (table.cursors[row] as number) < newestId) continue;
        this.#end(feed, row, code);
        count--;
      }
    }
    return this.lines.open;
  }

  #end(feed: Feed<Socket>, row: number, code: EndCode): void {
    const socket = feed.table.sockets[row] as Socket;
    this.#remove(feed.table.handles[row] as number);
    this.#counters.lines_ended_total++;
    this.#port.end(socket, feed.dialect.end(code, ENDS[code].reconnect));
  }

  #remove(handle: number): void {
    const feed = this.lines.remove(handle);
    this.#counters.lines_closed_total++;
    for (const channel of feed.channels) channel.lineCount--;
    if (feed.table.count === 0) this.#removeFeed(feed);
    this.onLeave?.(feed.channels.map((channel) => channel.name));
  }

  #feedOf(names: readonly string[], dialect: Dialect): Feed<Socket> {
    const sorted = names.toSorted();
    const key = `${dialect.name} ${sorted.join(',')}`;
    const known = this.#feeds.get(key);
    if (known !== undefined) return known;
    const channels: Channel<Feed<Socket>>[] = [];
    try {
      for (const name of sorted) {
        const channel = this.#channelIfPlace(name);
        if (channel === undefined) throw channelsFull();
        // Counted while the others are made, so that making place for them does not forget this one.
        channel.lineCount++;
        channels.push(channel);
      }
    } finally {
      for (const channel of channels) channel.lineCount--;
    }
    const feed = new Feed<Socket>(key, channels, dialect, this.#head, this.#feedsMade++);
    this.#feeds.set(key, feed);
    for (const channel of channels) channel.addFeed(feed);
    return feed;
  }

  #removeFeed(feed: Feed<Socket>): void {
    this.#feeds.delete(feed.key);
    for (const channel of feed.channels) {
      channel.removeFeed(feed);
      this.#recount(channel);
      // A row that holds nothing and lost nothing is not worth keeping.
      if (channel.lineCount === 0 && channel.newestId === 0) this.#channels.delete(channel.name);
    }
  }

  #feedsView(): Iterable<Feed<Socket>> {
    return { [Symbol.iterator]: () => this.#feeds.values() };
  }
}
