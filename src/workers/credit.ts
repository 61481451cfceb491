/**
 * Credit: how much of each channel is on its way to a worker, from its commit until it has
 * entered the worker's rings. A channel has room while no worker has too much of it; without room
 * its publishes wait before they are committed. So what is committed goes to every worker at once
 * and in order, no pipe is paused for a channel, and what waits in a worker is bounded. An entry
 * takes of it what it takes in a queue.
 *
 * Of the credit in all a channel may take as much as is still free, as publishes do of their memory
 * (core/publish-memory.ts), and CHANNEL_CREDIT_BYTES at the most.
 */
import { queuedBytesOf } from '../core/entrance.js';
import type { NewEntry } from '../core/event.js';
import { CHANNEL_CREDIT_BYTES, WORKER_CREDIT_BYTES } from '../limits.js';

/** Whether more may be sent; if not, whether its channel or all channels have too much. */
export type Room = 'room' | 'channel is full' | 'all are full';

export class Credit {
  readonly #byChannel = new Map<string, number>();
  readonly #channelMax: number;
  readonly #max: number;
  #bytes = 0;

  constructor(channelMax = CHANNEL_CREDIT_BYTES, max = WORKER_CREDIT_BYTES) {
    this.#channelMax = channelMax;
    this.#max = max;
  }

  /** Bytes on their way, of all channels. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Channels with something on its way. */
  get channels(): number {
    return this.#byChannel.size;
  }

  /** Bytes of one channel on their way. */
  bytesOf(channel: string): number {
    return this.#byChannel.get(channel) ?? 0;
  }

  /**
   * Whether `bytes` more of the channel may be sent, where `reserved` more are about to be, and
   * `reservedInAll` of all channels. While nothing of it is on its way one publish may always be
   * that finds any credit left, whatever its size.
   */
  roomFor(channel: string, bytes: number, reserved = 0, reservedInAll = reserved): Room {
    const free = this.#max - this.#bytes - reservedInAll;
    const own = this.bytesOf(channel) + reserved;
    if (own > 0 && own + bytes > this.#channelMax) return 'channel is full';
    return (own === 0 ? free > 0 : own + bytes <= free) ? 'room' : 'all are full';
  }

  /** An entry is sent. */
  sent(entry: NewEntry): void {
    const bytes = queuedBytesOf(entry);
    this.#bytes += bytes;
    this.#byChannel.set(entry.channel, this.bytesOf(entry.channel) + bytes);
  }

  /** So many bytes of the channel have entered. */
  entered(channel: string, bytes: number): void {
    const own = this.bytesOf(channel);
    const given = Math.min(own, bytes);
    this.#bytes -= given;
    if (own === given) this.#byChannel.delete(channel);
    else this.#byChannel.set(channel, own - given);
  }
}
