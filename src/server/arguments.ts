/**
 * What the embedding program gives to the library, checked: a program in JavaScript may give
 * anything, and what is not understood must not be left out without a word.
 */
import { inspect, types } from 'node:util';
import { checkEventType } from '../core/event.js';
import type { WhichLines } from '../core/line-ends.js';
import { LIVE, type Position } from '../core/position.js';
import type { compileSerializers } from '../core/serialize.js';
import { HoldlineError } from '../errors.js';
import { checkChannelName } from '../http/request.js';
import { HISTORY_EVENTS_DEFAULT, ID_MAX, POLL_EVENTS_MAX } from '../limits.js';
import type { CertificateFiles } from '../native/certificate.js';
import { unknownOption } from '../options/refusals.js';
import { OPTIONS } from '../options/table.js';
import { unknownName } from '../spelling.js';
import { scanJson } from '../transports/json.js';
import { checkUtf8 } from '../transports/publish.js';
import type { Hooks, LibraryEvent } from './api.js';

/** HOLDLINE_BAD_ARGUMENT: what a function takes, and what was given. */
export function badArgument(name: string, takes: string, given: unknown): HoldlineError {
  const shown = inspect(given, { breakLength: Infinity, depth: 0, maxStringLength: 64 });
  return new HoldlineError(
    'HOLDLINE_BAD_ARGUMENT',
    `${name} takes ${takes} (got ${shown.slice(0, 200)})`,
  );
}

/** True for an object that may have members by name; a Map has none. */
function isPlainObject(given: unknown): given is Readonly<Record<string, unknown>> {
  return (
    typeof given === 'object' &&
    given !== null &&
    !Array.isArray(given) &&
    !types.isMap(given) &&
    !types.isSet(given)
  );
}

/** The names of its members, inherited ones among them, since those are read, too. */
function memberNames(given: object): string[] {
  const names: string[] = [];
  for (const name in given) names.push(name);
  return names;
}

/** Throws HOLDLINE_BAD_ARGUMENT for a member that is not one of `known`. */
function checkMembers(name: string, given: object, known: readonly string[]): void {
  for (const member of memberNames(given)) {
    if (known.includes(member)) continue;
    throw new HoldlineError(
      'HOLDLINE_BAD_ARGUMENT',
      `${name}: ${unknownName('member', member, known)}`,
    );
  }
}

// ── createServer, channel and close ────────────────────────────────────────────────────────────

const HOOKS = {
  authorize: true,
  onOpen: true,
  onClose: true,
  eventSchemas: true,
  onError: true,
  onWarning: true,
  onRefusal: true,
} as const satisfies Record<keyof Hooks, true>;

/** Throws HOLDLINE_BAD_OPTION unless it is an object with options and hooks by name. */
export function checkOptionNames(options: unknown): void {
  if (!isPlainObject(options)) {
    const shown = inspect(options, { depth: 0, maxStringLength: 64 });
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `createServer takes an object with options by name (got ${shown})`,
    );
  }
  const known = [...Object.keys(OPTIONS), ...Object.keys(HOOKS)];
  for (const name of memberNames(options))
    if (!known.includes(name)) throw unknownOption(name, known, `known are ${known.join(', ')}`);
  const { eventSchemas } = options;
  if (eventSchemas === undefined) return;
  if (!isPlainObject(eventSchemas)) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `eventSchemas must be an object with JSON Schemas by event type (got ${inspect(eventSchemas, { depth: 0 })})`,
    );
  }
  for (const type of Object.keys(eventSchemas)) checkSchemaType(type);
}

/** A schema of a type that cannot be published would never be used. */
function checkSchemaType(type: string): void {
  try {
    checkEventType(type);
  } catch (cause) {
    const message = `eventSchemas: ${(cause as Error).message}`;
    throw new HoldlineError('HOLDLINE_BAD_OPTION', message, { cause });
  }
}

/**
 * The name of a channel. Options behind it are refused; an index there is not, because a program
 * may map names to channels.
 */
export function checkChannelArguments(given: readonly unknown[]): string {
  const [name, options] = given;
  if (typeof name !== 'string') throw badArgument('channel', 'a name, which is a string', name);
  if (isPlainObject(options))
    throw badArgument(
      'channel',
      'a name and nothing else; options are given to createServer',
      options,
    );
  return name;
}

