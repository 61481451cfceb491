/**
 * Ports: what the core asks of its surroundings. A socket is opaque to the core, which only hands
 * it back to the port that it came with.
 */
import type { EndCode } from '../errors.js';
import type { Encoding } from './frame.js';
import type { Transport } from './transport.js';

/**
 * What the core asks of a socket that is held open.
 *
 * A *stream* port takes any bytes and needs heartbeats. A drain is only a hint: the encoding's
 * probe finds out whether the socket takes bytes again. A *message* port takes whole frames, one or
 * several, and keeps the socket alive by itself. A drain says that everything is out.
 */
export interface LinePort<Socket = unknown> {
  readonly kind: 'stream' | 'message';
  /**
   * Writes `bytes`, to a stream at most the hub's `writeBytesMax`, as one cork or message. The
   * bytes are always taken. False: some of them stay in user space, and the port will report the
   * drain.
   */
  write(socket: Socket, bytes: Uint8Array): boolean;
  /** Writes the last bytes and ends. After it no callback of the socket reaches the hub. */
  end(socket: Socket, lastBytes: Uint8Array, code: EndCode): void;
  /** Most bytes that stay in user space, for a socket that has refused some. */
  unsentBytes(socket: Socket): number;
}

/** What the core asks of a poll that waits. The answer ends it. */
export interface PollPort<Socket = unknown> {
  readonly kind: 'poll';
  /** Answers with a body or with none, and with the position to go on from. */
  answer(socket: Socket, body: Uint8Array | undefined, position: number): void;
}

/** How a group of connections receives events: encoding and kind of socket. */
export interface DeliveryMode<Socket = unknown> {
  readonly transport: Transport;
  readonly encoding: Encoding;
  readonly port: LinePort<Socket> | PollPort<Socket>;
  /** For polls: most events in one answer; 0 answers with one bare object instead of an array. */
  readonly limit?: number;
}
