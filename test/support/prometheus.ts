/**
 * A strict reader of Prometheus' text format, version 0.0.4
 * (prometheus.io/docs/instrumenting/exposition_formats), by its own grammar: HELP, TYPE, then the
 * samples of each metric together; anything else throws.
 */

/** A metric with its samples. */
export interface Metric {
  readonly help: string;
  readonly type: string;
  /**
   * Values by labels as they are written, '' for none; those of a histogram behind their suffix,
   * such as `_bucket{le="1"}` or `_sum`.
   */
  readonly samples: ReadonlyMap<string, number>;
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const LABEL = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\[\\\\"n])*"';
const VALUE = '[+-]?(?:\\d+(?:\\.\\d*)?(?:e[+-]?\\d+)?|Inf)|NaN';
const HELP_LINE = new RegExp(`^# HELP (${NAME}) (\\S.*)$`);
const TYPE_LINE = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram)$`);
const SAMPLE_LINE = new RegExp(`^(${NAME})(?:\\{((?:${LABEL},)*${LABEL})\\})? (${VALUE})$`);

/** Metrics by name. */
export function readMetrics(text: string): Map<string, Metric> {
  if (!text.endsWith('\n')) throw new Error('the last line has no line feed');
  const metrics = new Map<string, { help: string; type: string; samples: Map<string, number> }>();
  let name = '';
  for (const line of text.slice(0, -1).split('\n')) {
    if (line === '') continue;
    const [, helped, help = ''] = HELP_LINE.exec(line) ?? [];
    const [, typed, type = ''] = TYPE_LINE.exec(line) ?? [];
    const [, sampled, labels = '', value] = SAMPLE_LINE.exec(line) ?? [];
    if (helped !== undefined) {
      if (metrics.has(helped)) throw new Error(`HELP twice: ${line}`);
      name = helped;
      metrics.set(name, { help, type: '', samples: new Map() });
    } else if (typed !== undefined) {
      const metric = metrics.get(typed);
      if (typed !== name || metric?.type !== '' || metric.samples.size > 0)
        throw new Error(`TYPE out of place: ${line}`);
      metric.type = type;
    } else if (sampled !== undefined) {
      const metric = metrics.get(name);
      const suffix =
        metric?.type === 'histogram' ? /_(?:bucket|sum|count)$/.exec(sampled)?.[0] : '';
      if (metric === undefined || metric.type === '' || sampled !== `${name}${suffix}`)
        throw new Error(`a sample out of place: ${line}`);
      const key = suffix === '' || labels === '' ? `${suffix}${labels}` : `${suffix}{${labels}}`;
      if (metric.samples.has(key)) throw new Error(`a sample twice: ${line}`);
      if (metric.type === 'counter' && !sampled.endsWith('_total'))
        throw new Error(`a counter without _total: ${line}`);
      metric.samples.set(key, value === '+Inf' ? Infinity : Number(value));
    } else {
      throw new Error(`not a line of metrics: ${JSON.stringify(line)}`);
    }
  }
  return metrics;
}
