/**
 * What a line that is read in full has in common, whatever its transport: the head is skipped, each
 * event goes into the book of the ledger.
 */
import { type RecordableHistogram, createHistogram } from 'node:perf_hooks';

/** What all checked lines have seen together. */
export interface Sightings {
  events: number;
  /** Bytes of whole events, without the transport's framing. */
  frameBytes: number;
  doubled: number;
  outOfOrder: number;
  gapEvents: number;
  endEvents: number;
  heartbeats: number;
  /** Blocks, lines or framing that no server here should send. */
  damaged: number;
}

const ID_UNKNOWN = -1;

/**
 * The book of the checked lines: per line and sequence the time of delivery, per sequence the id.
 */
export class Ledger {
  readonly seen: Sightings = {
    events: 0,
    frameBytes: 0,
    doubled: 0,
    outOfOrder: 0,
    gapEvents: 0,
    endEvents: 0,
    heartbeats: 0,
    damaged: 0,
  };
  /**
   * Latency from the intended time, in microseconds, of the events that were due inside the window.
   */
  readonly latencyUs: RecordableHistogram = createLatencyHistogram();
  readonly sequenceLimit: number;
  readonly idOfSequence: Float64Array;
  windowStartUs = Infinity;
  windowEndUs = -Infinity;
  /** Sequences whose id differed from line to line. */
  idConflicts = 0;

  constructor(sequenceLimit: number) {
    this.sequenceLimit = sequenceLimit;
    this.idOfSequence = new Float64Array(sequenceLimit).fill(ID_UNKNOWN);
  }
}

/** Three significant digits up to an hour, in microseconds. */
export function createLatencyHistogram(): RecordableHistogram {
  return createHistogram({ lowest: 1, highest: 3_600_000_000, figures: 3 });
}

/** The largest block or line kept over a read; nothing a server sends here comes near it. */
const CARRY_BYTES = 8192;
const HEAD_END = '\r\n\r\n';

/** A subclass reads what follows the head of the answer. */
export abstract class CheckedLine {
  protected readonly seen: Sightings;
  readonly #ledger: Ledger;
  /** Microseconds of delivery per sequence; 0 = not yet. */
  readonly deliveredUs: Float64Array;
  /** NaN on a server whose ids are no integers: such ids are not compared. */
  lastId = -1;
  #headRead = false;
  #head = '';
  /** What an earlier read left of a block or a line. */
  protected readonly carry: Buffer = Buffer.alloc(CARRY_BYTES);
  protected carryBytes = 0;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
    this.seen = ledger.seen;
    this.deliveredUs = new Float64Array(ledger.sequenceLimit);
  }

  get headRead(): boolean {
    return this.#headRead;
  }

  feed(buffer: Buffer, byteCount: number, atUs: number): void {
    const start = this.#headRead ? 0 : this.#readHead(buffer, byteCount);
    if (start < byteCount) this.body(buffer, start, byteCount, atUs);
  }

  /** The status line and the headers, without the empty line behind them. */
  protected abstract begin(head: string): void;
  protected abstract body(buffer: Buffer, start: number, end: number, atUs: number): void;

  /** Where the body begins in this read; `byteCount` when it does not. */
  #readHead(buffer: Buffer, byteCount: number): number {
    const before = this.#head.length;
    this.#head += buffer.toString('latin1', 0, byteCount);
    const end = this.#head.indexOf(HEAD_END);
    if (end === -1) return byteCount;
    this.#headRead = true;
    this.begin(this.#head.slice(0, end));
    this.#head = '';
    return end + HEAD_END.length - before;
  }

  protected keep(byte: number): void {
    if (this.carryBytes === CARRY_BYTES) {
      this.seen.damaged++;
      this.carryBytes = 0;
    }
    this.carry[this.carryBytes++] = byte;
  }

  protected deliver(id: number, dueUs: number, sequence: number, atUs: number): void {
    const ledger = this.#ledger;
    this.seen.events++;
    if (!(sequence < ledger.sequenceLimit) || Number.isNaN(dueUs)) {
      this.seen.damaged++;
      return;
    }
    if (id <= this.lastId) this.seen.outOfOrder++;
    else this.lastId = id;
    if (this.deliveredUs[sequence] !== 0) {
      this.seen.doubled++;
      return;
    }
    this.deliveredUs[sequence] = atUs;
    const known = ledger.idOfSequence[sequence]!;
    if (known === ID_UNKNOWN) ledger.idOfSequence[sequence] = id;
    else if (known !== id && !Number.isNaN(id)) ledger.idConflicts++;
    if (dueUs >= ledger.windowStartUs && dueUs < ledger.windowEndUs) {
      ledger.latencyUs.record(Math.max(1, Math.round(atUs - dueUs)));
    }
  }
}
