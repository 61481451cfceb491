/**
 * The past, for clients that ask for events older than the rings: which position they start from,
 * and pages of what follows it. Only where the log keeps events.
 */
import type { Clock } from '../clock.js';
import { HISTORY_PAGE_BYTES_MAX, HISTORY_PAGE_EVENTS_MAX, LAST_EVENTS_MAX } from '../limits.js';
import type { Channels } from './channels.js';
import type { HistoryPage } from './event-log.js';
import type { HistoryReads } from './history-reads.js';
import type { Position } from './position.js';
import type { Progress } from './progress.js';
import type { Refills } from './refills.js';

/** The parts of the hub that the past is found with. */
interface PastParts {
  readonly channels: Channels;
  readonly refills: Refills;
  readonly reads: HistoryReads;
  readonly progress: Progress;
  /** See `EventLog.reach`; undefined where no other server shares the log. */
  readonly reach: ((id: number) => Promise<boolean>) | undefined;
  /** The log answers, as far as is known. */
  readonly isUp: () => boolean;
}

export class Past {
  readonly #clock: Pick<Clock, 'wallMs'>;
  readonly #parts: PastParts;

  constructor(clock: Pick<Clock, 'wallMs'>, parts: PastParts) {
    this.#clock = clock;
    this.#parts = parts;
  }

  /**
   * Reads what is needed before a client on `names` starts at `position`, and resolves to the
   * position that it then starts at; undefined when it may start at once. `asksDeleted`: it is not
   * to start at all if the channel was deleted. Rejects with HOLDLINE_LOG_UNAVAILABLE.
   */
  ready(
    names: readonly string[],
    position: Position,
    asksDeleted = false,
  ): Promise<Position> | undefined {
    const { reach, progress } = this.#parts;
    if (reach !== undefined && position.kind === 'after' && position.id > progress.lastId)
      return this.#fromAhead(names, position, asksDeleted, reach);
    return this.#readyHere(names, position, asksDeleted);
  }

  /** Another server that shares the log has given the position, unless it is of another log. */
  async #fromAhead(
    names: readonly string[],
    position: Position & { readonly kind: 'after' },
    asksDeleted: boolean,
    reach: (id: number) => Promise<boolean>,
  ): Promise<Position> {
    await reach(position.id);
    return (await this.#readyHere(names, position, asksDeleted)) ?? position;
  }

  #readyHere(
    names: readonly string[],
    position: Position,
    asksDeleted: boolean,
  ): Promise<Position> | undefined {
    if (position.kind === 'time') return this.#fromTime(names, position.wallMs, asksDeleted);
    if (position.kind === 'ago')
      return this.#fromTime(names, this.#clock.wallMs() - position.ms, asksDeleted);
    const { channels, refills, isUp } = this.#parts;
    const [name] = names as [string];
    const asksLog = asksDeleted && names.length === 1 && !channels.knowsDeletion(name);
    // While the log is down, nobody who needs nothing else of it waits for the mark of a deletion.
    if (!(asksLog && isUp()) && !this.#needsRings(names, position)) return undefined;
    const refill = refills.of(names);
    if (position.kind === 'last' && position.count > 0)
      return this.#ofLast(names, position, refill);
    // Without the log a line starts all the same: it reads on when the log answers again.
    return refill?.then(
      () => position,
      () => position,
    );
  }

  /** The page after `after`, which may be below what the log keeps, up to `through`. */
  page(
    names: readonly string[],
    after: number,
    through: number,
    eventsMax: number,
    bytesMax: number,
  ): Promise<HistoryPage> {
    const { reads } = this.#parts;
    return reads.inTurnOrRefused(() =>
      reads.read({ channels: names, after: Math.max(0, after), through, eventsMax, bytesMax }),
    );
  }

  /** True when what the rings hold, or what is below them, matters to a client at `position`. */
  #needsRings(names: readonly string[], position: Position): boolean {
    const { channels, progress } = this.#parts;
    if (position.kind === 'live') return false;
    if (position.kind === 'last') return position.count > 0;
    if (position.kind !== 'after' || position.id > progress.lastId) return true;
    return position.id < channels.setOf(names).lostThrough;
  }

  async #fromTime(
    names: readonly string[],
    wallMs: number,
    asksDeleted: boolean,
  ): Promise<Position> {
    const { reads } = this.#parts;
    const id = await reads.inTurnOrRefused(() => reads.idBefore(wallMs));
    const position: Position = { kind: 'after', id };
    return (await this.ready(names, position, asksDeleted)) ?? position;
  }

  /**
   * The newest events of one channel may be in the log only. On several channels the rings decide:
   * what followed the oldest of a quiet one would be all that the log keeps of a busy one.
   */
  #ofLast(
    names: readonly string[],
    position: Extract<Position, { readonly kind: 'last' }>,
    refill: Promise<unknown> | undefined,
  ): Promise<Position> | undefined {
    const [name, ...others] = names as [string, ...string[]];
    const count = Math.min(position.count, LAST_EVENTS_MAX);
    if (others.length > 0) return refill?.then(() => position);
    return refill === undefined && this.#missing(name, count) === 0
      ? undefined
      : this.#fromLast(name, position, count, refill);
  }

  /** How many of the channel's newest `count` events its ring does not hold, and the log may. */
  #missing(name: string, count: number): number {
    const { channels, progress } = this.#parts;
    const { lostThrough } = channels.member(name);
    if (lostThrough <= (progress.keptFrom ?? Infinity)) return 0;
    return Math.max(0, count - (channels.get(name)?.length ?? 0));
  }

  async #fromLast(
    name: string,
    position: Position,
    count: number,
    refill: Promise<unknown> | undefined,
  ): Promise<Position> {
    await refill;
    const after = await this.#parts.reads.inTurnOrRefused(() => this.#beforeNewest(name, count));
    return after === undefined ? position : { kind: 'after', id: after };
  }

  /**
   * The id after which the channel's newest `count` events follow, as of now: those below its ring
   * are read. Undefined when there are none at all.
   */
  async #beforeNewest(name: string, count: number): Promise<number | undefined> {
    const { channels, reads } = this.#parts;
    let left = this.#missing(name, count);
    if (left === 0) {
      const first = channels.setOf([name]).firstOfNewest(count);
      return first === undefined ? undefined : first - 1;
    }
    let through = channels.member(name).lostThrough;
    while (left > 0) {
      const { events } = await reads.newest(name, {
        through,
        eventsMax: Math.min(left, HISTORY_PAGE_EVENTS_MAX),
        bytesMax: HISTORY_PAGE_BYTES_MAX,
      });
      const first = events[0];
      if (first === undefined) break;
      left -= events.length;
      through = first.id - 1;
    }
    return through;
  }
}
