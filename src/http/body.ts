/**
 * The body of a request: received into one buffer, and accounted byte by byte before it is copied.
 * One whose length is told gets its room once; for another the room doubles.
 */
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
  #timer: NodeJS.Timeout | undefined;
  /** Bytes that had come when the timer was set. */
  #progressBytes = 0;

  constructor(
    exchange: Exchange,
    contentLength: number | undefined,
    limitBytes: number,
    reservation: Reservation,
  ) {
    this.#exchange = exchange;
    this.#contentLength = contentLength;
    this.#limitBytes = limitBytes;
    this.#reservation = reservation;
  }

  /**
   * Receives a body of at most `limitBytes`; called once, in the request's turn. Rejects with
   * HOLDLINE_TOO_LARGE, maybe before the body has come (what still comes is read off,
   * native-notes/early-answer.md), HOLDLINE_PUBLISH_BUSY when the reservation cannot grow, and
   * HOLDLINE_BODY_TIMEOUT. A body in chunks resolves one turn after its last byte, and only if
   * nothing followed it: then its borders were what they seemed (native-notes/chunked-requests.md).
   * Never settles when the client leaves; its exchange is told. Resolves to nothing: of whatever
   * else a promise resolves to, JavaScript looks for a `then`, which is slow for a Buffer.
   */
  receive(): Promise<void> {
    if (this.#contentLength !== undefined && this.#contentLength > this.#limitBytes) {
      return Promise.reject(tooLarge(this.#limitBytes));
    }
    return new Promise((resolve, reject) => {
      this.#received = resolve;
      this.#refuse = reject;
      this.#exchange.hear(this);
    });
  }

  /** All of it, once it has been received. */
  get body(): Buffer {
    return this.#body as Buffer;
  }

  /** The client has left: nothing is held for it any more. */
  left(): void {
    this.stop();
    this.#reservation.release();
  }

  /** Takes no more, and holds nothing. */
  stop(): void {
    this.#isOver = true;
    this.#room = undefined;
    this.#body = undefined;
    clearTimeout(this.#timer);
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

  /** What is held for a body of so many bytes so far: room that is there or is to be made. */
  #roomBytesFor(bytes: number): number {
    const room = this.#room?.length ?? 0;
    if (bytes <= room) return room;
    return (
      this.#contentLength ??
      Math.min(this.#limitBytes, Math.max(BODY_ROOM_BYTES_MIN, 2 * room, bytes))
    );
  }

  /** Room is accounted before it is made, also what no byte has come for yet. */
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

  /** Refuses in words what uWebSockets would close in silence. */
  #watchProgress(): void {
    if (this.#timer === undefined) {
      this.#timer = setTimeout(() => this.#tooSlow(), BODY_PROGRESS_MS_MAX).unref();
    } else if (this.#bytes - this.#progressBytes >= BODY_PROGRESS_BYTES_MIN) {
      this.#progressBytes = this.#bytes;
      this.#timer.refresh();
    }
  }

  #tooSlow(): void {
    if (this.#isOver) return;
    this.stop();
    this.#exchange.closeAfter();
    this.#refuse(
      new HoldlineError(
        'HOLDLINE_BODY_TIMEOUT',
        `less than ${BODY_PROGRESS_BYTES_MIN} bytes of the body came in ${BODY_PROGRESS_MS_MAX} ms, and not its end`,
      ),
    );
  }

  #complete(): void {
    this.isWhole = true;
    // What a doubled room has beside its body would be held for as long as the publish waits.
    const room = this.#room as Buffer;
    const body = room.length === this.#bytes ? room : Buffer.from(room.subarray(0, this.#bytes));
    this.#reservation.settle(body.length);
    this.stop();
    this.#body = body;
    if (this.#exchange.isChunked) setImmediate(() => this.#isAlone());
    else this.#received();
  }

  /** A turn after the last byte: what would have followed it has closed the connection by now. */
  #isAlone(): void {
    if (this.#exchange.gone) return;
    this.#exchange.isBodyAlone = true;
    this.#received();
  }
}

function ignore(): void {}

function tooLarge(limitBytes: number): HoldlineError {
  return new HoldlineError('HOLDLINE_TOO_LARGE', `the body is over ${limitBytes} bytes`);
}
