/** What a run came to, as JSON, as a table and in words, and how it stands while it runs. */

import { SingleBar } from 'cli-progress';
import Table from 'cli-table3';
import type { Histogram } from 'hdr-histogram-js';
import type { LoadSettings, Transport } from './options.js';
import type { Outcome, Run } from './run.js';

/** How often the bar moves, and how often a line is written where there is no terminal. */
const BAR_MS = 200;
const LINE_MS = 5_000;

/** The figures, as `--json` prints them. */
export interface Report {
  readonly transport: Transport;
  readonly url: string;
  readonly connections: number;
  readonly ratePerSecond: number;
  readonly sizeBytes: number;
  /** How long events were published. */
  readonly durationSeconds: number;
  /** Null where clients do not poll on a clock. */
  readonly pollIntervalSeconds: number | null;
  /** From the first connect until all clients had subscribed. */
  readonly connectSeconds: number;
  /** Events that the server took. */
  readonly published: number;
  /** Each published event to each client. */
  readonly expected: number;
  /** Those that came, each counted once. */
  readonly delivered: number;
  readonly lost: number;
  readonly doubled: number;
  readonly outOfOrder: number;
  /** Gaps that the server told clients of. */
  readonly gaps: number;
  /** Requests of all clients from the first event on; those by which they subscribed came before. */
  readonly requests: number;
  readonly requestsPerClientMinute: number;
  /** Answers to polls without an event, and their share of all answers. */
  readonly emptyAnswers: number;
  readonly emptyShare: number;
  /** What clients received from the first event on, heads and framing included. */
  readonly bytesReceived: number;
  readonly bytesPerClient: number;
  /** From the moment an event was due until a client had it. Null where nothing came. */
  readonly latencyMs: Readonly<Record<'p50' | 'p90' | 'p99' | 'p999' | 'max', number | null>>;
  /** Processor time of this process while events were published, and the share of a core that is. */
  readonly clientCpuSeconds: number;
  readonly clientBusyShare: number;
  /** True when the figures tell more about this client than about the server. */
  readonly clientLimited: boolean;
  /** ISO 8601. */
  readonly startedAt: string;
}

/** The figures of a run. */
export function reportOf(settings: LoadSettings, outcome: Outcome): Report {
  const { ledger, tally } = outcome;
  const { connections } = settings;
  return {
    transport: settings.transport,
    url: settings.url,
    connections,
    ratePerSecond: settings.ratePerSecond,
    sizeBytes: settings.sizeBytes,
    durationSeconds: outcome.wasStopped ? rounded(outcome.publishSeconds) : settings.durationMs / 1000,
    pollIntervalSeconds: settings.transport === 'short-poll' ? settings.pollIntervalMs / 1000 : null,
    connectSeconds: rounded(outcome.connectSeconds),
    published: ledger.published,
    expected: ledger.expected,
    delivered: ledger.delivered,
    lost: ledger.expected - ledger.delivered,
    doubled: ledger.doubled,
    outOfOrder: ledger.outOfOrder,
    gaps: ledger.gaps,
    requests: tally.requests,
    requestsPerClientMinute: rounded((tally.requests / connections / outcome.measuredSeconds) * 60),
    emptyAnswers: tally.emptyAnswers,
    emptyShare: tally.answers === 0 ? 0 : rounded(tally.emptyAnswers / tally.answers),
    bytesReceived: tally.bytes,
    bytesPerClient: Math.round(tally.bytes / connections),
    latencyMs: {
      p50: percentileMs(ledger.latencyUs, 50),
      p90: percentileMs(ledger.latencyUs, 90),
      p99: percentileMs(ledger.latencyUs, 99),
      p999: percentileMs(ledger.latencyUs, 99.9),
      max: percentileMs(ledger.latencyUs, 100),
    },
    clientCpuSeconds: rounded(outcome.cpuSeconds),
    clientBusyShare: rounded(outcome.busyShare),
    clientLimited: outcome.clientLimited,
    startedAt: outcome.startedAt.toISOString(),
  };
}

/** True when every event that was published came to every client once and in order, there was one, and the server stayed. */
export function isFlawless({ published, lost, doubled, outOfOrder }: Report, { gaveUp }: Outcome): boolean {
  return published > 0 && lost === 0 && doubled === 0 && outOfOrder === 0 && gaveUp === undefined;
}

