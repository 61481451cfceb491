/** Batches: bodies with an event per line of JSON, read as bytes and in slices of time. */
import { checkEventType, type NewEvent } from '../core/event.js';
import { asError, HoldlineError, type RefusalCode } from '../errors.js';
import { checkChannelName } from '../http/request.js';
import {
  BATCH_AT_ONCE_BYTES_MAX,
  BATCH_CHANNELS_MAX,
  BATCH_EVENTS_MAX,
  BATCH_STEP_BYTES,
  JSON_GROWTH_MAX,
  MESSAGE_ENVELOPE_BYTES_MAX,
} from '../limits.js';
import { checkSize } from './event-size.js';
import { stringBytes, stringOf } from './json-text.js';
import { firstByte, isObject, isString, Members, scanJson } from './json.js';
import { inSlices } from './slices.js';
import { unknownName } from '../spelling.js';

const LF = 0x0a;

/** The members of a line, by their index. */
const EVENT = 0;
const DATA = 1;
const CHANNEL = 2;
const members = new Members(['event', 'data']);
/** Of a line that names its channel. */
const namedMembers = new Members(['event', 'data', 'channel']);

/**
 * Reads a body as events for `channel`, or for those that its lines name: at once if it is small,
 * else in slices. Throws or rejects with HOLDLINE_BAD_BATCH, HOLDLINE_BAD_CHANNEL,
 * HOLDLINE_BAD_EVENT_TYPE or HOLDLINE_TOO_LARGE; then nothing is published. The events' data are
 * views of `body`, which must be UTF-8.
 */
export function readBatch(
  channel: string | undefined,
  body: Buffer,
  maxEventBytes: number,
): readonly NewEvent[] | Promise<readonly NewEvent[]> {
  const reader = new BatchReader(channel, body, maxEventBytes);
  if (body.length > BATCH_AT_ONCE_BYTES_MAX)
    return inSlices(() => reader.step()).then(() => reader.events);
  while (!reader.step());
  return reader.events;
}

class BatchReader {
  readonly events: NewEvent[] = [];
  readonly #channel: string | undefined;
  readonly #body: Buffer;
  readonly #maxEventBytes: number;
  readonly #maxLineBytes: number;
  /** The channels that lines have named, by name: all events of one share its text. */
  readonly #named = new Map<string, string>();
  #start = 0;
  #line = 1;

  constructor(channel: string | undefined, body: Buffer, maxEventBytes: number) {
    this.#channel = channel;
    this.#body = body;
    this.#maxEventBytes = maxEventBytes;
    this.#maxLineBytes = JSON_GROWTH_MAX * maxEventBytes + MESSAGE_ENVELOPE_BYTES_MAX;
  }

