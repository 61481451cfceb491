/**
 * Fills the blocks between `<!-- figures:NAME -->` and `<!-- /figures -->` in the documents with
 * figures from bench/results. With --check it only compares.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { AcceptFigures, AcceptParameters } from '../bench/accept.js';
import {
  type AlternativesFigures,
  type AlternativesParameters,
  alternativeTitle,
} from '../bench/alternatives.js';
import {
  type CompareFigures,
  type CompareParameters,
  comparisonTable,
  transportTitle,
} from '../bench/comparison.js';
import type { FanOutParameters } from '../bench/fan-out.js';
import type {
  FanOutFailure,
  FanOutFigures,
  FanOutRatio,
  FanOutSummary,
} from '../bench/fan-out-figures.js';
import { type HeapFigures, type HeapParameters, heapRows } from '../bench/heap.js';
import type { IdleFigures, IdleParameters } from '../bench/idle.js';
import { type KnobsFigures, type KnobsParameters, figureText } from '../bench/knobs.js';
import type { LongPollFigures, LongPollParameters } from '../bench/long-poll.js';
import type { MemoryFigures, MemoryParameters } from '../bench/memory.js';
import type { MicroFigures, MicroParameters } from '../bench/micro.js';
import type { PlanParameters, PlanRound, PlanSummary, Prediction } from '../bench/plan-check.js';
import type { PublishFigures, PublishParameters } from '../bench/publish.js';
import { type Result, readResult } from '../bench/results.js';
import type { ShortPollFigures, ShortPollParameters } from '../bench/short-poll.js';
import { type Figure, fixed, ms, nanoseconds, percent, short } from '../bench/table.js';
import { RIVALS, TARGETS, TARGET_TITLES, type TargetName } from '../bench/targets.js';
import { roundsLeft } from '../bench/verdict.js';

const FILES = ['README.md', 'bench/README.md', 'bench/APPROACHES.md'];
const ROOT = new URL('..', import.meta.url);
const BLOCK = /(<!-- figures:([\w-]+) -->\n)[\s\S]*?(<!-- \/figures -->)/g;

const NOT_MEASURED = 'not measured';
const DISCARDED = 'discarded';
const MEMORY_TITLES: [target: TargetName, title: string][] = [
  ['holdline', 'Holdline, a line of SSE'],
  ['holdline-ws', 'Holdline, a WebSocket'],
  ['holdline-poll', 'Holdline, a poll that waits'],
  ['raw-uws', 'raw uWebSockets.js, a stream'],
  ['raw-uws-ws', 'raw uWebSockets.js, a WebSocket'],
  ['raw-uws-poll', 'raw uWebSockets.js, a request that waits'],
  ['node-http', 'node:http, a stream'],
  ['better-sse', 'better-sse, a stream'],
];
/** Tables always have a row for these, for rivals only where they were measured. */
const ALWAYS_SHOWN: ReadonlySet<TargetName> = new Set([
  'holdline',
  'holdline-ws',
  'raw-uws',
  'send-loop',
]);

/** Share of a core for idle clients. The other half is for events. */
const QUIET_CORE_SHARE = 0.5;
const QUIET_POLL_SECONDS = [2, 10, 60];

const blocks: Record<string, () => string> = {
  'fan-out': fanOutTable,
  'fan-out-ratios': fanOutRatioTable,
  'fan-out-cost': fanOutCostTable,
  'fan-out-websocket': fanOutWebSocketTable,
  'long-poll': longPollTable,
  'short-poll': shortPollTable,
  compare: compareTable,
  quiet: quietTable,
  memory: memoryTable,
  accept: acceptTable,
  idle: idleTable,
  publish: publishTable,
  micro: microTable,
  plan: planTable,
  alternatives: alternativesTable,
  heap: heapTable,
  knobs: () => knobsTable(),
  'knobs-stalled': () => knobsTable(1),
};