/** What the figures alone do not tell, a sentence each. */
export function remarksOn(report: Report, { publisher, cutOff, tally, wasStopped, gaveUp }: Outcome): string[] {
  return [
    ...(wasStopped ? ['the run was ended early'] : []),
    ...(gaveUp === undefined ? [] : [`publishing ended early: ${gaveUp}`]),
    ...(report.published === 0 ? ['the server took no event'] : []),
    ...[...publisher.refusals].map(([reason, times]) => `${times} events were refused: ${reason}`),
    ...[...publisher.unanswered].map(
      ([reason, times]) => `${times} events may not have been published, their connection was lost: ${reason}`,
    ),
    ...(publisher.pending === 0 ? [] : [`${publisher.pending} events were not published, or not answered, by the end`]),
    ...(tally.refusedPolls === 0 ? [] : [`${tally.refusedPolls} polls were refused for now and asked again`]),
    ...[...cutOff].map(([reason, times]) => `${times} clients were cut off, and lost what came after: ${reason}`),
    ...(report.clientLimited
      ? [
          `this client was the bottleneck, the server may do better: it used ${percent(report.clientBusyShare)} of a core, ` +
            `and 1 % of its events left ${words(publisher.latenessUs.getValueAtPercentile(99) / 1000)} ms late or more`,
        ]
      : []),
  ];
}

/** The figures for people. */
export function tableOf(report: Report): string {
  const { latencyMs } = report;
  const table = new Table({
    head: [
      `${report.transport}, ${words(report.connections)} clients, ${words(report.ratePerSecond)} events/s of ${report.sizeBytes} B`,
      '',
    ],
    colAligns: ['left', 'right'],
    style: { head: [], border: [], compact: true },
  });
  table.push(
    ['connected in', `${words(report.connectSeconds)} s`],
    ['published', words(report.published)],
    ['expected', words(report.expected)],
    ['delivered', words(report.delivered)],
    ['lost', words(report.lost)],
    ['doubled', words(report.doubled)],
    ['out of order', words(report.outOfOrder)],
    ['gaps told', words(report.gaps)],
    ['requests per client and minute', words(report.requestsPerClientMinute)],
    ['share of empty answers', percent(report.emptyShare)],
    ['bytes per client', words(report.bytesPerClient)],
    ...(['p50', 'p90', 'p99', 'p999', 'max'] as const).map((name) => [
      `latency ${name.replace('999', '99.9')}`,
      latencyMs[name] === null ? 'none' : `${words(latencyMs[name])} ms`,
    ]),
    ['client, share of a core', percent(report.clientBusyShare)],
  );
  return `${table.toString()}\n`;
}

/** Shows on stderr how a run stands: a bar on a terminal, elsewhere a line every few seconds. What it returns ends that. */
export function showProgress(run: Run, connections: number, deliveries: number): () => void {
  const state = (): { value: number; total: number; phase: string; p99: string } => {
    const isConnecting = run.phase === 'connecting';
    return {
      value: isConnecting ? run.joined : run.ledger.delivered,
      total: isConnecting ? connections : deliveries,
      phase: run.phase,
      p99: words(percentileMs(run.ledger.latencyUs, 99) ?? 0),
    };
  };
  if (!process.stderr.isTTY) {
    const timer = setInterval(() => {
      const { value, total, phase, p99 } = state();
      process.stderr.write(`holdline: ${phase} ${words(value)}/${words(total)}, p99 ${p99} ms\n`);
    }, LINE_MS);
    return () => clearInterval(timer);
  }
  // Ctrl-C is the run's: it ends early and prints its table.
  const bar = new SingleBar({
    format: '{phase} [{bar}] {value}/{total}, p99 {p99} ms',
    stream: process.stderr,
    gracefulExit: false,
    clearOnComplete: true,
  });
  const show = (): void => {
    const { value, total, ...payload } = state();
    bar.setTotal(total);
    bar.update(value, payload);
  };
  const { value, total, ...payload } = state();
  bar.start(total, value, payload);
  const timer = setInterval(show, BAR_MS);
  return () => {
    clearInterval(timer);
    bar.stop();
  };
}

function percentileMs(histogramUs: Histogram, percentile: number): number | null {
  return histogramUs.totalCount === 0 ? null : histogramUs.getValueAtPercentile(percentile) / 1000;
}

/** To a thousandth. */
function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}

function words(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 3 });
}

function percent(share: number): string {
  return `${(share * 100).toLocaleString('en-US', { maximumFractionDigits: 1 })} %`;
}
