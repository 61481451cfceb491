/**
 * The past, for clients that ask for events older than the rings: which position they start from,
 * and pages of what follows it. Only where the log keeps events.
 */
import type { Clock } from '../clock.js';
import { HISTORY_PAGE_BYTES_MAX, HISTORY_PAGE_EVENTS_MAX, LAST_EVENTS_MAX } from '../limits.js';
import type { Channels } from './channels.js';
import type { HistoryPage } from './event-log.js';
import type { HistoryReads } from './history-reads.js';
import { LIVE, type Position } from './position.js';
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
   * position that it then starts at; undefined when it may start at once. Rejects with
   * HOLDLINE_LOG_UNAVAILABLE.
   */
  ready(names: readonly string[], position: Position): Promise<Position> | undefined {
    const { reach, progress } = this.#parts;
    if (reach !== undefined && position.kind === 'after' && position.id > progress.lastId)
      return this.#fromAhead(names, position, reach);
    return this.#readyHere(names, position);
  }

  /** Another server that shares the log has given the position, unless it is of another log. */
  async #fromAhead(
    names: readonly string[],
    position: Position & { readonly kind: 'after' },
    reach: (id: number) => Promise<boolean>,
  ): Promise<Position> {
    await reach(position.id);
    return (await this.#readyHere(names, position)) ?? position;
  }

  #readyHere(names: readonly string[], position: Position): Promise<Position> | undefined {
    if (position.kind === 'time') return this.#fromTime(names, position.wallMs);
    if (position.kind === 'ago') return this.#fromTime(names, this.#clock.wallMs() - position.ms);
    if (!this.#needsRings(names, position)) return undefined;
    const refill = this.#parts.refills.of(names);
    if (position.kind === 'last') {
      const count = Math.min(position.count, LAST_EVENTS_MAX);
      return refill === undefined && !this.#isBeyondRings(names, count)
        ? undefined
        : this.#fromLast(names, count, refill);
    }
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

  async #fromTime(names: readonly string[], wallMs: number): Promise<Position> {
    const { reads } = this.#parts;
    const id = await reads.inTurnOrRefused(() => reads.idBefore(wallMs));
    const position: Position = { kind: 'after', id };
    return (await this.ready(names, position)) ?? position;
  }

  /** True when one of the channels may have some of its newest `count` events in the log only. */
  #isBeyondRings(names: readonly string[], count: number): boolean {
    return names.some((name) => this.#missing(name, count) > 0);
  }

  /** How many of the channel's newest `count` events its ring does not hold, and the log may. */
  #missing(name: string, count: number): number {
    const { channels, progress } = this.#parts;
    const { lostThrough } = channels.member(name);
    if (lostThrough <= (progress.keptFrom ?? Infinity)) return 0;
    return Math.max(0, count - (channels.get(name)?.length ?? 0));
  }

  async #fromLast(
    names: readonly string[],
    count: number,
    refill: Promise<unknown> | undefined,
  ): Promise<Position> {
    await refill;
    const { channels, reads } = this.#parts;
    let first = Infinity;
    for (const name of names) {
      const missing = this.#missing(name, count);
      if (missing > 0)
        first = Math.min(
          first,
          await reads.inTurnOrRefused(() => this.#firstOfNewest(name, missing)),
        );
    }
    first = Math.min(first, channels.setOf(names).firstOfNewest(count) ?? Infinity);
    return first === Infinity ? LIVE : { kind: 'after', id: first - 1 };
  }

  /** Id of the oldest of the `count` events right below the ring; Infinity without events. */
  async #firstOfNewest(name: string, count: number): Promise<number> {
    const { channels, reads } = this.#parts;
    let first = Infinity;
    let through = channels.member(name).lostThrough;
    for (let left = count; left > 0;) {
      const { events } = await reads.newest(name, {
        through,
        eventsMax: Math.min(left, HISTORY_PAGE_EVENTS_MAX),
        bytesMax: HISTORY_PAGE_BYTES_MAX,
      });
      if (events.length === 0) break;
      first = events[0]?.id as number;
      left -= events.length;
      through = first - 1;
    }
    return first;
  }
}