const checkOnly = process.argv.includes('--check');
const outOfDate: string[] = [];
for (const name of FILES) {
  const file = fileURLToPath(new URL(name, ROOT));
  if (!existsSync(file)) continue;
  const text = readFileSync(file, 'utf8');
  const filled = text.replace(BLOCK, (_all, open: string, block: string, close: string) => {
    const draw = blocks[block];
    if (draw === undefined)
      throw new Error(
        `${name} asks for the figures "${block}"; there are ${Object.keys(blocks).join(', ')}`,
      );
    return `${open}${draw()}\n${close}`;
  });
  if (filled === text) continue;
  outOfDate.push(name);
  if (!checkOnly) writeFileSync(file, filled);
}
if (outOfDate.length === 0) console.log('the figures are up to date');
else
  console.log(
    `${outOfDate.join(', ')} ` +
      `${checkOnly ? 'has figures that are out of date: npm run figures' : 'filled'}`,
  );
process.exit(checkOnly && outOfDate.length > 0 ? 1 : 0);

// ── tables ───────────────────────────────────────────────────────────────────────────────────────

function fanOutTable(): string {
  const result = readResult('fan-out') as
    | Result<FanOutParameters, unknown, FanOutSummary>
    | undefined;
  const head = [
    ['', 'send buffer', '10 events/s', '', '100 events/s', '', '1000 events/s offered', '', ''],
    [
      '',
      '',
      'p50',
      'p99',
      'deliveries/s',
      'p99',
      'deliveries/s',
      'accepted/s',
      'accept → deliver p99',
    ],
  ];
  const rows = targetsShown(result).flatMap((target) => {
    const ofTarget = result?.summary.figures.filter((figures) => figures.target === target) ?? [];
    const counts =
      ofTarget.length === 0 ? [undefined] : [...new Set(ofTarget.map(({ lines }) => lines))];
    return counts.map((lines) => {
      const ofRow = ofTarget.filter((figures) => figures.lines === lines);
      const at = (ratePerSecond: number, draw: (figures: FanOutFigures) => string): string =>
        keptCell(
          ofRow.find((figures) => figures.ratePerSecond === ratePerSecond),
          draw,
          RIVALS.has(target) ? '–' : NOT_MEASURED,
        );
      return [
        fanOutTitle(target, ofRow[0], result),
        cell(ofRow[0]?.sendBuffer, (sendBuffer) => sendBuffer),
        at(10, (figures) => ms(figures.p50Ms)),
        at(10, (figures) => ms(figures.p99Ms)),
        at(100, (figures) => short(figures.deliveriesPerSecond)),
        at(100, (figures) => ms(figures.p99Ms)),
        at(1000, (figures) => short(figures.deliveriesPerSecond)),
        at(1000, (figures) => short(figures.acceptedPerSecond)),
        at(1000, (figures) => acceptToDeliver(figures)),
      ];
    });
  });
  if (result === undefined)
    return `${groupedTable(head, rows)}\n\n${NOT_MEASURED} yet: \`npm run bench -- fan-out\``;
  const { parameters, summary } = result;
  rows.push(...failureRows(summary.failures ?? []));
  const notes = [
    `${short(parameters.lines)} connections where no other number is given, ` +
      `${parameters.eventBytes}-byte events, one server process on ` +
      'one core; medians of ' +
      `${parameters.rates.map(({ rounds, ratePerSecond }) => `${rounds} rounds at ${ratePerSecond}/s`).join(', ')}, ` +
      `the servers in turn, rivals in one. Latency counts from the moment an event was due.`,
    ...discardedNote(summary.figures),
    ...(summary.failures ?? []).map(
      ({ target, ratePerSecond, lines, why }) =>
        `${TARGET_TITLES[target]} with ${short(lines)} lines at ${ratePerSecond}/s: ` +
        `${why.split('\n', 1)[0]}.`,
    ),
  ];
  if (summary.figures.some((figures) => figures.undelivered > 0)) {
    notes.push(
      '‡ accepted faster than delivered: events were still on their way ten seconds after the ' +
        'end, and are not in the percentile.',
    );
  }
  notes.push(caption(result));
  return `${groupedTable(head, rows)}\n\n<sub>${notes.join('<br>\n')}</sub>`;
}

