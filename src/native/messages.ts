/**
 * WebSockets as they are held: what is written to one, what it has not taken, and what
 * uWebSockets.js is told to let one do. Those who may not publish are held to less: two behaviours,
 * of which a handshake is given one when it is known who asks.
 */
import type {
  HttpResponse,
  us_socket_context_t,
  WebSocket,
  WebSocketBehavior,
} from 'uWebSockets.js';
import type { Counters } from '../counters.js';
import type { LinePort } from '../core/group.js';
import { ENDS } from '../errors.js';
import type { HeldBytes } from '../core/held-bytes.js';
import {
  CORK_WRITE_BYTES_MAX,
  MESSAGE_SLACK_BYTES_MAX,
  READER_MESSAGE_BYTES_MAX,
  UNREAD_ANSWERS_BYTES_MAX,
} from '../limits.js';

/**
 * A held WebSocket: its fields stand on the native object itself. native-notes/websocket-upgrade.md
 */
export interface MessageLine {
  /** The line's handle in the hub, −1 before it has joined. */
  handle: number;
  /** False from the moment it is closed or ended: any use of it would throw then. */
  isOpen: boolean;
  /** What its transport knows of it. */
  readonly session: object;
  readonly unread: Unread;
}

export type MessageSocket = WebSocket<MessageLine> & MessageLine;

/** What one socket has not taken, bytes. */
interface UnreadBytes {
  /** All of it, as it was accounted last. */
  bytes: number;
  /** Answers and pongs among it, at most: what has come since the socket had taken everything. */
  answerBytes: number;
}

/**
 * What the WebSockets of a server have not taken. A socket that has taken everything costs nothing
 * here.
 */
export class Unread {
  readonly #held: HeldBytes;
  readonly #bySocket = new Map<MessageSocket, UnreadBytes>();

  constructor(held: HeldBytes) {
    this.#held = held;
  }

  /** Sockets that have not taken everything. */
  get sockets(): number {
    return this.#bySocket.size;
  }

  /**
   * Accounts what the socket has not taken now, of which `answerBytes` more are answers or pongs;
   * returns the bytes of those.
   */
  note(socket: MessageSocket, answerBytes = 0): number {
    const bytes = socket.getBufferedAmount();
    let unread = this.#bySocket.get(socket);
    if (bytes === 0) {
      if (unread !== undefined) this.forget(socket);
      return 0;
    }
    if (unread === undefined) {
      unread = { bytes: 0, answerBytes: 0 };
      this.#bySocket.set(socket, unread);
    }
    this.#held.messages += bytes - unread.bytes;
    unread.bytes = bytes;
    unread.answerBytes += answerBytes;
    return unread.answerBytes;
  }

  /** The socket has taken everything, or is gone. */
  forget(socket: MessageSocket): void {
    const unread = this.#bySocket.get(socket);
    if (unread === undefined) return;
    this.#held.messages -= unread.bytes;
    this.#bySocket.delete(socket);
  }
}

/**
 * WebSockets: a write is one message, and its answer is the truth. native-notes/websocket-send.md
 */
export const messagePort: LinePort<MessageSocket> = {
  kind: 'message',
  write: sendMessage,
  end(socket, lastBytes, code) {
    sendMessage(socket, lastBytes);
    closeMessages(socket, ENDS[code].closeCode, code);
  },
  unsentBytes: (socket) => socket.getBufferedAmount(),
};

/**
 * Sends one text message, uncorked: one system call. False: some of it stays in user space, and the
 * drain will be reported.
 */
export function sendMessage(socket: MessageSocket, text: Uint8Array | string): boolean {
  const sent = socket.send(text, false);
  if (sent === SENT) return true;
  // Not even queued: what the client has been given ends here, and uWebSockets closes the socket in
  // the next turn.
  if (sent === DROPPED) socket.isOpen = false;
  else socket.unread.note(socket);
  return false;
}

/** Answers of a native send; 0 is the third: queued, wholly or in part. */
const SENT = 1;
const DROPPED = 2;

/**
 * Closes with a code and a reason; what was sent before goes out first. Not within a cork.
 * native-notes/websocket-end.md
 */
export function closeMessages(socket: MessageSocket, code: number, reason: string): void {
  socket.isOpen = false;
  socket.end(code, reason);
}

/**
 * Closes without a word, what it has not taken dropped: nothing of it is read any more.
 * native-notes/websocket-end.md
 */
export function cutMessages(socket: MessageSocket): void {
  socket.isOpen = false;
  socket.close();
}

/**
 * What turns a request into a WebSocket, of either behaviour; valid in the request's turn and, once
 * `onAborted` is attached, until it is called. native-notes/websocket-behaviours.md
 */
export interface UpgradeContext {
  readonly readers: us_socket_context_t;
  readonly publishers: us_socket_context_t;
}

/**
 * Turns a response into a WebSocket, which `opened` is called for before this returns.
 * native-notes/websocket-upgrade.md
 */
