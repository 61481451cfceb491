/**
 * The pump: sweeps the lines of every group that has something to say, and writes to each
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
  SWEEP_SLICE_MS,
} from '../limits.js';
import { lossesSoFar } from './channel.js';
import type { Group } from './group.js';
import { GraceWindows } from './grace-windows.js';
import { CATCHING_UP, DRAINED, HEALTHY, STALLED } from './lines.js';
import type { LinePort } from './ports.js';
import { SliceCache } from './slice-cache.js';

const CORKS_PER_ROW = 1 / IDLE_ROWS_PER_CORK;

/** What becomes of a line that has stalled until the ring moved past its cursor. */
export type SlowPolicy = 'gap' | 'latest' | 'close';

/** What the pump asks of the hub. */
interface PumpOwner<Socket> {
  /** Id up to which every entry of the group's channels can be read. */
  through(group: Group<Socket>): number;
  /**
   * A sweep over the group is complete, or a line of it is in grace no longer: more may be evicted,
   * and more may enter.
   */
  swept(group: Group<Socket>): void;
  /** A line is too slow for `--slow close`: end it, which removes its row. */
  endSlow(group: Group<Socket>, row: number): void;
  /** There is something for a poll that waits: answer it, which removes its row. */
  answerPoll(group: Group<Socket>, row: number): boolean;
}

export class Pump<Socket> {
  /**
   * Step of the heartbeat wheel, stamped on every line that is written to. Written by
   * core/heartbeat.ts.
   */
  step = 0;
  readonly grace: GraceWindows<Socket>;

  readonly #owner: PumpOwner<Socket>;
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #slow: SlowPolicy;
  readonly #flushIntervalMs: number;
  readonly #slices = new SliceCache<Socket>(CORK_WRITE_BYTES_MAX, true);
  /** Groups whose turn comes, first to last, linked through `nextQueued`. */
  #firstQueued: Group<Socket> | undefined;
  #lastQueued: Group<Socket> | undefined;
  #scheduled = false;
  #cancelFlush: (() => void) | undefined;
  /** Corks written since the start. */
  #corks = 0;

  constructor(
    owner: PumpOwner<Socket>,
    clock: Clock,
    counters: Counters,
    options: { readonly slow: SlowPolicy; readonly flushIntervalMs: number },
  ) {
    this.#owner = owner;
    this.#clock = clock;
    this.#counters = counters;
    this.#slow = options.slow;
    this.#flushIntervalMs = options.flushIntervalMs;
    this.grace = new GraceWindows(clock, counters, (group) => owner.swept(group));
  }