/** A row for each rival that could not be measured with so many lines. A note says why. */
function failureRows(failures: readonly FanOutFailure[]): string[][] {
  const names = new Set(
    failures.map(({ target, lines }) => `${TARGET_TITLES[target]}, ${short(lines)} connections`),
  );
  return [...names].map((name) => {
    const at = (ratePerSecond: number, cells: number): string[] => {
      const hasFailed = failures.some(
        (failure) =>
          failure.ratePerSecond === ratePerSecond &&
          name === `${TARGET_TITLES[failure.target]}, ${short(failure.lines)} connections`,
      );
      return Array.from({ length: cells }, () => (hasFailed ? 'failed' : '–'));
    };
    return [name, '–', ...at(10, 2), ...at(100, 2), ...at(1000, 3)];
  });
}

/** The title, with the number of lines where a rival had fewer than the others. */
function fanOutTitle(
  target: TargetName,
  figures: FanOutFigures | undefined,
  result: Result<FanOutParameters, unknown, FanOutSummary> | undefined,
): string {
  const title = target === 'holdline' ? `**${TARGET_TITLES[target]}**` : TARGET_TITLES[target];
  if (figures === undefined || result === undefined || !(figures.lines < result.parameters.lines))
    return title;
  return `${title}, ${short(figures.lines)} connections`;
}

function fanOutRatioTable(): string {
  const result = readResult('fan-out') as
    | Result<FanOutParameters, unknown, FanOutSummary>
    | undefined;
  const head = ['at 10 events/s', 'p50', 'p99', 'rounds (p50)', 'rounds (p99)'];
  const rows = (['raw-uws', 'send-loop', 'raw-uws-ws'] as const).map((against) => {
    const ratio = ratioAgainst(result, against, 10);
    const ours = against === 'raw-uws-ws' ? 'holdline-ws' : 'holdline';
    return [
      `${TARGET_TITLES[ours]} ÷ ${TARGET_TITLES[against]}`,
      cell(ratio, ({ p50Median }) => `${fixed(p50Median, 2)} ×`),
      cell(ratio, ({ p99Median }) => `${fixed(p99Median, 2)} ×`),
      cell(ratio, ({ p50 }) => p50.map((value) => fixed(value, 2)).join(' · ')),
      cell(ratio, ({ p99 }) => p99.map((value) => fixed(value, 2)).join(' · ')),
    ];
  });
  return withCaption(table(head, rows), result);
}

/** The same server with WebSocket and with SSE, and the median ratio over the pairs of rounds. */
function fanOutWebSocketTable(): string {
  const result = readResult('fan-out') as
    | Result<FanOutParameters, unknown, FanOutSummary>
    | undefined;
  const head = ['', 'deliveries/s', 'writes/s', 'MB/s', 'p99', 'CPU µs a delivery'];
  const rows = [100, 1000].flatMap((ratePerSecond) => {
    const ratio = ratioAgainst(result, 'holdline', ratePerSecond);
    const absolute = (['holdline', 'holdline-ws'] as const).map((target) => {
      // Older results, without WebSocket, have no writes.
      const figures = result?.summary.ratios.some(({ of }) => of === 'holdline-ws')
        ? figuresAt(result, target, ratePerSecond)
        : undefined;
      return [
        `${target === 'holdline' ? 'SSE' : 'WebSocket'}, ${ratePerSecond} events/s`,
        cell(figures, ({ deliveriesPerSecond }) => short(deliveriesPerSecond)),
        cell(figures, ({ writesPerSecond }) => short(writesPerSecond)),
        cell(figures, ({ wireBytesPerSecond }) => fixed(wireBytesPerSecond / 1e6, 0)),
        cell(figures, ({ p99Ms }) => ms(p99Ms)),
        cell(figures, ({ serverCpuUsPerDelivery }) => fixed(serverCpuUsPerDelivery, 2)),
      ];
    });
    const times = (pick: (ratio: FanOutRatio) => Figure): string =>
      cell(ratio, (value) => `${fixed(pick(value), 2)} ×`);
    return [
      ...absolute,
      [
        `WebSocket ÷ SSE`,
        times(({ deliveriesMedian }) => deliveriesMedian),
        times(({ writesMedian }) => writesMedian),
        times(({ wireBytesMedian }) => wireBytesMedian),
        times(({ p99Median }) => p99Median),
        '',
      ],
    ];
  });
  return withCaption(table(head, rows), result);
}

