/**
 * Windows of grace, one at a time for a feed: who is in it, who is judged when it ends, and which channels pay for what was in vain.
 * The arithmetic is in core/grace.ts.
 */
import type { Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import { GRACE_BUDGET_MS_PER_SECOND, GRACE_LATE_MS, GRACE_MIN_MS, GRACE_MS } from '../limits.js';
import type { Feed } from './feed.js';
import { DISTRUSTED, GraceBudget, graceGoal, graceWindowMs, trustedFromFailure, YOUNG } from './grace.js';
import { IN_GRACE, LATE_IN_GRACE, NO_GRACE, STALLED } from './lines.js';

export class GraceWindows<Socket> {
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #beganMs: number;
  /** A window has ended: more may be evicted, and more may enter. */
  readonly #onEnd: (feed: Feed<Socket>) => void;

  constructor(clock: Clock, counters: Counters, onEnd: (feed: Feed<Socket>) => void) {
    this.#clock = clock;
    this.#counters = counters;
    this.#beganMs = clock.nowMs();
    this.#onEnd = onEnd;
  }

  /** A line that has kept up refused bytes: most such sockets drain at once, so that it is in grace, if it may be. */
  start(feed: Feed<Socket>, row: number): void {
    const { table } = feed;
    const nowMs = this.#clock.nowMs();
    const trust = table.trustOf(row, this.#secondAt(nowMs));
    if (trust === DISTRUSTED) return;
    const leftMs = graceLeftMs(feed, nowMs);
    if (trust === YOUNG && leftMs < GRACE_MIN_MS) return;
    const cursor = table.cursors[row] as number;
    if (feed.graceThrough !== Infinity) {
      table.startGrace(row, LATE_IN_GRACE);
      feed.graceLateMs = Math.min(feed.graceLateMs, nowMs);
      feed.graceThrough = Math.min(feed.graceThrough, cursor);
      return;
    }
    table.startGrace(row, IN_GRACE);
    for (const channel of feed.channels) channel.feedsInGrace++;
    feed.graceThrough = cursor;
    feed.graceSinceMs = nowMs;
    noteRefusals(feed);
    this.#open(feed, graceWindowMs(leftMs));
  }

  /** The lines in grace have so long to take what their pace asks for. */
  #open(feed: Feed<Socket>, windowMs: number): void {
    feed.graceGoal = graceGoal(feed.graceThrough, feed.newestId, windowMs);
    this.#endIn(feed, windowMs, false);
  }

  #endIn(feed: Feed<Socket>, ms: number, isExtended: boolean): void {
    const window = ++feed.graceWindow;
    feed.graceEndsMs = this.#clock.nowMs() + ms;
    feed.cancelGrace = this.#clock.later(ms, () => {
      // One turn later: sockets that have drained while the loop was busy elsewhere have been heard of by then.
      this.#clock.soon(() => {
        if (feed.graceWindow !== window) return;
        const lateMs = this.#clock.nowMs() - feed.graceEndsMs;
        if (lateMs > GRACE_LATE_MS && !isExtended) this.#endIn(feed, Math.min(lateMs, GRACE_MS), true);
        else this.#close(feed);
      });
    });
  }

  /** The window's time is up: those who took nothing are slow lines like any other. What that cost is their channels' to pay. */
  #close(feed: Feed<Socket>): void {
    const nowMs = this.#clock.nowMs();
    const held = hasHeld(feed);
    // Where the budget is short windows are, too; but while nobody is held back by it there is no hurry.
    const isOver = held || nowMs - feed.graceSinceMs >= GRACE_MS - 1;
    if (isOver) {
      const trustedFrom = held ? trustedFromFailure(this.#secondAt(nowMs)) : undefined;
      const vain = feed.table.judgeGrace(feed.graceGoal, feed.newestId, trustedFrom);
      if (vain > 0 && held) {
        this.#counters.grace_failed_total += vain;
        spend(feed, feed.graceSinceMs, nowMs);
      }
    }
    this.look(feed);
    if (feed.graceThrough !== Infinity) {
      if (isOver) {
        feed.graceSinceMs = Math.min(nowMs, feed.graceLateMs);
        feed.graceLateMs = Infinity;
        noteRefusals(feed);
      }
      this.#open(feed, graceWindowMs(graceLeftMs(feed, nowMs)));
    }
    this.#onEnd(feed);
  }

  /** A line is about to be removed. One that goes in the middle of its grace has used it in vain, or coming back on a new line would make it free. */
  leaves(feed: Feed<Socket>, row: number): void {
    const grace = feed.table.inGrace[row];
    if (grace === NO_GRACE || feed.table.states[row] !== STALLED || !hasHeld(feed)) return;
    this.#counters.grace_failed_total++;
    spend(feed, grace === LATE_IN_GRACE ? feed.graceLateMs : feed.graceSinceMs, this.#clock.nowMs());
  }

  /** Lines in grace may have been given more, have caught up, or have gone. */
  look(feed: Feed<Socket>): void {
    if (feed.table.graceCount > 0) feed.graceThrough = feed.table.graceThrough;
    else this.end(feed);
  }

  /** No line of the feed is in grace any more. */
  end(feed: Feed<Socket>): void {
    if (feed.graceThrough === Infinity) return;
    feed.cancelGrace?.();
    feed.cancelGrace = undefined;
    feed.graceWindow++;
    feed.graceThrough = Infinity;
    feed.graceLateMs = Infinity;
    feed.table.endGrace();
    for (const channel of feed.channels) channel.feedsInGrace--;
  }

  #secondAt(nowMs: number): number {
    return Math.floor((nowMs - this.#beganMs) / 1000);
  }
}

/** What the feed's channels may still spend on grace: as much as the one that has least. */
function graceLeftMs<Socket>(feed: Feed<Socket>, nowMs: number): number {
  let leastMs = GRACE_BUDGET_MS_PER_SECOND;
  for (const { graceBudget } of feed.channels)
    if (graceBudget !== undefined) leastMs = Math.min(leastMs, graceBudget.leftMs(nowMs));
  return leastMs;
}

/** From here on it counts whether a channel is held back. */
function noteRefusals<Socket>({ channels, graceRefusals }: Feed<Socket>): void {
  for (let i = 0; i < channels.length; i++) graceRefusals[i] = channels[i]?.graceRefusals as number;
}

/** True when one of its channels has been held back for the sake of lines in grace since that was noted. */
function hasHeld<Socket>({ channels, graceRefusals }: Feed<Socket>): boolean {
  for (let i = 0; i < channels.length; i++) if (channels[i]?.graceRefusals !== graceRefusals[i]) return true;
  return false;
}

/** Those of its channels that were held back pay for it. */
function spend<Socket>(feed: Feed<Socket>, sinceMs: number, nowMs: number): void {
  for (const [i, channel] of feed.channels.entries()) {
    if (channel.graceRefusals === feed.graceRefusals[i]) continue;
    channel.graceBudget ??= new GraceBudget(nowMs);
    channel.graceBudget.spend(sinceMs, nowMs);
  }
}
