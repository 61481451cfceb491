/**
 * WebSockets: opens lines, and takes publishes from their clients. Each message holds whole lines
 * of JSON.
 */
import type { NewEvent } from '../core/event.js';
import type { DeliveryMode } from '../core/ports.js';
import { NDJSON } from '../core/frame.js';
import type { Hub } from '../core/hub.js';
import type { Owner } from '../core/owners.js';
import type { Position } from '../core/position.js';
import type { Reservation } from '../core/publish-memory.js';
import type { Counters } from '../counters.js';
import { CLOSE_CODES, HoldlineError } from '../errors.js';
import type { HeldBytes } from '../core/held-bytes.js';
import {
  CONTROL_FRAMES_PER_TURN_MAX,
  MESSAGE_ENVELOPE_BYTES_MAX,
  SOCKET_PUBLISH_BYTES_MAX,
  WAITING_MESSAGE_COST_BYTES,
  WAITING_PUBLISHERS_MAX,
} from '../limits.js';
import {
  closeMessages,
  cutMessages,
  messagePort,
  sendMessage,
  upgrade,
  type Handshake,
  type MessageHandler,
  type MessageSocket,
  type UpgradeContext,
} from '../native/messages.js';
import type { Headers } from '../http/answer.js';
import { checkPublishing, type Exchange } from '../http/exchange.js';
import type { RightToPublish } from '../http/guard.js';
import type { PublishRates } from '../http/publish-rates.js';
import type { Refusals } from '../http/refusals.js';
import { MessageAnswers, type RefusedMessages } from './message-answers.js';
import { badMessage, readMessage, Refused } from './message.js';
import { whileReserved } from './while-reserved.js';

/** A checked handshake, and where its line starts. */
export interface MessagesRequest {
  readonly channels: readonly string[];
  readonly position: Position;
  readonly owner: Owner;
  /** Sec-WebSocket-Key. */
  readonly key: string;
  /** The subprotocol that is agreed to; empty for none. */
  readonly subprotocol: string;
  readonly headers: Headers;
  readonly context: UpgradeContext;
  readonly mayPublish: RightToPublish;
  /** Whose rate its publishes count against; not needed where there is no limit. */
  readonly source: string | undefined;
}

export interface MessagesOptions {
  readonly maxEventBytes: number;
  readonly rates: Pick<PublishRates, 'isOn' | 'take'>;
  readonly refusals: Refusals;
  /** Gets every error that is not the client's fault. */
  readonly report: (error: unknown) => void;
}

type MessagesHub = Pick<
  Hub<MessageSocket>,
  | 'addressOf'
  | 'admit'
  | 'channelsOf'
  | 'drained'
  | 'join'
  | 'left'
  | 'reserve'
  | 'reserveAhead'
  | 'stalled'
  | 'startOf'
  | 'submit'
>;

const MESSAGES: DeliveryMode<MessageSocket> = {
  transport: 'websocket',
  encoding: NDJSON,
  port: messagePort,
};

/** The longest message that may be published, bytes. */
export function maxMessageBytes(maxEventBytes: number): number {
  return maxEventBytes + MESSAGE_ENVELOPE_BYTES_MAX;
}

/** A publish that waits for its turn, or whose turn it is. */
interface Publish {
  readonly ref: string;
  readonly event: NewEvent;
  readonly bytes: number;
  readonly reservation: Reservation;
  /** True when it does not wait any more: it is handed to the log, and will have been published. */
  isHandedOver: boolean;
}

/**
 * A socket's publishes that are not yet answered. They are carried out one after the other, in
 * order; it is the first one's turn.
 */
interface Queue {
  readonly publishes: Publish[];
  bytes: number;
}

/** What is kept of a socket, as its `session`. */
interface Session extends RefusedMessages {
  readonly mayPublish: RightToPublish;
  readonly source: string | undefined;
  /** Made with its first publish: most sockets only listen. */
  queue: Queue | undefined;
}

export class Messages implements MessageHandler {
  /** True at the end of a server: nothing is published any more. */
  ended = false;

  readonly #hub: MessagesHub;
  readonly #counters: Counters;
  readonly #options: MessagesOptions;
  readonly #answers: MessageAnswers;
  /** Pings and pongs in this turn of the loop, by their sender. */
  readonly #controls = new Map<MessageSocket, number>();
  /** Publishes that wait for the program's `authorize`. */
  #asking = 0;
  /** The refusal of the last client that may not publish. */
  #noRight: HoldlineError | undefined;

