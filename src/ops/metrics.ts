/**
 * `/-/metrics`: the metrics in the text format of Prometheus, version 0.0.4.
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */
import { Histogram } from '../core/histogram.js';
import { CHANNELS_IN_METRICS_MAX } from '../limits.js';
import type { HubFigures } from '../core/hub-figures.js';
import type { Memory } from './memory/memory.js';
import type { Figures, Labels, MetricRow, Samples } from './metric-row.js';
import type { Ops } from './ops.js';
import { PROCESS_METRICS } from './process-rows.js';
import { SERVER_METRICS } from './server-rows.js';

export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** All metrics by name. Names and labels stay, and so does what they mean. */
export const METRICS: Readonly<Record<string, MetricRow>> = {
  ...SERVER_METRICS,
  ...PROCESS_METRICS,
};

/** Where the figures of a scrape come from. */
export interface FigureSources {
  readonly ops: Pick<Ops, 'logTimes' | 'process' | 'stats'>;
  readonly memory: Pick<Memory, 'reportAtOnce'>;
  readonly hub: Pick<
    HubFigures,
    'deliveryTimes' | 'lineLag' | 'compressedLines' | 'busiestChannels' | 'channelsNamed'
  >;
}

/**
 * The figures of this moment, of these channels or of those with most lines. Walks all lines, and
 * without names all channels.
 */
export function figuresNow(
  { ops, memory, hub }: FigureSources,
  draining: boolean,
  names?: readonly string[],
): Figures {
  return {
    stats: ops.stats(draining),
    memory: memory.reportAtOnce(),
    process: ops.process.scrape(),
    deliveryTimes: hub.deliveryTimes,
    logTimes: ops.logTimes,
    lineLag: hub.lineLag(),
    compressedLines: hub.compressedLines(),
    channels:
      names === undefined ? hub.busiestChannels(CHANNELS_IN_METRICS_MAX) : hub.channelsNamed(names),
  };
}

/** All metrics with these figures. */
export function metricsText(figures: Figures): string {
  return Object.entries(METRICS)
    .map(([name, row]) => {
      const samples = labelled<number | Histogram>(row.read(figures));
      const lines = samples.map(([labels, value]) =>
        value instanceof Histogram
          ? histogramText(name, labels, value)
          : sampleText(name, labels, value),
      );
      return familyText(name, row, lines);
    })
    .join('\n');
}

/** A metric in Prometheus' text format, with the lines of its samples. */
export function familyText(
  name: string,
  { help, type }: { readonly help: string; readonly type: string },
  lines: readonly string[],
): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

function labelled<Value>(samples: Samples<Value>): readonly (readonly [Labels, Value])[] {
  if (samples === undefined) return [];
  return Array.isArray(samples) ? samples : [[{}, samples as Value]];
}

/** Each bucket holds all below it. */
function histogramText(name: string, labels: Labels, { bounds, counts, sum }: Histogram): string {
  let count = 0;
  const buckets = Array.from(counts, (own, bucket) => {
    count += own;
    const le = String(bounds[bucket] ?? '+Inf');
    return sampleText(`${name}_bucket`, { ...labels, le }, count);
  });
  return [
    ...buckets,
    sampleText(`${name}_sum`, labels, sum),
    sampleText(`${name}_count`, labels, count),
  ].join('');
}

function sampleText(name: string, labels: Labels, value: number): string {
  return `${name}${labelsText(labels)} ${value === Infinity ? '+Inf' : value}\n`;
}

/** A name of a channel is text of a client: what would end a label is escaped. */
function labelsText(labels: Labels): string {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${value.replaceAll(/["\\]/g, '\\$&').replaceAll('\n', '\\n')}"`,
  );
  return pairs.length === 0 ? '' : `{${pairs.join()}}`;
}