  /** Reads some lines, about BATCH_STEP_BYTES; true when the body is read. */
  step(): boolean {
    const body = this.#body;
    const stepEnd = this.#start + BATCH_STEP_BYTES;
    while (this.#start < body.length) {
      if (this.#start >= stepEnd) return false;
      // One byte at a time, so that many blank lines cost no more than their bytes.
      if (body[this.#start] === LF) {
        this.#start++;
        this.#line++;
        continue;
      }
      const lineFeed = body.indexOf(LF, this.#start);
      const end = lineFeed < 0 ? body.length : lineFeed;
      if (firstByte(body, this.#start, end) < end) this.#readLine(end);
      this.#start = end + 1;
      this.#line++;
    }
    if (this.events.length === 0) {
      throw new HoldlineError(
        'HOLDLINE_BAD_BATCH',
        `the batch has no events; send a line ${shapeOf(this.#channel)} for each event`,
      );
    }
    return true;
  }

  #readLine(end: number): void {
    if (this.events.length === BATCH_EVENTS_MAX) {
      throw new HoldlineError(
        'HOLDLINE_TOO_LARGE',
        `a batch must have at most ${BATCH_EVENTS_MAX} events`,
      );
    }
    // Measured first: a line that is longer than any event can be is not read.
    const bytes = end - this.#start;
    if (bytes > this.#maxLineBytes) {
      const message = `line ${this.#line}: it must be at most ${this.#maxLineBytes} bytes (got ${bytes}); nothing of the batch was published`;
      throw new HoldlineError('HOLDLINE_TOO_LARGE', message);
    }
    const event = this.#eventOf(end);
    checkSize(event, this.#maxEventBytes, this.#line);
    this.events.push(event);
  }

  #eventOf(end: number): NewEvent {
    const body = this.#body;
    const start = this.#start;
    const line = this.#line;
    const wanted = this.#channel === undefined ? namedMembers : members;
    const fault = scanJson(body, start, end, wanted);
    if (fault !== undefined)
      throw badLine(line, fault.kind === 'syntax' ? `not JSON: ${fault.message}` : fault.message);
    if (!isObject(body, firstByte(body, start, end)))
      throw badLine(line, `must be an object ${shapeOf(this.#channel)}`);
    const unknown = unknownMember(body, wanted);
    if (unknown !== undefined) throw badLine(line, unknown);
    const { starts, ends } = wanted;
    const dataStart = starts[DATA] as number;
    if (dataStart < 0) throw badLine(line, '"data" is missing');
    const typeStart = starts[EVENT] as number;
    const type = typeStart < 0 ? undefined : readType(body, typeStart, ends[EVENT] as number, line);
    return eventOf(
      this.#channel ?? this.#readChannel(),
      type,
      body,
      dataStart,
      ends[DATA] as number,
    );
  }

  /** The channel that the scanned line names. */
  #readChannel(): string {
    const start = namedMembers.starts[CHANNEL] as number;
    if (start < 0) throw badLine(this.#line, '"channel" is missing');
    if (!isString(this.#body, start)) throw badLine(this.#line, '"channel" must be a string');
    const name = stringOf(this.#body, start, namedMembers.ends[CHANNEL] as number);
    const known = this.#named.get(name);
    if (known !== undefined) return known;
    try {
      checkChannelName(name);
    } catch (cause) {
      throw atLine(this.#line, 'HOLDLINE_BAD_CHANNEL', cause);
    }
    if (this.#named.size === BATCH_CHANNELS_MAX) {
      throw new HoldlineError(
        'HOLDLINE_TOO_LARGE',
        `a batch must have at most ${BATCH_CHANNELS_MAX} channels; nothing of it was published`,
      );
    }
    this.#named.set(name, name);
    return name;
  }
}

/** What a line looks like. */
function shapeOf(channel: string | undefined): string {
  return channel === undefined ? '{"channel","event"?,"data"}' : '{"event"?,"data"}';
}

/** What is wrong with a scanned object that has a member of another name; undefined without one. */
export function unknownMember(
  bytes: Buffer,
  { names, unknownStart, unknownEnd }: Members,
): string | undefined {
  if (unknownStart < 0) return undefined;
  const name = stringOf(bytes, unknownStart - 1, unknownEnd + 1);
  return unknownName(
    'member',
    name,
    names.map((one) => one.toString()),
  );
}

/** The event of data that was scanned: a string is text, anything else is JSON as it was sent. */
export function eventOf(
  channel: string,
  type: string | undefined,
  bytes: Uint8Array,
  start: number,
  end: number,
): NewEvent {
  const isText = isString(bytes, start);
  const data = isText ? stringBytes(bytes, start, end) : bytes.subarray(start, end);
  return { channel, type, data, json: !isText };
}

function badLine(line: number, what: string): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_BAD_BATCH',
    `line ${line}: ${what}; nothing of the batch was published`,
  );
}

function readType(body: Buffer, start: number, end: number, line: number): string {
  if (!isString(body, start)) throw badLine(line, '"event" must be a string');
  try {
    return checkEventType(stringOf(body, start, end));
  } catch (cause) {
    throw atLine(line, 'HOLDLINE_BAD_EVENT_TYPE', cause);
  }
}

/** The same refusal, which names the line. */
function atLine(line: number, code: RefusalCode, cause: unknown): HoldlineError {
  return new HoldlineError(code, `line ${line}: ${asError(cause).message}`, { cause });
}
