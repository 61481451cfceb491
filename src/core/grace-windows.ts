/**
 * Windows of the grace period, one at a time for a group. When one ends, the lines that took too
 * little lose their grace, and the channels that they held up pay for it from their budgets. The
 * arithmetic is in core/grace.ts.
 */
import type { Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import {
  GRACE_BUDGET_MS_MAX,
  GRACE_LATE_MS,
  GRACE_MS,
  GRACE_PAUSE_MS,
  GRACE_YOUNG_MS_MIN,
} from '../limits.js';
import type { Group } from './group.js';
import {
  DISTRUSTED,
  GraceBudget,
  graceGoal,
  graceWindowMs,
  provenWindowMs,
  trustedFromFailure,
  YOUNG,
} from './grace.js';
import { IN_GRACE, LATE_IN_GRACE, NO_GRACE, STALLED } from './line-table.js';

export class GraceWindows {
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #beganMs: number;
  /** Called when a window has ended: more may be evicted, and more may enter. */
  readonly #onEnd: (group: Group) => void;

  constructor(clock: Clock, counters: Counters, onEnd: (group: Group) => void) {
    this.#clock = clock;
    this.#counters = counters;
    this.#beganMs = clock.nowMs();
    this.#onEnd = onEnd;
  }

  /**
   * A healthy line refused bytes. Most such sockets drain at once, so the line comes into grace if
   * its trust and the budgets allow.
   */
  start(group: Group, row: number): void {
    const { table } = group;
    const nowMs = this.#clock.nowMs();
    const trust = table.trustOf(row, this.#secondAt(nowMs));
    if (trust === DISTRUSTED) return;
    const leftMs = graceLeftMs(group, nowMs);
    if (trust === YOUNG && graceWindowMs(leftMs) < GRACE_YOUNG_MS_MIN) return;
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
    group.graceMovedMs = nowMs;
    noteRefusals(group);
    this.#open(group, trust === YOUNG ? graceWindowMs(leftMs) : provenWindowMs(leftMs));
  }

  /** Opens a window: in that time the lines in grace must take what is due. */
  #open(group: Group, windowMs: number): void {
    group.graceGoal = graceGoal(group.graceThrough, group.set.newestId, windowMs);
    this.#endIn(group, windowMs, false);
  }

  #endIn(group: Group, ms: number, isExtended: boolean): void {
    const window = ++group.graceWindow;
    group.graceEndsMs = this.#clock.nowMs() + ms;
    group.cancelGrace = this.#clock.later(ms, () => {
      // One turn later: drains that happened while the loop was busy have been reported by then.
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
   * The window is over. Lines that took too little are slow lines like any other, and what that
   * cost is paid from the budgets of their channels.
   */
  #close(group: Group): void {
    const nowMs = this.#clock.nowMs();
    const hasHeld = hasHeldUp(group);
    // A short budget makes short windows. As long as no channel was held up there is no hurry.
    const isOver = hasHeld || nowMs - group.graceSinceMs >= GRACE_MS - 1;
    if (isOver) {
      const trustedFrom = hasHeld ? trustedFromFailure(this.#secondAt(nowMs)) : undefined;
      const failed = group.table.judgeGrace(group.graceGoal, group.set.newestId, trustedFrom);
      if (failed > 0 && hasHeld) {
        this.#counters.grace_failed_total += failed;
        spend(group, group.graceSinceMs, nowMs);
      }
    }
    this.update(group);
    if (group.graceThrough !== Infinity) {
      if (isOver) {
        group.graceSinceMs = Math.min(nowMs, group.graceLateMs);
        group.graceLateMs = Infinity;
        noteRefusals(group);
      }
      this.#open(group, provenWindowMs(graceLeftMs(group, nowMs)));
    }
    this.#onEnd(group);
  }

  /**
   * A line's socket has drained. If publishers have been held for it all of a long pause, its
   * channels pay for that; and so does the line, where their budgets cannot.
   */
  drained(group: Group, row: number): void {
    const { table } = group;
    if (table.inGrace[row] === NO_GRACE || (table.cursors[row] as number) > group.graceThrough)
      return;
    const nowMs = this.#clock.nowMs();
    const pauseMs = nowMs - group.graceMovedMs;
    if (pauseMs < GRACE_PAUSE_MS || !hasHeldUp(group)) return;
    this.#counters.grace_pauses_total++;
    spend(group, group.graceMovedMs, nowMs);
    group.graceMovedMs = nowMs;
    if (graceLeftMs(group, nowMs) < 0) table.distrust(row, this.#secondAt(nowMs), pauseMs);
  }

  /**
   * A line is about to be removed. Leaving during grace counts as a failure; otherwise a reconnect
   * would make grace free.
   */
  leaves(group: Group, row: number): void {
    const grace = group.table.inGrace[row];
    if (grace === NO_GRACE || group.table.states[row] !== STALLED || !hasHeldUp(group)) return;
    this.#counters.grace_failed_total++;
    spend(
      group,
      grace === LATE_IN_GRACE ? group.graceLateMs : group.graceSinceMs,
      this.#clock.nowMs(),
    );
  }

  /** Lines in grace may have been given more, have caught up, or have gone. */
  update(group: Group): void {
    if (group.table.graceCount === 0) {
      this.end(group);
      return;
    }
    const { graceThrough } = group.table;
    if (graceThrough > group.graceThrough) group.graceMovedMs = this.#clock.nowMs();
    group.graceThrough = graceThrough;
  }

  /** No line of the group is in grace any more. */
  end(group: Group): void {
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

/** What the group's channels may still spend on grace: the least budget of them. */
function graceLeftMs(group: Group, nowMs: number): number {
  let leastMs = GRACE_BUDGET_MS_MAX;
  for (const { graceBudget } of group.channels)
    if (graceBudget !== undefined) leastMs = Math.min(leastMs, graceBudget.leftMs(nowMs));
  return leastMs;
}

/** Whether a channel is held up counts from now on. */
function noteRefusals({ channels, graceRefusals }: Group): void {
  for (let i = 0; i < channels.length; i++) graceRefusals[i] = channels[i]?.graceRefusals as number;
}

/** True when a channel has been held up by lines in grace since {@link noteRefusals}. */
function hasHeldUp({ channels, graceRefusals }: Group): boolean {
  for (let i = 0; i < channels.length; i++)
    if (channels[i]?.graceRefusals !== graceRefusals[i]) return true;
  return false;
}

/** The channels that were held up pay for it. */
function spend(group: Group, sinceMs: number, nowMs: number): void {
  for (const [i, channel] of group.channels.entries()) {
    if (channel.graceRefusals === group.graceRefusals[i]) continue;
    channel.graceBudget ??= new GraceBudget(nowMs);
    channel.graceBudget.spend(sinceMs, nowMs);
  }
}
