/** Histograms of times, and their way from one process to another. */

import {
  build,
  decodeFromCompressedBase64,
  encodeIntoCompressedBase64,
  initWebAssembly,
  type Histogram,
} from 'hdr-histogram-js';

/** The longest time that is recorded as it is, µs: an hour. */
const LONGEST_US = 3_600_000_000;

const COUNT_BITS = 32;

// 17 ns a value, against 140 ns in JavaScript.
await initWebAssembly();

/** A histogram of µs with that many significant digits. */
export function createHistogram(digits: 2 | 3 = 3): Histogram {
  return build({
    bitBucketSize: COUNT_BITS,
    lowestDiscernibleValue: 1,
    highestTrackableValue: LONGEST_US,
    autoResize: false,
    numberOfSignificantValueDigits: digits,
    useWebAssembly: true,
  });
}

/** Records a time, which may be a little below 0 where clocks were rounded. */
export function recordUs(histogram: Histogram, us: number): void {
  histogram.recordValue(Math.min(LONGEST_US, Math.max(1, Math.round(us))));
}

/** As text that every HdrHistogram can read. Takes about 1 ms. */
export function packHistogram(histogram: Histogram): string {
  return encodeIntoCompressedBase64(histogram);
}

/** Adds what {@link packHistogram} has packed. */
export function addPacked(histogram: Histogram, packed: string): void {
  const other = decodeFromCompressedBase64(packed, COUNT_BITS, true);
  histogram.add(other);
  // The garbage collector does not free what WebAssembly holds.
  other.destroy();
}

/** A percentile in ms; null where nothing was recorded. */
export function percentileMs(histogramUs: Histogram, percentile: number): number | null {
  return histogramUs.totalCount === 0 ? null : histogramUs.getValueAtPercentile(percentile) / 1000;
}