export function upgrade(
  response: HttpResponse,
  key: string,
  headers: readonly (readonly [string, string])[],
  line: Pick<MessageLine, 'session' | 'unread'>,
  context: UpgradeContext,
  mayPublish: boolean,
): void {
  const chosen = mayPublish ? context.publishers : context.readers;
  // It would end the process, past every JavaScript hook. native-notes/websocket-behaviours.md
  if (chosen === undefined) throw new TypeError('an upgrade without a context');
  // Without the status first the headers would stand behind a 200.
  response.writeStatus('101 Switching Protocols');
  for (const [name, value] of headers) response.writeHeader(name, value);
  response.upgrade<MessageLine>({ handle: -1, isOpen: true, ...line }, key, '', '', chosen);
}

/** What is told of WebSockets. */
export interface MessageHandler {
  /** In the turn of {@link upgrade}; what is sent here leaves with the handshake. */
  opened(socket: MessageSocket): void;
  /** `message` is native memory, gone after the call. */
  received(socket: MessageSocket, message: ArrayBuffer, isBinary: boolean): void;
  /** A ping or a pong came; what was answered to it, if anything, is `answerBytes`. */
  controlled(socket: MessageSocket, answerBytes: number): void;
  /** Everything that was sent is out. */
  drained(socket: MessageSocket): void;
  closed(socket: MessageSocket): void;
}

export interface MessageOptions {
  /** Longest time that a WebSocket's peer may say nothing before it is pinged, ms. */
  readonly pingMs: number;
  /**
   * The longest message of those who may publish; one a little longer is read to its end and
   * refused.
   */
  readonly maxMessageBytes: number;
}

type Behaviour = WebSocketBehavior<MessageLine>;

/**
 * The behaviours of those who may not publish and of those who may, without what upgrades to them.
 */
export function behaviours(
  options: MessageOptions,
  counters: Counters,
  messages: MessageHandler,
): { readonly readers: Behaviour; readonly publishers: Behaviour } {
  const common: Behaviour = {
    idleTimeout: idleTimeoutSeconds(options.pingMs),
    sendPingsAutomatically: true,
    // Ours act first: a line is left alone at the first refused byte, and closed for unread answers
    // and pongs before this. What is over it is lost, the close frame too.
    // native-notes/websocket-backpressure.md
    maxBackpressure: 2 * CORK_WRITE_BYTES_MAX + options.maxMessageBytes + UNREAD_ANSWERS_BYTES_MAX,
    closeOnBackpressureLimit: true,
    open: (socket) => messages.opened(socket as MessageSocket),
    message: (socket, message, isBinary) =>
      messages.received(socket as MessageSocket, message, isBinary),
    // Called when its pong has been sent, or buffered.
    ping: (socket, payload) =>
      messages.controlled(socket as MessageSocket, payload.byteLength + PONG_HEAD_BYTES),
    pong: (socket) => messages.controlled(socket as MessageSocket, 0),
    drain: (socket) => {
      const drained = socket as MessageSocket;
      if (!drained.isOpen) return;
      drained.unread.note(drained);
      // Comes whenever some bytes have gone out, mostly with others left.
      // native-notes/websocket-send.md
      if (drained.getBufferedAmount() === 0) messages.drained(drained);
    },
    dropped: (socket) => {
      const dropped = socket as MessageSocket;
      if (!dropped.isOpen) return;
      dropped.isOpen = false;
      counters.websockets_closed_unread_total++;
    },
    close: (socket, code, reason) => {
      // The filter of sockets is not told of the end of one that was upgraded.
      // native-notes/websocket-upgrade.md
      counters.sockets_closed_total++;
      const closed = socket as MessageSocket;
      closed.isOpen = false;
      closed.unread.forget(closed);
      if (code === NATIVE_CLOSE && Buffer.from(reason).toString('latin1') === TOO_LARGE)
        counters.websockets_closed_too_large_total++;
      messages.closed(closed);
    },
  };
  // A message that never ends holds that much until the idle timeout, and longer if its sender
  // answers pings. native-notes/websocket-unfinished.md
  return {
    readers: { ...common, maxPayloadLength: READER_MESSAGE_BYTES_MAX },
    publishers: { ...common, maxPayloadLength: options.maxMessageBytes + MESSAGE_SLACK_BYTES_MAX },
  };
}

const PONG_HEAD_BYTES = 2;

/**
 * What uWebSockets says of a message over `maxPayloadLength`.
 * native-notes/websocket-protocol-errors.md
 */
const NATIVE_CLOSE = 1006;
const TOO_LARGE = 'Received too big message';

/**
 * The native idle timeout for pings every `pingMs`: a ping goes out 4, 8 or 16 s, growing with the
 * timeout, before the socket is closed for silence. native-notes/websocket-idle-timeout.md
 */
function idleTimeoutSeconds(pingMs: number): number {
  const pingSeconds = Math.min(
    PING_SECONDS_MAX,
    Math.max(PING_SECONDS_MIN, Math.round(pingMs / 1000)),
  );
  if (pingSeconds < 8) return pingSeconds + 4;
  return pingSeconds < 24 ? pingSeconds + 8 : pingSeconds + 16;
}

const PING_SECONDS_MIN = 4;
const PING_SECONDS_MAX = 944;
