/**
 * What ought to be: every event by channel and id, kept naively, and for each connection a reader of its own that checks the
 * bytes it is given against that. Shares no code with src/ but limits.
 */
import type { NewEvent } from '../../src/core/event.js';

/** An event as it was accepted. */
export interface Accepted {
  readonly id: number;
  readonly type: string | undefined;
  readonly json: boolean;
  readonly data: string;
  /** What a client sees of it on a line of one channel: UTF-8 bytes as latin1, line ends as LF. */
  readonly lines: string;
  /** Bytes of type and data. */
  readonly bytes: number;
  /** What a client sees of it on a line of several, once that was found to be right. */
  object: string | undefined;
}

export class Model {
  lastId: number;
  readonly #channels = new Map<string, Accepted[]>();

  constructor(firstId: number) {
    this.lastId = firstId - 1;
  }

  accept(events: readonly NewEvent[]): number[] {
    return events.map(({ channel, type, data, json }) => {
      const id = ++this.lastId;
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
}

/** What a connection asked for. `ahead` is an id that nobody gave yet. */
export type Asked =
  | { readonly kind: 'live' }
  | { readonly kind: 'oldest' }
  | { readonly kind: 'foreign' }
  | { readonly kind: 'after'; readonly id: number }
  | { readonly kind: 'ahead'; readonly id: number }
  | { readonly kind: 'last'; readonly count: number };

/** What was true when a connection was opened. */
export interface Opened {
  /** Id of the newest event that had entered. */
  readonly head: number;
  /** First id of all − 1. */
  readonly floor: number;
  /** By channel: everything up to here was gone. */
  readonly lost: ReadonlyMap<string, number>;
}

/** Events that a connection was told to be missing: after `after`, before `before`. */
interface Gap {
  readonly after: number;
  readonly before: number;
  /** How many really are. */
  missing: number;
  /** Told for a reason that no missing event has to prove: a position below the floor, or of another log. */
  readonly excused: boolean;
}

/** One connection, from the side of the client. Throws where it is given what it ought not to be given. */
export class Connection {
  /** The id that the client would come back with. */
  position = -1;
  /** The server said goodbye, and whether the client may come back. */
  ended: { readonly code: string; readonly reconnect: boolean } | undefined;
  events = 0;
  gaps = 0;

  readonly #model: Model;
  readonly #channels: readonly string[];
  readonly #envelope: boolean;
  readonly #asked: Asked;
  readonly #opened: Opened;
  /** The head when each gap event was written, oldest first. */
  readonly #gapHeads: number[] = [];
  /** By channel: index of the first event that the client has not been given, told of, or started behind. */
  readonly #next: number[] = [];
  #openGaps: Gap[] = [];
  /** What a gap on a line of one channel said comes next. */
  #follows: number | undefined;

  #rest = '';
  #id: string | undefined;
  #type: string | undefined;
  #data: string[] = [];
  #retry: string | undefined;

  constructor(model: Model, channels: readonly string[], envelope: boolean, asked: Asked, opened: Opened) {
    this.#model = model;
    this.#channels = channels;
    this.#envelope = envelope;
    this.#asked = asked;
    this.#opened = opened;
  }

  gapIsWritten(head: number): void {
    this.#gapHeads.push(head);
  }

  /** Reads on. Bytes are taken as latin1 so that they may be cut anywhere. */
  feed(bytes: Buffer): void {
    const text = this.#rest + bytes.toString('latin1');
    let start = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      this.#line(text.slice(start, end));
      start = end + 1;
    }
    this.#rest = text.slice(start);
  }

  /** Everything has been read and the line is at `head`: whatever is not here must have been told. */
  settle(head: number): void {
    if (this.#rest !== '' || this.#data.length > 0) throw new Error(`ends in the middle of a block: ${this.#rest.slice(0, 100)}`);
    if (this.position < 0) throw new Error('was given nothing, not even where it starts');
    this.#passThrough(head);
  }

  #line(line: string): void {
    if (this.ended !== undefined) throw new Error(`was given something after its end: ${line.slice(0, 100)}`);
    if (line === '') {
      this.#dispatch();
      return;
    }
    if (line.includes('\r')) throw new Error(`a CR, which ends a line for a client: ${JSON.stringify(line.slice(0, 100))}`);
    const colon = line.indexOf(':');
    const field = line.slice(0, colon < 0 ? undefined : colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'data') this.#data.push(value);
    else if (field === 'id') this.#id = value;
    else if (field === 'event') this.#type = value;
    else if (field === 'retry') this.#retry = value;
    else if (field !== '') throw new Error(`a field that does not exist: ${line.slice(0, 100)}`);
  }

  #dispatch(): void {
    const id = this.#id;
    const type = this.#type;
    const data = this.#data;
    const retry = this.#retry;
    this.#id = undefined;
    this.#type = undefined;
    this.#data = [];
    this.#retry = undefined;
    if (this.position < 0) this.#start(id, retry, data.length);
    else if (data.length === 0) {
      if (type !== undefined || retry !== undefined) throw new Error('a block without data has a type or a retry');
      if (id !== undefined) this.#moveTo(idOf(id));
    } else if (id !== undefined) this.#event(idOf(id), type, data.join('\n'));
    else if (type === 'gap') this.#gap(JSON.parse(data.join('\n')) as { after: number | null; before: number | null });
    else if (type === 'end') this.ended = JSON.parse(data.join('\n')) as { code: string; reconnect: boolean };
    else throw new Error(`an event without id: ${type}`);
  }

  /** The first block: where the line continues. */
  #start(id: string | undefined, retry: string | undefined, dataLines: number): void {
    if (id === undefined || retry === undefined || dataLines > 0) throw new Error('the first block is not retry and id');
    const position = idOf(id);
    this.position = position;
    const { head, lost } = this.#opened;
    const asked = this.#asked;
    for (const channel of this.#channels) this.#next.push(this.#model.indexAfter(channel, position));
    if (asked.kind === 'after' && position !== asked.id)
      throw new Error(`asked for what follows ${asked.id}, continues after ${position}`);
    if (asked.kind === 'live' && position !== head) throw new Error(`live at ${head}, continues after ${position}`);
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
    const held = this.#channels.flatMap((channel) => this.#entered(channel, lost.get(channel) as number));
    const first = held.toSorted((a, b) => b - a)[Math.min(count, held.length) - 1];
    const expected = first === undefined ? head : first - 1;
    if (position !== expected)
      throw new Error(`asked for the last ${count} of ${held.length} held, continues after ${position}, not ${expected}`);
  }

  /** Ids of the channel's events above `after` that had entered when the connection was opened. */
  #entered(channel: string, after: number): number[] {
    const events = this.#model.eventsOf(channel);
    const end = this.#model.indexAfter(channel, this.#opened.head);
    return events.slice(this.#model.indexAfter(channel, after), end).map((event) => event.id);
  }

  #event(id: number, type: string | undefined, data: string): void {
    if (id <= this.position) throw new Error(`id ${id} after ${this.position}`);
    this.#passThrough(id - 1);
    this.position = id;
    this.events++;
    if (this.#follows !== undefined && this.#follows !== id)
      throw new Error(`a gap said that ${this.#follows} follows; ${id} does`);
    this.#follows = undefined;
    const index = this.#channels.findIndex((name, i) => this.#model.eventsOf(name)[this.#next[i] as number]?.id === id);
    const channel = this.#channels[index];
    if (channel === undefined) throw new Error(`id ${id} is no event of ${this.#channels.join()}, or was given before`);
    const event = this.#model.eventsOf(channel)[this.#next[index] as number] as Accepted;
    this.#next[index] = (this.#next[index] as number) + 1;
    if (shownType(type) !== event.type) throw new Error(`the type of ${id} is ${shownType(type)}, not ${event.type}`);
    if (!this.#envelope) {
      if (data !== event.lines) throw new Error(`the data of ${id} is not what was published`);
    } else if (data !== event.object) {
      checkObject(data, channel, event);
      event.object = data;
    }
  }

  /** A block of an id alone: nothing up to it is missing. */
  #moveTo(id: number): void {
    if (id < this.position) throw new Error(`a heartbeat at ${id} after ${this.position}`);
    this.#passThrough(id);
    this.position = id;
  }

