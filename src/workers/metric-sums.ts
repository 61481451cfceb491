/**
 * Metrics of several workers as one text: counters and histograms add up, and so do gauges, but for
 * those that are the same for all or say how one of them is.
 */
import type { Histogram } from '../core/histogram.js';
import { GONE_CHANNELS_MAX } from '../limits.js';
import { familyText } from '../ops/metrics.js';
import { inMillionths, plus } from './sums.js';

interface Family {
  readonly help: string;
  readonly type: string;
  /** By name with labels. */
  readonly samples: Map<string, number>;
}

/** Gauges of which the largest counts; the limit of open files is one process's. */
const LARGEST =
  /^holdline_(?:info|uptime_seconds|draining|head_id|floor_id|lines_cap|channels|rings|channel_(?:held_events|events_total)|memory_(?:line|budget)_.*|kernel_.*|log_.*|workers.*)$|^process_(?:open|max)_fds$|^nodejs_eventloop_lag_.*$/;

/** Gauges of which the smallest counts. */
const SMALLEST = /^(?:holdline_log_up|process_start_time_seconds)$/;

/** A histogram that falls: the lines that are open, by how far they are behind. */
const LINE_LAG = 'holdline_line_lag_events';

/**
 * Families with a sample for each of some channels, and the one whose values say which are kept.
 */
const OF_CHANNELS = /^holdline_channel_/;
const LINES_OF_CHANNELS = 'holdline_channel_lines';

/** The sum of metrics in the text format, which all of them have as metricsText writes it. */
export function sumMetrics(texts: readonly string[], channelsMax = Infinity): string {
  const sums = new Map<string, Family>();
  for (const text of texts) {
    for (const [name, { help, type, samples }] of familiesOf(text)) {
      const sum = sums.get(name) ?? { help, type, samples: new Map<string, number>() };
      sums.set(name, sum);
      for (const [sample, value] of samples) {
        const before = sum.samples.get(sample);
        sum.samples.set(sample, before === undefined ? value : joined(name, type, before, value));
      }
    }
  }
  keepBusiest(sums, channelsMax);
  return textOf(sums);
}

/** Only what never falls: counters and histograms, but for {@link LINE_LAG}. */
export function countersOf(text: string): string {
  const families = [...familiesOf(text)];
  return textOf(
    new Map(families.filter(([name, { type }]) => type !== 'gauge' && name !== LINE_LAG)),
  );
}

/**
 * The counters of workers that have ended, with those of one more. Of channels the ones that were
 * told of last are kept.
 */
export function withGone(gone: string, ended: string): string {
  const families = familiesOf(sumMetrics([countersOf(ended), gone]));
  for (const [name, { samples }] of families) {
    if (!OF_CHANNELS.test(name)) continue;
    for (const sample of [...samples.keys()].slice(GONE_CHANNELS_MAX)) samples.delete(sample);
  }
  return textOf(families);
}

/** Counters that are not 0, to be added to those of workers, which have what they mean. */
export function counterMetrics(counters: object): string {
  return Object.entries(counters)
    .filter((one): one is [string, number] => typeof one[1] === 'number' && one[1] > 0)
    .map(([name, value]) => `# TYPE holdline_${name} counter\nholdline_${name} ${value}\n`)
    .join('\n');
}

/** The same of a histogram. */
export function histogramMetrics(name: string, { bounds, counts, sum }: Histogram): string {
  let count = 0;
  const buckets = Array.from(counts, (own, bucket) => {
    count += own;
    return `${name}_bucket{le="${bounds[bucket] ?? '+Inf'}"} ${count}\n`;
  });
  return `# TYPE ${name} histogram\n${buckets.join('')}${name}_sum ${sum}\n${name}_count ${count}\n`;
}

function joined(name: string, type: string, one: number, other: number): number {
  if (SMALLEST.test(name)) return Math.min(one, other);
  const isLargest = LARGEST.test(name) && (type === 'gauge' || OF_CHANNELS.test(name));
  return isLargest ? Math.max(one, other) : plus(one, other);
}

function familiesOf(text: string): Map<string, Family> {
  const families = new Map<string, Family>();
  let family: Family | undefined;
  let help = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('# HELP ')) {
      help = line.slice(line.indexOf(' ', 7) + 1);
    } else if (line.startsWith('# TYPE ')) {
      const [name, type] = line.slice(7).split(' ') as [string, string];
      family = { help, type, samples: new Map() };
      families.set(name, family);
    } else if (line !== '') {
      const blank = line.lastIndexOf(' ');
      family?.samples.set(
        line.slice(0, blank),
        inMillionths(Number(line.slice(blank + 1).replace('+Inf', 'Infinity'))),
      );
    }
  }
  return families;
}

function textOf(families: ReadonlyMap<string, Family>): string {
  return [...families]
    .map(([name, family]) => {
      const lines = [...family.samples].map(
        ([sample, value]) => `${sample} ${value === Infinity ? '+Inf' : value}\n`,
      );
      return familyText(name, family, lines);
    })
    .join('\n');
}

/**
 * Workers tell of the busiest channels of each. One that has no lines any more is not told of, like
 * one that only workers had that have ended.
 */
function keepBusiest(families: ReadonlyMap<string, Family>, channelsMax: number): void {
  const lines = families.get(LINES_OF_CHANNELS)?.samples;
  if (lines === undefined) return;
  const kept = new Set(
    [...lines]
      .filter(([, count]) => count > 0)
      .sort(([, one], [, other]) => other - one)
      .slice(0, channelsMax)
      .map(([sample]) => labelsOf(sample)),
  );
  for (const [name, { samples }] of families) {
    if (!OF_CHANNELS.test(name)) continue;
    for (const sample of samples.keys()) if (!kept.has(labelsOf(sample))) samples.delete(sample);
  }
}

function labelsOf(sample: string): string {
  return sample.slice(sample.indexOf('{'));
}
