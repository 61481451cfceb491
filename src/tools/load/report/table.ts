/** The figures of a run for people at a terminal. */

import Table from 'cli-table3';
import { count, decimal, duration, percent, size } from '../../report/words.js';
import type { LoadReport } from './report.js';

type Row = readonly [name: string, value: string];

/** The table, ending with a line feed. */
export function tableOf(report: LoadReport): string {
  const table = new Table({
    head: [headOf(report), ''],
    colAligns: ['left', 'right'],
    style: { head: [], border: [], compact: true },
  });
  table.push(...rowsOf(report).map((row) => [...row]));
  return `${table.toString()}\n`;
}

/** What was run, in one sentence. */
export function headOf({ transport, connections, ratePerSecond, sizeBytes }: LoadReport): string {
  return `${transport}, ${decimal(connections)} clients, ${decimal(ratePerSecond)} events/s of ${decimal(sizeBytes)} B`;
}

const LATENCY_WORDS: Readonly<Record<string, string>> = { p999: 'p99.9', max: 'maximum' };

/** Figures by name, without those that do not apply to this run. */
export function rowsOf(report: LoadReport): readonly Row[] {
  const { latencyMs, checkedClients, expected, published } = report;
  const counted = (published === 0 ? 0 : expected / published) - checkedClients;
  return [
    ['connected in', `${decimal(report.connectSeconds)} s`],
    ...(counted > 0 ? [['clients checked for every event', decimal(checkedClients)] as const] : []),
    ['events published', decimal(report.published)],
    ['deliveries expected', decimal(report.expected)],
    ['delivered', decimal(report.delivered)],
    ['lost', decimal(report.lost)],
    ...(report.gapLost > 0
      ? [['lost, reported in gap notices', decimal(report.gapLost)] as const]
      : []),
    ['duplicated', decimal(report.doubled)],
    ['out of order', decimal(report.outOfOrder)],
    ['gap notices', decimal(report.gaps)],
    ['requests per client and minute', decimal(report.requestsPerClientMinute)],
    ...(report.transport.endsWith('poll')
      ? [['polls answered without an event', percent(report.emptyShare)] as const]
      : []),
    ['received per client', size(report.bytesPerClient)],
    ...compressionRows(report),
    ...(['p50', 'p90', 'p99', 'p999', 'max'] as const).map((name): Row => {
      const ms = latencyMs[name];
      return [`latency ${LATENCY_WORDS[name] ?? name}`, ms === null ? 'none' : `${decimal(ms)} ms`];
    }),
    ...herdRows(report),
    ...mixRows(report),
    ...serverRows(report),
    [
      report.clientProcesses.length === 1 ? 'load client CPU' : 'load client CPU, busiest process',
      `${percent(report.clientBusyShare)} of a core`,
    ],
  ];
}

function compressionRows({ compression }: LoadReport): Row[] {
  if (compression === null) return [];
  const { lines, wireBytes, plainBytes, ratio, blocks, inflatedBlocks } = compression;
  return [
    ['clients answered in gzip', decimal(lines)],
    [
      'received in all, and without gzip',
      `${size(wireBytes)}, ${size(plainBytes)}${ratio === null ? '' : ` (${decimal(ratio)} times)`}`,
    ],
    ...(blocks === 0
      ? []
      : [
          [
            'inflated for unchecked clients',
            `${decimal(inflatedBlocks)} of ${count(blocks, 'block', 'blocks')}`,
          ] as const,
        ]),
  ];
}

function herdRows({ herd }: LoadReport): Row[] {
  if (herd === null) return [];
  const within = (seconds: number | null): string =>
    seconds === null ? 'not by the end' : duration(seconds * 1000);
  return [
    [`herd of ${decimal(herd.clients)} reconnected within`, within(herd.backSeconds)],
    ['herd had received all it missed within', within(herd.caughtUpSeconds)],
  ];
}

function mixRows({ mix }: LoadReport): Row[] {
  if (mix === null) return [];
  const { stalled, slow, reconnects } = mix;
  return [
    ...(stalled.clients === 0
      ? []
      : [
          [
            'stalled clients',
            `${decimal(stalled.clients)}, ${decimal(stalled.cutOff)} disconnected`,
          ] as const,
        ]),
    ...(slow.clients === 0
      ? []
      : [
          [
            'slow clients',
            `${decimal(slow.clients)}, ${decimal(slow.cutOff)} disconnected`,
          ] as const,
          [
            'received by slow clients',
            `${count(slow.delivered, 'event', 'events')}, ` +
              count(slow.gaps, 'gap notice', 'gap notices'),
          ] as const,
        ]),
    ...(reconnects.sharePerMinute === 0
      ? []
      : [
          [
            'reconnections',
            `${decimal(reconnects.returns)}, ` +
              `${count(reconnects.refusedReturns, 'attempt', 'attempts')} repeated`,
          ] as const,
        ]),
  ];
}

function serverRows({ server }: LoadReport): Row[] {
  if (server === null) return [];
  return [
    [
      'server memory before, and peak',
      `${size(server.rssBytesBefore)}, ${size(server.rssBytesMost)}`,
    ],
    ...(server.cpuShare === null
      ? []
      : [['server CPU', `${percent(server.cpuShare)} of a core`] as const]),
    ...(server.tcpBytesMost === null
      ? []
      : [['TCP buffers of this machine, peak', size(server.tcpBytesMost)] as const]),
  ];
}
