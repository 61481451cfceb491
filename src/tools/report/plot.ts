/**
 * A plot as a block of a report: its values, in units that read well. src/browser/report.ts draws
 * it.
 */

import { html, jsonElement, type Html } from './html.js';
import { significant } from './words.js';

/**
 * The kind of values, which determines their unit on the page. A share of 1 is the whole, or one
 * core.
 */
export type Quantity =
  | 'count'
  | 'per second'
  | 'ms'
  | 'seconds'
  | 'bytes'
  | 'bytes per second'
  | 'share';

/** The scale of an axis. `percentile` takes values from 0 to 100 and stretches those near 100. */
export type Spread = 'linear' | 'log' | 'percentile';

/** One axis. */
export interface Axis {
  /** What its values are, without a unit: `latency`; of so many per second what is counted. */
  readonly label: string;
  readonly quantity: Quantity;
  /** `linear` by default. Only x may be `percentile`. */
  readonly spread?: Spread;
}

/** One curve, or one cloud of points. */
export interface Series {
  readonly label: string;
  /** A value for each x; null, and what the axis cannot show, leaves a hole. */
  readonly values: readonly (number | null)[];
  /** `line` by default; `area` is filled down to the axis. */
  readonly mark?: 'line' | 'area' | 'dashed' | 'points';
}

/** A plot. */
export interface Plot {
  readonly title: string;
  /** A sentence under it. */
  readonly caption?: string;
  readonly x: Axis;
  readonly y: Axis;
  /** In ascending order. */
  readonly xs: readonly number[];
  /** At most six. */
  readonly series: readonly Series[];
  /** Values of x with a vertical rule and a label. */
  readonly marks?: readonly { readonly x: number; readonly label: string }[];
  /** Plots with the same name share their cursor. */
  readonly together?: string;
  /** The plot takes the whole width. */
  readonly wide?: boolean;
}

/** A plot, with a description in words for readers who cannot see it. */
export function plot(what: Plot): Html {
  const drawing = drawingOf(what);
  return html`<figure class="plot${what.wide ? ' wide' : ''}">
    <figcaption>
      <h3>${what.title}</h3>
      ${what.caption === undefined ? [] : html`<p>${what.caption}</p>`}
    </figcaption>
    <p class="unit">${drawing.y.title}</p>
    <div class="canvas" role="img" aria-label="${describe(what, drawing)}"></div>
    ${jsonElement(drawing)}
    <noscript><p>The plot needs JavaScript.</p></noscript>
  </figure> `;
}

/** An axis as it is drawn. */
interface DrawnAxis {
  /** Name and unit: `latency (ms)`, `thousand events/s`. */
  readonly title: string;
  readonly label: string;
  readonly unit: string;
  readonly spread: Spread;
}

/** What src/browser/report.ts draws; it declares the same type. */
export interface Drawing {
  readonly x: DrawnAxis;
  readonly y: DrawnAxis;
  /** The xs, then the values of each series, in the units of the axes. */
  readonly data: readonly (readonly (number | null)[])[];
  readonly series: readonly { readonly label: string; readonly mark: string }[];
  readonly marks: readonly { readonly x: number; readonly label: string }[];
  readonly together: string | null;
}

/** Converts a plot's values to the units that are shown. */
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
    x: {
      // Labels of percentiles have their unit.
      title: xSpread === 'percentile' ? x.label : titleOf(x, xUnit),
      label: x.label,
      unit: xSpread === 'percentile' ? '%' : xUnit.name,
      spread: xSpread,
    },
    y: { title: titleOf(y, yUnit), label: y.label, unit: yUnit.name, spread: ySpread },
    data: [xs.map(xOf), ...series.map(({ values }) => values.map(yOf))],
    series: series.map(({ label, mark = 'line' }) => ({ label, mark })),
    // From left to right, as their labels are placed.
    marks: marks
      .toSorted((one, other) => one.x - other.x)
      .map((mark) => ({ x: xOf(mark.x), label: mark.label })),
    together: together ?? null,
  };
}

/** A unit of a quantity: its size, and the value from which it is used. */
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
  'per second': COUNTS.map((unit) => ({ ...unit, name: `${unit.name}/s` })),
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

/** The unit of an axis, chosen by the largest value, or by the smallest on a logarithmic axis. */
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

/** The name of an axis with its unit. What is counted per second is part of the unit. */
function titleOf({ label, quantity }: Axis, { name }: Unit): string {
  if (quantity === 'per second') return `${name.replace('/s', '')} ${label}/s`.trim();
  return name === '' ? label : `${label} (${name})`;
}

/** The plot in words: the range of each series. */
function describe({ title }: Plot, { x, y, data, series }: Drawing): string {
  const spans = series.map(({ label }, index) => {
    const values = data[index + 1]!.filter((value) => value !== null);
    if (values.length === 0) return `${label}: no values`;
    const min = values.reduce((a, b) => Math.min(a, b));
    const max = values.reduce((a, b) => Math.max(a, b));
    const span = `${label} from ${significant(min)} to ${significant(max)}`;
    return y.unit.startsWith('/') ? span + y.unit : `${span} ${y.unit}`.trim();
  });
  return `${title}, ${y.label} over ${x.label}. ${spans.join('; ')}.`;
}