function fanOutCostTable(): string {
  const result = readResult('fan-out') as
    | Result<FanOutParameters, unknown, FanOutSummary>
    | undefined;
  const head = [
    '',
    'events/s',
    'rounds kept',
    'server process',
    'CPU µs a delivery',
    'loop delay p99',
    'client core',
    'lost · doubled · out of order · gaps',
  ];
  const rows = (result?.summary.figures ?? []).map((figures) => [
    fanOutTitle(figures.target, figures, result).replaceAll('*', ''),
    String(figures.ratePerSecond),
    keptRounds(figures),
    percent(figures.serverCpuShare),
    fixed(figures.serverCpuUsPerDelivery, 2),
    figures.loopDelayP99Ms === null ? '–' : ms(figures.loopDelayP99Ms),
    percent(figures.clientCoreShare),
    `${figures.lost} · ${figures.doubled} · ${figures.outOfOrder} · ${figures.gapEvents}`,
  ]);
  return withCaption(
    table(head, rows.length > 0 ? rows : [notMeasured('Holdline', head.length)]),
    result,
  );
}

function memoryTable(): string {
  const result = readResult('memory') as
    | Result<MemoryParameters, unknown, MemoryFigures[]>
    | undefined;
  const head = ['', 'RSS each', 'of it V8 heap', 'r²', 'RSS of the process without'];
  const rows = MEMORY_TITLES.map(([target, title]) => {
    const figures = result?.summary.find((entry) => entry.target === target);
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

function acceptTable(): string {
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

function idleTable(): string {
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

function publishTable(): string {
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

/** What each mechanism delivers and costs, also relative to the first, which is Holdline's own. */
function alternativesTable(): string {
  const result = readResult('alternatives') as
    | Result<AlternativesParameters, unknown, AlternativesFigures[]>
    | undefined;
  if (result === undefined) return `${NOT_MEASURED} yet: \`npm run bench -- alternatives\``;
  const { parameters, summary } = result;
  const head = [
    'deliveries/s',
    'p99',
    'CPU µs a delivery',
    'writes/s',
    'in garbage collection',
    'V8 heap a line',
    'rounds kept',
  ];
  const tables = parameters.ratesPerSecond.map((ratePerSecond) => {
    const rows = summary
      .filter((figures) => figures.ratePerSecond === ratePerSecond)
      .map((figures) => [
        alternativeTitle(figures.name),
        keptCell(figures, ({ deliveriesPerSecond }) => short(deliveriesPerSecond)),
        ms(figures.p99Ms),
        fixed(figures.serverCpuUsPerDelivery, 2),
        short(figures.writesPerSecond),
        percent(figures.collectingShare),
        `${fixed(figures.heapBytesPerLine, 0)} B`,
        keptRounds(figures),
      ]);
    return table([`${ratePerSecond} events/s to ${short(parameters.lines)} lines`, ...head], rows);
  });
  const notes = [...discardedNote(summary), caption(result)];
  return `${tables.join('\n\n')}\n\n<sub>${notes.join('<br>\n')}</sub>`;
}

function heapTable(): string {
  const result = readResult('heap') as Result<HeapParameters, unknown, HeapFigures> | undefined;
  if (result === undefined) return `${NOT_MEASURED} yet: \`npm run bench -- heap\``;
  const rows = heapRows(result.summary).map(({ what, bytesPerLine, count: objects, isPart }) => [
    isPart === true ? `&emsp;\`${what}\`` : what,
    bytesPerLine === undefined ? '–' : `${fixed(bytesPerLine, 0)} B`,
    objects === undefined ? '' : fixed(objects, 2),
  ]);
  return withCaption(table(['', 'a line', 'objects a line'], rows), result);
}

/** A table for each of the first so many scenes. */
function knobsTable(sceneCount = Infinity): string {
  const result = readResult('knobs') as
    | Result<KnobsParameters, unknown, KnobsFigures[]>
    | undefined;
  if (result === undefined) return `${NOT_MEASURED} yet: \`npm run bench -- knobs\``;
  // The scene is above its settings.
  const scenes = [...new Set(result.summary.map(({ scene }) => scene))].slice(0, sceneCount);
  const tables = scenes.map((scene) => {
    const figures = result.summary.filter((one) => one.scene === scene);
    const measures = [...new Set(figures.map(({ measured }) => measured))];
    const rows = [...new Set(figures.map(({ setting }) => setting))].map((setting) => [
      setting === 'defaults' ? setting : `\`${setting}\``,
      ...measures.map((measured) => {
        const figure = figures.find((one) => one.setting === setting && one.measured === measured);
        return figure === undefined ? '–' : figureText(figure);
      }),
    ]);
    return table([scene, ...measures], rows);
  });
  return withCaption(tables.join('\n\n'), result);
}

function longPollTable(): string {
  const result = readResult('long-poll') as
    | Result<LongPollParameters, unknown, LongPollFigures[]>
    | undefined;
  const every = result?.parameters.ratePerSecond ?? 1;
  const head = [
    ['', 'one event', '', '', '', `${every} event/s, asking again`, '', '', '', ''],
    [
      '',
      'p50',
      'p99',
      'the last',
      'client busy',
      'p50',
      'p99',
      'the last',
      'CPU µs a poll',
      'client core',
    ],
  ];
  const rows = (['holdline-poll', 'raw-uws-poll'] as const).map((target) => {
    const figures = result?.summary.find((entry) => entry.target === target);
    return [
      TARGET_TITLES[target],
      cell(figures, ({ shotP50Ms }) => ms(shotP50Ms)),
      cell(figures, ({ shotP99Ms }) => ms(shotP99Ms)),
      cell(figures, ({ shotMaxMs }) => ms(shotMaxMs)),
      cell(figures, ({ shotClientBusyShare }) => percent(shotClientBusyShare)),
      cell(figures, ({ againP50Ms }) => ms(againP50Ms)),
      cell(figures, ({ againP99Ms }) => ms(againP99Ms)),
      cell(figures, ({ againMaxMs }) => ms(againMaxMs)),
      cell(figures, ({ serverCpuUsPerPoll }) => fixed(serverCpuUsPerPoll, 1)),
      cell(figures, ({ clientCpuShare }) => percent(clientCpuShare)),
    ];
  });
  return withCaption(groupedTable(head, rows), result);
}

function shortPollTable(): string {
  const result = readResult('short-poll') as
    | Result<ShortPollParameters, unknown, ShortPollFigures[]>
    | undefined;
  const head = [
    '',
    'pipelined',
    'requests/s',
    '÷ the route',
    'rounds',
    'CPU µs a request',
    'server core',
    'client core',
  ];
  const rows = (result?.summary ?? []).map((figures) => [
    `${TARGET_TITLES[figures.target]}, ${figures.kind}`,
    figures.pipelined === 1 ? 'no' : String(figures.pipelined),
    keptCell(figures, ({ requestsPerSecond }) => short(requestsPerSecond)),
    figures.shareOfFloor === null ? '' : `${fixed(figures.shareOfFloor, 2)} ×`,
    figures.shareOfFloorOfRounds.map((value) => fixed(value, 2)).join(' · '),
    fixed(figures.serverCpuUsPerRequest, 2),
    percent(figures.serverCpuShare),
    percent(figures.clientCpuShare),
  ]);
  return withCaption(
    table(head, rows.length > 0 ? rows : [notMeasured('Holdline', head.length)]),
    result,
  );
}

function compareTable(): string {
  const result = readResult('compare') as
    | Result<CompareParameters, unknown, CompareFigures[]>
    | undefined;
  if (result === undefined) return `${NOT_MEASURED} yet: \`npm run compare\``;
  const { parameters, summary } = result;
  const { head, rows } = comparisonTable(summary, parameters);
  const notes = [
    `${short(parameters.connections)} clients (memory: ${short(parameters.heldConnections)}), ` +
      `${parameters.ratePerSecond} event/s of ` +
      `${parameters.eventBytes} bytes for ${parameters.seconds} s each, from a fresh server ` +
      'process. Latency counts from the moment an event was due.',
    ...(summary.some(({ clientLimited }) => clientLimited)
      ? [
          `The load client was the limit of ${summary
            .filter(({ clientLimited }) => clientLimited)
            .map(({ way }) => transportTitle(way, parameters))
            .join(', ')}: the server may do better.`,
        ]
      : []),
    caption(result),
  ];
  return `${table(head, rows)}\n\n<sub>${notes.join('<br>\n')}</sub>`;
}

/** Cost without events: heartbeats, and empty answers to polls. Computed, not measured. */
function quietTable(): string {
  const idle = readResult('idle') as Result<IdleParameters, unknown, IdleFigures[]> | undefined;
  const polls = readResult('short-poll') as
    | Result<ShortPollParameters, unknown, ShortPollFigures[]>
    | undefined;
  const heartbeat = idle?.summary[0];
  const empty = polls?.summary.find(
    ({ target, since, pipelined }) => target === 'holdline' && since > 0 && pipelined === 1,
  );
  const line =
    idle === undefined || heartbeat === undefined
      ? undefined
      : heartbeat.cpuUsPerHeartbeat / idle.parameters.heartbeatSeconds;
  const cost = (usPerSecond: number | undefined): string =>
    cell(usPerSecond, (us) => `${fixed(us, us < 10 ? 1 : 0)} µs`);
  const many = (usPerSecond: number | undefined): string =>
    cell(usPerSecond, (us) => short(Math.floor((QUIET_CORE_SHARE * 1e6) / us / 100) * 100));
  const rows = [
    [
      `a line of SSE, a heartbeat every ${idle?.parameters.heartbeatSeconds ?? 15} s`,
      cost(line),
      many(line),
    ],
    ...QUIET_POLL_SECONDS.map((seconds) => {
      const us = empty === undefined ? undefined : empty.serverCpuUsPerRequest / seconds;
      return [`a client that asks every ${seconds} s`, cost(us), many(us)];
    }),
  ];
  return table(
    ['', 'server CPU a second', `clients on ${QUIET_CORE_SHARE * 100} % of a core`],
    rows,
  );
}

function microTable(): string {
  const result = readResult('micro') as
    | Result<MicroParameters, unknown, MicroFigures[]>
    | undefined;
  const head = ['', 'median', 'p99', 'unit'];
  const rows = (result?.summary ?? []).map((figures) => [
    figures.name,
    nanoseconds(figures.medianNs),
    nanoseconds(figures.p99Ns),
    figures.per,
  ]);
  return withCaption(
    table(head, rows.length > 0 ? rows : [notMeasured('micro', head.length)]),
    result,
  );
}

function planTable(): string {
  const result = readResult('plan') as Result<PlanParameters, PlanRound, PlanSummary> | undefined;
  const head = [
    'predicted · measured',
    'round',
    'memory',
    'off',
    'of it the process',
    'the kernel',
    'CPU',
    'off',
    'p50',
    'p99',
  ];
  const both = ({ predicted, measured }: Prediction, draw: (value: Figure) => string): string =>
    `${draw(predicted)} · ${draw(measured)}`;
  const mib = (bytes: Figure): string =>
    bytes === null ? '–' : `${fixed(bytes / 2 ** 20, 1)} MiB`;
  const off = ({ off: by }: Prediction): string =>
    `${by < 0 ? '−' : '+'}${fixed(Math.abs(by) * 100, 0)} %`;
  const rows = (result?.rounds ?? []).map((round) => [
    `${short(round.lines)} lines, ${round.ratePerSecond}/s of ${short(round.eventBytes)} ` +
      `B${round.passed ? '' : ' **out of tolerance**'}`,
    String(round.round),
    both(round.memoryBytes, mib),
    off(round.memoryBytes),
    both(round.userBytes, mib),
    both(round.kernelBytes, mib),
    both(round.cpuShare, percent),
    off(round.cpuShare),
    both(round.p50Ms, ms),
    both(round.p99Ms, ms),
  ]);
  return withCaption(
    table(head, rows.length > 0 ? rows : [notMeasured('plan', head.length)]),
    result,
  );
}

// ── parts ────────────────────────────────────────────────────────────────────────────────────────

function ratioAgainst(
  result: Result<FanOutParameters, unknown, FanOutSummary> | undefined,
  against: TargetName,
  ratePerSecond: number,
): FanOutRatio | undefined {
  return result?.summary.ratios.find(
    (entry) => entry.against === against && entry.ratePerSecond === ratePerSecond,
  );
}

function targetsShown(
  result: Result<FanOutParameters, unknown, FanOutSummary> | undefined,
): TargetName[] {
  return TARGETS.filter(
    (target) =>
      ALWAYS_SHOWN.has(target) ||
      result?.summary.figures.some((figures) => figures.target === target),
  );
}

function figuresAt(
  result: Result<FanOutParameters, unknown, FanOutSummary> | undefined,
  target: TargetName,
  ratePerSecond: number,
): FanOutFigures | undefined {
  return result?.summary.figures.find(
    (figures) => figures.target === target && figures.ratePerSecond === ratePerSecond,
  );
}

function acceptToDeliver(figures: FanOutFigures): string {
  return ms(figures.acceptToDeliverP99Ms) + (figures.undelivered > 0 ? ' ‡' : '');
}

/** Both are missing in older results, in which no round was discarded. */
interface KeptRounds {
  rounds?: number;
  discardedRounds?: number;
}

/** True when all rounds were discarded. */
function isDiscarded({ rounds, discardedRounds }: KeptRounds): boolean {
  return rounds !== undefined && discardedRounds === rounds;
}

/** A figure of the rounds that were kept. Where none was, the cell says so. */
function keptCell<T extends KeptRounds>(
  figures: T | undefined,
  draw: (figures: T) => string,
  without = NOT_MEASURED,
): string {
  if (figures === undefined) return without;
  return isDiscarded(figures) ? DISCARDED : draw(figures);
}

function keptRounds({ rounds, discardedRounds }: KeptRounds): string {
  return rounds === undefined || discardedRounds === undefined
    ? '–'
    : roundsLeft({ rounds, discardedRounds });
}

function discardedNote(figures: readonly KeptRounds[]): string[] {
  if (!figures.some(({ discardedRounds = 0 }) => discardedRounds > 0)) return [];
  return [
    'Rounds in which the load client was at its limit, or nobody was and yet something was ' +
      'missing, are discarded.',
  ];
}

function cell<T>(value: T | undefined, draw: (value: T) => string): string {
  return value === undefined ? NOT_MEASURED : draw(value);
}

function notMeasured(name: string, columns: number): string[] {
  return [name, ...Array.from({ length: columns - 1 }, () => NOT_MEASURED)];
}

function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]): string => `| ${cells.join(' | ')} |`;
  return [
    line(head),
    line(head.map((_, index) => (index === 0 ? '---' : '---:'))),
    ...rows.map(line),
  ].join('\n');
}

/** Markdown has one head row, so the name of a group is repeated in each of its columns. */
function groupedTable(head: string[][], rows: string[][]): string {
  const [above, below] = head as [string[], string[]];
  let group = '';
  const joined = below.map((name, index) => {
    if (above[index] !== '') group = above[index]!;
    return index === 0 ? '' : [group, name].filter(Boolean).join('<br>');
  });
  return table(joined, rows);
}

function withCaption(text: string, result: Result | undefined): string {
  return result === undefined ? text : `${text}\n\n<sub>${caption(result)}</sub>`;
}

function caption(result: Result): string {
  const { machine } = result;
  return (
    `${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, glibc ${machine.glibc}, ` +
    `Node ${machine.node}, ${machine.uWebSockets}; ` +
    `${machine.pinned}; send buffer: ${machine.sendBuffer}; ${result.startedAt.slice(0, 10)}, ` +
    `commit ${machine.commit}${machine.dirty ? ' with changes' : ''}.`
  );
}
