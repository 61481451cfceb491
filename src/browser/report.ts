/**
 * Draws the plots of a report with uPlot, which is loaded before this program, and again when the
 * system's colour scheme changes.
 */
import type UPlot from 'uplot';

declare const uPlot: typeof UPlot;

/** The data of a plot, as src/tools/report/plot.ts writes it. */
interface Drawing {
  readonly x: Axis;
  readonly y: Axis;
  /** The xs, then the values of each series. */
  readonly data: readonly (readonly (number | null)[])[];
  readonly series: readonly {
    readonly label: string;
    readonly mark: 'line' | 'area' | 'dashed' | 'points';
  }[];
  readonly marks: readonly { readonly x: number; readonly label: string }[];
  /** Plots with the same name share their cursor. */
  readonly together: string | null;
}

interface Axis {
  /** Name and unit. */
  readonly title: string;
  readonly label: string;
  readonly unit: string;
  readonly spread: 'linear' | 'log' | 'percentile';
}

const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

/** Height of the canvas, px, and the width from which it is higher. */
const HEIGHT = 220;
const WIDE = 700;
const WIDE_HEIGHT = 260;

/** Smallest distance between two labels of percentiles, px. */
const PERCENTILE_LABEL_WIDTH = 56;

/** Space for a row of labels of marks above the plot, px. Where two would touch there are two. */
const MARKS_HEIGHT = 18;

/** Space at the right, so that the last label of the axis is whole, px. */
const RIGHT = 24;

/** uPlot's number for a logarithmic scale. */
const LOGARITHMIC = 3;

/** Percentiles with a label. */
const PERCENTILES = [0, 50, 90, 99, 99.9, 99.99, 99.999, 99.9999];

/** The largest percentile that is drawn, since the axis has no end. */
const PERCENTILE_MAX = 99.9999;

/** Factor above the largest value, so that the curve does not touch the edge. */
const HEADROOM = 1.08;

/** Opacity of the colour under a curve. */
const AREA_ALPHA = 0.14;

/** The position of a percentile on its axis: one in so many values is above it, 99 % → 100. */
function rarity(percentile: number): number {
  return 100 / (100 - Math.min(percentile, PERCENTILE_MAX));
}

/** The percentile of a rarity, without rounding errors. */
function percentileOf(value: number): number {
  return Number((100 - 100 / value).toPrecision(8));
}

/** Three significant digits, or all of the integer, as src/tools/report/words.ts has it. */
function words(value: number): string {
  const isWhole = Math.abs(value) >= 1000;
  return value.toLocaleString(
    'en-US',
    isWhole ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 },
  );
}

/** A value in the legend, which is empty while the pointer is elsewhere. */
function valueWords(value: number | null, index: number | null, unit: string): string {
  if (index === null) return '';
  return value === null ? '–' : withUnit(words(value), unit);
}

function withUnit(text: string, unit: string): string {
  return unit === '' || unit.startsWith('/') ? text + unit : `${text} ${unit}`;
}

