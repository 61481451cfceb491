/** Fills the figures between `<!-- figures:NAME -->` and `<!-- /figures -->` in the READMEs from bench/results; --check only compares. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { AcceptFigures, AcceptParameters } from '../bench/accept.js';
import type { FanOutFigures, FanOutParameters, FanOutSummary } from '../bench/fan-out.js';
import type { IdleFigures, IdleParameters } from '../bench/idle.js';
import type { MemoryFigures, MemoryParameters } from '../bench/memory.js';
import type { MicroFigures, MicroParameters } from '../bench/micro.js';
import type { PublishFigures, PublishParameters } from '../bench/publish.js';
import { type Result, readResult } from '../bench/results.js';
import { TARGETS, TARGET_TITLES, type TargetName } from '../bench/targets.js';

const FILES = ['README.md', 'bench/README.md'];
const ROOT = new URL('..', import.meta.url);
const BLOCK = /(<!-- figures:([\w-]+) -->\n)[\s\S]*?(<!-- \/figures -->)/g;

const NOT_MEASURED = 'not measured';
/** The rivals stand in a table only when somebody has measured them; the floors always do. */
const ALWAYS_SHOWN: ReadonlySet<TargetName> = new Set(['holdline', 'raw-uws', 'send-loop']);

const blocks: Record<string, () => string> = {
  'fan-out': fanOutTable,
  'fan-out-ratios': fanOutRatioTable,
  'fan-out-cost': fanOutCostTable,
  memory: memoryTable,
  accept: acceptTable,
  idle: idleTable,
  publish: publishTable,
  micro: microTable,
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
      throw new Error(`${name} asks for the figures "${block}"; there are ${Object.keys(blocks).join(', ')}`);
    return `${open}${draw()}\n${close}`;
  });
  if (filled === text) continue;
  outOfDate.push(name);
  if (!checkOnly) writeFileSync(file, filled);
}
if (outOfDate.length === 0) console.log('the figures are up to date');
else console.log(`${outOfDate.join(', ')} ${checkOnly ? 'has figures that are out of date: npm run figures' : 'filled'}`);
process.exit(checkOnly && outOfDate.length > 0 ? 1 : 0);

// ── tables ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

function fanOutTable(): string {
  const result = readResult('fan-out') as Result<FanOutParameters, unknown, FanOutSummary> | undefined;
  const head = [
    ['', '10 events/s', '', '100 events/s', '', '1000 events/s offered', '', ''],
    ['', 'p50', 'p99', 'deliveries/s', 'p99', 'deliveries/s', 'accepted/s', 'accept → deliver p99'],
  ];
  const rows = targetsShown(result).map((target) => {
    const at = (ratePerSecond: number): FanOutFigures | undefined => figuresAt(result, target, ratePerSecond);
    return [
      target === 'holdline' ? `**${TARGET_TITLES[target]}**` : TARGET_TITLES[target],
      cell(at(10), (figures) => time(figures.p50Ms)),
      cell(at(10), (figures) => time(figures.p99Ms)),
      cell(at(100), (figures) => count(figures.deliveriesPerSecond) + mark(figures)),
      cell(at(100), (figures) => time(figures.p99Ms)),
      cell(at(1000), (figures) => count(figures.deliveriesPerSecond) + mark(figures)),
      cell(at(1000), (figures) => count(figures.acceptedPerSecond)),
      cell(at(1000), (figures) => acceptToDeliver(figures)),
    ];
  });
  if (result === undefined) return `${groupedTable(head, rows)}\n\n${NOT_MEASURED} yet: \`npm run bench -- fan-out\``;
  const { parameters, summary } = result;
  const notes = [
    `${count(parameters.lines)} connections, ${parameters.eventBytes}-byte events, one server process on one core; medians of ` +
      `${parameters.rates.map(({ rounds, ratePerSecond }) => `${rounds} rounds at ${ratePerSecond}/s`).join(', ')}, the servers in turn. ` +
      `Latency counts from the moment an event was due.`,
  ];
  if (summary.figures.some(isClientBound)) notes.push('† the load client’s core was busy, too: the server may do better.');
  if (summary.figures.some((figures) => figures.undelivered > 0)) {
    notes.push(
      '‡ accepted faster than delivered: events were still on their way ten seconds after the end, and are not in the percentile.',
    );
  }
  notes.push(caption(result));
  return `${groupedTable(head, rows)}\n\n<sub>${notes.join('<br>\n')}</sub>`;
}

