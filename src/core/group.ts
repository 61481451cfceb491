/**
 * A group: the lines that are owed the same bytes, which are those on the same channels by the same
 * way. One channel's slice is a view of its ring of frames; older frames, and several channels'
 * merged in id order, go into a buffer of the caller's.
 */
import type { Channel } from './channel.js';
import { ChannelSet, Merge } from './channel-set.js';
import type { Encoding } from './frame.js';
import { LineTable } from './lines.js';
import type { DeliveryMode } from './ports.js';
import type { Ring } from './ring.js';

export class Group<Socket> extends ChannelSet<Channel<Group<Socket>>> {
  readonly key: string;
  readonly mode: DeliveryMode<Socket>;
  readonly encoding: Encoding;
  readonly table = new LineTable<Socket>();

  /**
   * Every healthy line has been given everything up to this id: the head at the start of the last
   * complete sweep. Only grows.
   */
  sweptThrough = 0;

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
  /** True while the group stands in the pump's queue. */
  queued = false;
  nextQueued: Group<Socket> | undefined;
  /** Row the sweep goes on with, downwards; −1 when no sweep is under way. */
  sweepRow = -1;
  /** The head when the sweep under way began. */
  sweepHead = 0;
  /** True when a line was left with something to write, so that another sweep follows. */
  behind = false;

  /** Id of its channel's deletion: its lines are given nothing more and are being ended. */
  overAt: number | undefined;

  /** Turns the rows of the heartbeat wheel, so that groups of few lines do not all beat at once. */
  readonly phase: number;

  /* The last slice that `cut` made. */
  sliceBytes: Uint8Array = EMPTY;
  /** Id of the slice's last event. */
  sliceEnd = 0;
  sliceEvents = 0;

  constructor(
    key: string,
    channels: readonly Channel<Group<Socket>>[],
    mode: DeliveryMode<Socket>,
    phase: number,
  ) {
    super(channels);
    this.key = key;
    this.mode = mode;
    this.encoding = mode.encoding;
    this.phase = phase;
  }

  /** See core/channel.ts. */
  isHeldBackBeside(channel: unknown): boolean {
    if (!this.readsQueues) return false;
    for (const other of this.channels) if (other !== channel && other.queueLength > 0) return true;
    return false;
  }

  /**
   * True when its lines are given slices of the channels' frames; polls are answered from the
   * records.
   */
  get readsFrames(): boolean {
    return this.mode.port.kind !== 'poll';
  }

  /**
   * Cuts what follows `cursor` in id order: as many whole frames as fit `maxBytes`, or one larger
   * frame alone. Sets `sliceBytes` (valid while `version` stays and `buffer` is left alone),
   * `sliceEnd` and `sliceEvents`; false when nothing follows, or the first frame is larger than
   * `maxBytes` and `oversize` is not allowed. `buffer` has ≥ `maxBytes`.
   */
  cut(cursor: number, maxBytes: number, buffer: Buffer, oversize: boolean): boolean {
    const one = this.readsQueues ? undefined : this.channels[0]?.framesAfter(cursor, this.encoding);
    return one === undefined
      ? this.#cutMerged(cursor, maxBytes, buffer, oversize)
      : this.#cutRing(one, cursor, maxBytes, oversize);
  }

  #cutRing(ring: Ring, cursor: number, maxBytes: number, oversize: boolean): boolean {
    const from = ring.seqAfter(cursor);
    if (from === ring.headSeq || (!oversize && ring.sizeAt(from) > maxBytes)) return false;
    const to = ring.runEnd(from, maxBytes);
    this.sliceBytes = ring.view(from, to);
    this.sliceEnd = ring.idAt(to - 1);
    this.sliceEvents = to - from;
    return true;
  }

  #cutMerged(cursor: number, maxBytes: number, buffer: Buffer, oversize: boolean): boolean {
    let bytes = 0;
    let events = 0;
    let end = cursor;
    const merge = new Merge(this, cursor);
    while (merge.next()) {
      const frame = merge.channel.frameAt(merge.seq, this.encoding);
      if (frame === undefined) continue;
      if (bytes + frame.length > maxBytes) {
        if (events > 0) break;
        if (!oversize) return false;
        this.sliceBytes = Buffer.from(frame);
        this.sliceEnd = merge.id;
        this.sliceEvents = 1;
        return true;
      }
      buffer.set(frame, bytes);
      bytes += frame.length;
      events++;
      end = merge.id;
    }
    if (events === 0) return false;
    this.sliceBytes = buffer.subarray(0, bytes);
    this.sliceEnd = end;
    this.sliceEvents = events;
    return true;
  }
}

const EMPTY = Buffer.alloc(0);
