/**
 * The comparison as one SVG, latency and cost side by side; with a background of its own, so that
 * it reads on light and dark pages.
 */
import { createRequire } from 'node:module';
import { axisX, axisY, barX, dot, gridX, plot, ruleY, text } from '@observablehq/plot';
import { type CompareFigures, type CompareParameters, wayTitle } from './comparison.js';
import type { Machine } from './machine.js';

/** What is used of an SVG element; the library's types name those of a browser. */
interface Drawn {
  innerHTML: string;
  querySelector(selector: string): { remove(): void } | null;
}

/** Its types declare a module of another name. */
const { createDocument } = createRequire(import.meta.url)('@mixmark-io/domino') as {
  createDocument: (html: string) => unknown;
};

const WIDTH = 1040;
const MARGIN = 24;
const HEAD_HEIGHT = 72;
const PANEL_GAP = 28;
const ROW_HEIGHT = 46;
const PANEL_TITLE_HEIGHT = 40;
const AXIS_HEIGHT = 34;
const FOOT_HEIGHT = 34;
const TITLES_WIDTH = 112;

const INK = '#1f2328';
const INK_SOFT = '#59636e';
const PAPER = '#ffffff';
const EDGE = '#d1d9e0';
const PUSH = '#0072b2';
const POLL = '#d55e00';
const KERNEL = '#b6bec8';

const SVG_NAMESPACE = 'http://www.w3.org/2000/svg';

interface Row extends CompareFigures {
  title: string;
  color: string;
}

interface Panel {
  title: string;
  note: string;
  width: number;
  draw: (rows: Row[], size: { width: number; height: number; marginLeft: number }) => string;
}

const PANELS: Panel[] = [
  {
    title: 'When an event arrives',
    note: 'after it was due: ● p50   ○ p99   × p99.9',
    width: 400,
    draw: drawLatency,
  },
  { title: 'CPU a delivered event', note: 'of the server process', width: 268, draw: drawCpu },
  {
    title: 'Memory a client',
    note: 'KiB: server process + kernel (both ends)',
    width: 268,
    draw: drawMemory,
  },
];

/** The text of an SVG file. */
export function drawComparison(
  parameters: CompareParameters,
  summary: readonly CompareFigures[],
  machine: Machine,
): string {
  const rows = summary.map((figures) => ({
    ...figures,
    title: wayTitle(figures.way, parameters),
    color: figures.way.endsWith('-poll') ? POLL : PUSH,
  }));
  const panelHeight = rows.length * ROW_HEIGHT + AXIS_HEIGHT;
  const top = HEAD_HEIGHT + PANEL_TITLE_HEIGHT;
  const height = top + panelHeight + FOOT_HEIGHT;
  let left = MARGIN;
  const panels = PANELS.map((panel, index) => {
    // The first panel names the rows for all.
    const marginLeft = index === 0 ? TITLES_WIDTH : 8;
    const drawn = panel.draw(rows, { width: panel.width, height: panelHeight, marginLeft });
    const x = left + marginLeft;
    const group =
      line(x, HEAD_HEIGHT + 12, panel.title, 14, INK, 600) +
      line(x, HEAD_HEIGHT + 30, panel.note, 12, INK_SOFT) +
      `<g transform="translate(${left},${top})" text-anchor="middle" font-size="12">${drawn}</g>`;
    left += panel.width + PANEL_GAP;
    return group;
  });
  const { connections, ratePerSecond, seconds, eventBytes } = parameters;
  const what =
    `${connections.toLocaleString('en-US')} clients, ${ratePerSecond} event${ratePerSecond === 1 ? '' : 's'}/s ` +
    `of ${eventBytes} bytes for ${seconds} s, one server process on one core`;
  const where =
    `${machine.cpu}, Linux ${machine.kernel}, Node ${machine.node}, ${machine.uWebSockets}, ` +
    `commit ${machine.commit}${machine.dirty ? ' with changes' : ''}`;
  return (
    `<svg xmlns="${SVG_NAMESPACE}" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" ` +
    `font-family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif" fill="${INK}" role="img">` +
    `<title>${escapeText(`The same events by each transport: ${what}`)}</title>` +
    `<rect x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="8" fill="${PAPER}" stroke="${EDGE}"/>` +
    line(MARGIN, 34, 'The same events by each transport', 18, INK, 600) +
    line(MARGIN, 53, what, 12, INK_SOFT) +
    panels.join('') +
    line(MARGIN, height - 16, where, 11, INK_SOFT) +
    '</svg>\n'
  );
}

type Size = Parameters<Panel['draw']>[1];