/** A colour of the style sheet in the current scheme, as `rgb(…)`. */
function colourOf(name: string): string {
  const probe = document.createElement('i');
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

function faded(colour: string): string {
  return colour.replace(/^rgb\((.*)\)$/, `rgba($1, ${AREA_ALPHA})`);
}

function pointsOf(mark: string, colour: string): UPlot.Series.Points {
  if (mark === 'points') return { show: true, size: 8, fill: colour };
  return mark === 'dashed' ? { show: false } : { size: 5, fill: colour };
}

function seriesOf(
  { label, mark }: Drawing['series'][number],
  place: number,
  unit: string,
): UPlot.Series {
  const colour = colourOf(`series-${place + 1}`);
  return {
    label,
    stroke: colour,
    width: mark === 'points' ? 0 : 2,
    ...(mark === 'area' ? { fill: faded(colour) } : {}),
    ...(mark === 'dashed' ? { dash: [6, 4] } : {}),
    ...(mark === 'points' ? { paths: () => null } : {}),
    points: pointsOf(mark, colour),
    value: (_plot, value: number | null, _series, index) => valueWords(value, index, unit),
  };
}

/** From 0, so that heights can be compared, to a little above the largest value. */
function fromZero(_plot: UPlot, _min: number | null, max: number | null): [number, number] {
  return [0, max === null || max <= 0 ? 1 : max * HEADROOM];
}

/** The percentiles that get a label: as many as there is room for. */
function percentileSplits(plot: UPlot, _axis: number, min: number, max: number): number[] {
  const kept: number[] = [];
  let lastPx = -Infinity;
  for (const split of PERCENTILES.map(rarity)) {
    if (split < min * 0.999 || split > max * 1.001) continue;
    const px = plot.valToPos(split, 'x');
    if (px - lastPx < PERCENTILE_LABEL_WIDTH) continue;
    kept.push(split);
    lastPx = px;
  }
  return kept;
}

/** Draws the vertical rules, each with its label above it. */
function drawMarks(plot: UPlot, marks: Drawing['marks']): void {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  const right = bbox.left + bbox.width;
  ctx.save();
  ctx.font = FONT.replace('12px', `${12 * ratio}px`);
  ctx.strokeStyle = colourOf('mark');
  ctx.fillStyle = colourOf('muted');
  ctx.lineWidth = ratio;
  ctx.setLineDash([4 * ratio, 4 * ratio]);
  ctx.textAlign = 'left';
  ctx.textBaseline = 'bottom';
  const gap = 6 * ratio;
  const shown = marks
    .map(({ x, label }) => ({ label, px: Math.round(plot.valToPos(x, 'x', true)) }))
    .filter(({ px }) => px >= bbox.left && px <= right);
  let takenUpTo = bbox.left;
  for (const [nth, { label, px }] of shown.entries()) {
    ctx.beginPath();
    ctx.moveTo(px, bbox.top);
    ctx.lineTo(px, bbox.top + bbox.height);
    ctx.stroke();
    const { width } = ctx.measureText(label);
    const next = shown[nth + 1];
    const nextFrom =
      next === undefined ? Infinity : Math.min(next.px, right - ctx.measureText(next.label).width);
    // To the right of its rule, or to the left where the next one is near, in a row of its own
    // where there is no room at all.
    const isLeft = px + width + gap > nextFrom && px - width >= takenUpTo;
    const from = isLeft ? px - width : Math.min(px, right - width);
    const row = from < takenUpTo ? 1 : 0;
    ctx.fillText(label, from, bbox.top - (3 + row * MARKS_HEIGHT) * ratio);
    takenUpTo = from + width + gap;
  }
  ctx.restore();
}

function optionsOf({ x, y, series, marks, together }: Drawing, width: number): UPlot.Options {
  const ink = colourOf('muted');
  const grid = { stroke: colourOf('grid'), width: 1 };
  const isPercentile = x.spread === 'percentile';
  const axis: UPlot.Axis = { stroke: ink, font: FONT, grid, ticks: { ...grid, size: 4 }, gap: 4 };
  return {
    width,
    height: width < WIDE ? HEIGHT : WIDE_HEIGHT,
    padding: [
      Math.max(10, Math.min(2, marks.length) * MARKS_HEIGHT),
      x.spread === 'linear' ? RIGHT : 30,
      0,
      0,
    ],
    scales: {
      x: {
        time: false,
        distr: x.spread === 'linear' ? 1 : LOGARITHMIC,
        // Without a range the axis would continue to the next power of ten.
        ...(isPercentile ? { range: (_plot, min, max) => [min, max] } : {}),
      },
      y: y.spread === 'log' ? { distr: LOGARITHMIC } : { range: fromZero },
    },
    axes: [
      {
        ...axis,
        size: 26,
        label: x.title,
        labelFont: FONT,
        labelSize: 20,
        labelGap: 0,
        ...(isPercentile
          ? {
              splits: percentileSplits,
              filter: (_plot, splits) => splits,
              values: (_plot, splits) => splits.map((split) => `${percentileOf(split)} %`),
            }
          : {
              values: (_plot, splits) =>
                splits.map((split) => (split === null ? '' : words(split))),
            }),
      },
      {
        ...axis,
        size: 54,
        values: (_plot, splits) => splits.map((split) => (split === null ? '' : words(split))),
      },
    ],
    series: [
      {
        label: x.label,
        value: (_plot, value: number | null, _series, index) =>
          isPercentile && value !== null
            ? `${percentileOf(value)} %`
            : valueWords(value, index, x.unit),
      },
      ...series.map((one, index) => seriesOf(one, index, y.unit)),
    ],
    cursor: {
      points: { size: 8 },
      ...(together === null ? {} : { sync: { key: together, setSeries: false } }),
    },
    hooks: {
      draw: [(plot) => drawMarks(plot, marks)],
      setCursor: [
        ({ root, cursor: { idx } }) => root.classList.toggle('pointing', typeof idx === 'number'),
      ],
    },
  };
}

function draw(canvas: HTMLElement, drawing: Drawing): UPlot {
  const [xs, ...values] = drawing.data;
  const data = [drawing.x.spread === 'percentile' ? xs!.map((x) => rarity(x!)) : xs, ...values];
  return new uPlot(
    optionsOf(drawing, canvas.clientWidth),
    data as unknown as UPlot.AlignedData,
    canvas,
  );
}

/** Draws the plot of a figure, and keeps it in the width of the page and in the current colours. */
function show(figure: HTMLElement): void {
  const canvas = figure.querySelector<HTMLElement>('.canvas')!;
  const drawing = JSON.parse(figure.querySelector('script')!.textContent) as Drawing;
  let plot = draw(canvas, drawing);
  new ResizeObserver(() => {
    const { clientWidth: width } = canvas;
    if (width !== plot.width) plot.setSize({ width, height: width < WIDE ? HEIGHT : WIDE_HEIGHT });
  }).observe(canvas);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    plot.destroy();
    plot = draw(canvas, drawing);
  });
}

/** Marks a table that is too wide for its place: `wide`, and `more` while some is to the right. */
function watchWidth(table: HTMLElement): void {
  const scroll = table.querySelector<HTMLElement>('.scroll')!;
  const look = (): void => {
    const { scrollLeft, scrollWidth, clientWidth } = scroll;
    table.classList.toggle('wide', scrollWidth > clientWidth);
    table.classList.toggle('more', scrollLeft + clientWidth < scrollWidth - 1);
  };
  new ResizeObserver(look).observe(scroll);
  scroll.addEventListener('scroll', look, { passive: true });
}

for (const figure of document.querySelectorAll<HTMLElement>('figure.plot')) show(figure);
for (const table of document.querySelectorAll<HTMLElement>('.table')) watchWidth(table);
