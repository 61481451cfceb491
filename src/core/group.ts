/**
 * A group: the lines that are owed the same bytes, since they are on the same channels by the same
 * delivery mode.
 */
import { SWEEP_NEARLY_OVER_SHARE } from '../limits.js';
import type { Channel, Reader } from './channel.js';
import { ChannelSet } from './channel-set.js';
import type { CompressedSlices } from './compressed-slices.js';
import type { Encoding } from './frame.js';
import { LineTable } from './line-table.js';
import type { DeliveryMode } from './ports.js';
import { strictest, type SlowPolicy } from './slow-policy.js';

export class Group implements Reader {
  readonly key: string;
  readonly channels: readonly Channel<Group>[];
  /** What its lines are owed is read from here. */
  readonly set: ChannelSet;
  readonly mode: DeliveryMode;
  readonly encoding: Encoding;
  /** What its lines get when they are slow: the strictest of its channels' policies. */
  readonly slow: SlowPolicy;
  readonly table: LineTable<unknown>;
  /** What its lines are given where they are given gzip blocks. */
  readonly compressed: CompressedSlices | undefined;

  /**
   * Every healthy line has been given everything up to this id: the head at the start of the last
   * complete sweep. Only grows.
   */
  sweptThrough = 0;

  /* Grace (core/grace.ts), written by core/grace-windows.ts. */
  /** Every line in grace has been given everything up to this id; Infinity without such lines. */
  graceThrough = Infinity;
  /** A line that has been given nothing above this id at the end of the window took too little. */
  graceGoal = 0;
  /** When the first of the lines that are judged at that end came into grace, ms of the clock. */
  graceSinceMs = 0;
  /** The same for those that are judged one window later; Infinity without such lines. */
  graceLateMs = Infinity;
  /** When `graceThrough` rose last, or publishers were last charged for it, ms of the clock. */
  graceMovedMs = 0;
  /** When the current window is to end, ms of the clock. */
  graceEndsMs = 0;
  /** Windows so far: a timer of an earlier window does nothing. */
  graceWindow = 0;
  /** Ends the window early. */
  cancelGrace: (() => void) | undefined;
  /** By channel: its `graceRefusals` when the lines to be judged came into grace. */
  readonly graceRefusals: number[] = [];

  /* The sweep's own state, written by core/pump.ts. */
  /** True while the group is in the pump's queue. */
  queued = false;
  nextQueued: Group | undefined;
  /** The slice of the pump in which its last sweep ended. */
  sweptInSlice = -1;
  /** Row at which the sweep goes on, downwards; −1 between sweeps. */
  sweepRow = -1;
  /** The head when the current sweep began. */
  sweepHead = 0;
  /** True when a line was left with something to write, so that another sweep follows. */
  behind = false;

  /** Where its lines that are behind the rings stand. Written by core/history-lines.ts. */
  shelf: unknown;

  /** Of its lines, those that its channels do not count for what compression saves. */
  #savedLineCount = 0;
  /** Its lines are written so many times fewer bytes than their events have; at least 1. */
  #savedRatio = 1;

  /** Id of the deletion of its channel: its lines are given nothing more and are being ended. */
  deletedAt: number | undefined;

  /** Shifts its rows on the heartbeat wheel, so that small groups do not all beat at once. */
  readonly phase: number;

  constructor(
    key: string,
    channels: readonly Channel<Group>[],
    mode: DeliveryMode,
    phase: number,
    compressed?: CompressedSlices,
  ) {
    this.key = key;
    this.channels = channels;
    this.set = channels.length === 1 ? (channels[0] as Channel).alone : new ChannelSet(channels);
    this.mode = mode;
    this.encoding = mode.encoding;
    this.slow = strictest(channels.map(({ slow }) => slow));
    this.phase = phase;
    this.compressed = compressed;
    this.table = new LineTable(compressed !== undefined);
  }

  /**
   * Tells its channels what compression saves a sweep, with every line that comes or leaves: else
   * they would take events for lines that are gone. `ratio` is what a sweep has found.
   */
  countSaved(ratio = this.#savedRatio): void {
    this.#savedRatio = ratio;
    const saved = Math.floor(this.table.count * (1 - 1 / ratio));
    if (saved === this.#savedLineCount) return;
    for (const channel of this.channels) channel.savedLineCount += saved - this.#savedLineCount;
    this.#savedLineCount = saved;
  }

  get readsQueues(): boolean {
    return this.set.readsQueues;
  }

  /** Its sweep has few lines left. */
  get isNearlySwept(): boolean {
    return this.sweepRow >= 0 && this.sweepRow < this.table.count * SWEEP_NEARLY_OVER_SHARE;
  }

  /** What {@link sweptThrough} will be when such a sweep has ended. */
  get soonSweptThrough(): number {
    return this.isNearlySwept ? Math.max(this.sweepHead, this.sweptThrough) : this.sweptThrough;
  }

  /** See core/channel.ts. */
  hasOtherQueue(channel: unknown): boolean {
    if (!this.readsQueues) return false;
    for (const other of this.channels) if (other !== channel && other.queueLength > 0) return true;
    return false;
  }

  /** True when its lines are given frames; polls are answered from the records. */
  get readsFrames(): boolean {
    return this.mode.port.kind !== 'poll';
  }
}
