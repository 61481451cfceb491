/**
 * WebSockets: opens lines of messages, and takes publishes from their clients. Each message holds
 * whole lines of JSON.
 */
import type { NewEvent } from '../core/event.js';
import type { DeliveryMode } from '../core/ports.js';
import { NDJSON } from '../core/frame.js';
import type { Hub } from '../core/hub.js';
import type { Position } from '../core/position.js';
import type { Reservation } from '../core/publish-memory.js';
import type { Counters } from '../counters.js';
import { CLOSE_CODES, HoldlineError, isTemporary } from '../errors.js';
import type { HeldBytes } from '../core/held-bytes.js';
import {
  CONTROL_FRAMES_PER_TURN_MAX,
  MESSAGE_ENVELOPE_BYTES_MAX,
  REFUSED_MESSAGES_MAX,
  SOCKET_PUBLISH_BYTES_MAX,
  UNREAD_ANSWERS_BYTES_MAX,
  WAITING_MESSAGE_COST_BYTES,
  WAITING_PUBLISHERS_MAX,
} from '../limits.js';
import {
  closeMessages,
  cutMessages,
  messagePort,
  sendMessage,
  Unread,
  upgrade,
  type MessageHandler,
  type MessageSocket,
  type UpgradeContext,
} from '../native/messages.js';
import type { HttpResponse } from '../native/uws.js';
import { countRefusal, knownError, type Headers } from '../http/answer.js';
import type { RightToPublish } from '../http/guard.js';
import { badMessage, readMessage, Refused } from './message.js';

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

type MessagesHub = Pick<
  Hub<MessageSocket>,
  'channelsOf' | 'drained' | 'join' | 'left' | 'reserve' | 'stalled' | 'startOf' | 'submit'
>;

const MESSAGES: DeliveryMode<MessageSocket> = {
  transport: 'websocket',
  encoding: NDJSON,
  port: messagePort,
};

/** The longest message that is read, bytes. */
export function maxMessageBytes(maxEventBytes: number): number {
  return maxEventBytes + MESSAGE_ENVELOPE_BYTES_MAX;
}

/** A publish that waits for its turn or is carried out. */
interface Publish {
  readonly ref: string;
  readonly event: NewEvent;
  readonly bytes: number;
  readonly reservation: Reservation;
}

/**
 * A socket's publishes that are not answered, the first of which is being carried out: one after
 * the other, in their order.
 */
interface Queue {
  readonly publishes: Publish[];
  bytes: number;
}

/** What is known of a socket. */
interface State {
  readonly mayPublish: RightToPublish;
  /** Messages that were refused for good since one was published. */
  refused: number;
  /** Made with its first publish: most sockets only listen. */
  queue: Queue | undefined;
}

export class Messages implements MessageHandler {
  /** Set while the server drains: nothing is published any more. */
  draining = false;

  readonly #hub: MessagesHub;
  readonly #counters: Counters;
  readonly #options: MessagesOptions;
  readonly #unread: Unread;
  /** Pings and pongs in this turn of the loop, by who sent them. */
  readonly #controls = new Map<MessageSocket, number>();
  /** Publishes that wait for the program's word. */
  #asking = 0;
  /** What the last who may not publish is told. */
  #noRight: HoldlineError | undefined;
  /** The request that is being upgraded: `opened` is called within. */
  #opening: MessagesRequest | undefined;

  constructor(hub: MessagesHub, counters: Counters, held: HeldBytes, options: MessagesOptions) {
    this.#hub = hub;
    this.#counters = counters;
    this.#options = options;
    this.#unread = new Unread(held);
  }

