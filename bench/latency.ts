/** The latencies of a result, from a histogram of the load tool. */
import type { Histogram } from 'hdr-histogram-js';
import { createHistogram, recordUs } from '../dist/tools/load/books/histogram.js';

/** Milliseconds; NaN, which JSON writes as null, where nothing was recorded. */
export interface Latency {
  p50: number;
  p90: number;
  p99: number;
  p999: number;
  max: number;
  mean: number;
  samples: number;
}

export function latencyIn(histogramUs: Histogram): Latency {
  const samples = histogramUs.totalCount;
  const ms = (us: number): number => (samples === 0 ? Number.NaN : us / 1000);
  const at = (percentile: number): number => ms(histogramUs.getValueAtPercentile(percentile));
  return {
    p50: at(50),
    p90: at(90),
    p99: at(99),
    p999: at(99.9),
    max: at(100),
    mean: ms(histogramUs.mean),
    samples,
  };
}

/** The latency of a few values, µs. */
export function latencyOf(valuesUs: readonly number[]): Latency {
  const histogram = createHistogram();
  for (const us of valuesUs) recordUs(histogram, us);
  return latencyIn(histogram);
}
