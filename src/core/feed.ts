/**
 * A feed: the lines that are owed the same bytes, which are those on the same channels by the same way. One channel's
 * slice is a view of its ring; several channels' frames are merged in id order into a buffer of the caller's.
 */
import type { Channel } from './channel.js';
import type { EndCode } from '../errors.js';
import { CORK_WRITE_BYTES } from '../limits.js';
import { ChannelSet } from './channel-set.js';
import type { Dialect } from './frame.js';
import { LineTable } from './lines.js';

/** The ways to ask for a channel. */
export type Transport = 'sse' | 'ndjson' | 'websocket' | 'poll';

/**
 * What the core asks of a socket that is held open.
 *
 * A port of *streams* takes any bytes and needs heartbeats; a drain is a hint, to be proved by the dialect's probe. A port of
 * *messages* takes a frame, or several, whole; it keeps the socket busy by itself, and a drain says that everything is out.
 */
export interface LinePort<Socket> {
  readonly kind: 'stream' | 'message';
  /**
   * Writes `bytes`, for a stream at most CORK_WRITE_BYTES, as one cork or message. The bytes are always taken. False: some stay in
   * user space, and the socket's drain will be reported.
   */
  write(socket: Socket, bytes: Uint8Array): boolean;
  /** Writes the last bytes and ends. No callback of the socket reaches the hub any more. */
  end(socket: Socket, lastBytes: Uint8Array, code: EndCode): void;
  /** Bytes that stay in user space of a socket that has refused some, at most. */
  unsentBytes(socket: Socket): number;
}

/** What the core asks of a poll that waits: its answer is its end. */
export interface PollPort<Socket> {
  readonly kind: 'poll';
  /** Answers with a body, or with none, and the position to go on with. */
  answer(socket: Socket, body: Uint8Array | undefined, position: number): void;
}

/** By what way lines are given events. */
export interface Way<Socket> {
  readonly transport: Transport;
  readonly dialect: Dialect;
  readonly port: LinePort<Socket> | PollPort<Socket>;
  /** For polls: events in one answer, 0 for one event that stands alone. */
  readonly limit?: number;
}

export class Feed<Socket> extends ChannelSet<Channel<Feed<Socket>>> {
  readonly key: string;
  readonly way: Way<Socket>;
  readonly dialect: Dialect;
  readonly table = new LineTable<Socket>();

  /** Every healthy line has been given everything up to this id: the head at the start of the last complete sweep. Only grows. */
  sweptThrough: number;

  /* Grace (core/grace.ts), written by core/grace-windows.ts. */
  /** Every line in grace has been given everything up to this id; Infinity while none is. */
  graceThrough = Infinity;
  /** Those who have been given nothing above it when the window ends have used it in vain. */
  graceGoal = 0;
  /** Since when somebody who is to be judged at that end has been in grace, ms of the clock. */
  graceSinceMs = 0;
  /** When the first came who is to be judged at the next end only, Infinity when nobody did. */
  graceLateMs = Infinity;
  /** When the window under way is to end, ms of the clock. */
  graceEndsMs = 0;
  /** Windows so far: the end of one that is over means nothing. */
  graceWindow = 0;
  /** Ends the window early. */
  cancelGrace: (() => void) | undefined;
  /** By channel: its `graceRefusals` when those who are to be judged began. */
  readonly graceRefusals: number[] = [];

  /* The sweep's own state, written by core/pump.ts. */
  /** True while the feed stands in the pump's queue. */
  queued = false;
  nextQueued: Feed<Socket> | undefined;
  /** Row the sweep goes on with, downwards; −1 when no sweep is under way. */
  sweepRow = -1;
  /** The head when the sweep under way began. */
  sweepHead = 0;
  /** True when a line was left with something to write, so that another sweep follows. */
  behind = false;

  /** Id of its channel's deletion: its lines are given nothing more and are being ended. */
  overAt: number | undefined;

  /** Turns the rows of the heartbeat wheel, so that feeds of few lines do not all beat at once. */
  readonly phase: number;

  /* The last slice that `cut` made. */
  sliceBytes: Uint8Array = EMPTY;
  /** Id of the slice's last event. */
  sliceEnd = 0;
  sliceEvents = 0;

  constructor(key: string, channels: readonly Channel<Feed<Socket>>[], way: Way<Socket>, head: number, phase: number) {
    super(channels);
    this.key = key;
    this.way = way;
    this.dialect = way.dialect;
    this.sweptThrough = head;
    this.phase = phase;
  }

  /** True when its lines are given slices of the channels' frames; polls are answered from the records. */
  get readsFrames(): boolean {
    return this.way.port.kind !== 'poll';
  }

  /**
   * Cuts what follows `cursor` in id order: as many whole frames as fit `maxBytes`, or one larger frame alone. Sets
   * `sliceBytes` (valid while `version` stays and `mergeBuffer` is left alone), `sliceEnd` and `sliceEvents`; false when nothing
   * follows, or the first frame is larger than `maxBytes` and `oversize` is not allowed. `mergeBuffer` has ≥ `maxBytes`.
   */
  cut(cursor: number, maxBytes: number, mergeBuffer: Buffer, oversize: boolean): boolean {
    return this.channels.length === 1
      ? this.#cutOne(cursor, maxBytes, oversize)
      : this.#cutMerged(cursor, maxBytes, mergeBuffer, oversize);
  }