  #gap({ after, before }: { after: number | null; before: number | null }): void {
    const asked = this.#asked;
    const { floor } = this.#opened;
    const head = this.#gapHeads.shift();
    if (head === undefined) throw new Error('a gap that was not written');
    const isFirst = this.gaps++ === 0;
    const atJoin =
      isFirst &&
      this.events === 0 &&
      (asked.kind === 'foreign' || asked.kind === 'ahead' || (asked.kind === 'after' && asked.id < floor));
    if (asked.kind === 'foreign' && isFirst && after !== null) throw new Error(`a foreign position has a gap after ${after}`);
    if (asked.kind === 'ahead' && isFirst && after !== asked.id) throw new Error(`position ${asked.id} has a gap after ${after}`);
    if (!atJoin) {
      if (after === null || after < this.position) throw new Error(`a gap after ${after}, but the client is at ${this.position}`);
      // It may have been told before that everything up to there is gone.
      this.#passThrough(after);
    }
    if (before !== null && after !== null && before <= after + 1 && !atJoin)
      throw new Error(`nothing is after ${after} and before ${before}`);
    const end = before ?? head + 1;
    if (this.#channels.length === 1 && this.#openGaps.some((gap) => gap.before >= end))
      throw new Error(`told of (${after}, ${before}) twice`);
    this.#openGaps.push({ after: atJoin ? -1 : (after as number), before: end, missing: 0, excused: atJoin });
    if (this.#channels.length === 1) this.#follows = before ?? undefined;
  }

  /** The client has passed `id`: events up to it that it was not given must be told missing, and what is told missing must be. */
  #passThrough(id: number): void {
    for (const [i, channel] of this.#channels.entries()) {
      const events = this.#model.eventsOf(channel);
      let next = this.#next[i] as number;
      for (let event = events[next]; event !== undefined && event.id <= id; event = events[++next]) this.#miss(channel, event.id);
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
      throw new Error(`missed ${id} of ${channel} and was not told; is at ${this.position}, passed through it`);
    }
  }
}

function checkObject(data: string, channel: string, { id, type, json, data: published }: Accepted): void {
  const value = json ? (JSON.parse(published) as unknown) : published;
  const expected = JSON.stringify({ id, channel, ...(type === undefined ? {} : { event: type }), data: value });
  const shown = JSON.stringify(JSON.parse(Buffer.from(data, 'latin1').toString()));
  if (shown !== expected) throw new Error(`the object of ${id} is not what was published`);
}

/** A type that was read as latin1. */
function shownType(type: string | undefined): string | undefined {
  return type === undefined ? undefined : Buffer.from(type, 'latin1').toString();
}

function idOf(text: string): number {
  if (!/^\d+$/.test(text)) throw new Error(`an id that is no number: ${text.slice(0, 40)}`);
  return Number(text);
}
