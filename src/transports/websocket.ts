/** WebSockets: opens lines of messages, and takes publishes from their clients. Each message holds whole lines of JSON. */
import { checkEventType, type NewEvent } from '../core/event.js';
import type { Way } from '../core/feed.js';
import { NDJSON } from '../core/frame.js';
import type { Hub } from '../core/hub.js';
import type { Position } from '../core/position.js';
import type { Counters } from '../counters.js';
import { CLOSE_CODES, HoldlineError } from '../errors.js';
import { CORK_WRITE_BYTES, MESSAGE_ENVELOPE_BYTES, REF_CHARS, UNREAD_ANSWERS_BYTES, WAITING_PUBLISHERS } from '../limits.js';
import {
  closeMessages,
  messagePort,
  sendMessage,
  upgrade,
  type HttpResponse,
  type MessageHandler,
  type MessageSocket,
  type UpgradeContext,
} from '../native/uws.js';
import { countRefusal, knownError, type Headers } from './answer.js';
import type { RightToPublish } from './guard.js';
import { checkSize, eventOf, memberBytes } from './publish.js';
import { checkChannelName } from './request.js';

/** What is kept of a connection's handshake. */
export interface Session {
  readonly mayPublish: RightToPublish;
}

export interface MessagesRequest {
  readonly channels: readonly string[];
  readonly position: Position;
  readonly key: string;
  readonly headers: Headers;
  readonly context: UpgradeContext;
  readonly session: Session;
}

export interface MessagesOptions {
  readonly maxEventBytes: number;
  /** Told of what is not the client's fault. */
  readonly report: (error: unknown) => void;
}

type MessagesHub = Pick<Hub<MessageSocket>, 'channelsOf' | 'drained' | 'join' | 'left' | 'publish' | 'stalled' | 'startOf'>;

const MESSAGES: Way<MessageSocket> = { transport: 'websocket', dialect: NDJSON, port: messagePort };

/** The longest message that is read, bytes. */
export function maxMessageBytes(maxEventBytes: number): number {
  return maxEventBytes + MESSAGE_ENVELOPE_BYTES;
}

/** A client's publish, as its message asked. */
interface Asked {
  readonly ref: string | number | undefined;
  readonly event: NewEvent;
}

export class Messages implements MessageHandler {
  /** Set while the server drains: nothing is published any more. */
  draining = false;

  readonly #hub: MessagesHub;
  readonly #counters: Counters;
  readonly #options: MessagesOptions;
  /** Bytes that may wait for a client beside what the pump has given it, which is one message. */
  readonly #mostUnreadBytes: number;
  /** Publishes that wait for the program's word. */
  #asking = 0;
  /** The request that is being upgraded: `opened` is called within. */
  #opening: MessagesRequest | undefined;

  constructor(hub: MessagesHub, counters: Counters, options: MessagesOptions) {
    this.#hub = hub;
    this.#counters = counters;
    this.#options = options;
    this.#mostUnreadBytes = UNREAD_ANSWERS_BYTES + Math.max(CORK_WRITE_BYTES, options.maxEventBytes);
  }

  /** Turns the response into a WebSocket that is a line from its first moment. */
  open(response: HttpResponse, request: MessagesRequest): void {
    const { channels, position, key, context, session } = request;
    const { continuesAfter } = this.#hub.startOf(channels, position);
    this.#opening = request;
    upgrade(response, key, [...request.headers, ['Holdline-Position', String(continuesAfter)]], session, context);
    this.#opening = undefined;
  }

  opened(socket: MessageSocket): void {
    const { channels, position } = this.#opening as MessagesRequest;
    try {
      const { handle, opening } = this.#hub.join(socket, channels, MESSAGES, position, 0);
      socket.handle = handle;
      if (opening.length > 0 && !sendMessage(socket, opening)) this.#hub.stalled(handle, socket);
    } catch (error) {
      // No place for its channels; the handshake is done, so this is said in its own words. Closed in another turn: within a cork
      // no FIN would follow. native-notes/websocket-end.md
      this.#refuse(socket, error, undefined);
      setImmediate(() => {
        if (socket.isOpen) closeMessages(socket, CLOSE_CODES.tryAgainLater, 'no place');
      });
    }
  }

  drained(socket: MessageSocket): void {
    this.#hub.drained(socket.handle, socket);
  }

  closed(socket: MessageSocket): void {
    this.#hub.left(socket.handle, socket);
  }

  /** Of what is worse than this the client hears 1006 and no word. native-notes/websocket-protocol-errors.md */
  received(socket: MessageSocket, message: ArrayBuffer, isBinary: boolean): void {
    this.#counters.messages_received_total++;
    const most = maxMessageBytes(this.#options.maxEventBytes);
    if (isBinary) {
      this.#refuse(socket, badMessage('a message is text, not binary'), undefined, CLOSE_CODES.policy);
    } else if (message.byteLength > most) {
      const error = new HoldlineError('HOLDLINE_TOO_LARGE', `the message is ${message.byteLength} bytes; at most ${most}`);
      this.#refuse(socket, error, undefined, CLOSE_CODES.tooLarge);
    } else {
      // The memory is native and gone after this call. native-notes/zero-copy-arguments.md
      this.#read(socket, Buffer.from(Buffer.from(message)));
    }
  }

  #read(socket: MessageSocket, message: Buffer): void {
    let parsed: unknown;
    try {
      parsed = JSON.parse(message.toString());
    } catch (cause) {
      const error = new HoldlineError('HOLDLINE_BAD_JSON', `the message is not JSON: ${(cause as Error).message}`);
      this.#refuse(socket, error, undefined, CLOSE_CODES.policy);
      return;
    }
    const ref = refOf(parsed);
    try {
      const channels = this.#hub.channelsOf(socket.handle, socket) ?? [];
      void this.#publish(socket, { ref, event: readPublish(parsed, message, channels, this.#options.maxEventBytes) });
    } catch (error) {
      this.#refuse(socket, error, ref);
    }
  }