function fanOutRatioTable(): string {
  const result = readResult('fan-out') as Result<FanOutParameters, unknown, FanOutSummary> | undefined;
  const head = ['Holdline ÷', 'p50 at 10/s', 'p99 at 10/s', 'rounds (p50)', 'rounds (p99)'];
  const rows = (['raw-uws', 'send-loop'] as const).map((against) => {
    const ratio = result?.summary.ratios.find((entry) => entry.against === against && entry.ratePerSecond === 10);
    return [
      TARGET_TITLES[against],
      cell(ratio, ({ p50Median }) => `${fixed(p50Median, 2)} ×`),
      cell(ratio, ({ p99Median }) => `${fixed(p99Median, 2)} ×`),
      cell(ratio, ({ p50 }) => p50.map((value) => fixed(value, 2)).join(' · ')),
      cell(ratio, ({ p99 }) => p99.map((value) => fixed(value, 2)).join(' · ')),
    ];
  });
  return withCaption(table(head, rows), result);
}

function fanOutCostTable(): string {
  const result = readResult('fan-out') as Result<FanOutParameters, unknown, FanOutSummary> | undefined;
  const head = [
    '',
    'events/s',
    'server core',
    'CPU µs a delivery',
    'loop delay p99',
    'client core',
    'lost · doubled · out of order · gaps',
  ];
  const rows = (result?.summary.figures ?? []).map((figures) => [
    TARGET_TITLES[figures.target],
    String(figures.ratePerSecond),
    share(figures.serverCpuShare),
    fixed(figures.serverCpuUsPerDelivery, 2),
    figures.loopDelayP99Ms === null ? '–' : time(figures.loopDelayP99Ms),
    share(figures.clientCoreShare) + (isClientBound(figures) ? ' †' : ''),
    `${figures.lost} · ${figures.doubled} · ${figures.outOfOrder} · ${figures.gapEvents}`,
  ]);
  return withCaption(table(head, rows.length > 0 ? rows : [notMeasured('Holdline', head.length)]), result);
}

function memoryTable(): string {
  const result = readResult('memory') as Result<MemoryParameters, unknown, MemoryFigures[]> | undefined;
  const head = ['', 'RSS a line', 'of it V8 heap', 'r²', 'RSS without lines'];
  const rows = (['holdline', 'raw-uws'] as const).map((target) => {
    const figures = result?.summary.find((entry) => entry.target === target);
    return [
      TARGET_TITLES[target],
      cell(figures, ({ rssBytesPerLine }) => `${fixed(rssBytesPerLine, 0)} B`),
      cell(figures, ({ heapBytesPerLine }) => `${fixed(heapBytesPerLine, 0)} B`),
      cell(figures, ({ rSquared }) => fixed(rSquared, 4)),
      cell(figures, ({ rssWithoutLinesBytes }) => `${fixed(rssWithoutLinesBytes / 2 ** 20, 0)} MiB`),
    ];
  });
  return withCaption(table(head, rows), result);
}

function acceptTable(): string {
  const result = readResult('accept') as Result<AcceptParameters, unknown, AcceptFigures[]> | undefined;
  const lines = result === undefined ? '15,000' : count(result.parameters.lines);
  const head = ['', '', `first connect → last of ${lines} lines`, 'lines/s', 'server CPU µs a line'];
  const rows = (result?.summary ?? []).map((figures) => [
    TARGET_TITLES[figures.target],
    figures.variant,
    time(figures.elapsedMs) + (figures.clientBoundRounds > 0 ? ' †' : ''),
    count(figures.linesPerSecond),
    fixed(figures.serverCpuUsPerLine, 0),
  ]);
  return withCaption(table(head, rows.length > 0 ? rows : [notMeasured('Holdline', head.length)]), result);
}

function idleTable(): string {
  const result = readResult('idle') as Result<IdleParameters, unknown, IdleFigures[]> | undefined;
  const head = ['', 'of a core', 'heartbeats a line', 'CPU µs a heartbeat'];
  const figures = result?.summary[0];
  const row = [
    TARGET_TITLES.holdline,
    cell(figures, ({ cpuShare }) => share(cpuShare)),
    cell(figures, ({ heartbeatsPerLine }) => `${fixed(heartbeatsPerLine, 2)} in ${result?.parameters.windowSeconds} s`),
    cell(figures, ({ cpuUsPerHeartbeat }) => fixed(cpuUsPerHeartbeat, 1)),
  ];
  return withCaption(table(head, [row]), result);
}

