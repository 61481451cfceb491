/**
 * A client's message over WebSocket, read from its bytes: an event to publish, and a `ref` that
 * comes back with the answer.
 */
import { checkEventType, type NewEvent } from '../core/event.js';
import { HoldlineError } from '../errors.js';
import { REF_CHARS_MAX } from '../limits.js';
import { eventOf, unknownMember } from './batch.js';
import { checkSize } from './event-size.js';
import { stringBytes, stringOf } from './json-text.js';
import { firstByte, isNumber, isObject, isString, Members, scanJson } from './json.js';
import { checkChannelName } from '../http/request.js';

/** The members of a message and of its `publish`, by their index. */
const message = new Members(['publish', 'ref']);
const PUBLISH = 0;
const REF = 1;
const publish = new Members(['event', 'data', 'channel']);
const EVENT = 0;
const DATA = 1;
const CHANNEL = 2;

/** What a message publishes. */
export interface Asked {
  /** The JSON of its `ref`, as it was sent; empty if there is none. */
  readonly ref: string;
  /** Its data is a copy. */
  readonly event: NewEvent;
}

/** What is wrong with a message. */
export class Refused {
  readonly error: unknown;
  /** As in {@link Asked}, as far as it could be read. */
  readonly ref: string;

  constructor(error: unknown, ref: string) {
    this.error = error;
    this.ref = ref;
  }
}

/** Reads a message, which must be UTF-8 and is not kept; `channels` are those of its line. */
export function readMessage(
  bytes: Buffer,
  channels: readonly string[],
  maxEventBytes: number,
): Asked | Refused {
  let ref = '';
  try {
    const fault = scanJson(bytes, 0, bytes.length, message);
    if (fault?.kind === 'syntax')
      throw new HoldlineError('HOLDLINE_BAD_JSON', `the message is not JSON: ${fault.message}`);
    if (fault?.kind === 'depth') throw badMessage(fault.message);
    if (!isObject(bytes, firstByte(bytes, 0, bytes.length)))
      throw badMessage('the message must be an object');
    // Read first, so that a refusal can carry it.
    const wanted = refOf(bytes);
    ref = wanted ?? '';
    if (fault !== undefined) {
      // Half of a pair in the ref itself is not sent back.
      const refFault = scanJson(Buffer.from(ref), 0, Buffer.byteLength(ref));
      if (refFault !== undefined) ref = '';
      throw badMessage(fault.message);
    }
    checkMembers(bytes, message, '');
    if (wanted === undefined)
      throw badMessage(`"ref" must be a number or a string of at most ${REF_CHARS_MAX} characters`);
    const event = readPublish(bytes, channels);
    checkSize(event, maxEventBytes);
    return { ref, event };
  } catch (error) {
    return new Refused(error, ref);
  }
}

export function badMessage(problem: string): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_BAD_MESSAGE',
    `${problem}; send {"publish":{"event"?,"data","channel"?},"ref"?}`,
  );
}

/**
 * The JSON of `ref` as it was sent, so that 1.0 comes back as 1.0; empty if there is none,
 * undefined if it is not allowed.
 */
function refOf(bytes: Buffer): string | undefined {
  const start = message.starts[REF] as number;
  if (start < 0) return '';
  const end = message.ends[REF] as number;
  const isAllowed = isString(bytes, start)
    ? stringBytes(bytes, start, end).length <= UTF8_PER_CHAR * REF_CHARS_MAX &&
      stringOf(bytes, start, end).length <= REF_CHARS_MAX
    : isNumber(bytes, start) && end - start <= REF_CHARS_MAX;
  return isAllowed ? bytes.toString('utf8', start, end) : undefined;
}

/** The most UTF-8 bytes that a UTF-16 unit takes. */
const UTF8_PER_CHAR = 3;

function checkMembers(bytes: Buffer, members: Members, where: string): void {
  const problem = unknownMember(bytes, members);
  if (problem !== undefined) throw badMessage(`${problem}${where}`);
}

/**
 * The event that a message publishes. Throws HOLDLINE_BAD_MESSAGE and what a publish over HTTP
 * throws.
 */
function readPublish(bytes: Buffer, channels: readonly string[]): NewEvent {
  const start = message.starts[PUBLISH] as number;
  if (start < 0 || !isObject(bytes, start)) throw badMessage('"publish" must be an object');
  // Never a fault: the whole was valid, and this is less deep.
  scanJson(bytes, start, message.ends[PUBLISH] as number, publish);
  checkMembers(bytes, publish, ' in "publish"');
  const dataStart = publish.starts[DATA] as number;
  if (dataStart < 0) throw badMessage('"data" is missing');
  const type = textOf(bytes, EVENT, 'event');
  const channel =
    textOf(bytes, CHANNEL, 'channel') ?? (channels.length === 1 ? channels[0] : undefined);
  if (channel === undefined) {
    throw new HoldlineError(
      'HOLDLINE_BAD_CHANNEL',
      `this line has ${channels.length} channels; name the one to publish to as "channel"`,
    );
  }
  checkChannelName(channel);
  if (type !== undefined) checkEventType(type);
  const event = eventOf(channel, type, bytes, dataStart, publish.ends[DATA] as number);
  return { ...event, data: Buffer.from(event.data) };
}

/** A member of `publish` that must be a string; undefined if it is missing. */
function textOf(bytes: Buffer, place: number, name: string): string | undefined {
  const start = publish.starts[place] as number;
  if (start < 0) return undefined;
  if (!isString(bytes, start)) throw badMessage(`"${name}" must be a string`);
  return stringOf(bytes, start, publish.ends[place] as number);
}
