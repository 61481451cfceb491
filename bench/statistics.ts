/** The few statistics that the bench reports: percentiles of a histogram, and medians of rounds. */
import type { RecordableHistogram } from 'node:perf_hooks';

export interface Latency {
  p50: number;
  p90: number;
  p99: number;
  p999: number;
  max: number;
  mean: number;
  samples: number;
}

/**
 * A histogram of microseconds, in milliseconds; NaN, which JSON writes as null, where nothing was
 * recorded.
 */
export function latencyMs(histogramUs: RecordableHistogram): Latency {
  const samples = histogramUs.count;
  const at = (percentile: number): number =>
    samples === 0 ? Number.NaN : histogramUs.percentile(percentile) / 1000;
  return {
    p50: at(50),
    p90: at(90),
    p99: at(99),
    p999: at(99.9),
    max: samples === 0 ? Number.NaN : histogramUs.max / 1000,
    mean: samples === 0 ? Number.NaN : histogramUs.mean / 1000,
    samples,
  };
}

export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