function publishTable(): string {
  const result = readResult('publish') as Result<PublishParameters, unknown, PublishFigures[]> | undefined;
  const head = ['', '', 'requests/s', 'events/s', 'server core', 'client core'];
  const rows = (result?.summary ?? []).map((figures) =>
    figures.notBorne === undefined
      ? [
          TARGET_TITLES[figures.target],
          figures.mode,
          count(figures.requestsPerSecond) + (figures.clientBoundRounds > 0 ? ' †' : ''),
          count(figures.eventsPerSecond),
          share(figures.serverCpuShare),
          share(figures.clientCpuShare),
        ]
      : [TARGET_TITLES[figures.target], figures.mode, 'not borne', 'not borne', '–', '–'],
  );
  return withCaption(table(head, rows.length > 0 ? rows : [notMeasured('Holdline', head.length)]), result);
}

function microTable(): string {
  const result = readResult('micro') as Result<MicroParameters, unknown, MicroFigures[]> | undefined;
  const head = ['', 'median', 'p99', 'unit'];
  const rows = (result?.summary ?? []).map((figures) => [
    figures.name,
    nanoseconds(figures.medianNs),
    nanoseconds(figures.p99Ns),
    figures.per,
  ]);
  return withCaption(table(head, rows.length > 0 ? rows : [notMeasured('micro', head.length)]), result);
}

// ── parts ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

function targetsShown(result: Result<FanOutParameters, unknown, FanOutSummary> | undefined): TargetName[] {
  return TARGETS.filter(
    (target) => ALWAYS_SHOWN.has(target) || result?.summary.figures.some((figures) => figures.target === target),
  );
}

function figuresAt(
  result: Result<FanOutParameters, unknown, FanOutSummary> | undefined,
  target: TargetName,
  ratePerSecond: number,
): FanOutFigures | undefined {
  return result?.summary.figures.find((figures) => figures.target === target && figures.ratePerSecond === ratePerSecond);
}

function acceptToDeliver(figures: FanOutFigures): string {
  return time(figures.acceptToDeliverP99Ms) + (figures.undelivered > 0 ? ' ‡' : '');
}

function isClientBound(figures: FanOutFigures): boolean {
  return figures.clientBoundRounds * 2 > figures.rounds;
}

function mark(figures: FanOutFigures): string {
  return isClientBound(figures) ? ' †' : '';
}

function cell<T>(value: T | undefined, draw: (value: T) => string): string {
  return value === undefined ? NOT_MEASURED : draw(value);
}

function notMeasured(name: string, columns: number): string[] {
  return [name, ...Array.from({ length: columns - 1 }, () => NOT_MEASURED)];
}

function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, index) => (index === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

/** Markdown knows one head row: what stands above a group of columns is repeated in each of them. */
function groupedTable(head: string[][], rows: string[][]): string {
  const [above, below] = head as [string[], string[]];
  let group = '';
  const joined = below.map((name, index) => {
    if (above[index] !== '') group = above[index]!;
    return index === 0 ? '' : `${group}<br>${name}`;
  });
  return table(joined, rows);
}

function withCaption(text: string, result: Result | undefined): string {
  return result === undefined ? text : `${text}\n\n<sub>${caption(result)}</sub>`;
}

function caption(result: Result): string {
  const { machine } = result;
  return (
    `${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, glibc ${machine.glibc}, Node ${machine.node}, ${machine.uWebSockets}; ` +
    `${machine.pinned}; send buffer: ${machine.sendBuffer}; ${result.startedAt.slice(0, 10)}, ` +
    `commit ${machine.commit}${machine.dirty ? ' with changes' : ''}.`
  );
}

/** JSON has null where a figure was NaN: nothing was recorded. */
type Figure = number | null;

function fixed(value: Figure, digits: number): string {
  return value === null ? '–' : value.toFixed(digits);
}

function time(valueMs: Figure): string {
  if (valueMs === null) return '–';
  if (valueMs >= 10_000) return `${(valueMs / 1000).toFixed(0)} s`;
  if (valueMs >= 1000) return `${(valueMs / 1000).toFixed(1)} s`;
  return `${valueMs < 10 ? valueMs.toFixed(1) : valueMs.toFixed(0)} ms`;
}

function nanoseconds(value: Figure): string {
  if (value === null) return '–';
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} ms`;
  if (value >= 1e3) return `${(value / 1e3).toFixed(2)} µs`;
  return `${value.toFixed(0)} ns`;
}

function share(value: Figure): string {
  if (value === null) return '–';
  return `${(value * 100).toFixed(value < 0.1 ? 1 : 0)} %`;
}

/** 1.50 M, 228 k, 15,000, 560 */
function count(value: Figure): string {
  if (value === null) return '–';
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (value >= 1e5) return `${(value / 1e3).toFixed(0)} k`;
  return Math.round(value).toLocaleString('en-US');
}