  async #publish(socket: MessageSocket, { ref, event }: Asked): Promise<void> {
    try {
      const { mayPublish } = socket.session as Session;
      if (mayPublish !== undefined) await this.#ask(() => mayPublish(event.channel));
      if (this.draining)
        throw new HoldlineError('HOLDLINE_DRAINING', 'the server is shutting down; publish again after its restart');
      const { ids } = await this.#hub.publish(event.channel, [event]);
      this.#counters.publish_requests_total++;
      this.#reply(socket, JSON.stringify({ ok: { ref, id: ids[0] } }));
    } catch (error) {
      this.#refuse(socket, error, ref);
    }
  }

  /** Asks whether a client may publish, with a bound on those who wait for the answer. Rejects with what the client is told. */
  async #ask(mayPublish: () => void | Promise<void>): Promise<void> {
    if (this.#asking >= WAITING_PUBLISHERS) {
      throw new HoldlineError(
        'HOLDLINE_PUBLISH_BUSY',
        `${this.#asking} publishes wait for their permission already; try again later`,
      );
    }
    this.#asking++;
    try {
      await mayPublish();
    } finally {
      this.#asking--;
    }
  }

  /** Tells a client what was wrong with its message, and closes when it does not speak our language. */
  #refuse(socket: MessageSocket, error: unknown, ref: Asked['ref'], closeCode?: number): void {
    const known = knownError(error);
    if (known !== error) this.#options.report(error);
    const { code, message } = known;
    countRefusal(this.#counters, known);
    this.#counters.messages_refused_total++;
    this.#reply(socket, JSON.stringify({ error: { code, message, ref } }));
    if (closeCode !== undefined && socket.isOpen) closeMessages(socket, closeCode, code);
  }

  /** Sends a line of our own. A client that publishes and does not read is closed before its answers fill the memory. */
  #reply(socket: MessageSocket, line: string): void {
    if (!socket.isOpen || sendMessage(socket, `${line}\n`)) return;
    this.#hub.stalled(socket.handle, socket);
    if (socket.getBufferedAmount() > this.#mostUnreadBytes) {
      closeMessages(socket, CLOSE_CODES.tryAgainLater, 'answers are not read');
    }
  }
}

function badMessage(what: string): HoldlineError {
  return new HoldlineError('HOLDLINE_BAD_MESSAGE', `${what}; send {"publish":{"event"?,"data","channel"?},"ref"?}`);
}

/** The `ref` of a message, where it is one, so that even a refusal can be told apart. */
function refOf(parsed: unknown): Asked['ref'] {
  const ref = (parsed as { ref?: unknown } | null)?.ref;
  return typeof ref === 'number' || (typeof ref === 'string' && ref.length <= REF_CHARS) ? ref : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function checkMembers(object: Record<string, unknown>, known: readonly string[], where: string): void {
  for (const name in object) {
    if (!known.includes(name)) throw badMessage(`unknown member ${JSON.stringify(name.slice(0, 64))}${where}`);
  }
}

/** The event that a message publishes. Throws HOLDLINE_BAD_MESSAGE and what a publish over HTTP throws. */
function readPublish(parsed: unknown, message: Buffer, channels: readonly string[], maxEventBytes: number): NewEvent {
  if (!isObject(parsed)) throw badMessage('not an object');
  checkMembers(parsed, ['publish', 'ref'], '');
  const { publish, ref } = parsed;
  if (ref !== undefined && refOf(parsed) === undefined) {
    throw badMessage(`"ref" is neither a number nor a string of at most ${REF_CHARS} characters`);
  }
  if (!isObject(publish)) throw badMessage('"publish" is missing or no object');
  checkMembers(publish, ['event', 'data', 'channel'], ' in "publish"');
  const { event: type, data, channel = channels.length === 1 ? channels[0] : undefined } = publish;
  if (data === undefined) throw badMessage('"data" is missing');
  if (type !== undefined && typeof type !== 'string') throw badMessage('"event" is not a string');
  if (channel === undefined) {
    throw new HoldlineError('HOLDLINE_BAD_CHANNEL', `this line is on ${channels.length} channels; name one as "channel"`);
  }
  if (typeof channel !== 'string') throw badMessage('"channel" is not a string');
  const object = memberBytes(message, 'publish') ?? Buffer.from(JSON.stringify(publish));
  const event = eventOf(checkChannelName(channel), type === undefined ? undefined : checkEventType(type), data, object);
  checkSize(event, maxEventBytes);
  return event;
}
