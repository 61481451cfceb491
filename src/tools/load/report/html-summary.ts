/** The beginning of the report: its verdict and its most important figures. */

import type { Figure, Tone } from '../../report/page.js';
import { decimal, duration, percent, rough, size } from '../../report/words.js';
import type { LoadReport } from './report.js';

/** The outcome in words. */
export function verdictOf(report: LoadReport): { readonly text: string; readonly tone: Tone } {
  const { flawless, clientLimited, published, connections, mix, latencyMs } = report;
  if (flawless) {
    const whom =
      mix === null || mix.stalled.clients + mix.slow.clients === 0
        ? `all ${decimal(connections)} clients`
        : 'every client that reads';
    const p99 =
      latencyMs.p99 === null
        ? ''
        : `, 99 % of the deliveries within ${duration(latencyMs.p99)} of their time`;
    const but = clientLimited
      ? ' But this client was the bottleneck: the server may be able to do more.'
      : '';
    return {
      text: `All ${decimal(published)} events came to ${whom} once and in order${p99}.${but}`,
      tone: clientLimited ? 'warning' : 'good',
    };
  }
  if (published === 0) return { text: 'The server accepted no event.', tone: 'bad' };
  const faults = [
    ...(report.lost > 0
      ? [`${decimal(report.lost)} were lost (${share(report.lost, report.expected)})`]
      : []),
    ...(report.gapLost > 0 ? [`${decimal(report.gapLost)} were lost, as the server reported`] : []),
    ...(report.doubled > 0 ? [`${decimal(report.doubled)} came twice`] : []),
    ...(report.outOfOrder > 0 ? [`${decimal(report.outOfOrder)} came out of order`] : []),
  ];
  const text =
    faults.length === 0
      ? 'The server was gone before the end; until then every event came once and in order.'
      : `Of ${decimal(report.expected)} deliveries ${faults.join(', ')}.`;
  return { text, tone: 'bad' };
}

/** Two digits, however small the share is: 12 of 45 million are 0.000027 %. */
function share(part: number, whole: number): string {
  return `${((part / whole) * 100).toLocaleString('en-US', { maximumSignificantDigits: 2 })} %`;
}

/** The figures at the top. */
export function figuresOf(report: LoadReport): Figure[] {
  const { latencyMs, delivered, expected, server, timeline } = report;
  const flawed = report.lost + report.gapLost + report.doubled + report.outOfOrder;
  const perSecond = deliveriesPerSecond(report);
  const most = Math.max(0, ...timeline.moments.map(({ deliveriesPerSecond: rate }) => rate ?? 0));
  return [
    {
      label: 'Delivered',
      value: decimal(delivered),
      detail: delivered === expected ? 'everything that was owed' : `of ${decimal(expected)}`,
      tone: delivered === expected ? 'good' : 'bad',
    },
    {
      label: 'Faults',
      value: decimal(flawed),
      detail:
        flawed === 0
          ? 'none lost, doubled or out of order'
          : `${decimal(report.lost + report.gapLost)} lost, ${decimal(report.doubled)} doubled, ${decimal(report.outOfOrder)} out of order`,
      tone: flawed === 0 ? 'good' : 'bad',
    },
    {
      label: 'Deliveries a second',
      value: rough(perSecond),
      detail: `at most ${rough(most)} in one`,
    },
    ...(latencyMs.p50 === null || latencyMs.p99 === null || latencyMs.max === null
      ? []
      : [
          {
            label: 'Latency, p50',
            value: duration(latencyMs.p50),
            detail: 'from when an event was due',
          },
          {
            label: 'Latency, p99',
            value: duration(latencyMs.p99),
            detail: `at most ${duration(latencyMs.max)}`,
          },
        ]),
    ...(server === null
      ? []
      : [
          {
            label: 'Server memory',
            value: size(server.rssBytesMost),
            detail: `${size(server.rssBytesBefore)} before clients came`,
          },
          ...(server.cpuShare === null
            ? []
            : [
                {
                  label: 'Server CPU',
                  value: percent(server.cpuShare),
                  detail: 'of a core, while publishing',
                },
              ]),
        ]),
    {
      label: 'Client CPU',
      value: percent(report.clientBusyShare),
      detail: report.clientLimited ? 'the client was the bottleneck' : 'of a core, busiest process',
      tone: report.clientLimited ? 'warning' : 'plain',
    },
  ];
}

/** Average over the spans in which events were published. */
function deliveriesPerSecond({ timeline, durationSeconds }: LoadReport): number {
  const publishing = timeline.moments.filter(
    ({ atSeconds }) => atSeconds > 0 && atSeconds < durationSeconds,
  );
  return (
    publishing.reduce((sum, moment) => sum + (moment.deliveriesPerSecond ?? 0), 0) /
    Math.max(1, publishing.length)
  );
}
