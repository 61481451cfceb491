/**
 * The drain: the orderly end of a server. Lines end at an even rate, so that the servers that take
 * them over have time; publishes are accepted until the listener closes.
 */
import type { Clock } from '../clock.js';
import type { EndCode } from '../errors.js';
import {
  DRAIN_ENDS_PER_SECOND_MIN,
  DRAIN_LINGER_MS_MAX,
  DRAIN_SLOPE_SHARE,
  DRAIN_TURN_MS,
} from '../limits.js';

/** What a drain asks of the server, and tells it. */
export interface DrainParts {
  readonly clock: Pick<Clock, 'nowMs'>;
  /** Keeps the process alive meanwhile. */
  pause(ms: number): Promise<void>;
  readonly hub: {
    readonly lines: { readonly open: number };
    readonly lastId: number;
    readonly isSettled: boolean;
    endSome(count: number, code: EndCode, through: number, retryMs: () => number): number;
  };
  /** `--retry`, ms. */
  readonly retryMs: number;
  /** No line is opened from now on. */
  refuseLines(): void;
  /** Nothing is published from now on, and no connection is accepted. */
  refuseAll(): void;
  /** Sockets that are open, with or without a line. */
  openSockets(): number;
  /** Closes every socket, and stops the rest of the server. */
  closeAll(): Promise<void>;
}

export class Drain {
  readonly #parts: DrainParts;
  #deadlineMs = Infinity;
  /** From here to there as many lines end as were open at its beginning, evenly. */
  #slope = { beginMs: 0, endMs: 0, lines: 0 };
  #ended: Promise<void> | undefined;

  constructor(parts: DrainParts) {
    this.#parts = parts;
  }

  get hasBegun(): boolean {
    return this.#ended !== undefined;
  }

  /**
   * Ends everything within `drainMs`; resolves when the server has stopped. Called again, it may
   * bring the end nearer, and never puts it off.
   */
  end(drainMs: number): Promise<void> {
    const { clock, hub } = this.#parts;
    const nowMs = clock.nowMs();
    if (nowMs + drainMs < this.#deadlineMs) {
      this.#deadlineMs = nowMs + drainMs;
      const lines = hub.lines.open;
      const longestMs = (lines * 1000) / DRAIN_ENDS_PER_SECOND_MIN;
      const slopeMs = Math.min(drainMs * DRAIN_SLOPE_SHARE, longestMs);
      this.#slope = { beginMs: nowMs, endMs: nowMs + slopeMs, lines };
    }
    this.#ended ??= this.#run();
    return this.#ended;
  }

  async #run(): Promise<void> {
    const parts = this.#parts;
    const { clock, hub } = parts;
    const isInTime = (): boolean => clock.nowMs() < this.#deadlineMs;
    parts.refuseLines();
    // A hook may have asked for the end in the turn of a request, which is answered before.
    await parts.pause(0);
    // A line is owed what was accepted before, also where that waits for room in its channel. What
    // is published meanwhile reaches the lines that are left.
    const through = hub.lastId;
    while (this.#end(this.#due(), through) > 0 && clock.nowMs() < this.#slope.endMs)
      await this.#turn();
    parts.refuseAll();
    // What was accepted goes out first.
    while (!hub.isSettled && isInTime()) await this.#turn();
    while (this.#end(Infinity, 0) > 0 && isInTime()) await this.#turn();
    // To close drops what is in user space, but not what is in the kernel. Nothing tells when the
    // former has left a response that was ended. native-notes/end-of-stream.md
    const lingerUntilMs = clock.nowMs() + DRAIN_LINGER_MS_MAX;
    while (parts.openSockets() > 0 && isInTime() && clock.nowMs() < lingerUntilMs)
      await this.#turn();
    await parts.closeAll();
  }

  /** Ends lines, as many at most; returns how many are open. */
  #end(count: number, through: number): number {
    return this.#parts.hub.endSome(count, 'draining', through, this.#retryMs);
  }

  /** When the client of an event stream is to come back: spread, also when the end is hurried. */
  readonly #retryMs = (): number => spread(this.#parts.retryMs);

  /** How many lines are to end now, so that as many are left as the slope says. */
  #due(): number {
    const { beginMs, endMs, lines } = this.#slope;
    const nowMs = this.#parts.clock.nowMs();
    if (nowMs >= endMs) return Infinity;
    const left = Math.floor((lines * (endMs - nowMs)) / (endMs - beginMs));
    return Math.max(0, this.#parts.hub.lines.open - left);
  }

  #turn(): Promise<void> {
    return this.#parts.pause(DRAIN_TURN_MS);
  }
}

/** A delay between one time and two times `ms`, so that not all come back at once. */
export function spread(ms: number): number {
  return Math.round(ms * (1 + Math.random()));
}