/** `listen` takes nothing: a port given to it would be left out. */
export function checkListenArguments([first]: readonly unknown[]): void {
  if (first !== undefined)
    throw badArgument('listen', 'nothing; port and host are options of createServer', first);
}

/**
 * Refuses options behind what `publish` and `publishAll` take. An index is let through, because a
 * program may map events to them.
 */
export function checkSecondArgument(name: string, takes: string, second: unknown): void {
  if (typeof second === 'string' || isPlainObject(second))
    throw badArgument(name, `${takes} and nothing else`, second);
}

/** The files that `changeCertificate` is given. */
export function certificateFilesOf([given]: readonly unknown[]): CertificateFiles {
  const wanted = 'an object {tlsCert, tlsKey} with the paths of two files';
  if (!isPlainObject(given)) throw badArgument('changeCertificate', wanted, given);
  checkMembers('changeCertificate', given, ['tlsCert', 'tlsKey']);
  const { tlsCert, tlsKey } = given;
  if (typeof tlsCert === 'string' && typeof tlsKey === 'string') return { tlsCert, tlsKey };
  throw badArgument('changeCertificate', wanted, given);
}

/** The time that `close` is given, ms; undefined for the option's. */
export function drainMsOf(given: unknown): number | undefined {
  if (given === undefined) return undefined;
  if (!isPlainObject(given)) throw badArgument('close', 'an object {drainMs?}', given);
  checkMembers('close', given, ['drainMs']);
  const { drainMs } = given;
  if (drainMs === undefined) return undefined;
  if (typeof drainMs === 'number' && drainMs >= 0 && drainMs < Infinity) return drainMs;
  throw badArgument('close', 'drainMs, a number of milliseconds from 0', drainMs);
}

/** The lines that `disconnect` is to end. Throws HOLDLINE_BAD_ARGUMENT, HOLDLINE_BAD_CHANNEL. */
export function linesOf([given, ...more]: readonly unknown[]): WhichLines {
  const takes = 'one object {user}, {id} or {channel}';
  if (!isPlainObject(given) || more.length > 0)
    throw badArgument('disconnect', takes, more[0] ?? given);
  checkMembers('disconnect', given, ['user', 'id', 'channel']);
  const { user, id, channel } = given;
  if ([user, id, channel].filter((one) => one !== undefined).length !== 1)
    throw badArgument('disconnect', takes, given);
  if (typeof user === 'string' && user !== '') return { user };
  if (Number.isSafeInteger(id) && (id as number) > 0) return { id: id as number };
  if (typeof channel === 'string') {
    checkChannelName(channel);
    return { channel };
  }
  throw badArgument('disconnect', `${takes}: texts, and for id an integer from 1`, given);
}

// ── history and subscribe ──────────────────────────────────────────────────────────────────────

/** The one object that a function may be given, with these members, each of which may be absent. */
function optionalObject(
  name: string,
  [given, more]: readonly unknown[],
  members: readonly string[],
): Readonly<Record<string, unknown>> {
  const takes = `one object {${members.map((member) => `${member}?`).join(', ')}}`;
  if (more !== undefined) throw badArgument(name, `${takes} and nothing else`, more);
  if (given !== undefined && !isPlainObject(given)) throw badArgument(name, takes, given);
  checkMembers(name, given ?? {}, members);
  return given ?? {};
}

/** What `history` is asked for. */
export interface HistoryRequest {
  readonly position: Position;
  readonly limit: number;
}

/** Without `after` the newest events are asked for. */
export function historyRequestOf(given: readonly unknown[]): HistoryRequest {
  const { after, limit = HISTORY_EVENTS_DEFAULT } = optionalObject('history', given, [
    'after',
    'limit',
  ]);
  if (typeof limit !== 'number' || !Number.isInteger(limit) || limit < 1 || limit > POLL_EVENTS_MAX)
    throw badArgument('history', `limit, an integer from 1 to ${POLL_EVENTS_MAX}`, limit);
  const position: Position =
    after === undefined ? { kind: 'last', count: limit } : positionAfter('history', after);
  return { position, limit };
}

/** What `subscribe` is asked for. */
export interface SubscribeRequest {
  readonly position: Position;
  readonly signal: AbortSignal | undefined;
}

