/**
 * The pump: sweeps the lines of every group that has something new, and writes to each line
 * everything between its cursor and the head in as few corks as possible. The faster events come,
 * the larger the slices, so the cost per event falls as load rises.
 */
import type { Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import {
  CATCH_UP_CORKS_MAX,
  CORK_WRITE_BYTES_MAX,
  IDLE_ROWS_PER_CORK,
  SWEEP_CHECK_CORKS,
  SWEEP_SLICE_AWAITED_MS,
  SWEEP_SLICE_MS,
} from '../limits.js';
import type { CompressedSlices } from './compressed-slices.js';
import type { Group } from './group.js';
import { GraceWindows } from './grace-windows.js';
import { CATCHING_UP, DRAINED, HEALTHY, STALLED } from './line-table.js';
import type { LossClock } from './loss-clock.js';
import type { LinePort } from './ports.js';
import type { Progress } from './progress.js';
import { SliceCache } from './slice-cache.js';

const CORKS_PER_ROW = 1 / IDLE_ROWS_PER_CORK;

/** What the pump asks of the hub. */
interface PumpOwner {
  /** The log's next answer, which publishers wait for, is more urgent than a long slice. */
  isAnswerAwaited(): boolean;
  /** A sweep is complete, or a grace period over: more may be evicted, and more may enter. */
  swept(group: Group): void;
  /** A sweep has few lines left: a log that answers later may be given more. */
  nearlySwept(group: Group): void;
  /** Ends a line that is too slow for `--slow close`, which removes its row. */
  endSlow(group: Group, row: number): void;
  /** Answers a waiting poll with what came, which removes its row. */
  answerPoll(group: Group, row: number): void;
}

/** What gives lines what the log keeps (core/history-lines.ts). */
interface HistoryReader {
  /** The line, which was given the log's past before it stalled, is to be given more of it. */
  add(group: Group, row: number): void;
  /** The rings have moved past the line's cursor. */
  lapped(group: Group, row: number): void;
}

export class Pump {
  /** Gives lines what the log keeps; undefined where it keeps nothing. Written by core/hub.ts. */
  history: HistoryReader | undefined;
  /** Step of the heartbeat wheel: the time of each write. Written by core/heartbeat.ts. */
  step = 0;
  readonly grace: GraceWindows;

  readonly #owner: PumpOwner;
  readonly #progress: Progress;
  readonly #lossClock: LossClock;
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #flushIntervalMs: number;
  /** Bytes of the largest write to a stream. */
  readonly #writeBytesMax: number;
  readonly #streamSlices: SliceCache;
  readonly #messageSlices = new SliceCache(CORK_WRITE_BYTES_MAX, true);
  /** The queue of groups to sweep, linked through `nextQueued`. */
  #firstQueued: Group | undefined;
  #lastQueued: Group | undefined;
  #scheduled = false;
  /** Number of the slice, counting from 1. */
  #slice = 0;
  /** Groups whose sweep has ended in this slice and that have something new again. */
  #again: Group[] = [];
  #cancelFlush: (() => void) | undefined;
  /** Corks written since the start. */
  #corks = 0;

  constructor(
    owner: PumpOwner,
    progress: Progress,
    lossClock: LossClock,
    clock: Clock,
    counters: Counters,
    options: { readonly flushIntervalMs: number; readonly writeBytesMax?: number },
  ) {
    this.#writeBytesMax = options.writeBytesMax ?? CORK_WRITE_BYTES_MAX;
    this.#streamSlices = new SliceCache(this.#writeBytesMax, true);
    this.#owner = owner;
    this.#progress = progress;
    this.#lossClock = lossClock;
    this.#clock = clock;
    this.#counters = counters;
    this.#flushIntervalMs = options.flushIntervalMs;
    this.grace = new GraceWindows(clock, counters, (group) => owner.swept(group));
  }

  /**
   * The group has something new. It goes out in the next turn of the loop, or after the interval.
   */
  wake(group: Group): void {
    this.#enqueue(group);
    if (this.#flushIntervalMs === 0) this.flush();
    else this.#cancelFlush ??= this.#clock.later(this.#flushIntervalMs, () => this.flush());
  }

  /** A line of the group is behind: a sweep follows in the next turn of the loop. */
  wakeBehind(group: Group): void {
    group.behind = true;
    this.#enqueue(group);
    this.flush();
  }

  /** Everything goes out in the next turn of the loop, before a flush interval is over. */
  flush(): void {
    if (this.#cancelFlush !== undefined) {
      this.#cancelFlush();
      this.#cancelFlush = undefined;
    }
    if (this.#scheduled || this.#firstQueued === undefined) return;
    this.#scheduled = true;
    this.#clock.soon(this.#run);
  }

  /** True when every line that takes bytes has been given everything. */
  get isIdle(): boolean {
    return this.#firstQueued === undefined && this.#again.length === 0;
  }

  #enqueue(group: Group): void {
    if (group.queued) return;
    group.queued = true;
    if (group.sweptInSlice === this.#slice) this.#again.push(group);
    else this.#append(group);
  }

  #append(group: Group): void {
    if (this.#lastQueued === undefined) this.#firstQueued = group;
    else this.#lastQueued.nextQueued = group;
    this.#lastQueued = group;
  }

  #dequeue(): Group | undefined {
    const group = this.#firstQueued;
    if (group === undefined) return undefined;
    this.#firstQueued = group.nextQueued;
    if (this.#firstQueued === undefined) this.#lastQueued = undefined;
    group.nextQueued = undefined;
    group.queued = false;
    return group;
  }

  /**
   * One slice of time: groups take turns until it is over, and go on later from the row where they
   * stopped, with whatever is newest then. One that is fed faster than its few lines are swept does
   * not begin again before the others are done, or their slice is over.
   */
  readonly #run = (): void => {
    this.#scheduled = false;
    this.#slice++;
    const sliceMs = this.#owner.isAnswerAwaited() ? SWEEP_SLICE_AWAITED_MS : SWEEP_SLICE_MS;
    const until = this.#clock.nowMs() + sliceMs;
    for (let group = this.#dequeue(); group !== undefined; group = this.#dequeue()) {
      if (group.deletedAt === undefined && !this.#sweep(group)) this.#enqueue(group);
      if (this.#clock.nowMs() >= until) break;
      if (this.#firstQueued === undefined) this.#takeAgain();
    }
    this.#takeAgain();
    this.flush();
  };

  #takeAgain(): void {
    for (const group of this.#again) this.#append(group);
    this.#again = [];
    this.#slice++;
  }

  /** Goes on with a group's sweep for a few corks. Returns true when its lines are done for now. */
  #sweep(group: Group): boolean {
    const { table, set, compressed } = group;
    const begins = group.sweepRow < 0;
    if (begins) {
      group.sweepHead = this.#progress.through(set);
      group.behind = false;
      group.sweepRow = table.count - 1;
    }
    const { cursors, states } = table;
    const { port } = group.mode;
    // Downwards: a removal moves the last row, which was visited already, into the free place.
    let row = Math.min(group.sweepRow, table.count - 1);
    const plain = port.kind === 'message' ? this.#messageSlices : this.#streamSlices;
    const slices = compressed ?? plain;
    const newest =
      compressed === undefined
        ? set.newestId
        : compressed.sweepHead(set.newestId, row, table.count, begins);
    const firstCork = this.#corks;
    // Nothing is lost while a sweep's rows are visited, since nothing enters.
    const { lostThrough } = set;
    const { sockets, lastWrites } = table;
    const { step } = this;
    // The one slice that brings a healthy line from `stepFrom` to the newest event.
    let stepFrom = Number.NaN;
    let stepBytes = plain.bytes;
    let stepEvents = 0;
    let stepCorks = 0;
    let stepBytesSum = 0;
    let stepEventsSum = 0;
    let idleRows = 0;
    for (
      ;
      row >= 0 &&
      this.#corks - firstCork + stepCorks + idleRows * CORKS_PER_ROW < SWEEP_CHECK_CORKS;
      row--
    ) {
      const state = states[row];
      const cursor = cursors[row] as number;
      // Most rows of most sweeps: a line in step with the one before it. Its visit is what #visit
      // comes to for it.
      if (cursor === stepFrom && state === HEALTHY) {
        stepCorks++;
        stepBytesSum += stepBytes.length;
        stepEventsSum += stepEvents;
        cursors[row] = newest;
        lastWrites[row] = step;
        if (!(port as LinePort).write(sockets[row], stepBytes)) this.stall(group, row);
        continue;
      }
      // A drained line is probed even at the head: until it has taken bytes it is not healthy, and
      // is sent no heartbeat.
      // The same holds for every state from STALLED on.
      if ((state as number) >= STALLED || (cursor >= newest && state !== DRAINED)) {
        idleRows++;
      } else if (port.kind === 'poll') {
        this.#corks++;
        this.#owner.answerPoll(group, row);
      } else {
        this.#visit(group, port, slices, row, newest);
        // It may have cut other slices, into the buffer of this one.
        stepFrom = Number.NaN;
        if (compressed === undefined && state === HEALTHY && cursor >= lostThrough) {
          const { start, end, bytes, events } = plain;
          if (start === cursor && end === newest && bytes.length <= this.#writeBytesMax) {
            stepFrom = cursor;
            stepBytes = bytes;
            stepEvents = events;
          }
        }
      }
    }
    if (stepCorks > 0) {
      this.#corks += stepCorks;
      this.#counters.writes_total += stepCorks;
      this.#counters.written_bytes_total += stepBytesSum;
      this.#counters.deliveries_total += stepEventsSum;
    }
    const { isNearlySwept: wasNearlySwept } = group;
    group.sweepRow = row;
    if (row >= 0) {
      if (group.isNearlySwept && !wasNearlySwept) this.#owner.nearlySwept(group);
      return false;
    }
    group.sweptInSlice = this.#slice;
    if (group.sweepHead > group.sweptThrough) group.sweptThrough = group.sweepHead;
    if (group.graceThrough !== Infinity) this.grace.update(group);
    if (compressed !== undefined) group.countSaved(compressed.ratio);
    this.#counters.sweeps_total++;
    this.#owner.swept(group);
    const isDone = !group.behind && set.newestId <= group.sweepHead;
    if (isDone) compressed?.clear();
    return isDone;
  }

  /** Brings one line to `newest`, or as far as it takes bytes. */
  #visit(
    group: Group,
    port: LinePort,
    slices: SliceCache | CompressedSlices,
    row: number,
    newest: number,
  ): void {
    const { table, set, compressed } = group;
    const socket = table.sockets[row];
    const state = table.states[row];
    let cursor = table.cursors[row] as number;
    if (state === DRAINED) {
      table.lastWrites[row] = this.step;
      this.#corks++;
      if (!port.write(socket, group.encoding.probe)) {
        table.setState(row, STALLED);
        return;
      }
      table.setState(row, CATCHING_UP);
      this.#counters.lines_resumed_total++;
      if ((table.losses[row] as number) < 0) {
        this.history?.add(group, row);
        return;
      }
    }
    if (set.hasLost(cursor, table.losses[row] as number)) {
      if (!this.#sendGapNotice(group, port, row, newest)) return;
      cursor = table.cursors[row] as number;
    }
    // What a healthy line is owed is bounded by the in-flight window. One that is catching up must
    // not hold up the sweep.
    let corksLeft = state === HEALTHY ? Infinity : CATCH_UP_CORKS_MAX;
    // A compressed line takes one slice beyond what the sweep must give: the head has moved on
    // meanwhile, and a second write for a few events costs as much as one for many.
    // The sweep's head may be an id of another channel, above all that there is here: to look for
    // that would find nothing, and cost the line its dictionary.
    const enough =
      compressed === undefined || state !== HEALTHY ? newest : Math.min(newest, group.sweepHead);
    let goal = newest;
    let taken = true;
    while (taken && cursor < goal && corksLeft-- > 0) {
      goal = enough;
      if (!slices.find(group, cursor, row)) {
        // Everything after the cursor was evicted, and the gap notice already covers it. If the
        // cursor stayed behind, the line would be swept for ever.
        cursor = newest;
        table.interrupt(row, newest);
        break;
      }
      taken = this.write(port, socket, slices.bytes);
      cursor = slices.end;
      this.#counters.deliveries_total += slices.events;
    }
    table.advance(row, cursor);
    table.lastWrites[row] = this.step;
    if (!taken) this.stall(group, row);
    else if (cursor >= newest) table.setState(row, HEALTHY);
    else group.behind = true;
  }

  /**
   * Writes a slice. On a stream a frame larger than a write goes out in pieces, all of them,
   * whatever the socket answers.
   */
  write(port: LinePort, socket: unknown, bytes: Uint8Array): boolean {
    this.#counters.written_bytes_total += bytes.length;
    const max = this.#writeBytesMax;
    if (bytes.length <= max || port.kind === 'message') {
      this.#corks++;
      this.#counters.writes_total++;
      return port.write(socket, bytes);
    }
    let taken = true;
    for (let at = 0; at < bytes.length; at += max) {
      this.#corks++;
      this.#counters.writes_total++;
      if (!port.write(socket, bytes.subarray(at, at + max))) taken = false;
    }
    return taken;
  }

  /**
   * The line refused bytes: nothing is written to it until its socket has drained. All that is kept
   * for it is its cursor.
   */
  stall(group: Group, row: number): void {
    if (group.table.states[row] === HEALTHY) this.grace.start(group, row);
    group.table.setState(row, STALLED);
    this.#counters.lines_stalled_total++;
  }

  /** The line's socket has drained: it catches up from the ring in the next turn of the loop. */
  drained(group: Group, row: number): void {
    if (group.table.states[row] !== STALLED) return;
    if (group.graceThrough !== Infinity) this.grace.drained(group, row);
    if (group.mode.port.kind === 'stream') {
      group.table.setState(row, DRAINED);
    } else {
      this.#counters.lines_resumed_total++;
      if ((group.table.losses[row] as number) < 0) {
        this.history?.add(group, row);
        return;
      }
      const isAtHead = (group.table.cursors[row] as number) >= group.set.newestId;
      group.table.setState(row, isAtHead ? HEALTHY : CATCHING_UP);
    }
    this.wakeBehind(group);
  }

  /**
   * The ring has moved past the line's cursor. Where the log keeps what it has lost, the line is
   * given that. False when no more may be written to it now.
   */
  #sendGapNotice(group: Group, port: LinePort, row: number, newest: number): boolean {
    const { table, set } = group;
    // A healthy line is not slow: it was left behind on one channel for what waits on another.
    const slow = table.states[row] === HEALTHY ? 'gap' : group.slow;
    if (this.history !== undefined && slow === 'gap') {
      this.history.lapped(group, row);
      return false;
    }
    if (slow === 'close') {
      this.#counters.slow_closed_total++;
      this.#owner.endSlow(group, row);
      return false;
    }
    const cursor = table.cursors[row] as number;
    const skip = slow === 'latest';
    // "latest" goes on with the newest event, so that the line has the latest state. On several
    // channels some may hold events older than the loss: the gap ends after all that is lost.
    const before = set.firstIdAfter(skip ? newest - 1 : Math.max(cursor, set.lostThrough));
    this.#counters.gaps_total++;
    this.#counters.gaps_slow_total++;
    if (skip) {
      this.#counters.slow_latest_total++;
      table.advance(row, Math.max(cursor, newest - 1));
    }
    table.losses[row] = this.#lossClock.count;
    table.interrupt(row, Math.max(table.cursors[row] as number, set.lostThrough));
    this.#corks++;
    if (port.write(table.sockets[row], group.encoding.gap(cursor, before ?? null))) return true;
    this.stall(group, row);
    return false;
  }
}
