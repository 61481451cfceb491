/** A metric: its type, labels and meaning, and how it is read from the figures of a moment. */
import type { ChannelFigures } from '../core/channel-ranking.js';
import type { CompressedLines } from '../core/compressed-lines.js';
import type { LogTimes } from '../core/event-log.js';
import type { Histogram } from '../core/histogram.js';
import type { MemoryReport } from './memory/report.js';
import type { ProcessReport } from './process-figures.js';
import type { Stats } from './stats.js';

/** What one scrape is made of. */
export interface Figures {
  readonly stats: Stats;
  readonly memory: MemoryReport;
  readonly process: ProcessReport;
  /** Seconds. */
  readonly deliveryTimes: Histogram;
  /** Undefined where the log does not measure them. */
  readonly logTimes: LogTimes | undefined;
  /** Open lines by the events that they are behind. */
  readonly lineLag: Histogram;
  readonly compressedLines: CompressedLines;
  /** The channels with most lines, at most CHANNELS_IN_METRICS_MAX; over workers those of each. */
  readonly channels: readonly ChannelFigures[];
}

export type Labels = Readonly<Record<string, string>>;

/** A number, undefined where there is none, or one for each set of labels. */
export type Samples<Value> = Value | undefined | readonly (readonly [Labels, Value])[];

interface Row<Type, Value> {
  readonly type: Type;
  /** What it means; begins with a small letter, and has no full stop. */
  readonly help: string;
  /** Names of its labels. */
  readonly labels?: readonly string[];
  readonly read: (figures: Figures) => Samples<Value>;
}

/** A counter's name ends in `_total`. A histogram has a label `le` of its own. */
export type MetricRow = Row<'counter' | 'gauge', number> | Row<'histogram', Histogram>;
