/**
 * Readers of what a line is given, byte for byte, by the rules of each encoding and by no code of
 * src/. They hand on what they read to whoever knows what ought to come.
 */
import { shownObject, type Accepted, type Connection } from './model.js';

/** What a reader hands what it has read to. */
export type Told = Pick<Connection, 'end' | 'ended' | 'event' | 'gap' | 'moveTo' | 'start'>;

/** Takes the bytes of one line as they come, cut anywhere. */
export interface Reader {
  feed(bytes: Buffer): void;
  /** Throws in the middle of something. */
  checkBetween(): void;
}

/**
 * Hands over whole lines, without their LF. Bytes are taken as latin1 so that they may be cut
 * anywhere.
 */
class LineSplitter {
  rest = '';

  split(bytes: Buffer, take: (line: string) => void): void {
    const text = this.rest === '' ? bytes.toString('latin1') : this.rest + bytes.toString('latin1');
    let start = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      take(text.slice(start, end));
      start = end + 1;
    }
    this.rest = text.slice(start);
  }
}

/**
 * An EventSource (HTML Standard, 9.2.6), on a line of one channel or, with `envelope`, of several.
 */
export class EventStreamReader implements Reader {
  readonly #connection: Told;
  readonly #envelope: boolean;
  readonly #lines = new LineSplitter();
  #isStarted = false;
  #id: string | undefined;
  #type: string | undefined;
  #data: string[] = [];
  #retry: string | undefined;

  constructor(connection: Told, envelope: boolean) {
    this.#connection = connection;
    this.#envelope = envelope;
  }

  feed(bytes: Buffer): void {
    this.#lines.split(bytes, (line) => this.#line(line));
  }

  checkBetween(): void {
    if (this.#lines.rest !== '' || this.#data.length > 0)
      throw new Error(`ends in the middle of a block: ${this.#lines.rest.slice(0, 100)}`);
  }

  #line(line: string): void {
    if (this.#connection.ended !== undefined)
      throw new Error(`was given something after its end: ${line.slice(0, 100)}`);
    if (line === '') {
      this.#dispatch();
      return;
    }
    if (line.includes('\r'))
      throw new Error(
        `a CR, which ends a line for a client: ${JSON.stringify(line.slice(0, 100))}`,
      );
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
    const connection = this.#connection;
    const id = this.#id;
    const type = this.#type;
    const data = this.#data;
    const retry = this.#retry;
    this.#id = undefined;
    this.#type = undefined;
    this.#data = [];
    this.#retry = undefined;
    if (!this.#isStarted) {
      if (id === undefined || retry === undefined || data.length > 0)
        throw new Error('the first block is not retry and id');
      this.#isStarted = true;
      connection.start(idOf(id));
    } else if (data.length === 0) {
      if (type !== undefined || retry !== undefined)
        throw new Error('a block without data has a type or a retry');
      if (id !== undefined) connection.moveTo(idOf(id));
    } else if (id !== undefined) {
      this.#event(idOf(id), type, data.join('\n'));
    } else if (type === 'gap') {
      connection.gap(
        JSON.parse(data.join('\n')) as { after: number | null; before: number | null },
      );
    } else if (type === 'end') {
      connection.end(JSON.parse(data.join('\n')) as { code: string; reconnect: boolean });
    } else {
      throw new Error(`an event without id: ${type}`);
    }
  }

  #event(id: number, type: string | undefined, data: string): void {
    const { channel, event } = this.#connection.event(id);
    if (shownType(type) !== event.type)
      throw new Error(`the type of ${id} is ${shownType(type)}, not ${event.type}`);
    if (this.#envelope) checkObject(data, channel, event);
    else if (data !== event.lines) throw new Error(`the data of ${id} is not what was published`);
  }
}

/** A client of lines of JSON, on a stream or in messages. */
export class JsonLinesReader implements Reader {
  readonly #connection: Told;
  readonly #isStream: boolean;
  readonly #lines = new LineSplitter();
  #linesRead = 0;
  /** Answers to messages of its own. */
  replies = 0;

  constructor(connection: Told, isStream: boolean) {
    this.#connection = connection;
    this.#isStream = isStream;
  }

  feed(bytes: Buffer): void {
    this.#lines.split(bytes, (line) => this.#line(line));
  }

  checkBetween(): void {
    if (this.#lines.rest !== '')
      throw new Error(`ends in the middle of a line: ${this.#lines.rest.slice(0, 100)}`);
    if (this.#isStream && this.#linesRead === 0)
      throw new Error('was given nothing, not even an empty line');
  }

  #line(line: string): void {
    const connection = this.#connection;
    if (connection.ended !== undefined)
      throw new Error(`was given something after its end: ${line.slice(0, 100)}`);
    const isFirst = this.#linesRead++ === 0;
    if (this.#isStream && isFirst && line !== '')
      throw new Error('the first line of a stream is not empty');
    if (line === '') {
      if (!this.#isStream) throw new Error('an empty line in a message');
      return;
    }
    const id = /^\{"id":(\d+),/.exec(line)?.[1];
    if (id !== undefined) {
      const { channel, event } = connection.event(idOf(id));
      checkObject(line, channel, event);
      return;
    }
    const object = JSON.parse(line) as Record<string, never>;
    const [name, ...others] = Object.keys(object);
    if (others.length > 0) throw new Error(`a line that is none: ${line.slice(0, 100)}`);
    if (name === 'gap') connection.gap(object[name]!);
    else if (name === 'end') connection.end(object[name]!);
    else if (name === 'ok' && !this.#isStream) this.replies++;
    else throw new Error(`a line that is none: ${line.slice(0, 100)}`);
  }
}

/**
 * Text that was read as latin1 is the event's object; kept with the event once it was found to be
 * right.
 */
function checkObject(text: string, channel: string, event: Accepted): void {
  if (text === event.object) return;
  const shown = JSON.stringify(JSON.parse(Buffer.from(text, 'latin1').toString()));
  if (shown !== shownObject(channel, event))
    throw new Error(`the object of ${event.id} is not what was published`);
  event.object = text;
}

/** A type that was read as latin1. */
function shownType(type: string | undefined): string | undefined {
  return type === undefined ? undefined : Buffer.from(type, 'latin1').toString();
}

function idOf(text: string): number {
  if (!/^\d+$/.test(text)) throw new Error(`an id that is no number: ${text.slice(0, 40)}`);
  return Number(text);
}
