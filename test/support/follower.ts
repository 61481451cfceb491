/**
 * A client of a server that keeps its events: it must be given each event of its channels once and
 * in order, or told of a gap, and there may be a gap only where something was lost for good.
 */
import { ENDS, type EndCode } from '../../src/errors.js';
import { lostInHoles, type Hole } from '../../src/log/lmdb/holes.js';
import type { Accepted, Asked, Model } from './model.js';
import type { Told } from './readers.js';

/** A gap that was told, while events in it may still be passed. */
interface OpenGap {
  readonly after: number;
  readonly before: number;
  /** Told for a position that is no id of the log, or where nobody can know. */
  readonly isExcused: boolean;
  /** Nothing need be missing in it: nobody knows whether something is. */
  readonly mayBeEmpty: boolean;
  missing: number;
}

/** What is known of events that are gone. */
export interface Lost {
  /** Highest id of the channel that the log does not keep any more. */
  of(channel: string): number;
  /** The same for the ring. */
  ofRing(channel: string): number;
  /** The log's first id − 1. */
  readonly floor: number;
  /** Ids that crashes may have taken from it. */
  holes(): readonly Hole[];
  /** True when nobody knows whether something between two ids is lost. */
  mayHaveLost(after: number, before: number): boolean;
  /** True when the log has lost more than the rings: nobody knows what was below. */
  isUncertain(channels: readonly string[]): boolean;
}

export class Follower implements Told {
  /** The position that the client comes back with; −1 before it was told where it starts. */
  position = -1;
  ended: { readonly code: string; readonly reconnect: boolean } | undefined;
  events = 0;
  gaps = 0;

  readonly #model: Model;
  readonly #lost: Lost;
  readonly #channels: readonly string[];
  readonly #asked: Asked;
  /** By channel: index of the first event that has not been given or passed. */
  #next: number[] = [];
  #openGaps: OpenGap[] = [];
  /** By channel: what was gone when the first event came is no gap for who asked for all. */
  #gone: number[] | undefined;
  /** By channel: what the rings did not hold of the newest of several when it came. */
  readonly #notHeld: readonly number[] = [];

  constructor(model: Model, lost: Lost, channels: readonly string[], asked: Asked) {
    if (asked.kind === 'last' && channels.length > 1)
      this.#notHeld = channels.map((channel) => lost.ofRing(channel));
    this.#model = model;
    this.#lost = lost;
    this.#channels = channels;
    this.#asked = asked;
  }

