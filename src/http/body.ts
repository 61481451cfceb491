/**
 * The body of a request: received into one buffer, and counted against its reservation before it is
 * copied. If its length is known, the buffer is made once; otherwise it doubles.
 */
import { giveUpAfter, SYSTEM_CLOCK, type Clock } from '../clock.js';
import type { Reservation } from '../core/publish-memory.js';
import { HoldlineError } from '../errors.js';
import { BODY_PROGRESS_BYTES_MIN, BODY_PROGRESS_MS_MAX, BODY_ROOM_BYTES_MIN } from '../limits.js';
import type { Exchange, Incoming } from './exchange.js';

export class IncomingBody implements Incoming {
  readonly #exchange: Exchange;
  readonly #contentLength: number | undefined;
  readonly #limitBytes: number;
  readonly #reservation: Reservation;
  #received: () => void = ignore;
  #refuse: (error: unknown) => void = ignore;
  #room: Buffer | undefined;
  #body: Buffer | undefined;
  #bytes = 0;
  #isOver = false;
  isWhole = false;
  readonly #clock: Clock;
  #cancelDeadline: (() => void) | undefined;
  /** Bytes that had come when the deadline was last set. */
  #progressBytes = 0;

  constructor(
    exchange: Exchange,
    contentLength: number | undefined,
    limitBytes: number,
    reservation: Reservation,
    clock: Clock = SYSTEM_CLOCK,
  ) {
    this.#exchange = exchange;
    this.#contentLength = contentLength;
    this.#limitBytes = limitBytes;
    this.#reservation = reservation;
    this.#clock = clock;
  }

  /**
   * Receives a body of at most `limitBytes`; called once, in the request's turn. Rejects with
   * HOLDLINE_TOO_LARGE, maybe before the whole body has come (the rest is read and dropped,
   * native-notes/early-answer.md), HOLDLINE_PUBLISH_BUSY if the reservation cannot grow, and
   * HOLDLINE_BODY_TIMEOUT. A chunked body resolves one turn after its last byte, and only if
   * nothing followed it, which would make its end doubtful (native-notes/chunked-requests.md).
   * Never settles if the client leaves. Resolves to nothing, because JavaScript looks for a `then`
   * in what a promise resolves to, which is slow for a Buffer.
   */
  receive(): Promise<void> {
    if (this.#contentLength !== undefined && this.#contentLength > this.#limitBytes) {
      return Promise.reject(tooLarge(this.#limitBytes));
    }
    return new Promise((resolve, reject) => {
      this.#received = resolve;
      this.#refuse = reject;
      this.#exchange.receive(this);
      // A body with a length is heard of at once, also while none of it has come.
      if (this.#exchange.isChunked) this.#watchProgress();
    });
  }

  /** The whole body, once it has been received. */
  get body(): Buffer {
    return this.#body as Buffer;
  }

  /** The client has left: gives back its memory. */
  left(): void {
    this.stop();
    this.#reservation.release();
  }

  /** Takes no more, and drops what has come. */
  stop(): void {
    this.#isOver = true;
    this.#room = undefined;
    this.#body = undefined;
    this.#cancelDeadline?.();
  }

  take(piece: ArrayBuffer, isLast: boolean): void {
    if (this.#isOver) return;
    try {
      this.#append(piece, isLast);
    } catch (error) {
      this.stop();
      this.#refuse(error);
      return;
    }
    if (isLast) this.#complete();
    else this.#watchProgress();
  }

  #append(piece: ArrayBuffer, isLast: boolean): void {
    const bytes = this.#bytes + piece.byteLength;
    if (bytes > this.#limitBytes) throw tooLarge(this.#limitBytes);
    this.#reserve(isLast && this.#room === undefined ? bytes : this.#roomBytesFor(bytes));
    // Most bodies come in one piece. Its memory is native and gone after this call.
    // native-notes/zero-copy-arguments.md
    const room =
      isLast && this.#room === undefined ? Buffer.allocUnsafe(bytes) : this.#roomFor(bytes);
    room.set(new Uint8Array(piece), this.#bytes);
    this.#room = room;
    this.#bytes = bytes;
  }

  /** The size of the buffer that `bytes` need: the present one, or the one to be made. */
  #roomBytesFor(bytes: number): number {
    const room = this.#room?.length ?? 0;
    if (bytes <= room) return room;
    return (
      this.#contentLength ??
      Math.min(this.#limitBytes, Math.max(BODY_ROOM_BYTES_MIN, 2 * room, bytes))
    );
  }

  /** The whole buffer is counted before it is made, not only the bytes that have come. */
  #reserve(bytes: number): void {
    const more = bytes - this.#reservation.bytes;
    if (more > 0) this.#reservation.grow(more);
  }

  #roomFor(bytes: number): Buffer {
    const room = this.#room;
    if (room !== undefined && bytes <= room.length) return room;
    const larger = Buffer.allocUnsafeSlow(this.#roomBytesFor(bytes));
    room?.copy(larger, 0, 0, this.#bytes);
    this.#room = larger;
    return larger;
  }

  /** Answers a slow body with 408 before uWebSockets closes it without a word. */
  #watchProgress(): void {
    if (this.#cancelDeadline !== undefined) {
      if (this.#bytes - this.#progressBytes < BODY_PROGRESS_BYTES_MIN) return;
      this.#progressBytes = this.#bytes;
      this.#cancelDeadline();
    }
    this.#cancelDeadline = giveUpAfter(this.#clock, BODY_PROGRESS_MS_MAX, () => this.#tooSlow());
  }

  #tooSlow(): void {
    if (this.#isOver) return;
    this.stop();
    this.#exchange.closeAfter();
    this.#refuse(
      new HoldlineError(
        'HOLDLINE_BODY_TIMEOUT',
        `the body came too slowly: less than ${BODY_PROGRESS_BYTES_MIN} bytes in ${BODY_PROGRESS_MS_MAX} ms, and it is not complete`,
      ),
    );
  }

  #complete(): void {
    this.isWhole = true;
    // The unused part of a doubled buffer would be held for as long as the publish waits.
    const room = this.#room as Buffer;
    const body = room.length === this.#bytes ? room : Buffer.from(room.subarray(0, this.#bytes));
    this.#reservation.settle(body.length);
    this.stop();
    this.#body = body;
    if (this.#exchange.isChunked) setImmediate(() => this.#isAlone());
    else this.#received();
  }

  /** A turn after the last byte: anything behind it would have closed the connection by now. */
  #isAlone(): void {
    if (this.#exchange.gone) return;
    this.#exchange.isBodyAlone = true;
    this.#received();
  }
}

function ignore(): void {}

function tooLarge(limitBytes: number): HoldlineError {
  return new HoldlineError('HOLDLINE_TOO_LARGE', `the body must be at most ${limitBytes} bytes`);
}
