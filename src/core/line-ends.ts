/**
 * Ends of lines that are not their client's doing: at a time that was set when the line opened (its
 * credential expires, it is old enough), or at once, when an operator, the program or a revocation
 * says so. One timer for all lines, set for the earliest of them; what is due is ended in slices of
 * time.
 *
 * A line that is due and has not been given everything is looked at again every second, for
 * LATE_END_SECONDS_MAX. What it still misses then it gets when it comes back with its position.
 */
import type { Clock } from '../clock.js';
import { ENDS } from '../errors.js';
import {
  ACCEPTS_PER_SECOND,
  END_PAUSE_MS,
  END_RETRY_MS_MIN,
  END_RETRY_SPREAD_MS_MIN,
  ID_MAX,
  LATE_END_SECONDS_MAX,
  LATE_EXPIRED_SECONDS_MAX,
  LINE_AGE_JITTER,
  SWEEP_SLICE_MS,
} from '../limits.js';
import type { Channels } from './channels.js';
import type { Group } from './group.js';
import { DRAINED } from './line-table.js';
import type { Membership } from './membership.js';
import { AT_ONCE, NEVER, type Owner, type TimedEnd } from './owners.js';

/** Lines to end: one by its id, those of a user, those on a channel. */
export type WhichLines =
  | { readonly id: number }
  | { readonly user: string }
  | { readonly channel: string };

/** Handles between two checks of the clock, about 3 ns each. */
const HANDLES_PER_CHECK = 4_096;

/** Longest delay of a timer, ms: Node's own bound is 2^31. */
const TIMER_MS_MAX = 60 * 60 * 1_000;

export class LineEnds {
  readonly #clock: Clock;
  readonly #channels: Channels;
  readonly #membership: Membership;
  readonly #maxAgeMs: number;
  /** Nobody has to end before this second; NEVER without a timer. */
  #earliest = NEVER;
  #cancel: (() => void) | undefined;
  /** Where a walk goes on, −1 between walks. */
  #handle = -1;
  /** The second of the walk, and the lines that were due when it began. */
  #second = 0;
  #dueCount = 0;
  /** The walk does not pause between its slices: somebody waits for it. */
  #isUrgent = false;
  /** Continuations of an earlier walk do nothing. */
  #walk = 0;

  /** `maxAgeMs`: age at which a line is ended at the latest; 0: no line is ended for its age. */
  constructor(clock: Clock, channels: Channels, membership: Membership, maxAgeMs: number) {
    this.#clock = clock;
    this.#channels = channels;
    this.#membership = membership;
    this.#maxAgeMs = maxAgeMs;
  }

  stop(): void {
    this.#walk++;
    this.#cancel?.();
    this.#cancel = undefined;
    this.#earliest = AT_ONCE;
  }

