/** The beginning of the report: its verdict and its most important figures. */

import type { Figure, Tone } from '../../report/page.js';
import { count, decimal, duration, percent, rough, size } from '../../report/words.js';
import type { LoadReport } from './report.js';

/** The outcome in words. */
export function verdictOf(report: LoadReport): { readonly text: string; readonly tone: Tone } {
  const { flawless, clientLimited, published, connections, mix, latencyMs } = report;
  if (flawless) {
    const whom =
      mix === null || mix.stalled.clients + mix.slow.clients === 0
        ? `all ${decimal(connections)} clients`
        : 'every client that reads normally';
    const p99 =
      latencyMs.p99 === null
        ? ''
        : `, 99 % of them within ${duration(latencyMs.p99)} of when they were due`;
    const doubt = clientLimited
      ? ' But this load client was the bottleneck: the server may be able to do more.'
      : isServerFull(report)
        ? ' But the server had no CPU time left: with more load, events will be late.'
        : '';
    return {
      text: `All ${decimal(published)} events reached ${whom} once and in order${p99}.${doubt}`,
      tone: doubt === '' ? 'good' : 'warning',
    };
  }
  if (published === 0) return { text: 'The server accepted no event.', tone: 'bad' };
  const faults = [
    ...(report.lost > 0
      ? [`${decimal(report.lost)} were lost (${share(report.lost, report.expected)})`]
      : []),
    ...(report.gapLost > 0
      ? [`${decimal(report.gapLost)} were lost and reported in gap notices`]
      : []),
    ...(report.doubled > 0 ? [`${decimal(report.doubled)} arrived twice`] : []),
    ...(report.outOfOrder > 0 ? [`${decimal(report.outOfOrder)} arrived out of order`] : []),
  ];
  if (faults.length > 0)
    return {
      text: `Of ${decimal(report.expected)} expected deliveries, ${faults.join(', ')}.`,
      tone: 'bad',
    };
  const { gaveUp, unknownClients } = report;
  if (gaveUp !== null)
    return {
      text: `Publishing ended before its time (${gaveUp}); until then every event arrived once and in order.`,
      tone: 'bad',
    };
  return {
    text:
      `What ${count(unknownClients, 'client', 'clients')} received is not known; ` +
      'to all others every event arrived once and in order.',
    tone: 'warning',
  };
}

/** From this share of a core for each process the server is at its limit. */
const FULL_SHARE = 0.95;

function isServerFull({ server }: LoadReport): boolean {
  return server !== null && (server.cpuShare ?? 0) >= FULL_SHARE * server.pids.length;
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
      detail:
        delivered === expected ? 'all that were expected' : `of ${decimal(expected)} expected`,
      tone: delivered === expected ? 'good' : 'bad',
    },
    {
      label: 'Faults',
      value: decimal(flawed),
      detail:
        flawed === 0
          ? 'none lost, duplicated or out of order'
          : `${decimal(report.lost + report.gapLost)} lost, ${decimal(report.doubled)} duplicated, ${decimal(report.outOfOrder)} out of order`,
      tone: flawed === 0 ? 'good' : 'bad',
    },
    {
      label: 'Deliveries per second',
      value: rough(perSecond),
      detail: `peak ${rough(most)}`,
    },
    ...(latencyMs.p50 === null || latencyMs.p99 === null || latencyMs.max === null
      ? []
      : [
          {
            label: 'Latency, p50',
            value: duration(latencyMs.p50),
            detail: 'counted from when an event was due',
          },
          {
            label: 'Latency, p99',
            value: duration(latencyMs.p99),
            detail: `maximum ${duration(latencyMs.max)}`,
          },
        ]),
    ...(server === null
      ? []
      : [
          {
            label: 'Server memory, peak',
            value: size(server.rssBytesMost),
            detail: `${size(server.rssBytesBefore)} before clients connected`,
          },
          ...(server.cpuShare === null
            ? []
            : [
                {
                  label: 'Server CPU',
                  value: percent(server.cpuShare),
                  detail: 'of a core, while publishing',
                  tone: isServerFull(report) ? ('warning' as const) : ('plain' as const),
                },
              ]),
        ]),
    {
      label: 'Client CPU',
      value: percent(report.clientBusyShare),
      detail: report.clientLimited
        ? 'the load client was the bottleneck'
        : 'of a core, busiest process',
      tone: report.clientLimited ? 'warning' : 'plain',
    },
  ];
}

/**
 * Average over the whole spans in which events were published, since the last one may have been
 * short; where there is none, over the time of publishing.
 */
function deliveriesPerSecond({ timeline, durationSeconds }: LoadReport): number {
  const { moments, spanSeconds } = timeline;
  const after = moments.filter(({ atSeconds }) => atSeconds > 0);
  const whole = after.filter(({ atSeconds }) => atSeconds + spanSeconds / 2 <= durationSeconds);
  const [first] = after;
  if (whole.length === 0)
    return first === undefined || durationSeconds === 0
      ? 0
      : (first.deliveriesPerSecond ?? 0) / durationSeconds;
  return whole.reduce((sum, moment) => sum + (moment.deliveriesPerSecond ?? 0), 0) / whole.length;
}
