/**
 * What ought to be: every event by channel and id, kept naively, and for each connection what it
 * may be given next.
 */
import type { NewEntry } from '../../src/core/event.js';
import { LIVE, type Position } from '../../src/core/position.js';
import { ENDS, type EndCode } from '../../src/errors.js';

/** An event as it was accepted. */
export interface Accepted {
  readonly id: number;
  readonly type: string | undefined;
  readonly json: boolean;
  readonly data: string;
  /**
   * What an EventSource sees of it on a line of one channel: UTF-8 bytes as latin1, line ends as
   * LF.
   */
  readonly lines: string;
  /** Bytes of type and data. */
  readonly bytes: number;
  /** What {@link shownObject} made of it. */
  shown: string | undefined;
  /**
   * Its object as a client has been given it, UTF-8 bytes as latin1, once that was found to be
   * right.
   */
  object: string | undefined;
}

/** The event's object, with its data as `JSON.stringify` writes it. */
export function shownObject(channel: string, event: Accepted): string {
  if (event.shown === undefined) {
    const { id, type, json, data } = event;
    const value = json ? (JSON.parse(data) as unknown) : data;
    event.shown = JSON.stringify({
      id,
      channel,
      ...(type === undefined ? {} : { event: type }),
      data: value,
    });
  }
  return event.shown;
}

export class Model {
  lastId: number;
  /** Events and deletions that were accepted. */
  events = 0;
  deletions = 0;
  readonly #channels = new Map<string, Accepted[]>();

  constructor(firstId: number) {
    this.lastId = firstId - 1;
  }

  /** Takes what was accepted; returns the ids that it ought to be given. */
  accept(entries: readonly NewEntry[]): number[] {
    return entries.map((entry) => {
      const id = ++this.lastId;
      if ('isDeletion' in entry) {
        this.deletions++;
        return id;
      }
      this.events++;
      const { channel, type, data, json } = entry;
      const bytes = Buffer.from(data);
      const lines = bytes.toString('latin1').replaceAll(/\r\n|\r/g, '\n');
      const typeBytes = Buffer.byteLength(type ?? '');
      this.eventsOf(channel).push({
        id,
        type,
        json,
        data: bytes.toString(),
        lines,
        bytes: bytes.length + typeBytes,
        shown: undefined,
        object: undefined,
      });
      return id;
    });
  }

  eventsOf(channel: string): Accepted[] {
    let events = this.#channels.get(channel);
    if (events === undefined) this.#channels.set(channel, (events = []));
    return events;
  }

