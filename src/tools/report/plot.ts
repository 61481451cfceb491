/**
 * A plot as a block of a report: what is drawn, in units that read well. The drawing is
 * src/browser/report.ts's.
 */

import { html, jsonElement, type Html } from './html.js';

/**
 * What values are, from which their unit on the page follows. A share is 1 for all of it, or for
 * one core.
 */
export type Quantity =
  | 'count'
  | 'per second'
  | 'ms'
  | 'seconds'
  | 'bytes'
  | 'bytes per second'
  | 'share';

/**
 * How values lie along an axis. `percentile` takes values from 0 to 100 and spreads them out
 * towards 100.
 */
export type Spread = 'linear' | 'log' | 'percentile';

/** One axis. */
export interface Axis {
  readonly label: string;
  readonly quantity: Quantity;
  /** `linear` by default; y is never `percentile`. */
  readonly spread?: Spread;
}

/** One line, or one cloud of points. */
export interface Series {
  readonly label: string;
  /**
   * A value for each x; null where there is none. Not finite ones, and ones below what a log axis
   * shows, are as null.
   */
  readonly values: readonly (number | null)[];
  /** `line` by default; `area` is a line that is filled down to the axis. */
  readonly mark?: 'line' | 'area' | 'dashed' | 'points';
}

/** A plot. */
export interface Plot {
  readonly title: string;
  /** A sentence under it. */
  readonly caption?: string;
  readonly x: Axis;
  readonly y: Axis;
  /** Rising. */
  readonly xs: readonly number[];
  /** At most six. */
  readonly series: readonly Series[];
  /** Moments or bounds worth a line across the plot. */
  readonly marks?: readonly { readonly x: number; readonly label: string }[];
  /** Plots with the same name point at the same x together. */
  readonly together?: string;
  /** The plot takes the whole width. */
  readonly wide?: boolean;
}

/** A plot: drawn when the page is open, and told in words to who does not see it. */
export function plot(what: Plot): Html {
  const drawing = drawingOf(what);
  return html`<figure class="plot${what.wide ? ' wide' : ''}">
    <figcaption>
      <h3>${what.title}</h3>
      ${what.caption === undefined ? [] : html`<p>${what.caption}</p>`}
    </figcaption>
    <p class="unit">${drawing.y.unit}</p>
    <div class="canvas" role="img" aria-label="${inWords(what, drawing)}"></div>
    ${jsonElement(drawing)}
    <noscript><p>The plot needs JavaScript.</p></noscript>
  </figure> `;
}

/** An axis as it is drawn. */
interface DrawnAxis {
  readonly label: string;
  readonly unit: string;
  readonly spread: Spread;
}

/** What src/browser/report.ts draws: the same shape is written there. */
export interface Drawing {
  readonly x: DrawnAxis;
  readonly y: DrawnAxis;
  /** The xs, then the values of each series, in the units of the axes. */
  readonly data: readonly (readonly (number | null)[])[];
  readonly series: readonly { readonly label: string; readonly mark: string }[];
  readonly marks: readonly { readonly x: number; readonly label: string }[];
  readonly together: string | null;
}

/** What is drawn. */
export function drawingOf({ x, y, xs, series, marks = [], together }: Plot): Drawing {
  const xUnit = unitOf(x, [xs]);
  const yUnit = unitOf(
    y,
    series.map(({ values }) => values),
  );
  const xSpread = x.spread ?? 'linear';
  const ySpread = y.spread ?? 'linear';
  const xOf = (value: number): number => (xSpread === 'percentile' ? value : value / xUnit.size);
  const yOf = (value: number | null): number | null => {
    if (value === null || !Number.isFinite(value) || (ySpread === 'log' && value <= 0)) return null;
    return value / yUnit.size;
  };
  return {
    x: { label: x.label, unit: xSpread === 'percentile' ? '%' : xUnit.name, spread: xSpread },
    y: { label: y.label, unit: yUnit.name, spread: ySpread },
    data: [xs.map(xOf), ...series.map(({ values }) => values.map(yOf))],
    series: series.map(({ label, mark = 'line' }) => ({ label, mark })),
    marks: marks.map((mark) => ({ x: xOf(mark.x), label: mark.label })),
    together: together ?? null,
  };
}

/**
 * A unit: how many of the quantity it is, and from which largest value on the values are told in
 * it.
 */
interface Unit {
  readonly name: string;
  readonly size: number;
  readonly from: number;
}

const BYTES: readonly Unit[] = ['B', 'KiB', 'MiB', 'GiB', 'TiB'].map((name, power) => ({
  name,
  size: 1024 ** power,
  from: 1024 ** power,
}));

const COUNTS: readonly Unit[] = [
  { name: '', size: 1, from: 0 },
  { name: 'thousand', size: 1e3, from: 1e4 },
  { name: 'million', size: 1e6, from: 1e6 },
  { name: 'billion', size: 1e9, from: 1e9 },
];

/** Units of each quantity, smallest first. */
const UNITS: Readonly<Record<Quantity, readonly Unit[]>> = {
  count: COUNTS,
  'per second': COUNTS.map((unit) => ({ ...unit, name: `${unit.name} /s`.trim() })),
  ms: [
    { name: 'µs', size: 1e-3, from: 0 },
    { name: 'ms', size: 1, from: 1 },
    { name: 's', size: 1e3, from: 2e3 },
  ],
  seconds: [
    { name: 's', size: 1, from: 0 },
    { name: 'min', size: 60, from: 300 },
    { name: 'h', size: 3600, from: 3 * 3600 },
  ],
  bytes: BYTES,
  'bytes per second': BYTES.map((unit) => ({ ...unit, name: `${unit.name}/s` })),
  share: [{ name: '%', size: 0.01, from: 0 }],
};

/**
 * The unit in which the values of an axis read well: its largest, or its least where it is
 * logarithmic, decides.
 */
function unitOf({ quantity, spread }: Axis, lists: readonly (readonly (number | null)[])[]): Unit {
  const units = UNITS[quantity];
  const values = lists
    .flat()
    .filter((value) => value !== null && Number.isFinite(value) && value !== 0) as number[];
  const sizes = values.map(Math.abs);
  const deciding = sizes.reduce(
    (a, b) => (spread === 'log' ? Math.min(a, b) : Math.max(a, b)),
    sizes[0] ?? 0,
  );
  return units.findLast(({ from }) => deciding >= from) ?? units[0]!;
}

/** The plot for who hears it: each series from its least to its most. */
function inWords({ title }: Plot, { x, y, data, series }: Drawing): string {
  const spans = series.map(({ label }, index) => {
    const values = data[index + 1]!.filter((value) => value !== null);
    if (values.length === 0) return `${label}: no values`;
    return `${label} from ${short(values.reduce((a, b) => Math.min(a, b)))} to ${short(values.reduce((a, b) => Math.max(a, b)))} ${y.unit}`;
  });
  return `${title}, ${y.label} over ${x.label}. ${spans.join('; ')}.`;
}

function short(value: number): string {
  return value.toLocaleString('en-US', { maximumSignificantDigits: 3 });
}