  #cutOne(cursor: number, maxBytes: number, oversize: boolean): boolean {
    const ring = this.channelAt(0).frames(this.dialect);
    if (ring === undefined) return false;
    const from = ring.seqAfter(cursor);
    if (from === ring.headSeq || (!oversize && ring.sizeAt(from) > maxBytes)) return false;
    const to = ring.runEnd(from, maxBytes);
    this.sliceBytes = ring.view(from, to);
    this.sliceEnd = ring.idAt(to - 1);
    this.sliceEvents = to - from;
    return true;
  }

  #cutMerged(cursor: number, maxBytes: number, mergeBuffer: Buffer, oversize: boolean): boolean {
    const runs: Run[] = [];
    for (const channel of this.channels) {
      const ring = channel.frames(this.dialect);
      if (ring === undefined) continue;
      const seq = ring.seqAfter(cursor);
      if (seq < ring.headSeq) runs.push({ ring, seq, id: ring.idAt(seq) });
    }
    let bytes = 0;
    let events = 0;
    let end = cursor;
    for (;;) {
      let next: Run | undefined;
      for (const run of runs) if (run.id < (next?.id ?? Infinity)) next = run;
      if (next === undefined) break;
      const { ring, seq } = next;
      const size = ring.sizeAt(seq);
      if (bytes + size > maxBytes) {
        if (events > 0) break;
        if (!oversize) return false;
        this.sliceBytes = ring.view(seq, seq + 1);
        this.sliceEnd = next.id;
        this.sliceEvents = 1;
        return true;
      }
      mergeBuffer.set(ring.view(seq, seq + 1), bytes);
      bytes += size;
      events++;
      end = next.id;
      next.seq++;
      next.id = next.seq < ring.headSeq ? ring.idAt(next.seq) : Infinity;
    }
    if (events === 0) return false;
    this.sliceBytes = mergeBuffer.subarray(0, bytes);
    this.sliceEnd = end;
    this.sliceEvents = events;
    return true;
  }
}

/** Where the merge stands in one channel's ring. */
interface Run {
  readonly ring: NonNullable<ReturnType<Channel<never>['frames']>>;
  seq: number;
  id: number;
}

const EMPTY = Buffer.alloc(0);

/** Slices in use at a time: a line that is 16 corks behind in a sweep that all other lines share. */
const ENTRIES = 16;

/**
 * The slices cut last, shared by every line in step: the first line of a sweep that asks pays for the cut, the others get the
 * same view. Entries die with their feed's version. native-notes/one-view-for-all.md
 */
export class SliceCache<Socket> {
  bytes: Uint8Array = EMPTY;
  end = 0;
  events = 0;

  #feed: Feed<Socket> | undefined;
  #version = -1;
  #used = 0;
  #hint = 0;
  readonly #cursors = new Float64Array(ENTRIES);
  readonly #ends = new Float64Array(ENTRIES);
  readonly #events = new Uint32Array(ENTRIES);
  readonly #slices: Uint8Array[] = Array.from({ length: ENTRIES }, () => EMPTY);
  readonly #mergeBuffers: (Buffer | undefined)[] = Array.from({ length: ENTRIES });

  /** Sets `bytes`, `end` and `events` to the slice behind `cursor`; false when nothing follows. */
  find(feed: Feed<Socket>, cursor: number): boolean {
    const version = feed.version;
    if (feed !== this.#feed || version !== this.#version) {
      this.#feed = feed;
      this.#version = version;
      this.#used = 0;
      this.#hint = 0;
    }
    // A line asks for one slice after the other, the next line for the same ones: look behind the last answer first.
    for (let tries = 0, entry = this.#hint; tries < this.#used; tries++) {
      if (entry >= this.#used) entry = 0;
      if (this.#cursors[entry] === cursor) return this.#answer(entry);
      entry++;
    }
    const entry = this.#used < ENTRIES ? this.#used++ : this.#hint % ENTRIES;
    const mergeBuffer =
      feed.channels.length === 1 ? EMPTY : (this.#mergeBuffers[entry] ??= Buffer.allocUnsafeSlow(CORK_WRITE_BYTES));
    if (!feed.cut(cursor, CORK_WRITE_BYTES, mergeBuffer, true)) {
      this.#cursors[entry] = -1;
      return false;
    }
    // The first look of all may have made the frames from the records; that moves nothing, so the version still stands.
    this.#cursors[entry] = cursor;
    this.#ends[entry] = feed.sliceEnd;
    this.#events[entry] = feed.sliceEvents;
    this.#slices[entry] = feed.sliceBytes;
    return this.#answer(entry);
  }

  #answer(entry: number): true {
    this.bytes = this.#slices[entry] as Uint8Array;
    this.end = this.#ends[entry] as number;
    this.events = this.#events[entry] as number;
    this.#hint = entry + 1;
    return true;
  }
}
