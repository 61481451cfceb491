/**
 * What a line costs in native memory, learnt from the process itself: a straight line through
 * samples of (lines, bytes), taken where there are more lines than ever before. Fewer lines tell
 * nothing, since an allocator keeps what they leave.
 */
import type { Transport } from '../../core/ports.js';

/** Bytes of a held socket outside of V8, and where the figure is from. */
export interface LineBytes {
  readonly bytes: number;
  /**
   * `measured` in this process, or `kept` from native-notes/memory-per-connection.md while its
   * lines have not spread enough.
   */
  readonly source: 'measured' | 'kept';
}

/** The kept figures, bytes. native-notes/memory-per-connection.md */
const KEPT_BYTES: Readonly<Record<Transport, number>> = {
  sse: 700,
  ndjson: 700,
  websocket: 550,
  poll: 650,
};

/**
 * Lines between two samples: their 50 kB stand out from the steps in which an allocator asks for
 * memory.
 */
const STEP_LINES = 64;

/** Samples kept; past it every other one goes, and the distance between them doubles. */
const SAMPLES = 64;

/** Looks at one number of lines: garbage of the rush in which they came goes in time. */
const LOOKS = 10;

/** A slope over fewer lines than this, or that explains less of what is seen, is not told. */
const LEAST_SPREAD_LINES = 1_000;
const LEAST_FIT = 0.9;

/**
 * What a process that holds no more and no fewer lines comes and goes by, bytes, and the share of
 * the slope that its standard error may be with that: it takes some 3,000 lines that come by and
 * by, or 8,000 at once.
 */
const NOISE_BYTES = 400_000;
const MOST_ERROR = 0.1;

interface Sample {
  readonly lines: number;
  /** The least of all looks. */
  bytes: number;
  looks: number;
}

interface Fit {
  readonly slope: number;
  readonly meanLines: number;
  readonly meanBytes: number;
  /** Standard error of the slope for NOISE_BYTES in a sample. */
  readonly error: number;
  /** Share of the bytes' variance that the slope explains (r²). */
  readonly explained: number;
}

export class LineCost {
  #samples: Sample[] = [];
  #stepLines = STEP_LINES;

  /** True when a look at so many lines would tell something. */
  wantsLook(lines: number): boolean {
    const last = this.#samples.at(-1);
    return (
      last === undefined ||
      lines >= last.lines + this.#stepLines ||
      (lines >= last.lines && last.looks < LOOKS)
    );
  }

  /**
   * Takes a look at the process: the lines it holds, and its native bytes, which are what is
   * neither V8's nor of a buffer.
   */
  look(lines: number, nativeBytes: number): void {
    const last = this.#samples.at(-1);
    if (last === undefined || lines >= last.lines + this.#stepLines) {
      this.#samples.push({ lines, bytes: nativeBytes, looks: 1 });
      if (this.#samples.length > SAMPLES) this.#thin();
    } else if (lines >= last.lines) {
      last.bytes = Math.min(last.bytes, nativeBytes);
      last.looks++;
    }
  }

  /** Most lines that were looked at. */
  get mostLines(): number {
    return this.#samples.at(-1)?.lines ?? 0;
  }

  /** Lines between the fewest and the most that were sampled. */
  get spreadLines(): number {
    return this.mostLines - (this.#samples[0]?.lines ?? 0);
  }

  /** What a line costs, on the average of those that are open. */
  line(byTransport: Readonly<Record<Transport, number>>): LineBytes {
    const fit = this.#fit();
    return this.#isTold(fit)
      ? { bytes: fit.slope, source: 'measured' }
      : { bytes: keptBytes(byTransport), source: 'kept' };
  }

  /**
   * Native bytes that so many lines at so many bytes need, with what the process takes without
   * them; 0 before the first look.
   */
  neededBytes(lines: number, lineBytes: number): number {
    const fit = this.#fit();
    return fit === undefined ? 0 : fit.meanBytes + lineBytes * (lines - fit.meanLines);
  }

  #isTold(fit: Fit | undefined): fit is Fit {
    if (fit === undefined || this.spreadLines < LEAST_SPREAD_LINES) return false;
    return fit.slope > 0 && fit.explained >= LEAST_FIT && fit.error <= MOST_ERROR * fit.slope;
  }

  /** Least squares. */
  #fit(): Fit | undefined {
    const samples = this.#samples;
    if (samples.length === 0) return undefined;
    let meanLines = 0;
    let meanBytes = 0;
    for (const { lines, bytes } of samples) {
      meanLines += lines / samples.length;
      meanBytes += bytes / samples.length;
    }
    let xx = 0;
    let xy = 0;
    let yy = 0;
    for (const { lines, bytes } of samples) {
      xx += (lines - meanLines) ** 2;
      xy += (lines - meanLines) * (bytes - meanBytes);
      yy += (bytes - meanBytes) ** 2;
    }
    return {
      slope: xx === 0 ? 0 : xy / xx,
      meanLines,
      meanBytes,
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
  for (const transport of Object.keys(KEPT_BYTES) as Transport[]) {
    lines += byTransport[transport];
    bytes += byTransport[transport] * KEPT_BYTES[transport];
  }
  return lines === 0 ? KEPT_BYTES.sse : bytes / lines;
}
