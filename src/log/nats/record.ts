/**
 * What a message of the stream says: its data is the event's, the rest stands in headers, all of
 * which may be missing, so that other services publish with no more than a subject and data.
 */
import { headers, type Msg, type MsgHdrs } from '@nats-io/transport-node';
import { asError } from '../../errors.js';
import { isDeletion, type LoggedEntry, type NewEntry, type NewEvent } from '../../core/event.js';
import type { KeptReceipt, RequestKey } from '../../core/event-log.js';
import type { Subjects } from './subjects.js';

/** The event's type, percent-encoded: NATS drops spaces at the ends of a header. */
export const TYPE_HEADER = 'Holdline-Type';
/** `1` when the data is JSON. */
export const JSON_HEADER = 'Holdline-Json';
/** Of an entry with an idempotency key: {@link RequestMark}, its fields with spaces between. */
export const REQUEST_HEADER = 'Holdline-Request';
/** By which the stream keeps a message once, within its duplicate window. */
export const ID_HEADER = 'Nats-Msg-Id';

/** One entry of a request with an idempotency key. */
export interface RequestMark {
  readonly key: string;
  readonly digest: string;
  /** Which of the request's entries it is, from 0, and how many there are. */
  readonly index: number;
  readonly count: number;
  /** Id of the request's first entry; 0 in that entry itself. */
  readonly firstId: number;
  readonly subscribers: number;
}

/** A message to be published. */
export interface OutgoingMessage {
  readonly subject: string;
  readonly headers: MsgHdrs;
  readonly data: Uint8Array;
}

/** A message of the stream as it arrived. */
export interface Arrived {
  readonly id: number;
  /** When the stream took it, ms since 1970. */
  readonly wallMs: number;
  readonly subject: string;
  readonly fields: Fields;
  readonly data: Uint8Array;
}

/** What our headers of a message say; empty where there is none. */
interface Fields {
  readonly type: string;
  readonly json: string;
  readonly request: string;
}

/** What a message means; `entry` is undefined where a publish of it would be refused. */
export interface Meaning {
  /** Undefined where the subject is of no channel. */
  readonly channel: string | undefined;
  readonly entry: LoggedEntry | undefined;
  /** Why there is no entry. */
  readonly problem: string;
}

const NOTHING = new Uint8Array(0);

export function messageOf(
  entry: NewEntry,
  messageId: string,
  subjects: Subjects,
  mark?: RequestMark,
): OutgoingMessage {
  const head = headers();
  head.append(ID_HEADER, messageId);
  if (mark !== undefined) head.append(REQUEST_HEADER, markText(mark));
  if (isDeletion(entry))
    return { subject: subjects.ofDeletions(entry.channel), headers: head, data: NOTHING };
  if (entry.type !== undefined) head.append(TYPE_HEADER, encodeURIComponent(entry.type));
  if (entry.json) head.append(JSON_HEADER, '1');
  return { subject: subjects.ofEvents(entry.channel), headers: head, data: entry.data };
}

/**
 * Reads a message; undefined for one of others that is none of ours. `check` throws what a publish
 * of the event would be refused for: nobody has checked what other services publish.
 */
export function meaningOf(
  message: Arrived,
  subjects: Subjects,
  check: (event: NewEvent) => void,
): Meaning | undefined {
  const { id } = message;
  const subject = subjects.meaningOf(message.subject);
  if (subject === undefined) return undefined;
  const { channel, isDeletion: isMark } = subject;
  if (channel === undefined)
    return { channel, entry: undefined, problem: 'its subject is of no channel' };
  if (isMark) return { channel, entry: { id, channel, isDeletion: true }, problem: '' };
  try {
    const event: NewEvent = {
      channel,
      type: typeOf(message.fields),
      // The client reads into a large buffer, of which this is a part.
      data: Buffer.from(message.data),
      json: message.fields.json === '1',
    };
    check(event);
    return { channel, entry: { id, ...event }, problem: '' };
  } catch (error) {
    return { channel, entry: undefined, problem: asError(error).message };
  }
}

/** In one walk: to get one by its name walks all of them, and makes lists. */
function fieldsOf(head: MsgHdrs | undefined): Fields {
  const fields = { type: '', json: '', request: '' };
  if (head === undefined) return fields;
  for (const [name, [value = '']] of head) {
    if (name === TYPE_HEADER) fields.type = value;
    else if (name === JSON_HEADER) fields.json = value;
    else if (name === REQUEST_HEADER) fields.request = value;
  }
  return fields;
}

function typeOf({ type }: Fields): string | undefined {
  return type === '' ? undefined : decodeURIComponent(type);
}

function markText({ key, digest, index, count, firstId, subscribers }: RequestMark): string {
  return [key, digest, index, count, firstId, subscribers].map(String).join(' ');
}

const MARK = /^(\S+) (\S+) (\d{1,5}) (\d{1,5}) (\d{1,16}) (\d{1,10})$/;

/** Undefined for a message without an idempotency key. */
export function markOf(head: MsgHdrs | undefined): RequestMark | undefined {
  return markIn(fieldsOf(head));
}

function markIn({ request }: Fields): RequestMark | undefined {
  const match = request === '' ? null : MARK.exec(request);
  if (match === null) return undefined;
  const [, key, digest, index, count, firstId, subscribers] = match as unknown as string[];
  return {
    key: key as string,
    digest: digest as string,
    index: Number(index),
    count: Number(count),
    firstId: Number(firstId),
    subscribers: Number(subscribers),
  };
}

/** The receipt of a request whose last entry this is; undefined for all others. */
export function receiptOf(
  message: Arrived,
): (RequestKey & { readonly kept: KeptReceipt }) | undefined {
  const mark = markIn(message.fields);
  if (mark === undefined || mark.index !== mark.count - 1) return undefined;
  const { key, digest, count, subscribers } = mark;
  const firstId = mark.firstId === 0 ? message.id : mark.firstId;
  return {
    key,
    digest,
    kept: { digest, receipt: { firstId, lastId: message.id, count, subscribers } },
  };
}

/**
 * A message that a consumer delivered, and its place among those; undefined for one of another
 * kind. Its reply subject is
 * `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<place>.<ns>.<pending>`, with two tokens
 * more behind `$JS.ACK` and one at the end in later servers.
 */
export function arrivedOf(
  message: Msg,
): (Arrived & { readonly place: number; readonly pending: number }) | undefined {
  const tokens = message.reply?.split('.') ?? [];
  if (tokens.length < 9 || tokens[0] !== '$JS' || tokens[1] !== 'ACK') return undefined;
  const at = tokens.length === 9 ? 4 : 6;
  return {
    id: Number(tokens[at + 1]),
    place: Number(tokens[at + 2]),
    wallMs: Math.floor(Number(tokens[at + 3]) / 1e6),
    pending: Number(tokens[at + 4]),
    subject: message.subject,
    fields: fieldsOf(message.headers),
    data: message.data,
  };
}