function drawLatency(rows: Row[], size: Size): string {
  const titles = rows.map(({ title }) => title);
  const of = (pick: (row: Row) => number | null): { title: string; ms: number; color: string }[] =>
    rows.flatMap((row) => {
      const ms = pick(row);
      return ms === null ? [] : [{ title: row.title, ms, color: row.color }];
    });
  const p50 = of(({ p50Ms }) => p50Ms);
  const p999 = of(({ p999Ms }) => p999Ms);
  const spans = rows.flatMap(({ title, color, p50Ms, p999Ms }) =>
    p50Ms === null || p999Ms === null ? [] : [{ title, color, p50Ms, p999Ms }],
  );
  const least = Math.min(...p50.map(({ ms }) => ms));
  const most = Math.max(...p999.map(({ ms }) => ms));
  const ticks = decades(least, most);
  return plotRows(rows, size, {
    x: { type: 'log', domain: [Math.min(ticks[0]!, least), Math.max(ticks.at(-1)!, most)] },
    marks: [
      gridX(ticks, { stroke: EDGE, strokeOpacity: 1 }),
      axisX(ticks, {
        label: null,
        tickSize: 0,
        fill: INK_SOFT,
        fontSize: 12,
        tickFormat: duration,
      }),
      axisY(titles, { label: null, tickSize: 0, fontSize: 13, fill: INK }),
      ruleY(spans, {
        y: 'title',
        x1: 'p50Ms',
        x2: 'p999Ms',
        stroke: 'color',
        strokeWidth: 3,
        strokeOpacity: 0.35,
      }),
      dot(p50, { y: 'title', x: 'ms', fill: 'color', r: 6 }),
      dot(
        of(({ p99Ms }) => p99Ms),
        { y: 'title', x: 'ms', fill: PAPER, stroke: 'color', strokeWidth: 2, r: 4.5 },
      ),
      dot(p999, {
        y: 'title',
        x: 'ms',
        fill: 'color',
        symbol: 'times',
        stroke: 'color',
        strokeWidth: 2,
        r: 4,
      }),
      text(p50, {
        y: 'title',
        x: 'ms',
        text: ({ ms }: { ms: number }) => duration(ms),
        dy: -14,
        fontSize: 12,
        fill: 'color',
      }),
      text(p999, {
        y: 'title',
        x: 'ms',
        text: ({ ms }: { ms: number }) => duration(ms),
        dy: 15,
        fontSize: 12,
        fill: 'color',
      }),
    ],
  });
}

function drawCpu(rows: Row[], size: Size): string {
  return plotRows(rows, size, {
    x: {
      domain: [
        0,
        Math.max(...rows.map(({ serverCpuUsPerDelivery }) => serverCpuUsPerDelivery)) *
          ROOM_FOR_LABELS,
      ],
    },
    marks: [
      barX(rows, {
        y: 'title',
        x: 'serverCpuUsPerDelivery',
        fill: 'color',
        insetTop: 12,
        insetBottom: 12,
      }),
      text(rows, {
        y: 'title',
        x: 'serverCpuUsPerDelivery',
        text: ({ serverCpuUsPerDelivery }: Row) =>
          `${serverCpuUsPerDelivery.toFixed(serverCpuUsPerDelivery < 10 ? 1 : 0)} µs`,
        dx: 6,
        textAnchor: 'start',
        fontSize: 12,
        fill: INK,
      }),
    ],
  });
}

function drawMemory(rows: Row[], size: Size): string {
  const kib = (bytes: number): number => Math.max(0, bytes) / 1024;
  const parts = rows.flatMap(({ title, color, rssBytesPerClient, kernelBytesPerClient }) => {
    const rss = kib(rssBytesPerClient);
    const all = rss + kib(kernelBytesPerClient);
    return [
      { title, from: 0, to: rss, color },
      { title, from: rss, to: all, color: KERNEL },
    ];
  });
  const sums = parts.filter(({ color }) => color === KERNEL);
  return plotRows(rows, size, {
    x: { domain: [0, Math.max(...sums.map(({ to }) => to)) * ROOM_FOR_LABELS] },
    marks: [
      barX(parts, {
        y: 'title',
        x1: 'from',
        x2: 'to',
        fill: 'color',
        insetTop: 12,
        insetBottom: 12,
      }),
      text(sums, {
        y: 'title',
        x: 'to',
        text: ({ from, to }: { from: number; to: number }) =>
          `${from.toFixed(1)} + ${(to - from).toFixed(1)}`,
        dx: 6,
        textAnchor: 'start',
        fontSize: 12,
        fill: INK,
      }),
    ],
  });
}

/** So much longer than the longest bar is its panel. */
const ROOM_FOR_LABELS = 1.5;

/**
 * What plot() draws, as a group: a plot is an svg of its own, whose style would undo the size it is
 * given inside another.
 */
function plotRows(
  rows: Row[],
  size: Size,
  options: Pick<Parameters<typeof plot>[0] & object, 'x' | 'marks'>,
): string {
  const svg = plot({
    ...size,
    document: createDocument(''),
    marginTop: 4,
    marginRight: 12,
    marginBottom: AXIS_HEIGHT - 4,
    y: {
      type: 'band',
      domain: rows.map(({ title }) => title),
      label: null,
      axis: null,
      padding: 0,
    },
    ...options,
    x: { label: null, axis: null, ...options.x },
  }) as unknown as Drawn;
  svg.querySelector('style')?.remove();
  return svg.innerHTML;
}

/** 1, 10, 100: from the power of ten at or below the least to the one at or above the most. */
function decades(least: number, most: number): number[] {
  const ticks: number[] = [];
  for (
    let exponent = Math.floor(Math.log10(least));
    exponent <= Math.ceil(Math.log10(most));
    exponent++
  )
    ticks.push(10 ** exponent);
  return ticks;
}

function duration(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(ms % 1000 === 0 ? 0 : 1)} s`;
  return `${ms < 10 && ms % 1 !== 0 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}

function line(
  x: number,
  y: number,
  words: string,
  size: number,
  color: string,
  weight = 400,
): string {
  return `<text x="${x}" y="${y}" xml:space="preserve" font-size="${size}" font-weight="${weight}" fill="${color}">${escapeText(words)}</text>`;
}

function escapeText(words: string): string {
  return words.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
