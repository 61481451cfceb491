/**
 * The memory of publishes under way, from the first byte of a body until its events have entered
 * their ring, under one bound. A channel may hold as much as is still free, so others always find
 * room: of n channels that take all they can, each gets 1 ÷ (n + 1) of it (dynamic thresholds,
 * Choudhury and Hahne 1998).
 */
import { HoldlineError } from '../errors.js';
import type { HeldBytes } from './held-bytes.js';
import { PUBLISH_BYTES_MAX } from '../limits.js';

/** What the publishes of one sharer hold, bytes: of one channel, or of one credential. */
export interface PublishShare {
  heldBytes: number;
}

/** Whose memory a refusal speaks of: "WHAT already hold …, 7 of them OF SHARE". */
interface MemoryWords {
  readonly what: string;
  readonly ofShare: string;
}

const TO_ONE_CHANNEL: MemoryWords = { what: 'publishes', ofShare: 'to this channel' };

/** The memory of one publish. */
export class Reservation {
  readonly #memory: PublishMemory;
  #share: PublishShare;
  #bytes = 0;
  #released = false;
  /** Called once, when it is released: a publisher that waits has left. */
  onRelease: (() => void) | undefined;

  constructor(memory: PublishMemory, share: PublishShare) {
    this.#memory = memory;
    this.#share = share;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get isReleased(): boolean {
    return this.#released;
  }

  /**
   * Takes `bytes` more. Throws HOLDLINE_PUBLISH_BUSY without room for them, and keeps what it has.
   */
  grow(bytes: number): void {
    if (this.#released) return;
    this.#memory.take(this.#share, bytes);
    this.#bytes += bytes;
  }

  /** Keeps `bytes` and gives the rest back, when the size of a body is known. Never throws. */
  settle(bytes: number): void {
    if (this.#released) return;
    this.#memory.give(this.#share, this.#bytes - bytes);
    this.#bytes = bytes;
  }

  /** Counts it to another share. Throws as {@link grow} does, and then has nothing. */
  moveTo(share: PublishShare): void {
    if (this.#released) return;
    const bytes = this.#bytes;
    this.#memory.give(this.#share, bytes);
    this.#bytes = 0;
    this.#share = share;
    this.grow(bytes);
  }

  /** Gives everything back. A second call does nothing. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#memory.give(this.#share, this.#bytes);
    this.#bytes = 0;
    this.onRelease?.();
    this.onRelease = undefined;
  }
}

export class PublishMemory {
  /** What bodies hold whose sender is not known yet. */
  readonly unverified: PublishShare = { heldBytes: 0 };
  readonly #limitBytes: number;
  /** The account in which `publishes` is what all publishes hold, of this bound or another. */
  readonly #held: HeldBytes;
  readonly #words: MemoryWords;
  /** What the publishes under this bound hold. */
  #heldBytes = 0;

  constructor(
    held: HeldBytes,
    limitBytes: number = PUBLISH_BYTES_MAX,
    words: MemoryWords = TO_ONE_CHANNEL,
  ) {
    this.#held = held;
    this.#limitBytes = limitBytes;
    this.#words = words;
  }

  /** Throws HOLDLINE_PUBLISH_BUSY unless the share may hold `bytes` more. */
  take(share: PublishShare, bytes: number): void {
    if (2 * bytes > this.#limitBytes) {
      throw new HoldlineError(
        'HOLDLINE_TOO_LARGE',
        `a publish takes ${bytes} bytes of memory; one of them may take ${this.#limitBytes / 2}, so publish in parts`,
      );
    }
    if (!this.mayHold(share, bytes)) {
      const { what, ofShare } = this.#words;
      const whose = share === this.unverified ? 'from unknown senders' : ofShare;
      throw new HoldlineError(
        'HOLDLINE_PUBLISH_BUSY',
        `${what} already hold ${this.#heldBytes} of ${this.#limitBytes} bytes, ${share.heldBytes} of them ${whose}; try again after Retry-After`,
      );
    }
    this.hold(share, bytes);
  }

  /** True when the share may hold `bytes` more. */
  mayHold(share: PublishShare, bytes: number): boolean {
    return share.heldBytes + bytes <= this.#limitBytes - this.#heldBytes - bytes;
  }

  /** Holds `bytes` even beyond the bound: what is committed is not refused. */
  hold(share: PublishShare, bytes: number): void {
    share.heldBytes += bytes;
    this.#heldBytes += bytes;
    this.#held.publishes += bytes;
  }

  give(share: PublishShare, bytes: number): void {
    share.heldBytes -= bytes;
    this.#heldBytes -= bytes;
    this.#held.publishes -= bytes;
  }
}