/** Without `after` the line begins with what comes next. */
export function subscribeRequestOf(given: readonly unknown[]): SubscribeRequest {
  const { after, signal } = optionalObject('subscribe', given, ['after', 'signal']);
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw badArgument('subscribe', 'signal, which is an AbortSignal', signal);
  return { position: after === undefined ? LIVE : positionAfter('subscribe', after), signal };
}

function positionAfter(name: string, after: unknown): Position {
  if (typeof after === 'number' && Number.isInteger(after) && after >= 0 && after <= ID_MAX)
    return { kind: 'after', id: after };
  throw badArgument(name, `after, an id, which is an integer from 0 to ${ID_MAX}`, after);
}

// ── events ─────────────────────────────────────────────────────────────────────────────────────

/** Throws HOLDLINE_BAD_ARGUMENT or HOLDLINE_BAD_EVENT_TYPE unless it can be an event. */
export function checkEvent(given: unknown): LibraryEvent {
  if (!isPlainObject(given)) throw badArgument('publish', 'an object {event?, data}', given);
  checkMembers('publish', given, ['event', 'data']);
  const { event, data } = given;
  if (!('data' in given)) throw badArgument('publish', 'an object {event?, data} with data', given);
  if (event === undefined) return { data };
  if (typeof event !== 'string') throw badArgument('publish', 'event, which is a string', event);
  return { event: checkEventType(event), data };
}

/**
 * The bytes of an event's data: text as it is, all else as JSON. Throws HOLDLINE_NOT_UTF8 for text
 * with half of a surrogate pair, HOLDLINE_BAD_ARGUMENT for what JSON would leave out.
 */
export function dataBytes(
  type: string | undefined,
  data: unknown,
  serialize: ReturnType<typeof compileSerializers>,
): Uint8Array {
  if (data instanceof Uint8Array) {
    checkUtf8(data, 'data');
    return Uint8Array.from(data);
  }
  if (typeof data === 'string') {
    if (isWellFormed(data)) return Buffer.from(data);
    throw notUnicode('the data has half of a surrogate pair');
  }
  checkWritable(data);
  const json = serialize(type, data);
  const bytes = Buffer.from(json);
  // JSON.stringify escapes half a pair, and nothing else that begins so.
  const fault = json.includes('\\ud') ? scanJson(bytes, 0, bytes.length) : undefined;
  if (fault?.kind === 'surrogate' || !isWellFormed(json))
    throw notUnicode('a string in the data has half of a surrogate pair');
  return bytes;
}

function notUnicode(problem: string): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_NOT_UTF8',
    `${problem}, which is no character; cut text between characters, or use toWellFormed()`,
  );
}

/** String.prototype.isWellFormed, which the types of ES2022 lack. */
function isWellFormed(text: string): boolean {
  return (text as unknown as { isWellFormed(): boolean }).isWellFormed();
}

/** Throws for a value of which JSON.stringify would leave nothing, or only `{}` or `null`. */
function checkWritable(data: unknown): void {
  const found =
    types.isPromise(data) || typeof (data as { then?: unknown } | null)?.then === 'function'
      ? 'not a promise; await it first'
      : types.isAnyArrayBuffer(data) || ArrayBuffer.isView(data)
        ? 'bytes as a Uint8Array'
        : types.isMap(data) || types.isSet(data)
          ? 'no Map or Set, of which JSON has nothing; make it an object or an array'
          : typeof data === 'number' && !Number.isFinite(data)
            ? 'a finite number, because JSON has no other'
            : isEmptyInJson(data)
              ? 'which JSON can hold; of this object it would have nothing'
              : undefined;
  if (found !== undefined) throw badArgument('publish', `data, ${found}`, data);
}

/**
 * True for an instance without members of its own, such as an Error or a RegExp, which JSON writes
 * as `{}`, and for a Date that is none, which it writes as null.
 */
function isEmptyInJson(data: unknown): boolean {
  if (types.isDate(data)) return Number.isNaN(data.getTime());
  if (typeof data !== 'object' || data === null || Array.isArray(data)) return false;
  const prototype: unknown = Object.getPrototypeOf(data);
  return (
    prototype !== null &&
    prototype !== Object.prototype &&
    Object.keys(data).length === 0 &&
    typeof (data as { toJSON?: unknown }).toJSON !== 'function'
  );
}