  /**
   * The line of a handle was opened: sets its end, to the full second that follows. A poll, which
   * waits a minute at most, does not age.
   */
  opened(handle: number, { endsAtMs, endsWith }: Owner, isAging: boolean): void {
    let leftMs = endsAtMs === Infinity ? Infinity : endsAtMs - this.#clock.wallMs();
    let code: TimedEnd = endsWith;
    if (isAging && this.#maxAgeMs > 0) {
      const ageMs = this.#maxAgeMs * (1 - LINE_AGE_JITTER * Math.random());
      if (ageMs < leftMs) {
        leftMs = ageMs;
        code = 'aged';
      }
    }
    if (leftMs === Infinity) return;
    const second = Math.ceil((this.#membership.sinceMs(0) + leftMs) / 1000);
    const end = Math.min(NEVER - 1, Math.max(AT_ONCE + 1, second));
    this.#membership.owners.setEnd(handle, end, code);
    if (end < this.#earliest) this.#wakeAt(end);
  }

  /** True for a line that is to be given nothing more, and has not been ended yet. */
  isRevoked(handle: number): boolean {
    const { owners } = this.#membership;
    return owners.endSecondOf(handle) === AT_ONCE && owners.endCodeOf(handle) === 'revoked';
  }

  /**
   * Ends lines and waiting polls, from the next turn of the loop on. A revoked one is given no
   * further event. Returns how many there are.
   */
  disconnect(which: WhichLines, code: 'disconnected' | 'revoked'): number {
    const { owners } = this.#membership;
    let count = 0;
    const mark = (handle: number): void => {
      count++;
      if (!this.isRevoked(handle)) owners.setEnd(handle, AT_ONCE, code);
      if (code === 'revoked') this.#silence(handle);
    };
    if ('id' in which) {
      const handle = owners.handleOfId(which.id);
      if (handle >= 0) mark(handle);
    } else if ('user' in which) {
      owners.eachOfUser(which.user, mark);
    } else {
      for (const { table } of this.#channels.get(which.channel)?.groups ?? [])
        for (let row = 0; row < table.count; row++) mark(table.handles[row] as number);
    }
    if (count > 0) this.#start(true);
    return count;
  }

  /** The pump finds nothing that it owes the line. A poll is stopped by {@link isRevoked}. */
  #silence(handle: number): void {
    const { lines } = this.#membership;
    const { table, mode } = lines.groupAt(handle);
    if (mode.port.kind !== 'poll') table.advance(lines.rowOf(handle), ID_MAX);
  }

  #wakeAt(second: number): void {
    this.#earliest = second;
    // The end of the walk sees to it.
    if (this.#handle >= 0) return;
    this.#cancel?.();
    const delayMs = second * 1000 - this.#membership.sinceMs(0);
    this.#cancel = this.#clock.later(Math.min(TIMER_MS_MAX, Math.max(1, delayMs)), () => {
      this.#cancel = undefined;
      this.#start(false);
    });
  }

  /** Begins a walk over all handles, or begins the current one again. */
  #start(isUrgent: boolean): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#isUrgent ||= isUrgent;
    this.#second = Math.floor(this.#membership.sinceMs(0) / 1000);
    this.#dueCount = this.#membership.owners.due(this.#second).count;
    this.#handle = 0;
    this.#walk++;
    if (isUrgent) this.#goOn();
    else this.#endDue();
  }

  /** The walk goes on in a later turn of the loop. */
  #goOn(): void {
    const walk = this.#walk;
    const next = (): void => {
      if (walk === this.#walk) this.#endDue();
    };
    if (this.#isUrgent) this.#clock.soon(next);
    else this.#clock.later(END_PAUSE_MS, next);
  }

  /** Ends what is due, for a slice of time. */
  #endDue(): void {
    const { owners } = this.#membership;
    const untilMs = this.#clock.nowMs() + SWEEP_SLICE_MS;
    for (; this.#handle < owners.handles; this.#handle++) {
      const isDue = owners.endSecondOf(this.#handle) <= this.#second;
      if (!isDue && this.#handle % HANDLES_PER_CHECK !== 0) continue;
      if (this.#clock.nowMs() >= untilMs) {
        this.#goOn();
        return;
      }
      if (isDue) this.#end(this.#handle);
    }
    this.#handle = -1;
    this.#isUrgent = false;
    const { count, nextSecond } = owners.due(this.#second);
    const next = count > 0 ? this.#second + 1 : nextSecond;
    this.#earliest = NEVER;
    if (next !== NEVER) this.#wakeAt(next);
  }

  #end(handle: number): void {
    const { lines, owners } = this.#membership;
    const group = lines.groupAt(handle);
    const row = lines.rowOf(handle);
    const code = owners.endCodeOf(handle);
    const lateSeconds = this.#second - owners.endSecondOf(handle);
    const lateMax = code === 'aged' ? LATE_END_SECONDS_MAX : LATE_EXPIRED_SECONDS_MAX;
    // The lines of a deleted channel are being ended by core/groups.ts.
    if (group.deletedAt !== undefined) owners.setEnd(handle, NEVER, code);
    else if (owners.endSecondOf(handle) === AT_ONCE || lateSeconds >= lateMax || hasAll(group, row))
      this.#membership.end(group, row, code, this.#retryMs(code));
  }

  /**
   * When the client of an event stream is to come back, ms: soon, so that its events are still
   * held, and spread as widely as the lines that end together need.
   */
  #retryMs(code: TimedEnd): number | undefined {
    if (!ENDS[code].reconnect) return undefined;
    const spreadMs = (2 * 1000 * this.#dueCount) / ACCEPTS_PER_SECOND;
    return Math.round(
      END_RETRY_MS_MIN + Math.random() * Math.max(END_RETRY_SPREAD_MS_MIN, spreadMs),
    );
  }
}

/** True for a line that has been given everything and takes bytes. */
function hasAll({ table, set }: Group, row: number): boolean {
  const state = table.states[row] as number;
  return state < DRAINED && (table.cursors[row] as number) >= set.newestId;
}
