/**
 * Polls: answered at once when there is something to answer with, otherwise held as a row of a
 * group until an event comes or the time is over.
 */
import type { Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import type { CloseReason } from '../errors.js';
import { DEADLINE_STEP_MS, POLL_WAIT_JITTER, POLL_WAIT_SECONDS_MAX } from '../limits.js';
import type { ChannelSet } from './channel-set.js';
import type { Channels } from './channels.js';
import { Deadlines } from './deadlines.js';
import type { Group } from './group.js';
import type { Groups } from './groups.js';
import type { LineEnds } from './line-ends.js';
import { HEALTHY, OLDEST } from './line-table.js';
import type { Membership } from './membership.js';
import type { Owner } from './owners.js';
import type { Past } from './past.js';
import { PollAnswers, type OwedGap, type PollAnswer } from './poll.js';
import type { DeliveryMode } from './ports.js';
import type { Position } from './position.js';
import type { Progress } from './progress.js';
import { countGapAtJoin, emptyPosition, startOf, type Start } from './start.js';

/** What was found for a poll: an answer, or where to wait for one. */
export interface Polled {
  readonly answer: PollAnswer | undefined;
  readonly start: Start;
  /** The position that the answer tells, with or without events. */
  readonly position: number;
}

/** The parts of the hub that polls use. */
interface PollParts {
  readonly channels: Channels;
  readonly groups: Groups;
  readonly membership: Membership;
  readonly ends: LineEnds;
}

export class WaitingPolls {
  readonly answers = new PollAnswers();
  /** Where the log keeps events. Written by core/hub.ts. */
  past: Pick<Past, 'page'> | undefined;

  readonly #counters: Counters;
  readonly #progress: Progress;
  readonly #parts: PollParts;
  readonly #deadlines: Deadlines;
  /** Gaps to be reported to waiting polls, by handle. */
  readonly #owedGaps = new Map<number, OwedGap>();

  constructor(clock: Clock, counters: Counters, progress: Progress, parts: PollParts) {
    this.#counters = counters;
    this.#progress = progress;
    this.#parts = parts;
    this.#deadlines = new Deadlines(clock, POLL_WAIT_SECONDS_MAX * 1000, (handle) =>
      this.#timeIsOver(handle),
    );
  }

  /** No poll is answered for its deadline any more. */
  stop(): void {
    this.#deadlines.stop();
  }

  /** Polls that wait now. */
  get waiting(): number {
    return this.#deadlines.count;
  }

  /** Bytes of the deadlines. */
  get memoryBytes(): number {
    return this.#deadlines.memoryBytes;
  }

  /**
   * Looks for an answer to a poll on `names` (distinct): one event for `limit` 0, otherwise an
   * array of up to so many.
   */
  find(names: readonly string[], position: Position, limit: number): Polled {
    const set = this.#parts.channels.setOf(names);
    return this.#findInRings(set, startOf(set, position, this.#progress), limit);
  }

  /**
   * Does the same, with what the log keeps below the rings, and hands it to `use` in the turn for
   * which it holds. Undefined when that was at once, otherwise a promise, which rejects with
   * HOLDLINE_LOG_UNAVAILABLE, and as `use` throws.
   */
  look(
    names: readonly string[],
    position: Position,
    limit: number,
    use: (polled: Polled) => void,
  ): Promise<void> | undefined {
    const set = this.#parts.channels.setOf(names);
    const start = startOf(set, position, this.#progress);
    if (start.isBehind === true) return this.#lookBehind(names, start, limit, use);
    use(this.#findInRings(set, start, limit));
    return undefined;
  }

  async #lookBehind(
    names: readonly string[],
    { cursor, continuesAfter }: Start,
    limit: number,
    use: (polled: Polled) => void,
  ): Promise<void> {
    let after = cursor;
    let gap: OwedGap | undefined;
    for (;;) {
      const set = this.#parts.channels.setOf(names);
      const through = set.lostThrough;
      if (after >= through) {
        use(this.#findInRings(set, { cursor: after, continuesAfter, gap }, limit));
        return;
      }
      const page = await (this.past as Past).page(
        names,
        after,
        through,
        Math.max(1, limit),
        this.answers.bodyBytesMax(),
      );
      // What is lost above is still in the rings.
      const lostThrough = Math.min(page.lostThrough, through);
      if (cursor !== OLDEST && lostThrough > Math.max(cursor, gap?.through ?? 0))
        gap = { after: cursor, through: lostThrough };
      const answer = this.answers.ofPage(page, limit, gap);
      if (answer !== undefined) {
        const start = { cursor: after, continuesAfter, gap };
        use({ answer, start, position: answer.lastId });
        return;
      }
      after = page.through;
    }
  }

  #findInRings(set: ChannelSet, start: Start, limit: number): Polled {
    const answer = this.answers.find(set, start.cursor, limit, start.gap);
    return {
      answer,
      start,
      position:
        answer?.lastId ?? emptyPosition(set, start, this.#progress.through(set), this.#progress),
    };
  }

  /** A poll was answered at once, with what was found. */
  answered({ answer, start }: Polled): void {
    if (answer === undefined) this.#counters.polls_empty_total++;
    else this.#countAnswer(answer, start.gap);
  }

  /**
   * Holds a poll that found nothing for at most `waitMs`. Returns its handle. Throws
   * HOLDLINE_CHANNELS_FULL.
   */
  wait<Socket>(
    socket: Socket,
    names: readonly string[],
    mode: DeliveryMode<Socket>,
    { cursor, gap }: Start,
    waitMs: number,
    owner: Owner,
  ): number {
    const { groups, membership, ends } = this.#parts;
    const group = groups.of(names, mode);
    const { newestId, lostThrough } = group.set;
    const handle = membership.add(group, socket, Math.max(cursor, newestId, lostThrough), owner);
    ends.opened(handle, owner, false);
    group.table.setState(membership.lines.rowOf(handle), HEALTHY);
    if (gap !== undefined) this.#owedGaps.set(handle, gap);
    // Polls that began together must not end together. The wheel itself may be a step early.
    const jitterMs = Math.max(0, waitMs * POLL_WAIT_JITTER - DEADLINE_STEP_MS);
    this.#deadlines.add(handle, waitMs - Math.random() * jitterMs);
    this.#counters.polls_waited_total++;
    return handle;
  }

  /**
   * Answers a waiting poll with what came, one that was revoked without it. False when that is gone
   * again: the poll waits on.
   */
  answer(group: Group, row: number): boolean {
    const { table, mode, set } = group;
    if (mode.port.kind !== 'poll') return false;
    const handle = table.handles[row] as number;
    if (this.#parts.ends.isRevoked(handle)) {
      this.answerEmpty(group, row, 'revoked');
      return true;
    }
    const cursor = table.cursors[row] as number;
    let gap = this.#owedGaps.get(handle);
    if (this.past !== undefined && set.hasLost(cursor, table.losses[row] as number)) {
      // The log may keep what the rings have lost: its next poll is given that.
      this.answerEmpty(group, row, 'answered');
      return true;
    }
    if (gap === undefined && set.hasLost(cursor, table.losses[row] as number))
      gap = { after: cursor, through: set.lostThrough };
    const answer = this.answers.find(set, cursor, mode.limit ?? 0, gap);
    if (answer === undefined) {
      table.cursors[row] = set.newestId;
      if (gap !== undefined) this.#owedGaps.set(handle, gap);
      return false;
    }
    this.#countAnswer(answer, gap);
    const socket = table.sockets[row];
    this.#parts.membership.remove(handle, 'answered');
    mode.port.answer(socket, answer.body, answer.lastId);
    return true;
  }

  /** Answers a waiting poll without events: its time is over, or it is ended for that reason. */
  answerEmpty(group: Group, row: number, reason: CloseReason): void {
    const { table, mode, set } = group;
    if (mode.port.kind !== 'poll') return;
    const handle = table.handles[row] as number;
    const start = { cursor: table.cursors[row] as number, gap: this.#owedGaps.get(handle) };
    // Events after a deletion belong to the channel's next history, for which this group is not
    // woken.
    // What has come for it in this very turn is left to its next poll.
    const isAtHead = start.cursor >= set.newestId;
    const through = group.deletedAt ?? (isAtHead ? this.#progress.through(set) : start.cursor);
    const position = emptyPosition(set, start, through, this.#progress);
    const socket = table.sockets[row];
    this.#parts.membership.remove(handle, reason);
    this.#counters.polls_empty_total++;
    mode.port.answer(socket, undefined, position);
  }

  /** The poll has no row any more. */
  removed(handle: number): void {
    this.#deadlines.remove(handle);
    this.#owedGaps.delete(handle);
  }

  #timeIsOver(handle: number): void {
    const { lines } = this.#parts.membership;
    const group = lines.groupAt(handle);
    const row = lines.rowOf(handle);
    // Something may have come in this very turn; after a deletion it is nothing for this group.
    const isAtHead = (group.table.cursors[row] as number) >= group.set.newestId;
    if (group.deletedAt !== undefined || isAtHead || !this.answer(group, row))
      this.answerEmpty(group, row, 'answered');
  }

  #countAnswer({ events }: PollAnswer, gap: OwedGap | undefined): void {
    if (gap !== undefined) countGapAtJoin(this.#counters);
    this.#counters.polls_answered_total++;
    this.#counters.deliveries_total += events;
  }
}