  /**
   * The group has something new. It goes out in the next turn of the loop, or after
   * `--flush-interval`.
   */
  wake(group: Group<Socket>): void {
    this.#enqueue(group);
    if (this.#flushIntervalMs === 0) this.flush();
    else this.#cancelFlush ??= this.#clock.later(this.#flushIntervalMs, () => this.flush());
  }

  /** A line of the group is behind: it is looked at in the next turn of the loop. */
  wakeBehind(group: Group<Socket>): void {
    group.behind = true;
    this.#enqueue(group);
    this.flush();
  }

  /** What waits goes out in the next turn of the loop, flush interval or not. */
  flush(): void {
    if (this.#cancelFlush !== undefined) {
      this.#cancelFlush();
      this.#cancelFlush = undefined;
    }
    if (this.#scheduled || this.#firstQueued === undefined) return;
    this.#scheduled = true;
    this.#clock.soon(this.#run);
  }

  /** True when no line that takes bytes is owed any. */
  get isIdle(): boolean {
    return this.#firstQueued === undefined;
  }

  #enqueue(group: Group<Socket>): void {
    if (group.queued) return;
    group.queued = true;
    if (this.#lastQueued === undefined) this.#firstQueued = group;
    else this.#lastQueued.nextQueued = group;
    this.#lastQueued = group;
  }

  #dequeue(): Group<Socket> | undefined {
    const group = this.#firstQueued;
    if (group === undefined) return undefined;
    this.#firstQueued = group.nextQueued;
    if (this.#firstQueued === undefined) this.#lastQueued = undefined;
    group.nextQueued = undefined;
    group.queued = false;
    return group;
  }

  /**
   * One slice of the sweep: groups take turns until the time is up, and go on where they stopped
   * with whatever is newest then.
   */
  readonly #run = (): void => {
    this.#scheduled = false;
    const until = this.#clock.nowMs() + SWEEP_SLICE_MS;
    for (let group = this.#dequeue(); group !== undefined; group = this.#dequeue()) {
      if (group.overAt === undefined && !this.#sweep(group)) this.#enqueue(group);
      if (this.#clock.nowMs() >= until) break;
    }
    this.flush();
  };

  /** Goes on with a group's sweep for a few corks. Returns true when its lines are done for now. */
  #sweep(group: Group<Socket>): boolean {
    const { table } = group;
    if (group.sweepRow < 0) {
      group.sweepHead = this.#owner.through(group);
      group.behind = false;
      group.sweepRow = table.count - 1;
    }
    const newest = group.newestId;
    const { cursors, states } = table;
    const { port } = group.mode;
    // Downwards: a removal moves the last row, which has been visited, into the place of the one
    // that went (core/lines.ts).
    let row = Math.min(group.sweepRow, table.count - 1);
    const firstCork = this.#corks;
    let idleRows = 0;
    for (
      ;
      row >= 0 && this.#corks - firstCork + idleRows * CORKS_PER_ROW < SWEEP_CHECK_CORKS;
      row--
    ) {
      const state = states[row];
      // A drained line is asked even at the head: until it has taken bytes it is not counted on,
      // and no heartbeat goes out to it.
      if (state === STALLED || ((cursors[row] as number) >= newest && state !== DRAINED)) {
        idleRows++;
      } else if (port.kind === 'poll') {
        this.#corks++;
        this.#owner.answerPoll(group, row);
      } else {
        this.#visit(group, port, row, newest);
      }
    }
    group.sweepRow = row;
    if (row >= 0) return false;
    if (group.sweepHead > group.sweptThrough) group.sweptThrough = group.sweepHead;
    if (group.graceThrough !== Infinity) this.grace.look(group);
    this.#counters.sweeps_total++;
    this.#owner.swept(group);
    return !group.behind && group.newestId <= group.sweepHead;
  }

  /** Brings one line to `newest`, or as far as it takes bytes. */
  #visit(group: Group<Socket>, port: LinePort<Socket>, row: number, newest: number): void {
    const { table } = group;
    const socket = table.sockets[row] as Socket;
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
    }
    if (group.hasLost(cursor, table.losses[row] as number)) {
      if (!this.#sendGapNotice(group, port, row, newest)) return;
      cursor = table.cursors[row] as number;
    }
    // A healthy line is given everything, which the ring bounds; one that is catching up must not
    // hold the sweep.
    let corksLeft = state === HEALTHY ? Infinity : CATCH_UP_CORKS_MAX;
    let taken = true;
    while (taken && cursor < newest && corksLeft-- > 0) {
      if (!this.#slices.find(group, cursor)) {
        // What followed is gone, and the line has been told: it waits for nothing. Left behind, it
        // would be swept for ever.
        cursor = newest;
        break;
      }
      taken = this.#write(port, socket, this.#slices.bytes);
      cursor = this.#slices.end;
      this.#counters.deliveries_total += this.#slices.events;
    }
    table.advance(row, cursor);
    table.lastWrites[row] = this.step;
    if (!taken) this.stall(group, row);
    else if (cursor >= newest) table.setState(row, HEALTHY);
    else group.behind = true;
  }

  /**
   * Writes a slice. On a stream a frame larger than a cork goes out whole, a cork a piece, whatever
   * the socket answers.
   */
  #write(port: LinePort<Socket>, socket: Socket, bytes: Uint8Array): boolean {
    this.#counters.written_bytes_total += bytes.length;
    if (bytes.length <= CORK_WRITE_BYTES_MAX || port.kind === 'message') {
      this.#corks++;
      this.#counters.writes_total++;
      return port.write(socket, bytes);
    }
    let taken = true;
    for (let at = 0; at < bytes.length; at += CORK_WRITE_BYTES_MAX) {
      this.#corks++;
      this.#counters.writes_total++;
      if (!port.write(socket, bytes.subarray(at, at + CORK_WRITE_BYTES_MAX))) taken = false;
    }
    return taken;
  }

  /**
   * The line refused bytes: nothing is written to it until its socket has drained. Its cursor is
   * all it costs.
   */
  stall(group: Group<Socket>, row: number): void {
    if (group.table.states[row] === HEALTHY) this.grace.start(group, row);
    group.table.setState(row, STALLED);
    this.#counters.lines_stalled_total++;
  }

  /** The line's socket has drained: it is caught up from the ring in the next turn of the loop. */
  drained(group: Group<Socket>, row: number): void {
    if (group.table.states[row] !== STALLED) return;
    if (group.mode.port.kind === 'stream') {
      group.table.setState(row, DRAINED);
    } else {
      const isAtHead = (group.table.cursors[row] as number) >= group.newestId;
      group.table.setState(row, isAtHead ? HEALTHY : CATCHING_UP);
      this.#counters.lines_resumed_total++;
    }
    this.wakeBehind(group);
  }

  /**
   * The ring has moved past the line's cursor. Returns false when nothing more may be written to it
   * now.
   */
  #sendGapNotice(
    group: Group<Socket>,
    port: LinePort<Socket>,
    row: number,
    newest: number,
  ): boolean {
    const { table } = group;
    if (this.#slow === 'close') {
      this.#counters.slow_closed_total++;
      this.#owner.endSlow(group, row);
      return false;
    }
    const cursor = table.cursors[row] as number;
    const skip = this.#slow === 'latest';
    // "latest" goes on with the newest event, so that the line has the present state and not only
    // the news that it lacks some. On several channels others may still hold events from before the
    // loss: what is told reaches past all that is lost.
    const before = group.firstIdAfter(skip ? newest - 1 : Math.max(cursor, group.lostThrough));
    this.#counters.gaps_total++;
    this.#counters.gaps_slow_total++;
    if (skip) {
      this.#counters.slow_latest_total++;
      table.cursors[row] = Math.max(cursor, newest - 1);
    }
    table.losses[row] = lossesSoFar();
    this.#corks++;
    if (port.write(table.sockets[row] as Socket, group.encoding.gap(cursor, before ?? null)))
      return true;
    this.stall(group, row);
    return false;
  }
}
