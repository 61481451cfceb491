/**
 * Windows of grace, one at a time for a group: who is in it, who is judged when it ends, and which
 * channels pay for what was in vain. The arithmetic is in core/grace.ts.
 */
import type { Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import { GRACE_BUDGET_MS_PER_SECOND, GRACE_LATE_MS, GRACE_MS_MIN, GRACE_MS } from '../limits.js';
import type { Group } from './group.js';
import {
  DISTRUSTED,
  GraceBudget,
  graceGoal,
  graceWindowMs,
  trustedFromFailure,
  YOUNG,
} from './grace.js';
import { IN_GRACE, LATE_IN_GRACE, NO_GRACE, STALLED } from './lines.js';

export class GraceWindows<Socket> {
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #beganMs: number;
  /** A window has ended: more may be evicted, and more may enter. */
  readonly #onEnd: (group: Group<Socket>) => void;

  constructor(clock: Clock, counters: Counters, onEnd: (group: Group<Socket>) => void) {
    this.#clock = clock;
    this.#counters = counters;
    this.#beganMs = clock.nowMs();
    this.#onEnd = onEnd;
  }

  /**
   * A line that has kept up refused bytes: most such sockets drain at once, so that it is in grace,
   * if it may be.
   */
  start(group: Group<Socket>, row: number): void {
    const { table } = group;
    const nowMs = this.#clock.nowMs();
    const trust = table.trustOf(row, this.#secondAt(nowMs));
    if (trust === DISTRUSTED) return;
    const leftMs = graceLeftMs(group, nowMs);
    if (trust === YOUNG && leftMs < GRACE_MS_MIN) return;
    const cursor = table.cursors[row] as number;
    if (group.graceThrough !== Infinity) {
      table.startGrace(row, LATE_IN_GRACE);
      group.graceLateMs = Math.min(group.graceLateMs, nowMs);
      group.graceThrough = Math.min(group.graceThrough, cursor);
      return;
    }
    table.startGrace(row, IN_GRACE);
    for (const channel of group.channels) channel.groupsInGrace++;
    group.graceThrough = cursor;
    group.graceSinceMs = nowMs;
    noteRefusals(group);
    this.#open(group, graceWindowMs(leftMs));
  }

  /** The lines in grace have so long to take what their pace asks for. */
  #open(group: Group<Socket>, windowMs: number): void {
    group.graceGoal = graceGoal(group.graceThrough, group.newestId, windowMs);
    this.#endIn(group, windowMs, false);
  }

  #endIn(group: Group<Socket>, ms: number, isExtended: boolean): void {
    const window = ++group.graceWindow;
    group.graceEndsMs = this.#clock.nowMs() + ms;
    group.cancelGrace = this.#clock.later(ms, () => {
      // One turn later: sockets that have drained while the loop was busy elsewhere have been heard
      // of by then.
      this.#clock.soon(() => {
        if (group.graceWindow !== window) return;
        const lateMs = this.#clock.nowMs() - group.graceEndsMs;
        if (lateMs > GRACE_LATE_MS && !isExtended)
          this.#endIn(group, Math.min(lateMs, GRACE_MS), true);
        else this.#close(group);
      });
    });
  }

  /**
   * The window's time is up: those who took nothing are slow lines like any other. What that cost
   * is their channels' to pay.
   */
  #close(group: Group<Socket>): void {
    const nowMs = this.#clock.nowMs();
    const held = hasHeld(group);
    // Where the budget is short windows are, too; but while nobody is held back by it there is no
    // hurry.
    const isOver = held || nowMs - group.graceSinceMs >= GRACE_MS - 1;
    if (isOver) {
      const trustedFrom = held ? trustedFromFailure(this.#secondAt(nowMs)) : undefined;
      const vain = group.table.judgeGrace(group.graceGoal, group.newestId, trustedFrom);
      if (vain > 0 && held) {
        this.#counters.grace_failed_total += vain;
        spend(group, group.graceSinceMs, nowMs);
      }
    }
    this.look(group);
    if (group.graceThrough !== Infinity) {
      if (isOver) {
        group.graceSinceMs = Math.min(nowMs, group.graceLateMs);
        group.graceLateMs = Infinity;
        noteRefusals(group);
      }
      this.#open(group, graceWindowMs(graceLeftMs(group, nowMs)));
    }
    this.#onEnd(group);
  }

  /**
   * A line is about to be removed. One that goes in the middle of its grace has used it in vain, or
   * coming back on a new line would make it free.
   */
  leaves(group: Group<Socket>, row: number): void {
    const grace = group.table.inGrace[row];
    if (grace === NO_GRACE || group.table.states[row] !== STALLED || !hasHeld(group)) return;
    this.#counters.grace_failed_total++;
    spend(
      group,
      grace === LATE_IN_GRACE ? group.graceLateMs : group.graceSinceMs,
      this.#clock.nowMs(),
    );
  }

  /** Lines in grace may have been given more, have caught up, or have gone. */
  look(group: Group<Socket>): void {
    if (group.table.graceCount > 0) group.graceThrough = group.table.graceThrough;
    else this.end(group);
  }

  /** No line of the group is in grace any more. */
  end(group: Group<Socket>): void {
    if (group.graceThrough === Infinity) return;
    group.cancelGrace?.();
    group.cancelGrace = undefined;
    group.graceWindow++;
    group.graceThrough = Infinity;
    group.graceLateMs = Infinity;
    group.table.endGrace();
    for (const channel of group.channels) channel.groupsInGrace--;
  }

  #secondAt(nowMs: number): number {
    return Math.floor((nowMs - this.#beganMs) / 1000);
  }
}

/** What the group's channels may still spend on grace: as much as the one that has least. */
function graceLeftMs<Socket>(group: Group<Socket>, nowMs: number): number {
  let leastMs = GRACE_BUDGET_MS_PER_SECOND;
  for (const { graceBudget } of group.channels)
    if (graceBudget !== undefined) leastMs = Math.min(leastMs, graceBudget.leftMs(nowMs));
  return leastMs;
}

/** From here on it counts whether a channel is held back. */
function noteRefusals<Socket>({ channels, graceRefusals }: Group<Socket>): void {
  for (let i = 0; i < channels.length; i++) graceRefusals[i] = channels[i]?.graceRefusals as number;
}

/**
 * True when one of its channels has been held back for the sake of lines in grace since that was
 * noted.
 */
function hasHeld<Socket>({ channels, graceRefusals }: Group<Socket>): boolean {
  for (let i = 0; i < channels.length; i++)
    if (channels[i]?.graceRefusals !== graceRefusals[i]) return true;
  return false;
}

/** Those of its channels that were held back pay for it. */
function spend<Socket>(group: Group<Socket>, sinceMs: number, nowMs: number): void {
  for (const [i, channel] of group.channels.entries()) {
    if (channel.graceRefusals === group.graceRefusals[i]) continue;
    channel.graceBudget ??= new GraceBudget(nowMs);
    channel.graceBudget.spend(sinceMs, nowMs);
  }
}
