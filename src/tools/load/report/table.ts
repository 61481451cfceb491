/** The figures of a run for people at a terminal. */

import Table from 'cli-table3';
import { decimal, duration, percent, size } from '../../report/words.js';
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

/** Figures by name, without those that do not apply to this run. */
export function rowsOf(report: LoadReport): readonly Row[] {
  const { latencyMs, checkedClients, expected, published } = report;
  const counted = (published === 0 ? 0 : expected / published) - checkedClients;
  return [
    ['connected in', `${decimal(report.connectSeconds)} s`],
    ...(counted > 0 ? [['clients checked for every event', decimal(checkedClients)] as const] : []),
    ['published', decimal(report.published)],
    ['expected', decimal(report.expected)],
    ['delivered', decimal(report.delivered)],
    ['lost', decimal(report.lost)],
    ...(report.gapLost > 0
      ? [['lost, reported by the server', decimal(report.gapLost)] as const]
      : []),
    ['doubled', decimal(report.doubled)],
    ['out of order', decimal(report.outOfOrder)],
    ['gaps reported', decimal(report.gaps)],
    ['requests per client and minute', decimal(report.requestsPerClientMinute)],
    ['share of empty answers', percent(report.emptyShare)],
    ['bytes per client', decimal(report.bytesPerClient)],
    ...(['p50', 'p90', 'p99', 'p999', 'max'] as const).map((name): Row => {
      const ms = latencyMs[name];
      return [`latency ${name.replace('999', '99.9')}`, ms === null ? 'none' : `${decimal(ms)} ms`];
    }),
    ...herdRows(report),
    ...mixRows(report),
    ...serverRows(report),
    [
      report.clientProcesses.length === 1
        ? 'client, share of a core'
        : 'busiest client process, share of a core',
      percent(report.clientBusyShare),
    ],
  ];
}

function herdRows({ herd }: LoadReport): Row[] {
  if (herd === null) return [];
  const within = (seconds: number | null): string =>
    seconds === null ? 'not by the end' : duration(seconds * 1000);
  return [
    [`herd of ${decimal(herd.clients)}, all back in`, within(herd.backSeconds)],
    ['herd, all back with everything they were owed', within(herd.caughtUpSeconds)],
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
            'stalled clients, of which cut off',
            `${decimal(stalled.clients)}, ${decimal(stalled.cutOff)}`,
          ] as const,
        ]),
    ...(slow.clients === 0
      ? []
      : [
          [
            'slow clients, of which cut off',
            `${decimal(slow.clients)}, ${decimal(slow.cutOff)}`,
          ] as const,
          [
            'slow clients, events and gaps',
            `${decimal(slow.delivered)}, ${decimal(slow.gaps)}`,
          ] as const,
        ]),
    ...(reconnects.sharePerMinute === 0
      ? []
      : [
          [
            'times clients came back, further tries',
            `${decimal(reconnects.returns)}, ${decimal(reconnects.refusedReturns)}`,
          ] as const,
        ]),
  ];
}

function serverRows({ server }: LoadReport): Row[] {
  if (server === null) return [];
  return [
    [
      'server memory, before and at most',
      `${size(server.rssBytesBefore)}, ${size(server.rssBytesMost)}`,
    ],
    ...(server.cpuShare === null
      ? []
      : [['server, share of a core', percent(server.cpuShare)] as const]),
    ...(server.tcpBytesMost === null
      ? []
      : [['TCP buffers of this machine, at most', size(server.tcpBytesMost)] as const]),
  ];
}
