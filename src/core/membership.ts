/**
 * Membership: lines are added to a group and leave it, by themselves or with an end event. What is
 * counted for a line is counted here.
 */
import type { Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import { ENDS, type CloseReason, type EndCode } from '../errors.js';
import type { Channels } from './channels.js';
import type { Group } from './group.js';
import type { Groups } from './groups.js';
import { READING, STALLED } from './line-table.js';
import { Lines } from './lines.js';
import type { Progress } from './progress.js';
import { Owners, type Owner } from './owners.js';
import type { Pump } from './pump.js';
import type { LineCountListener } from './watchers.js';

/** The parts of the hub that membership keeps up to date. */
interface MembershipParts {
  readonly channels: Channels;
  readonly groups: Groups;
  readonly pump: Pump;
  readonly progress: Progress;
}

/** What membership asks of the hub. */
interface MembershipOwner {
  /** Answers a waiting poll without events, which removes its row, for that reason. */
  answerEmpty(group: Group, row: number, reason: CloseReason): void;
  /** The line, or the poll, has no row any more. Its owner is still known. */
  removed(group: Group, handle: number, reason: CloseReason): void;
}

export class Membership {
  readonly lines = new Lines<unknown, Group>();
  readonly owners = new Owners();
  /** True at the end of a drain, when all sockets are closed: nobody leaves by himself any more. */
  isClosing = false;
  /** Hears of lines by channel; undefined while nobody watches. Written by core/watchers.ts. */
  listener: LineCountListener | undefined;
  /** Hears of rows that became another line's. Written by core/hub.ts. */
  onMoved: ((group: Group, row: number) => void) | undefined;

  readonly #clock: Clock;
  readonly #beganMs: number;
  readonly #counters: Counters;
  readonly #parts: MembershipParts;
  readonly #owner: MembershipOwner;

  constructor(clock: Clock, counters: Counters, parts: MembershipParts, owner: MembershipOwner) {
    this.#clock = clock;
    this.#beganMs = clock.nowMs();
    this.#counters = counters;
    this.#parts = parts;
    this.#owner = owner;
  }

  /** Time since a second of the hub's life, ms. */
  sinceMs(second: number): number {
    return this.#clock.nowMs() - this.#beganMs - second * 1000;
  }

  /** Adds a line that has been given everything up to `cursor`. Returns its handle. */
  add(group: Group, socket: unknown, cursor: number, owner: Owner): number {
    const { channels, pump } = this.#parts;
    const openedSecond = Math.floor(this.sinceMs(0) / 1000);
    const losses = channels.lossClock.count;
    const handle = this.lines.add(group, socket, cursor, losses, pump.step, openedSecond);
    this.owners.add(handle, owner);
    for (const channel of group.channels) {
      const before = channel.lineCount++;
      this.listener?.changed(channel.name, before, before + 1);
      channels.rings.recount(channel);
    }
    group.countSaved();
    this.#counters.lines_opened_total++;
    return handle;
  }

  /** Removes the row of an open line, and the group with its last line. */
  remove(handle: number, reason: CloseReason): void {
    const { channels, groups, pump } = this.#parts;
    const row = this.lines.rowOf(handle);
    pump.grace.leaves(this.lines.groupAt(handle), row);
    const group = this.lines.remove(handle);
    if (row < group.table.count) this.onMoved?.(group, row);
    this.#counters.lines_closed_total++;
    this.#counters.closed[reason]++;
    for (const channel of group.channels) {
      const before = channel.lineCount--;
      this.listener?.changed(channel.name, before, before - 1);
    }
    group.countSaved();
    // It may have been the last line in grace: the next sweep finds out.
    if (group.graceThrough !== Infinity) pump.wakeBehind(group);
    if (group.table.count === 0) groups.detach(group);
    for (const channel of group.channels) if (channel.lineCount === 0) channels.released(channel);
    this.#owner.removed(group, handle, reason);
    this.owners.remove(handle);
  }

  /** The line's socket is gone, and who closed it. */
  left(handle: number, socket: unknown, by: 'client' | 'refused'): void {
    const group = this.lines.groupOf(handle, socket);
    if (group === undefined) return;
    const isStalled = group.table.states[this.lines.rowOf(handle)] === STALLED;
    if (isStalled) this.#counters.lines_closed_stalled_total++;
    const left = isStalled && by === 'client' ? 'stalled' : by;
    this.remove(handle, this.isClosing ? 'draining' : left);
  }

  /**
   * Ends a line with an end event; a poll is answered without events. With `retryMs` the client of
   * an event stream is told when to come back.
   */
  end(group: Group, row: number, code: EndCode, retryMs?: number): void {
    const { port } = group.mode;
    if (port.kind === 'poll') {
      this.#owner.answerEmpty(group, row, code);
      return;
    }
    const socket = group.table.sockets[row];
    this.remove(group.table.handles[row] as number, code);
    this.#counters.lines_ended_total++;
    port.end(socket, group.encoding.end(code, ENDS[code].reconnect, retryMs), code);
  }

  /**
   * Ends up to `count` lines that have been given everything that can be read, and everything up to
   * the id `through`. A stalled line may read on: once its socket has drained and it has caught up,
   * it is ended, too. One that is given the log's past is ended at once, since it can go on with
   * that anywhere. Clients of event streams are told to come back after `retryMs`, asked for
   * each. Returns how many lines are open.
   */
  endSome(count: number, code: EndCode, through: number, retryMs?: () => number): number {
    let left = count;
    for (const group of this.#parts.groups) {
      if (left <= 0) break;
      const { table, set } = group;
      if (this.#parts.progress.through(set) < through) continue;
      const { newestId } = set;
      for (let row = table.count - 1; row >= 0 && left > 0; row--) {
        const state = table.states[row];
        const isBehind = (table.cursors[row] as number) < newestId && state !== READING;
        if (state === STALLED || isBehind) continue;
        this.end(group, row, code, retryMs?.());
        left--;
      }
    }
    return this.lines.open;
  }
}
