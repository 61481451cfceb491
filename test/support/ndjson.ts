/**
 * The NDJSON encoding as a client reads it: streams, WebSocket messages and polls carry the same
 * objects. Whatever breaks its grammar throws.
 */

/** What a gap says. */
export interface Gap {
  readonly after: number | null;
  readonly before: number | null;
}

/** An event. */
export interface NdjsonEvent {
  readonly id: number;
  readonly channel: string;
  readonly event: string | undefined;
  readonly data: unknown;
  /** In a poll only: the gap before this event. */
  readonly gap: Gap | undefined;
}

/** What the last line of a stream says. */
export interface End {
  readonly code: string;
  readonly reconnect: boolean;
}

/** What is wrong with a value, and its beginning. */
function broken(what: string, value: unknown): Error {
  return new Error(`${what}: ${JSON.stringify(value).slice(0, 200)}`);
}

/** An object's members must be exactly these, in this order; `?` marks what may be missing. */
function expectMembers(value: unknown, ...names: string[]): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw broken('not an object', value);
  const given = Object.keys(value);
  const expected = names.filter((name) => !name.endsWith('?') || given.includes(name.slice(0, -1)));
  if (given.join() !== expected.join().replaceAll('?', ''))
    throw broken(`not the members ${names.join()}`, value);
}

function readGap(gap: Gap): Gap {
  expectMembers(gap, 'after', 'before');
  for (const id of [gap.after, gap.before]) {
    if (id !== null && !(Number.isSafeInteger(id) && id >= 0)) throw broken('not a gap', gap);
  }
  return gap;
}

/** Reads one event's object. */
export function readEvent(value: unknown): NdjsonEvent {
  expectMembers(value, 'gap?', 'id', 'channel', 'event?', 'data');
  const { id, channel, event, data, gap } = value as {
    id: number;
    channel: string;
    event?: string;
    data: unknown;
    gap?: Gap;
  };
  if (!Number.isSafeInteger(id) || id < 1) throw broken('not an id', value);
  if (event !== undefined && typeof event !== 'string') throw broken('not an event type', value);
  return { id, channel, event, data, gap: gap === undefined ? undefined : readGap(gap) };
}

/** Reads a stream line by line, lines given without their LF. */
export class NdjsonReader {
  readonly events: NdjsonEvent[] = [];
  readonly gaps: Gap[] = [];
  /** Every line in its order, empty ones included. */
  readonly lines: string[] = [];
  end: End | undefined;
  emptyLines = 0;
  lastId = -1;

  describe(): string {
    return `${this.events.length} events, ${this.gaps.length} gaps, last id ${this.lastId}, last lines ${JSON.stringify(this.lines.slice(-3).map((line) => line.slice(0, 200)))}`;
  }

  line(raw: string): void {
    if (this.end !== undefined) throw new Error(`a line after the end: ${raw.slice(0, 200)}`);
    this.lines.push(raw);
    if (raw === '') {
      this.emptyLines++;
      return;
    }
    const value = JSON.parse(raw) as { gap: Gap; end: End };
    if (raw.startsWith('{"gap":')) {
      expectMembers(value, 'gap');
      this.gaps.push(readGap(value.gap));
    } else if (raw.startsWith('{"end":')) {
      expectMembers(value, 'end');
      expectMembers(value.end, 'code', 'reconnect');
      this.end = value.end;
    } else {
      const event = readEvent(value);
      if (event.id <= this.lastId) throw new Error(`id ${event.id} after ${this.lastId}`);
      this.lastId = event.id;
      this.events.push(event);
    }
  }
}
