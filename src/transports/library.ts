/**
 * Lines inside the program: what stands behind `channel.subscribe`. To the core each is a socket
 * whose reader asks for one item at a time; what has been written and not asked for is all that is
 * held, and beyond a bound it refuses bytes and is a cursor, like any line.
 */
import { NDJSON } from '../core/frame.js';
import type { Hub } from '../core/hub.js';
import { NOBODY } from '../core/owners.js';
import type { DeliveryMode, LinePort } from '../core/ports.js';
import type { Position } from '../core/position.js';
import { ENDS, withStack, type EndCode, type HoldlineError } from '../errors.js';
import { LIBRARY_UNREAD_BYTES_MAX } from '../limits.js';
import type { GapNotice, LineEnd, ReceivedEvent } from './received.js';

/** What a reader gets of one step. */
type Step = IteratorResult<ReceivedEvent | GapNotice, undefined>;

type LibraryHub = Pick<Hub<LibraryLine>, 'drained' | 'join' | 'left' | 'ready' | 'stalled'>;

const LF = 0x0a;
/** A new one each time, since the program may change it. */
const over = (): Step => ({ value: undefined, done: true });

/** One line and its reader. */
export class LibraryLine {
  /** The id after which it goes on: of the last event that was read, or where it began. */
  position: number;
  /** Why the server ended it; undefined while it is open, and when the program closed it. */
  end: LineEnd | undefined;
  /** Called once when it is over, maybe in the middle of a sweep. */
  onClose: (() => void) | undefined;

  readonly #hub: LibraryHub;
  readonly #open: Set<LibraryLine>;
  /** −1 before it has joined. */
  #handle = -1;
  #isOver = false;
  /** Why it could not join; thrown to its reader once. */
  #failure: unknown;
  /** Written and not read: whole lines of NDJSON, and where the first one goes on. */
  readonly #unread: Buffer[] = [];
  #offset = 0;
  #unreadBytes = 0;
  /** It has refused bytes, and has not told since that it was read empty. */
  #isRefusing = false;
  /** Readers that wait, the first to come first. */
  #waiting: { resolve(step: Step): void; reject(error: HoldlineError): void }[] = [];
  #isServing = false;

  /**
   * Is in `open` until it is over. Throws what `Hub.join` throws; where the log has to be read
   * first, {@link next} rejects with it.
   */
  constructor(hub: LibraryHub, name: string, position: Position, open: Set<LibraryLine>) {
    this.#hub = hub;
    this.#open = open;
    this.position = position.kind === 'after' ? position.id : 0;
    const ready = hub.ready([name], position);
    if (ready === undefined) this.#join(name, position);
    else void this.#joinLater(name, ready);
    open.add(this);
  }

