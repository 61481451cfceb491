/** The tables of one server: memory, accepts, heartbeats and publishes. */
import type { AcceptFigures, AcceptParameters } from '../../bench/accept.js';
import type { DrainFigures, DrainParameters } from '../../bench/drain.js';
import { type HeapFigures, type HeapParameters, heapRows } from '../../bench/heap.js';
import type { IdleFigures, IdleParameters } from '../../bench/idle.js';
import type { MemoryFigures, MemoryParameters } from '../../bench/memory.js';
import type { PublishFigures, PublishParameters } from '../../bench/publish.js';
import { type Result, readResult } from '../../bench/results.js';
import type { TlsFigures, TlsParameters } from '../../bench/tls.js';
import { fixed, ms, percent, short } from '../../bench/table.js';
import { TARGET_TITLES, type TargetName } from '../../bench/targets.js';
import { isDiscarded, keptCell, keptRounds } from './kept-rounds.js';
import { NOT_MEASURED, cell, notMeasured, table, withCaption } from './markdown.js';

const MEMORY_TITLES: [target: TargetName, title: string][] = [
  ['holdline', 'Holdline, a line of SSE'],
  ['holdline-gzip', 'Holdline, a compressed line of SSE'],
  ['holdline-ws', 'Holdline, a WebSocket'],
  ['holdline-poll', 'Holdline, a poll that waits'],
  ['raw-uws', 'raw uWebSockets.js, a stream'],
  ['raw-uws-ws', 'raw uWebSockets.js, a WebSocket'],
  ['raw-uws-poll', 'raw uWebSockets.js, a request that waits'],
  ['node-http', 'node:http, a stream'],
  ['better-sse', 'better-sse, a stream'],
];

export function memoryTable(): string {
  const result = readResult('memory') as
    | Result<MemoryParameters, unknown, MemoryFigures[]>
    | undefined;
  const head = ['', 'RSS each', 'of it V8 heap', 'r²', 'RSS of the process without'];
  const find = (target: TargetName): MemoryFigures | undefined =>
    result?.summary.find((entry) => entry.target === target);
  // A row for what was measured, and for Holdline in any case.
  const shown = MEMORY_TITLES.filter(
    ([target]) => target.startsWith('holdline') || find(target) !== undefined,
  );
  const rows = shown.map(([target, title]) => {
    const figures = find(target);
    return [
      title,
      cell(figures, ({ rssBytesPerLine }) => `${fixed(rssBytesPerLine, 0)} B`),
      cell(figures, ({ heapBytesPerLine }) => `${fixed(heapBytesPerLine, 0)} B`),
      cell(figures, ({ rSquared }) => fixed(rSquared, 4)),
      cell(
        figures,
        ({ rssWithoutLinesBytes }) => `${fixed(rssWithoutLinesBytes / 2 ** 20, 0)} MiB`,
      ),
    ];
  });
  return withCaption(table(head, rows), result);
}

export function heapTable(): string {
  const result = readResult('heap') as Result<HeapParameters, unknown, HeapFigures> | undefined;
  if (result === undefined) return `${NOT_MEASURED} yet: \`npm run bench -- heap\``;
  const rows = heapRows(result.summary).map(({ what, bytesPerLine, count: objects, isPart }) => [
    isPart === true ? `&emsp;\`${what}\`` : what,
    bytesPerLine === undefined ? '–' : `${fixed(bytesPerLine, 0)} B`,
    objects === undefined ? '' : fixed(objects, 2),
  ]);
  return withCaption(table(['', 'a line', 'objects a line'], rows), result);
}

export function acceptTable(): string {
  const result = readResult('accept') as
    | Result<AcceptParameters, unknown, AcceptFigures[]>
    | undefined;
  const lines = result === undefined ? '15,000' : short(result.parameters.lines);
  const head = [
    '',
    '',
    `first connect → last of ${lines} lines`,
    'lines/s',
    'server CPU µs a line',
    'rounds kept',
  ];
  const rows = (result?.summary ?? []).map((figures) => [
    TARGET_TITLES[figures.target],
    figures.variant,
    isDiscarded(figures) ? `at most ${ms(figures.elapsedMsAtMost)}` : ms(figures.elapsedMs),
    short(figures.linesPerSecond),
    fixed(figures.serverCpuUsPerLine, 0),
    keptRounds(figures),
  ]);
  return withCaption(
    table(head, rows.length > 0 ? rows : [notMeasured('Holdline', head.length)]),
    result,
  );
}

export function drainTable(): string {
  const result = readResult('drain') as Result<DrainParameters, unknown, DrainFigures> | undefined;
  const head = ['lines', '`--drain`', 'largest distance from the straight line', 'last line after'];
  const row = [
    cell(result, ({ parameters }) => short(parameters.lines)),
    cell(result, ({ parameters }) => ms(parameters.drainMs)),
    cell(result, ({ summary }) => percent(summary.largestDistance)),
    cell(result, ({ summary }) => ms(summary.lastLineMs)),
  ];
  return withCaption(table(head, [row]), result);
}

export function tlsTable(): string {
  const result = readResult('tls') as Result<TlsParameters, unknown, TlsFigures[]> | undefined;
  const head = ['an idle line', 'RSS', 'server CPU to open it'];
  const rows = (result?.summary ?? []).map(({ isTls, bytesPerLine, cpuMsPerLine }) => [
    isTls ? 'TLS' : 'plain',
    `${short(bytesPerLine)} B`,
    `${fixed(cpuMsPerLine, 2)} ms`,
  ]);
  return withCaption(
    table(head, rows.length > 0 ? rows : [notMeasured('TLS', head.length)]),
    result,
  );
}

export function idleTable(): string {
  const result = readResult('idle') as Result<IdleParameters, unknown, IdleFigures[]> | undefined;
  const head = ['', 'of a core', 'heartbeats a line', 'CPU µs a heartbeat'];
  const figures = result?.summary[0];
  const row = [
    TARGET_TITLES.holdline,
    cell(figures, ({ cpuShare }) => percent(cpuShare)),
    cell(
      figures,
      ({ heartbeatsPerLine }) =>
        `${fixed(heartbeatsPerLine, 2)} in ${result?.parameters.windowSeconds} s`,
    ),
    cell(figures, ({ cpuUsPerHeartbeat }) => fixed(cpuUsPerHeartbeat, 1)),
  ];
  return withCaption(table(head, [row]), result);
}

export function publishTable(): string {
  const result = readResult('publish') as
    | Result<PublishParameters, unknown, PublishFigures[]>
    | undefined;
  const head = ['', '', 'requests/s', 'events/s', 'server core', 'client core', 'rounds kept'];
  const rows = (result?.summary ?? []).map((figures) =>
    figures.notBorne === undefined
      ? [
          TARGET_TITLES[figures.target],
          figures.mode,
          keptCell(figures, ({ requestsPerSecond }) => short(requestsPerSecond)),
          short(figures.eventsPerSecond),
          percent(figures.serverCpuShare),
          percent(figures.clientCpuShare),
          keptRounds(figures),
        ]
      : [TARGET_TITLES[figures.target], figures.mode, 'not borne', 'not borne', '–', '–', '–'],
  );
  return withCaption(
    table(head, rows.length > 0 ? rows : [notMeasured('Holdline', head.length)]),
    result,
  );
}