  /** Turns the response into a WebSocket that is a line from its first moment. */
  open(response: HttpResponse, request: MessagesRequest): void {
    const { channels, position, key, context, session } = request;
    const { continuesAfter } = this.#hub.startOf(channels, position);
    this.#opening = request;
    const mayPublish = this.#rightOf(session);
    const isPublisher = !(mayPublish instanceof HoldlineError);
    const state: State = { mayPublish, refused: 0, queue: undefined };
    const headers: Headers = [...request.headers, ['Holdline-Position', String(continuesAfter)]];
    upgrade(response, key, headers, { session: state, unread: this.#unread }, context, isPublisher);
    this.#opening = undefined;
  }

  /**
   * One error for all who are told the same: with its stack it is a kilobyte, and would be kept for
   * each.
   */
  #rightOf({ mayPublish }: Session): RightToPublish {
    if (!(mayPublish instanceof HoldlineError)) return mayPublish;
    const known = this.#noRight;
    if (known?.code === mayPublish.code && known.message === mayPublish.message) return known;
    this.#noRight = mayPublish;
    return mayPublish;
  }

  opened(socket: MessageSocket): void {
    const { channels, position } = this.#opening as MessagesRequest;
    try {
      const { handle, opening } = this.#hub.join(socket, channels, MESSAGES, position, 0);
      socket.handle = handle;
      if (opening.length > 0 && !sendMessage(socket, opening)) this.#hub.stalled(handle, socket);
    } catch (error) {
      // No place for its channels; the handshake is done, so this is said in its own words. Closed
      // in another turn: within a cork no FIN would follow. native-notes/websocket-end.md
      this.#refuse(socket, error, '');
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
    const { queue } = socket.session as State;
    // What came with its last words is being published in this turn; what has to wait has left with
    // it.
    if (queue !== undefined && queue.publishes.length > 0)
      setImmediate(() => this.#withdraw(queue));
  }

  #withdraw({ publishes }: Queue): void {
    this.#counters.messages_withdrawn_total += publishes.length;
    for (const { reservation } of publishes.splice(0)) reservation.release();
  }

  /** Answered natively. A flood of them would hold the loop, each a microsecond. */
  controlled(socket: MessageSocket, answerBytes: number): void {
    if (!socket.isOpen) return;
    const count = (this.#controls.get(socket) ?? 0) + 1;
    if (this.#controls.size === 0) setImmediate(() => this.#controls.clear());
    this.#controls.set(socket, count);
    if (count > CONTROL_FRAMES_PER_TURN_MAX) {
      this.#counters.websockets_closed_control_total++;
      cutMessages(socket);
    } else if (answerBytes > 0) {
      this.#owe(socket, answerBytes, 'pongs are not read');
    }
  }

  /**
   * Of what is worse than this the client hears 1006 and no word.
   * native-notes/websocket-protocol-errors.md
   */
  received(socket: MessageSocket, message: ArrayBuffer, isBinary: boolean): void {
    // More of what came with the message that it was closed for.
    if (!socket.isOpen) return;
    this.#counters.messages_received_total++;
    const { mayPublish } = socket.session as State;
    const most = maxMessageBytes(this.#options.maxEventBytes);
    if (isBinary) {
      this.#refuse(socket, badMessage('a message is text, not binary'), '', CLOSE_CODES.policy);
    } else if (mayPublish instanceof HoldlineError) {
      // Unread: nobody without the right has anything parsed.
      this.#refuse(socket, mayPublish, '');
    } else if (message.byteLength > most) {
      const error = new HoldlineError(
        'HOLDLINE_TOO_LARGE',
        `the message is ${message.byteLength} bytes; at most ${most}`,
      );
      this.#refuse(socket, error, '', CLOSE_CODES.tooLarge);
    } else {
      // The memory is native and gone after this call. native-notes/zero-copy-arguments.md
      this.#read(socket, Buffer.from(message));
    }
  }

  #read(socket: MessageSocket, message: Buffer): void {
    const channels = this.#hub.channelsOf(socket.handle, socket) ?? [];
    const asked = readMessage(message, channels, this.#options.maxEventBytes);
    if (!(asked instanceof Refused)) {
      this.#enqueue(socket, asked.event, asked.ref);
      return;
    }
    const { error, ref } = asked;
    const isJson = !(error instanceof HoldlineError) || error.code !== 'HOLDLINE_BAD_JSON';
    this.#refuse(socket, error, ref, isJson ? undefined : CLOSE_CODES.policy);
  }

  /**
   * Publishes after what the socket has sent before: who sends faster than is taken waits its turn,
   * within a bound, and does not find the channel's admission queue full of itself.
   */
  #enqueue(socket: MessageSocket, event: NewEvent, ref: string): void {
    const state = socket.session as State;
    const queue = (state.queue ??= { publishes: [], bytes: 0 });
    const bytes = event.data.length + WAITING_MESSAGE_COST_BYTES;
    let reservation: Reservation | undefined;
    try {
      if (queue.bytes > 0 && queue.bytes + bytes > SOCKET_PUBLISH_BYTES_MAX) {
        const message = `${queue.publishes.length} publishes of this WebSocket wait already; await their answers, then try again`;
        throw new HoldlineError('HOLDLINE_PUBLISH_BUSY', message);
      }
      reservation = this.#hub.reserve(event.channel);
      reservation.grow(bytes);
    } catch (error) {
      reservation?.release();
      this.#refuse(socket, error, ref);
      return;
    }
    queue.bytes += bytes;
    queue.publishes.push({ ref, event, bytes, reservation });
    if (queue.publishes.length === 1) void this.#carryOut(socket, state, queue);
  }

  async #carryOut(socket: MessageSocket, state: State, queue: Queue): Promise<void> {
    for (let next = queue.publishes[0]; next !== undefined; next = queue.publishes[0]) {
      await this.#publish(socket, state, next);
      // Unless it was withdrawn meanwhile.
      if (queue.publishes[0] === next) queue.publishes.shift();
      queue.bytes -= next.bytes;
    }
  }

  async #publish(
    socket: MessageSocket,
    state: State,
    { ref, event, reservation }: Publish,
  ): Promise<void> {
    try {
      const { mayPublish } = state;
      if (typeof mayPublish === 'function') await this.#ask(() => mayPublish(event.channel));
      if (this.draining)
        throw new HoldlineError(
          'HOLDLINE_DRAINING',
          'the server is shutting down; publish again after its restart',
        );
      const { ids } = await this.#hub.submit(event.channel, {
        reservation,
        isRead: true,
        read: () => [event],
      });
      this.#counters.publish_requests_total++;
      state.refused = 0;
      this.#reply(socket, `{"ok":{${ref === '' ? '' : `"ref":${ref},`}"id":${ids[0] as number}}}`);
    } catch (error) {
      reservation.release();
      this.#refuse(socket, error, ref);
    }
  }

