/**
 * Held WebSockets: writing to them, what they have not taken, and the behaviours that uWebSockets
 * gives them. There are two behaviours, because a client that may not publish is allowed less; the
 * handshake decides which one.
 */
import type {
  HttpResponse,
  us_socket_context_t,
  WebSocket,
  WebSocketBehavior,
} from 'uWebSockets.js';
import type { Counters } from '../counters.js';
import type { LinePort } from '../core/ports.js';
import { ENDS } from '../errors.js';
import type { HeldBytes } from '../core/held-bytes.js';
import {
  CORK_WRITE_BYTES_MAX,
  MESSAGE_SLACK_BYTES_MAX,
  READER_MESSAGE_BYTES_MAX,
  UNREAD_ANSWERS_BYTES_MAX,
} from '../limits.js';

/** A held WebSocket's fields, on the native object itself. native-notes/websocket-upgrade.md */
export interface MessageLine {
  /** The line's handle in the hub, −1 before it has joined. */
  handle: number;
  /** False once it is closed or ended: any use of it would throw then. */
  isOpen: boolean;
  /** What its transport keeps of it. */
  readonly session: object;
  readonly unread: Unread;
}

export type MessageSocket = WebSocket<MessageLine> & MessageLine;

/** What one socket has not taken, bytes. */
interface UnreadBytes {
  /** All of it, as it was counted last. */
  bytes: number;
  /** Answers and pongs among it, at most: those since the socket had last taken everything. */
  answerBytes: number;
}

/**
 * What the server's WebSockets have not taken. One that has taken everything costs nothing here.
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
   * Counts what the socket has not taken now, with `answerBytes` more of answers or pongs. Returns
   * the bytes of answers and pongs.
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

/** Writes are messages, and their result is exact. native-notes/websocket-send.md */
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
 * Sends one text message, uncorked, in one system call. False: some of it stays in user space, and
 * `drained` will follow.
 */
export function sendMessage(socket: MessageSocket, text: Uint8Array | string): boolean {
  const sent = socket.send(text, false);
  if (sent === SENT) return true;
  // Not even queued: nothing more reaches the client, and uWebSockets closes the socket in the next
  // turn.
  if (sent === DROPPED) socket.isOpen = false;
  else socket.unread.note(socket);
  return false;
}

/** Results of a native send; the third is 0: queued, wholly or in part. */
const SENT = 1;
const DROPPED = 2;

/**
 * Closes with a code and a reason; what was sent before goes out first. Not to be called in a cork.
 * native-notes/websocket-end.md
 */
export function closeMessages(socket: MessageSocket, code: number, reason: string): void {
  socket.isOpen = false;
  socket.end(code, reason);
}

/**
 * Closes at once and without a close frame; drops what it has not taken.
 * native-notes/websocket-end.md
 */
export function cutMessages(socket: MessageSocket): void {
  socket.isOpen = false;
  socket.close();
}

/**
 * What a request needs to become a WebSocket of either behaviour. Valid in the request's turn and,
 * once `onAborted` is attached, until that is called. native-notes/websocket-behaviours.md
 */
export interface UpgradeContext {
  readonly readers: us_socket_context_t;
  readonly publishers: us_socket_context_t;
}

/** What completes a handshake. */
export interface Handshake {
  /** Sec-WebSocket-Key. */
  readonly key: string;
  /** The subprotocol that is agreed to; empty for none. */
  readonly subprotocol: string;
  readonly headers: readonly (readonly [string, string])[];
  /** One of an {@link UpgradeContext}. */
  readonly context: us_socket_context_t | undefined;
}

/**
 * Turns a response into a WebSocket. In a cork of the response nothing may be allocated from then
 * to its end, at which uWebSockets reads what it has freed, and may close the socket for it.
 * native-notes/websocket-upgrade.md
 */
export function upgrade(
  response: HttpResponse,
  { key, subprotocol, headers, context }: Handshake,
  line: Pick<MessageLine, 'session' | 'unread'>,
): MessageSocket {
  // It would end the process, past every JavaScript hook. native-notes/websocket-behaviours.md
  if (context === undefined) throw new TypeError('an upgrade without a context');
  // Without the status first the headers would follow a 200.
  response.writeStatus('101 Switching Protocols');
  for (const [name, value] of headers) response.writeHeader(name, value);
  const fields = { handle: -1, isOpen: true, ...line };
  // V8 would compile it when it is called within, and that allocates.
  noteOpened(undefined);
  response.upgrade<MessageLine>(fields, key, subprotocol, '', context);
  return openedLast as MessageSocket;
}