  constructor(hub: MessagesHub, counters: Counters, held: HeldBytes, options: MessagesOptions) {
    this.#hub = hub;
    this.#counters = counters;
    this.#options = options;
    this.#answers = new MessageAnswers(hub, counters, held, options.refusals, options.report);
  }

  /**
   * Turns the response into a WebSocket that is a line from its first moment, or, in a cork that
   * {@link Exchange.inCork} made, from the end of the cork: between the two nothing may be
   * allocated. native-notes/websocket-upgrade.md
   */
  open(
    exchange: Pick<Exchange, 'response' | 'endCork' | 'handOver'>,
    request: MessagesRequest,
  ): void {
    const { channels, position, key, subprotocol, context } = request;
    const { continuesAfter } = this.#hub.startOf(channels, position);
    const mayPublish = this.#shared(request.mayPublish);
    const session: Session = { mayPublish, source: request.source, refused: 0, queue: undefined };
    const handshake: Handshake = {
      key,
      subprotocol,
      headers: [...request.headers, ['Holdline-Position', String(continuesAfter)]],
      context: mayPublish instanceof HoldlineError ? context.readers : context.publishers,
    };
    const line = { session, unread: this.#answers.unread };
    let socket: MessageSocket;
    exchange.endCork(
      () => {
        exchange.handOver();
        socket = upgrade(exchange.response, handshake, line);
      },
      () => this.#join(socket, request),
    );
  }

  /**
   * One error for all sockets with the same refusal: with its stack it is a kilobyte, and each
   * socket keeps it.
   */
  #shared(mayPublish: RightToPublish): RightToPublish {
    if (!(mayPublish instanceof HoldlineError)) return mayPublish;
    const known = this.#noRight;
    if (known?.code === mayPublish.code && known.message === mayPublish.message) return known;
    this.#noRight = mayPublish;
    return mayPublish;
  }