  start(position: number): void {
    const asked = this.#asked;
    if (asked.kind === 'after' && position !== asked.id)
      throw new Error(`asked for what follows ${asked.id}, continues after ${position}`);
    this.position = position;
    this.#next = this.#channels.map((channel) => this.#model.indexAfter(channel, position));
    if (asked.kind !== 'oldest' && asked.kind !== 'last') return;
    const count = asked.kind === 'last' ? asked.count : Infinity;
    for (const [i, channel] of this.#channels.entries()) {
      const events = this.#model.eventsOf(channel);
      const leftOut = events.slice(0, this.#next[i]).findLast(({ id }) => !this.#isInHole(id));
      const follow = events.length - (this.#next[i] as number);
      const lostThrough = this.#notHeld[i] ?? this.#lost.of(channel);
      if (leftOut !== undefined && follow < count && leftOut.id > lostThrough)
        throw new Error(`${leftOut.id} of ${channel} is left out, and kept`);
    }
  }

  event(id: number): { readonly channel: string; readonly event: Accepted } {
    if (this.position < 0) throw new Error(`id ${id} before anything told where it starts`);
    if (id <= this.position) throw new Error(`id ${id} after ${this.position}`);
    this.#gone ??= this.#channels.map((channel) =>
      Math.max(this.#lost.of(channel), lostInHoles(this.#lost.holes(), id)),
    );
    this.#passThrough(id - 1);
    this.position = id;
    this.events++;
    for (const [i, channel] of this.#channels.entries()) {
      const next = this.#next[i] as number;
      const event = this.#model.eventsOf(channel)[next];
      if (event?.id !== id) continue;
      this.#next[i] = next + 1;
      return { channel, event };
    }
    throw new Error(`id ${id} is no event of ${this.#channels.join()}, or was given before`);
  }

  moveTo(id: number): void {
    if (id < this.position) throw new Error(`a position of ${id} after ${this.position}`);
    this.#passThrough(id);
    this.position = id;
  }

  gap({ after, before }: { readonly after: number | null; readonly before: number | null }): void {
    const isFirst = this.gaps++ === 0 && this.events === 0;
    const isForeign = isFirst && (this.#asked.kind === 'foreign' || this.#asked.kind === 'ahead');
    // Of another log, or of ours: nobody knows.
    const isBefore = after !== null && after < this.#lost.floor;
    if (!isForeign && (after === null || after < this.position))
      throw new Error(`a gap after ${after}, but the client is at ${this.position}`);
    if (after !== null && before !== null && before <= after + 1 && !isForeign)
      throw new Error(`nothing is after ${after} and before ${before}`);
    this.#openGaps.push({
      after: isForeign ? -1 : (after as number),
      before: before ?? this.#model.lastId + 1,
      isExcused: isForeign || isBefore || this.#lost.isUncertain(this.#channels),
      mayBeEmpty: this.#lost.mayHaveLost(after ?? -1, before ?? Infinity),
      missing: 0,
    });
  }

  end(ended: { readonly code: string; readonly reconnect: boolean }): void {
    if (ended.reconnect !== ENDS[ended.code as EndCode].reconnect)
      throw new Error(`ended for ${ended.code}, reconnect ${ended.reconnect}`);
    this.ended = ended;
  }

  /** Everything has been read, and the server is at `head`. */
  settle(head: number): void {
    if (this.position < 0) throw new Error('was given nothing, not even where it starts');
    this.#passThrough(head);
    for (const gap of this.#openGaps) this.#checkGap(gap);
  }

  /** Events up to `id` that were not given are missing. */
  #passThrough(id: number): void {
    for (const [i, channel] of this.#channels.entries()) {
      const events = this.#model.eventsOf(channel);
      let next = this.#next[i] as number;
      for (let event = events[next]; event !== undefined && event.id <= id; event = events[++next])
        this.#miss(channel, event.id);
      this.#next[i] = next;
    }
    this.#openGaps = this.#openGaps.filter((gap) => {
      if (gap.before > id + 1) return true;
      this.#checkGap(gap);
      return false;
    });
  }

  #checkGap({ after, before, isExcused, mayBeEmpty, missing }: OpenGap): void {
    if (missing === 0 && !isExcused && !mayBeEmpty)
      throw new Error(`told a gap (${after}, ${before}) in which nothing is missing`);
  }

  #isInHole(id: number): boolean {
    return this.#lost.holes().some(({ after, through }) => after < id && id <= through);
  }

  #miss(channel: string, id: number): void {
    const told = this.#openGaps.filter(({ after, before }) => after < id && id < before);
    for (const gap of told) gap.missing++;
    const lostThrough = this.#lost.of(channel);
    if (id <= (this.#notHeld[this.#channels.indexOf(channel)] ?? 0)) return;
    if (told.some(({ isExcused }) => isExcused)) return;
    if (id > lostThrough && !this.#isInHole(id))
      throw new Error(`missed ${id} of ${channel}, which is kept; is at ${this.position}`);
    const asksForAll = this.#asked.kind === 'oldest' || this.#asked.kind === 'last';
    const gone = this.#gone?.[this.#channels.indexOf(channel)] ?? Infinity;
    if (told.length === 0 && !(asksForAll && id <= gone))
      throw new Error(`missed ${id} of ${channel} and was not told; is at ${this.position}`);
  }
}
