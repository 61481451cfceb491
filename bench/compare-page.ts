/** The comparison as a page: latency as a plot, and everything as a table. */
import { htmlDocument, note, table } from '../src/tools/report/page.js';
import { plot } from '../src/tools/report/plot.js';
import { count, decimal } from '../src/tools/report/words.js';
import {
  type CompareFigures,
  type CompareParameters,
  comparisonTable,
  transportTitle,
} from './comparison.js';
import type { Machine } from './machine.js';

const PERCENTILES = [50, 99, 99.9];

/** The page as text. */
export function comparisonPage(
  parameters: CompareParameters,
  summary: readonly CompareFigures[],
  remarks: readonly string[],
  machine: Machine,
): string {
  const { connections, ratePerSecond, seconds, eventBytes } = parameters;
  const { head, rows } = comparisonTable(summary, parameters);
  const [names, ...transports] = head;
  return htmlDocument({
    title: 'The same events by each transport',
    subtitle:
      `${decimal(connections)} clients, ${count(ratePerSecond, 'event', 'events')}/s ` +
      `of ${decimal(eventBytes)} bytes for ${decimal(seconds)} s, one server process on one core`,
    sections: [
      {
        title: 'Latency',
        intro: 'From the moment an event was due until a client had it.',
        blocks: [
          plot({
            title: 'Latency by percentile',
            x: { label: 'percentile', quantity: 'count', spread: 'percentile' },
            y: { label: 'latency', quantity: 'ms', spread: 'log' },
            xs: PERCENTILES,
            series: summary.map(({ way, p50Ms, p99Ms, p999Ms }) => ({
              label: transportTitle(way, parameters),
              values: [p50Ms, p99Ms, p999Ms],
            })),
            wide: true,
          }),
        ],
      },
      {
        title: 'All figures',
        blocks: [
          table({ columns: [names!, ...transports.map((right) => ({ right }))], rows }),
          ...remarks.map((remark) => note(remark)),
        ],
      },
    ],
    footer:
      `${machine.cpu}, Linux ${machine.kernel}, Node ${machine.node}, ${machine.uWebSockets}, ` +
      `commit ${machine.commit}${machine.dirty ? ' with changes' : ''}`,
  });
}