let openedLast: unknown;

/** Called within `response.upgrade()`. */
function noteOpened(socket: unknown): void {
  openedLast = socket;
}

/** Hears what happens to WebSockets. */
export interface MessageHandler {
  /** `message` is native memory, gone after the call. */
  received(socket: MessageSocket, message: ArrayBuffer, isBinary: boolean): void;
  /** A ping or a pong came; the pong to a ping has `answerBytes`, else it is 0. */
  controlled(socket: MessageSocket, answerBytes: number): void;
  /** The socket has taken everything. */
  drained(socket: MessageSocket): void;
  /** `byServer`: the server closed it, or gave it up, for what it sent or left unread. */
  closed(socket: MessageSocket, byServer: boolean): void;
}

export interface MessageOptions {
  /** How long a client may be silent before it is pinged, ms. */
  readonly pingMs: number;
  /** The longest message of a client that may publish, bytes; a little longer ones are answered. */
  readonly maxMessageBytes: number;
}

type Behaviour = WebSocketBehavior<MessageLine>;

/**
 * The behaviours of clients that may not publish and of those that may, without `upgrade`.
 * `socketClosed` hears of the end of each WebSocket's socket.
 */
export function behaviours(
  options: MessageOptions,
  counters: Counters,
  messages: MessageHandler,
  socketClosed: () => void = () => void counters.sockets_closed_total++,
): { readonly readers: Behaviour; readonly publishers: Behaviour } {
  const common: Behaviour = {
    idleTimeout: idleTimeoutSeconds(options.pingMs),
    sendPingsAutomatically: true,
    // Bounds of our own act before this one: a line is left alone from the first byte not taken,
    // and closed for unread answers and pongs. What exceeds it is lost, and so is the close frame.
    // native-notes/websocket-backpressure.md
    maxBackpressure: 2 * CORK_WRITE_BYTES_MAX + options.maxMessageBytes + UNREAD_ANSWERS_BYTES_MAX,
    closeOnBackpressureLimit: true,
    open: noteOpened,
    message: (socket, message, isBinary) =>
      messages.received(socket as MessageSocket, message, isBinary),
    // Called when the pong has been sent or buffered.
    ping: (socket, payload) =>
      messages.controlled(socket as MessageSocket, payload.byteLength + PONG_HEAD_BYTES),
    pong: (socket) => messages.controlled(socket as MessageSocket, 0),
    drain: (socket) => {
      const drained = socket as MessageSocket;
      if (!drained.isOpen) return;
      drained.unread.note(drained);
      // Called whenever some bytes have gone out, mostly while others are left.
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
      // The filter of sockets is not called for the end of one that was upgraded.
      // native-notes/websocket-upgrade.md
      socketClosed();
      const closed = socket as MessageSocket;
      const isTooLarge =
        code === NATIVE_CLOSE && Buffer.from(reason).toString('latin1') === TOO_LARGE;
      if (isTooLarge) counters.websockets_closed_too_large_total++;
      const byServer = isTooLarge || !closed.isOpen;
      closed.isOpen = false;
      closed.unread.forget(closed);
      messages.closed(closed, byServer);
    },
  };
  // A message that never ends holds maxPayloadLength until the idle timeout, and longer if its
  // sender answers pings. native-notes/websocket-unfinished.md
  return {
    readers: { ...common, maxPayloadLength: READER_MESSAGE_BYTES_MAX },
    publishers: { ...common, maxPayloadLength: options.maxMessageBytes + MESSAGE_SLACK_BYTES_MAX },
  };
}

const PONG_HEAD_BYTES = 2;

/**
 * How uWebSockets closes for a message over `maxPayloadLength`.
 * native-notes/websocket-protocol-errors.md
 */
const NATIVE_CLOSE = 1006;
const TOO_LARGE = 'Received too big message';

/**
 * The native idle timeout for pings every `pingMs`. uWebSockets sends a ping 4, 8 or 16 s before it
 * closes a socket for silence, more with a longer timeout. native-notes/websocket-idle-timeout.md
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