  /**
   * Asks whether a client may publish, with a bound on those who wait for the answer. Rejects with
   * what the client is told.
   */
  async #ask(mayPublish: () => void | Promise<void>): Promise<void> {
    if (this.#asking >= WAITING_PUBLISHERS_MAX) {
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

  /**
   * Tells a client what was wrong with its message, and closes when it does not speak our language
   * or goes on like that.
   */
  #refuse(socket: MessageSocket, error: unknown, ref: string, closeCode?: number): void {
    const known = knownError(error);
    if (known !== error) this.#options.report(error);
    const { code, message } = known;
    countRefusal(this.#counters, known);
    this.#counters.messages_refused_total++;
    const words = `{"error":{"code":"${code}","message":${JSON.stringify(message)}${ref === '' ? '' : `,"ref":${ref}`}}}`;
    this.#reply(socket, words);
    const state = socket.session as State;
    if (!isTemporary(known)) state.refused++;
    const close =
      closeCode ?? (state.refused >= REFUSED_MESSAGES_MAX ? CLOSE_CODES.policy : undefined);
    if (close === undefined || !socket.isOpen) return;
    this.#counters.websockets_closed_refused_total++;
    closeMessages(socket, close, code);
  }

  /** Sends a line of our own. */
  #reply(socket: MessageSocket, line: string): void {
    if (!socket.isOpen || sendMessage(socket, `${line}\n`)) return;
    this.#hub.stalled(socket.handle, socket);
    if (socket.isOpen) this.#owe(socket, line.length + 1, 'answers are not read');
  }

  /**
   * Accounts what was answered; a client that does not read its answers is closed before they fill
   * the memory.
   */
  #owe(socket: MessageSocket, answerBytes: number, reason: string): void {
    if (socket.unread.note(socket, answerBytes) <= UNREAD_ANSWERS_BYTES_MAX) return;
    this.#counters.websockets_closed_unread_total++;
    closeMessages(socket, CLOSE_CODES.tryAgainLater, reason);
  }
}
