/**
 * What a line costs. Its native memory is learnt from the process: the slope of a least-squares fit
 * through samples of (lines, bytes), taken only while there are more lines than ever before, since
 * an allocator keeps what closed lines leave.
 */
import type { Transport } from '../../core/transport.js';
import { ROW_BYTES } from '../../core/lines.js';
import { momentsOf } from '../../moments.js';

/** Bytes of a held socket outside of V8. */
export interface LineBytes {
  readonly bytes: number;
  /** `kept` from native-notes/memory-per-connection.md until it can be `measured` here. */
  readonly source: 'measured' | 'kept';
}

/** The kept figures. native-notes/memory-per-connection.md */
export const KEPT_LINE_BYTES: Readonly<Record<Transport, number>> = {
  sse: 700,
  ndjson: 700,
  websocket: 550,
  poll: 650,
  // All on V8's heap.
  library: 0,
};

/** What a line has on V8's heap: callback and map entry. native-notes/memory-per-connection.md */
export const LINE_HEAP_BYTES = 140;

/** What a quiet event stream takes of the process: socket, heap and row. */
export const QUIET_LINE_BYTES = KEPT_LINE_BYTES.sse + LINE_HEAP_BYTES + ROW_BYTES;

/** Lines between two samples: 50 kB, more than the steps in which an allocator asks for memory. */
const STEP_LINES = 64;

/** Above it every other sample goes, and the distance between samples doubles. */
const SAMPLES_MAX = 64;

/** Readings at one number of lines: the garbage of a rush of new lines goes in time. */
const READINGS_MAX = 10;

/** A slope is not used over fewer lines, while a process warms up, or if it explains less (r²). */
const SPREAD_LINES_MIN = 1_000;
const FIT_SHARE_MIN = 0.9;

/**
 * What the memory of a process varies by while its lines stay, and the standard error of the slope
 * with that, as a share of it: about 3,000 lines one after another suffice, or 8,000 at once.
 */
const NOISE_BYTES = 400_000;
const ERROR_SHARE_MAX = 0.1;

interface Sample {
  readonly lines: number;
  /** The least of all readings. */
  bytes: number;
  residentBytes: number;
  readings: number;
}

interface Fit {
  readonly slope: number;
  readonly meanLines: number;
  readonly meanResidentBytes: number;
  /** Standard error of the slope for NOISE_BYTES in a sample. */
  readonly error: number;
  /** Share of the bytes' variance that the slope explains (r²). */
  readonly explained: number;
}

export class LineCost {
  #samples: Sample[] = [];
  #stepLines = STEP_LINES;

  /** True when a reading at so many lines would add something. */
  wantsReading(lines: number): boolean {
    const last = this.#samples.at(-1);
    return (
      last === undefined ||
      lines >= last.lines + this.#stepLines ||
      (lines >= last.lines && last.readings < READINGS_MAX)
    );
  }

  /**
   * Takes a reading: lines, bytes in use that are neither V8's nor in a buffer, and what of them is
   * resident together with what the allocator keeps.
   */
  addReading(lines: number, bytes: number, residentBytes = bytes): void {
    const last = this.#samples.at(-1);
    if (last === undefined || lines >= last.lines + this.#stepLines) {
      this.#samples.push({ lines, bytes, residentBytes, readings: 1 });
      if (this.#samples.length > SAMPLES_MAX) this.#thin();
    } else if (lines >= last.lines) {
      last.bytes = Math.min(last.bytes, bytes);
      last.residentBytes = Math.min(last.residentBytes, residentBytes);
      last.readings++;
    }
  }

  /** Most lines that were sampled. */
  get linesMax(): number {
    return this.#samples.at(-1)?.lines ?? 0;
  }

  /** Lines between the fewest and the most that were sampled. */
  get spreadLines(): number {
    return this.linesMax - (this.#samples[0]?.lines ?? 0);
  }

  /** What a line costs, as the average of those that are open. */
  line(byTransport: Readonly<Record<Transport, number>>): LineBytes {
    const fit = this.#fit();
    return this.#isGood(fit)
      ? { bytes: fit.slope, source: 'measured' }
      : { bytes: keptBytes(byTransport), source: 'kept' };
  }

  /** Resident native bytes with so many lines at so many bytes; 0 before the first reading. */
  neededBytes(lines: number, lineBytes: number): number {
    const fit = this.#fit();
    return fit === undefined ? 0 : fit.meanResidentBytes + lineBytes * (lines - fit.meanLines);
  }

  #isGood(fit: Fit | undefined): fit is Fit {
    if (fit === undefined || this.spreadLines < SPREAD_LINES_MIN) return false;
    return (
      fit.slope > 0 && fit.explained >= FIT_SHARE_MIN && fit.error <= ERROR_SHARE_MAX * fit.slope
    );
  }

  /** Least squares. */
  #fit(): Fit | undefined {
    const samples = this.#samples;
    if (samples.length === 0) return undefined;
    const { meanX, xx, xy, yy } = momentsOf(
      samples.map(({ lines, bytes }) => ({ x: lines, y: bytes })),
    );
    return {
      slope: xx === 0 ? 0 : xy / xx,
      meanLines: meanX,
      meanResidentBytes:
        samples.reduce((sum, { residentBytes }) => sum + residentBytes, 0) / samples.length,
      error: NOISE_BYTES / Math.sqrt(xx),
      explained: xx * yy === 0 ? 0 : xy ** 2 / (xx * yy),
    };
  }

  #thin(): void {
    this.#stepLines *= 2;
    const newest = this.#samples.length - 1;
    this.#samples = this.#samples.filter((_, index) => index % 2 === newest % 2);
  }
}

function keptBytes(byTransport: Readonly<Record<Transport, number>>): number {
  let lines = 0;
  let bytes = 0;
  for (const transport of Object.keys(KEPT_LINE_BYTES) as Transport[]) {
    lines += byTransport[transport];
    bytes += byTransport[transport] * KEPT_LINE_BYTES[transport];
  }
  return lines === 0 ? KEPT_LINE_BYTES.sse : bytes / lines;
}