  /** Index of the channel's first event above `id`. */
  indexAfter(channel: string, id: number): number {
    const events = this.eventsOf(channel);
    let low = 0;
    for (let high = events.length; low < high;) {
      const middle = (low + high) >> 1;
      if ((events[middle] as Accepted).id <= id) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Id of the channel's last event up to `id`, or 0. */
  lastUpTo(channel: string, id: number): number {
    return this.eventsOf(channel)[this.indexAfter(channel, id) - 1]?.id ?? 0;
  }
}

/** What a connection asked for. `ahead` is an id that nobody gave yet. */
export type Asked =
  | { readonly kind: 'live' }
  | { readonly kind: 'oldest' }
  | { readonly kind: 'foreign' }
  | { readonly kind: 'after'; readonly id: number }
  | { readonly kind: 'ahead'; readonly id: number }
  | { readonly kind: 'last'; readonly count: number };

/** The position that asks for it. */
export function positionOf(asked: Asked): Position {
  if (asked.kind === 'oldest') return { kind: 'after', id: 0 };
  if (asked.kind === 'ahead') return { kind: 'after', id: asked.id };
  return asked.kind === 'live' ? LIVE : asked;
}

/** What was true when a connection was opened. */
export interface Opened {
  /** Id of the newest entry that had entered. */
  readonly head: number;
  /** First id of all − 1. */
  readonly floor: number;
  /** By channel: everything up to here was gone. */
  readonly lost: ReadonlyMap<string, number>;
}

/** Events that a gap notice reports missing: after `after`, before `before`. */
interface Gap {
  readonly after: number;
  readonly before: number;
  /** How many really are. */
  missing: number;
  /**
   * Told for a reason that no missing event has to prove: a position below the floor, or of another
   * log.
   */
  readonly excused: boolean;
}

/**
 * One connection, or the polls of one client that follow each other, from the side of the client.
 * Throws when it is given anything that it should not be given.
 */
export class Connection {
  /** The id that the client would come back with. */
  position = -1;
  /** The server said goodbye, and whether the client may come back. */
  ended: { readonly code: string; readonly reconnect: boolean } | undefined;
  events = 0;
  gaps = 0;

  readonly #model: Model;
  readonly #channels: readonly string[];
  readonly #asked: Asked;
  readonly #opened: Opened;
  /** The head when each gap was written, oldest first. */
  readonly #gapHeads: number[] = [];
  /**
   * By channel: index of the first event that the client has not been given, told of, or started
   * behind.
   */
  readonly #next: number[] = [];
  #openGaps: Gap[] = [];
  /** What a gap on a line of one channel said comes next. */
  #follows: number | undefined;
  /** The end of its only channel, and whether it had been given everything then. */
  #deletion: { readonly id: number; readonly isHealthy: boolean } | undefined;

  #isRevoked = false;

  constructor(model: Model, channels: readonly string[], asked: Asked, opened: Opened) {
    this.#model = model;
    this.#channels = channels;
    this.#asked = asked;
    this.#opened = opened;
  }

  /** A gap is written, and read at its time. */
  gapIsWritten(head: number): void {
    this.#gapHeads.push(head);
  }

  /**
   * Its only channel is deleted: it is to be ended, and if it is healthy it has been given
   * everything before.
   */
  deleted(id: number, isHealthy: boolean): void {
    this.#deletion = { id, isHealthy };
  }

  /** Its user is revoked: it is given nothing more than it has been sent. */
  revoked(): void {
    this.#isRevoked = true;
  }

  /**
   * Everything has been read and the line is at `head`: a gap must cover what is missing.
   */
  settle(head: number): void {
    if (this.position < 0) throw new Error('was given nothing, not even where it starts');
    if (this.#deletion !== undefined)
      throw new Error(`is there though its channel was deleted at ${this.#deletion.id}`);
    this.#passThrough(head);
  }

  /** The server told it where it continues. */
  start(position: number): void {
    this.position = position;
    const { head, lost } = this.#opened;
    const asked = this.#asked;
    for (const channel of this.#channels)
      this.#next.push(this.#model.indexAfter(channel, position));
    if (asked.kind === 'after' && position !== asked.id)
      throw new Error(`asked for what follows ${asked.id}, continues after ${position}`);
    if (asked.kind === 'live' && position !== head)
      throw new Error(`live at ${head}, continues after ${position}`);
    if (asked.kind === 'oldest' || asked.kind === 'foreign' || asked.kind === 'ahead') {
      for (const [i, channel] of this.#channels.entries()) {
        const before = this.#model.eventsOf(channel)[(this.#next[i] as number) - 1];
        if (before !== undefined && before.id > (lost.get(channel) as number))
          throw new Error(`leaves out ${before.id}, which is held`);
      }
    }
    if (asked.kind === 'last') this.#startOfLast(asked.count, position);
  }

  #startOfLast(count: number, position: number): void {
    const { head, lost } = this.#opened;
    const held = this.#channels.map((channel) =>
      this.#entered(channel, lost.get(channel) as number),
    );
    // Each channel counts for itself; what followed the oldest of these comes with them.
    const firsts = held.map((ids) => ids.at(-Math.min(count, ids.length)));
    const first = Math.min(...firsts.map((id) => (count === 0 ? undefined : id) ?? Infinity));
    const expected = first === Infinity ? head : first - 1;
    if (position !== expected)
      throw new Error(
        `asked for the last ${count} of ${held.map((ids) => ids.length).join(' + ')} held, continues after ${position}, not ${expected}`,
      );
  }

  /** Ids of the channel's events above `after` that had entered when the connection was opened. */
  #entered(channel: string, after: number): number[] {
    const events = this.#model.eventsOf(channel);
    const end = this.#model.indexAfter(channel, this.#opened.head);
    return events.slice(this.#model.indexAfter(channel, after), end).map((event) => event.id);
  }

  /** It was given an event of this id; returns which one that ought to be. */
  event(id: number): { readonly channel: string; readonly event: Accepted } {
    if (this.position < 0) throw new Error(`id ${id} before anything told where it starts`);
    if (id <= this.position) throw new Error(`id ${id} after ${this.position}`);
    this.#passThrough(id - 1);
    this.position = id;
    this.events++;
    if (this.#follows !== undefined && this.#follows !== id)
      throw new Error(`a gap said that ${this.#follows} follows; ${id} does`);
    this.#follows = undefined;
    const index = this.#channels.findIndex(
      (name, i) => this.#model.eventsOf(name)[this.#next[i] as number]?.id === id,
    );
    const channel = this.#channels[index];
    if (channel === undefined)
      throw new Error(`id ${id} is no event of ${this.#channels.join()}, or was given before`);
    const event = this.#model.eventsOf(channel)[this.#next[index] as number] as Accepted;
    this.#next[index] = (this.#next[index] as number) + 1;
    return { channel, event };
  }

  /** It was given a position without an event: nothing up to it is missing. */
  moveTo(id: number): void {
    if (id < this.position) throw new Error(`a position of ${id} after ${this.position}`);
    this.#passThrough(id);
    this.position = id;
  }

  gap({ after, before }: { readonly after: number | null; readonly before: number | null }): void {
    const asked = this.#asked;
    const { floor } = this.#opened;
    const head = this.#gapHeads.shift();
    if (head === undefined) throw new Error('a gap that was not written');
    const isFirst = this.gaps++ === 0;
    const atJoin =
      isFirst &&
      this.events === 0 &&
      (asked.kind === 'foreign' ||
        asked.kind === 'ahead' ||
        (asked.kind === 'after' && asked.id < floor));
    if (asked.kind === 'foreign' && isFirst && after !== null)
      throw new Error(`a foreign position has a gap after ${after}`);
    if (asked.kind === 'ahead' && isFirst && after !== asked.id)
      throw new Error(`position ${asked.id} has a gap after ${after}`);
    if (!atJoin) {
      if (after === null || after < this.position)
        throw new Error(`a gap after ${after}, but the client is at ${this.position}`);
      // An earlier gap may have covered everything up to there.
      this.#passThrough(after);
    }
    if (before !== null && after !== null && before <= after + 1 && !atJoin)
      throw new Error(`nothing is after ${after} and before ${before}`);
    const end = before ?? head + 1;
    if (this.#channels.length === 1 && this.#openGaps.some((gap) => gap.before >= end))
      throw new Error(`told of (${after}, ${before}) twice`);
    this.#openGaps.push({
      after: atJoin ? -1 : (after as number),
      before: end,
      missing: 0,
      excused: atJoin,
    });
    if (this.#channels.length === 1) this.#follows = before ?? undefined;
  }

  end(ended: { readonly code: string; readonly reconnect: boolean }): void {
    this.ended = ended;
    if ((ended.code === 'deleted') !== (this.#deletion !== undefined))
      throw new Error(
        `ended for ${ended.code}; its channel was ${this.#deletion === undefined ? 'not ' : ''}deleted`,
      );
    if (ended.reconnect !== ENDS[ended.code as EndCode].reconnect)
      throw new Error(`ended for ${ended.code}, reconnect ${ended.reconnect}`);
    if (this.#deletion?.isHealthy === true && !this.#isRevoked)
      this.#passThrough(this.#deletion.id);
  }

  /**
   * The client has passed `id`: a gap must cover each event up to it that it was not given, and
   * each gap must cover a missing event.
   */
  #passThrough(id: number): void {
    for (const [i, channel] of this.#channels.entries()) {
      const events = this.#model.eventsOf(channel);
      let next = this.#next[i] as number;
      for (let event = events[next]; event !== undefined && event.id <= id; event = events[++next])
        this.#miss(channel, event.id);
      this.#next[i] = next;
    }
    if (this.#openGaps.length === 0) return;
    for (const gap of this.#openGaps) {
      if (gap.before <= id + 1 && gap.missing === 0 && !gap.excused)
        throw new Error(`told a gap (${gap.after}, ${gap.before}) in which nothing is missing`);
    }
    this.#openGaps = this.#openGaps.filter((gap) => gap.before > id + 1);
  }

  #miss(channel: string, id: number): void {
    const told = this.#openGaps.filter(({ after, before }) => after < id && id < before);
    for (const gap of told) gap.missing++;
    if (told.length > 0) return;
    if (this.#asked.kind === 'after' || id > (this.#opened.lost.get(channel) as number)) {
      throw new Error(
        `missed ${id} of ${channel} and was not told; is at ${this.position}, passed through it`,
      );
    }
  }
}
