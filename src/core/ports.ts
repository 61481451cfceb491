/** Ports: what the core asks of its surroundings to hold a connection. */
import type { EndCode } from '../errors.js';
import type { Encoding } from './frame.js';

/** The ways to ask for a channel. */
export type Transport = 'sse' | 'ndjson' | 'websocket' | 'poll';

/**
 * What the core asks of a socket that is held open.
 *
 * A port of *streams* takes any bytes and needs heartbeats; a drain is a hint, to be proved by the
 * encoding's probe. A port of
 * *messages* takes a frame, or several, whole; it keeps the socket busy by itself, and a drain says that everything is out.
 */
export interface LinePort<Socket> {
  readonly kind: 'stream' | 'message';
  /**
   * Writes `bytes`, for a stream at most CORK_WRITE_BYTES_MAX, as one cork or message. The bytes
   * are always taken. False: some stay in user space, and the socket's drain will be reported.
   */
  write(socket: Socket, bytes: Uint8Array): boolean;
  /** Writes the last bytes and ends. No callback of the socket reaches the hub any more. */
  end(socket: Socket, lastBytes: Uint8Array, code: EndCode): void;
  /** Bytes that stay in user space of a socket that has refused some, at most. */
  unsentBytes(socket: Socket): number;
}

/** What the core asks of a poll that waits: its answer is its end. */
export interface PollPort<Socket> {
  readonly kind: 'poll';
  /** Answers with a body, or with none, and the position to go on with. */
  answer(socket: Socket, body: Uint8Array | undefined, position: number): void;
}

/** By what way lines are given events. */
export interface DeliveryMode<Socket> {
  readonly transport: Transport;
  readonly encoding: Encoding;
  readonly port: LinePort<Socket> | PollPort<Socket>;
  /** For polls: events in one answer, 0 for one event that stands alone. */
  readonly limit?: number;
}