  #join(name: string, position: Position): void {
    const joined = this.#hub.join(this, [name], LIBRARY_MODE, position, 0, NOBODY);
    this.#handle = joined.handle;
    this.position = joined.continuesAfter;
    const { opening } = joined;
    if (opening.length > 0 && !this.write(opening)) this.#hub.stalled(this.#handle, this);
  }

  async #joinLater(name: string, ready: Promise<Position>): Promise<void> {
    try {
      const position = await ready;
      if (!this.#isOver) this.#join(name, position);
    } catch (error) {
      if (this.#isOver) return;
      this.#failure = error;
      this.#over();
      this.#serveSoon();
    }
  }

  /** The next item, or the end; waits for one. Rejects only with why it could not be opened. */
  next(): Promise<Step> {
    if (this.#failure !== undefined) return Promise.reject(this.#takeFailure());
    const step = this.#waiting.length === 0 ? this.#read() : undefined;
    if (step !== undefined) return Promise.resolve(step);
    return new Promise((resolve, reject) => void this.#waiting.push({ resolve, reject }));
  }

  #takeFailure(): HoldlineError {
    const failure = withStack(this.#failure);
    this.#failure = undefined;
    return failure;
  }

  /** The program wants no more: what it has not read is dropped. */
  close(): void {
    if (!this.#isOver) {
      this.#leave();
      this.#over();
    }
    this.#unread.length = 0;
    this.#unreadBytes = 0;
    this.#serveSoon();
  }

  /** The server ends it, whether or not the reader keeps up. What was written can be read. */
  cut(code: EndCode): void {
    if (this.#isOver) return;
    this.#leave();
    this.ended(code);
  }

  /** From the port: the bytes are a view that is gone after the call. */
  write(bytes: Uint8Array): boolean {
    // Not from the pool, of which a few bytes would hold 8 KiB.
    const copy = Buffer.allocUnsafeSlow(bytes.length);
    copy.set(bytes);
    this.#unread.push(copy);
    this.#unreadBytes += copy.length;
    this.#serveSoon();
    if (this.#unreadBytes > LIBRARY_UNREAD_BYTES_MAX) this.#isRefusing = true;
    return !this.#isRefusing;
  }

  /** From the port: it has no row any more. */
  ended(code: EndCode): void {
    this.end = { code, reconnect: ENDS[code].reconnect };
    this.#over();
    this.#serveSoon();
  }

  #leave(): void {
    if (this.#handle >= 0) this.#hub.left(this.#handle, this);
  }

  #over(): void {
    this.#isOver = true;
    this.#open.delete(this);
    this.onClose?.();
  }

  /** Readers are served behind the sweep that writes, so that it does not parse for them. */
  #serveSoon(): void {
    if (this.#isServing || this.#waiting.length === 0) return;
    this.#isServing = true;
    queueMicrotask(this.#serve);
  }

  readonly #serve = (): void => {
    this.#isServing = false;
    let served = 0;
    for (const reader of this.#waiting) {
      if (this.#failure === undefined) {
        const step = this.#read();
        if (step === undefined) break;
        reader.resolve(step);
      } else {
        reader.reject(this.#takeFailure());
      }
      served++;
    }
    this.#waiting = this.#waiting.slice(served);
  };

  #read(): Step | undefined {
    const slice = this.#unread[0];
    if (slice === undefined) return this.#isOver ? over() : undefined;
    const end = slice.indexOf(LF, this.#offset);
    const text = slice.toString('utf8', this.#offset, end);
    this.#unreadBytes -= end + 1 - this.#offset;
    this.#offset = end + 1;
    if (this.#offset === slice.length) {
      this.#unread.shift();
      this.#offset = 0;
    }
    if (this.#unreadBytes === 0 && this.#isRefusing) {
      this.#isRefusing = false;
      this.#hub.drained(this.#handle, this);
    }
    const value = JSON.parse(text) as ReceivedEvent | GapNotice;
    if (value.id !== undefined) this.position = value.id;
    return { value, done: false };
  }
}

/**
 * A port of messages: it takes whole lines of NDJSON, the same frames as on the wire, and needs no
 * heartbeats. The last bytes are left out: the reader is told by the end of its iteration.
 */
const libraryPort: LinePort<LibraryLine> = {
  kind: 'message',
  write: (line, bytes) => line.write(bytes),
  end: (line, _lastBytes, code) => line.ended(code),
  // What is not read is an ArrayBuffer, and counted as such.
  unsentBytes: () => 0,
};

const LIBRARY_MODE: DeliveryMode<LibraryLine> = {
  transport: 'library',
  encoding: NDJSON,
  port: libraryPort,
};

/** The lines of a server's own program. */
export class LibraryLines {
  readonly #hub: LibraryHub;
  readonly #checkPlace: () => void;
  readonly #open = new Set<LibraryLine>();

  /** `checkPlace` throws where a line from outside would be refused now. */
  constructor(hub: LibraryHub, checkPlace: () => void) {
    this.#hub = hub;
    this.#checkPlace = checkPlace;
  }

  /** Throws what `checkPlace` and `Hub.join` throw; then there is no line. */
  open(name: string, position: Position): LibraryLine {
    this.#checkPlace();
    return new LibraryLine(this.#hub, name, position, this.#open);
  }

  /** Ends those that are left when the server has drained, as sockets are closed then. */
  closeAll(): void {
    for (const line of this.#open) line.cut('draining');
  }
}