  #join(socket: MessageSocket, { channels, position, owner }: MessagesRequest): void {
    if (!socket.isOpen) return;
    try {
      const { handle, opening } = this.#hub.join(socket, channels, MESSAGES, position, 0, owner);
      socket.handle = handle;
      if (opening.length > 0 && !sendMessage(socket, opening)) this.#hub.stalled(handle, socket);
    } catch (error) {
      // No place for its channels. The handshake is over, so the refusal is a message. The socket
      // is closed in another turn: in a cork no FIN would follow. native-notes/websocket-end.md
      this.#answers.refuse(socket, error, '');
      setImmediate(() => {
        if (socket.isOpen)
          closeMessages(socket, CLOSE_CODES.tryAgainLater, 'no room for the channels');
      });
    }
  }

  drained(socket: MessageSocket): void {
    this.#hub.drained(socket.handle, socket);
  }

  closed(socket: MessageSocket, byServer: boolean): void {
    this.#hub.left(socket.handle, socket, byServer ? 'refused' : 'client');
    const { queue } = socket.session as Session;
    // What came in its last turn is published in this one; what then still waits is withdrawn.
    if (queue !== undefined && queue.publishes.length > 0)
      setImmediate(() => this.#withdraw(queue));
  }

  #withdraw({ publishes }: Queue): void {
    for (const { reservation, isHandedOver } of publishes.splice(0)) {
      if (!isHandedOver) this.#counters.messages_withdrawn_total++;
      reservation.release();
    }
  }

  /** uWebSockets answers pings, a microsecond each: a flood of them would hold the loop. */
  controlled(socket: MessageSocket, answerBytes: number): void {
    if (!socket.isOpen) return;
    const count = (this.#controls.get(socket) ?? 0) + 1;
    if (this.#controls.size === 0) setImmediate(() => this.#controls.clear());
    this.#controls.set(socket, count);
    if (count > CONTROL_FRAMES_PER_TURN_MAX) {
      this.#counters.websockets_closed_control_total++;
      cutMessages(socket);
    } else if (answerBytes > 0) {
      this.#answers.owe(socket, answerBytes, 'pongs are not read');
    }
  }

  /**
   * Answers or closes for what is wrong with a message. Worse ones uWebSockets closes by itself,
   * with 1006 and no answer. native-notes/websocket-protocol-errors.md
   */
  received(socket: MessageSocket, message: ArrayBuffer, isBinary: boolean): void {
    // More messages may come with the one that it was closed for.
    if (!socket.isOpen) return;
    this.#counters.messages_received_total++;
    const { mayPublish } = socket.session as Session;
    const bytesMax = maxMessageBytes(this.#options.maxEventBytes);
    if (isBinary) {
      this.#answers.refuse(
        socket,
        badMessage('the message must be text, not binary'),
        '',
        CLOSE_CODES.policy,
      );
    } else if (mayPublish instanceof HoldlineError) {
      // Nothing is parsed for a client that may not publish.
      this.#answers.refuse(socket, mayPublish, '');
    } else if (message.byteLength > bytesMax) {
      const error = new HoldlineError(
        'HOLDLINE_TOO_LARGE',
        `the message must be at most ${bytesMax} bytes (got ${message.byteLength})`,
      );
      this.#answers.refuse(socket, error, '', CLOSE_CODES.tooLarge);
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
    this.#answers.refuse(socket, error, ref, isJson ? undefined : CLOSE_CODES.policy);
  }

  /**
   * Publishes after what the socket sent before. A client that sends faster than it is served waits
   * its turn, within a bound, and does not fill the channel's admission queue by itself.
   */
  #enqueue(socket: MessageSocket, event: NewEvent, ref: string): void {
    const session = socket.session as Session;
    const queue = (session.queue ??= { publishes: [], bytes: 0 });
    const bytes = event.data.length + WAITING_MESSAGE_COST_BYTES;
    let reservation: Reservation | undefined;
    try {
      const { rates } = this.#options;
      if (rates.isOn) rates.take(session.source ?? '');
      if (queue.bytes > 0 && queue.bytes + bytes > SOCKET_PUBLISH_BYTES_MAX) {
        const message = `this WebSocket already has ${queue.publishes.length} publishes waiting; try again after their answers`;
        throw new HoldlineError('HOLDLINE_PUBLISH_BUSY', message);
      }
      reservation =
        typeof session.mayPublish === 'function'
          ? this.#hub.reserveAhead()
          : this.#hub.reserve(event.channel);
      reservation.grow(bytes);
    } catch (error) {
      reservation?.release();
      this.#answers.refuse(socket, error, ref);
      return;
    }
    queue.bytes += bytes;
    queue.publishes.push({ ref, event, bytes, reservation, isHandedOver: false });
    if (queue.publishes.length === 1) void this.#carryOut(socket, session, queue);
  }

  async #carryOut(socket: MessageSocket, session: Session, queue: Queue): Promise<void> {
    for (let next = queue.publishes[0]; next !== undefined; next = queue.publishes[0]) {
      await this.#publish(socket, session, next);
      // Unless it was withdrawn meanwhile.
      if (queue.publishes[0] === next) queue.publishes.shift();
      queue.bytes -= next.bytes;
    }
  }

  async #publish(socket: MessageSocket, { mayPublish }: Session, publish: Publish): Promise<void> {
    const { ref, event, reservation } = publish;
    try {
      if (typeof mayPublish === 'function') {
        await this.#ask(() => mayPublish(event.channel), reservation);
        this.#hub.admit(event.channel, reservation);
      }
      checkPublishing(this);
      const { ids } = await this.#hub.submit(event.channel, {
        reservation,
        isRead: true,
        read: () => {
          publish.isHandedOver = true;
          return [event];
        },
      });
      this.#counters.publish_requests_total++;
      this.#answers.accept(socket, ids[0] as number, ref);
    } catch (error) {
      reservation.release();
      this.#answers.refuse(socket, error, ref);
    }
  }

  /**
   * Asks whether a client may publish, for at most WAITING_PUBLISHERS_MAX publishes at a time.
   * Rejects with the refusal, and when the publish is withdrawn: a program that never answers keeps
   * neither a place nor an event of a client that left.
   */
  async #ask(mayPublish: () => void | Promise<void>, reservation: Reservation): Promise<void> {
    if (this.#asking >= WAITING_PUBLISHERS_MAX) {
      throw new HoldlineError(
        'HOLDLINE_PUBLISH_BUSY',
        `${this.#asking} publishes already wait for permission; try again later`,
      );
    }
    this.#asking++;
    try {
      const asked = mayPublish();
      if (asked !== undefined) await whileReserved(asked, reservation, this.#options.report);
    } finally {
      this.#asking--;
    }
  }
}
