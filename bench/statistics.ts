/**
 * The few statistics the bench reports: percentiles of a histogram, medians of rounds, a
 * least-squares line.
 */
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

export interface Regression {
  slope: number;
  intercept: number;
  /** Share of the variance the line explains; a slope is worth its r². */
  rSquared: number;
  /** Standard error of the slope, in its unit. */
  slopeError: number;
}

export function leastSquares(points: readonly { x: number; y: number }[]): Regression {
  const count = points.length;
  const meanX = points.reduce((sum, point) => sum + point.x, 0) / count;
  const meanY = points.reduce((sum, point) => sum + point.y, 0) / count;
  let xx = 0;
  let xy = 0;
  let yy = 0;
  for (const { x, y } of points) {
    xx += (x - meanX) ** 2;
    xy += (x - meanX) * (y - meanY);
    yy += (y - meanY) ** 2;
  }
  const slope = xy / xx;
  const residual = Math.max(0, yy - slope * xy);
  return {
    slope,
    intercept: meanY - slope * meanX,
    rSquared: yy === 0 ? 1 : 1 - residual / yy,
    slopeError: count > 2 ? Math.sqrt(residual / (count - 2) / xx) : Number.NaN,
  };
}
