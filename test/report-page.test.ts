/**
 * The frame of HTML reports: what comes from outside stays text, what is drawn is what was given,
 * and nothing else runs.
 */

import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { html, Html, inlineElement, jsonElement } from '../src/tools/report/html.js';
import { command, figures, htmlDocument, note, pairs, table } from '../src/tools/report/page.js';
import { drawingOf, plot, type Plot } from '../src/tools/report/plot.js';

const HOSTILE = `"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;`;

/** Text as a browser would show it. */
function unescaped(text: string): string {
  return text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&amp;', '&');
}

const TIME = { label: 'after the start', quantity: 'seconds' } as const;
const LATENCY = { label: 'latency', quantity: 'ms' } as const;

function plotOf(parts: Partial<Plot>): Plot {
  return {
    title: 'A plot',
    x: TIME,
    y: LATENCY,
    xs: [0, 1],
    series: [{ label: 'a', values: [1, 2] }],
    ...parts,
  };
}

describe('text from outside', () => {
  it('is escaped as content and in an attribute, and reads as it was given', () => {
    const { text } = html`<p title="${HOSTILE}">${HOSTILE}</p>`;
    expect(text).not.toMatch(/<(?:script|img)/);
    expect(text.match(/"/g)).toHaveLength(2);
    const [, title, content] = /^<p title="(.*)">(.*)<\/p>$/.exec(text)!;
    expect([unescaped(title!), unescaped(content!)]).toEqual([HOSTILE, HOSTILE]);
  });

  it('is escaped wherever a report shows it', () => {
    const blocks = [
      figures([{ label: HOSTILE, value: HOSTILE, detail: HOSTILE, tone: 'bad' }]),
      table({
        caption: HOSTILE,
        columns: [HOSTILE, { right: HOSTILE }],
        rows: [
          [HOSTILE, HOSTILE],
          [{ text: HOSTILE, tone: 'bad' }, html`<b>${HOSTILE}</b>`],
        ],
      }),
      pairs([[HOSTILE, { text: HOSTILE, tone: 'good' }]]),
      note(HOSTILE, 'warning'),
      command(HOSTILE),
      plot(
        plotOf({
          title: HOSTILE,
          caption: HOSTILE,
          x: { ...TIME, label: HOSTILE },
          y: { ...LATENCY, label: HOSTILE },
          series: [{ label: HOSTILE, values: [1, 2] }],
          marks: [{ x: 1, label: HOSTILE }],
          together: HOSTILE,
        }),
      ),
    ];
    const page = htmlDocument({
      title: HOSTILE,
      subtitle: HOSTILE,
      verdict: { text: HOSTILE, tone: 'good' },
      sections: [{ title: HOSTILE, intro: HOSTILE, blocks }],
      footer: HOSTILE,
    });
    expect(page).not.toContain('<img');
    expect(page).not.toContain('<script>alert');
    // uPlot, the program, and the data of the plot.
    expect(page.match(/<script/g)).toHaveLength(3);
    expect(page.match(/<\/script/g)).toHaveLength(3);
  });

  it('does not end the script that its data stands in, and arrives there whole', () => {
    const value = { text: `</script><!-- ${HOSTILE} \u2028`, list: [1, null] };
    const { text } = jsonElement(value);
    const content = /^<script type="application\/json">(.*)<\/script>$/s.exec(text)![1]!;
    expect(content).not.toContain('<');
    expect(JSON.parse(content)).toEqual(value);
  });

  it('is no HTML, whatever it says it is', () => {
    expect(html`${'<b>'}${[html`<i>`, new Html('</i>')]}${1.5}`.text).toBe('&lt;b&gt;<i></i>1.5');
  });

  it('is not taken inline where it would end its element', () => {
    expect(inlineElement('style', 'p > a { color: red }').text).toBe(
      '<style>p > a { color: red }</style>',
    );
    for (const content of ['a</script>', 'a</STYLE >', 'a<!--']) {
      expect(() => inlineElement('script', content)).toThrow(
        'the content of a script element would end it',
      );
    }
  });
});

describe('the policy of a page', () => {
  const page = htmlDocument({ title: 't', sections: [{ title: 's', blocks: [plot(plotOf({}))] }] });
  const policy = unescaped(/Content-Security-Policy" content="([^"]*)"/.exec(page)![1]!);
  const hashes = (directive: string): string[] =>
    [...new RegExp(`${directive}([^;]*)`).exec(policy)![1]!.matchAll(/'sha256-([^']*)'/g)].map(
      ([, hash]) => hash!,
    );
  const sha256 = (text: string): string => createHash('sha256').update(text).digest('base64');

  it('lets run what stands in it, and nothing else', () => {
    const scripts = [...page.matchAll(/<script(?: type="module")?>(.*?)<\/script>/gs)].map(
      ([, content]) => content!,
    );
    const styles = [...page.matchAll(/<style>(.*?)<\/style>/gs)].map(([, content]) => content!);
    expect([scripts.length, styles.length]).toEqual([2, 1]);
    expect(hashes('script-src')).toEqual(scripts.map(sha256));
    expect(hashes('style-src')).toEqual(styles.map(sha256));
    expect(policy).toMatch(/^default-src 'none';/);
    expect(policy).not.toMatch(/unsafe|https?:|\*/);
  });

  it('is kept by the page: nothing is named that a browser would fetch', () => {
    const markup = page.replaceAll(/<(script|style)\b.*?<\/\1>/gs, '');
    expect([...markup.matchAll(/(?:src|href)="([^":]*:)/g)].map(([, scheme]) => scheme)).toEqual([
      'data:',
    ]);
    expect(page).not.toMatch(/sourceMappingURL|@import|url\(/);
  });
});

describe('cells', () => {
  it('part thousands, carry a tone, and stand to the right under a head that does', () => {
    const { text } = table({
      columns: ['what', { right: 'value' }],
      rows: [
        ['one', 1234567.89],
        ['two', { text: 0.5, tone: 'bad' }],
      ],
    });
    expect(text).toMatch(
      /<th scope="row">one<\/th>\s*<td class="right" data-head="value">\s*<span>1,234,567.89<\/span>/,
    );
    expect(text).toMatch(
      /<th scope="row">two<\/th>\s*<td class="right bad" data-head="value">\s*<span>0.5<\/span>/,
    );
  });
});

describe('what a plot draws', () => {
  it.each([
    ['bytes', [0, 900], ['B', 900]],
    ['bytes', [1024, 3 * 1024 ** 2], ['MiB', 3]],
    ['bytes per second', [2 * 1024 ** 3], ['GiB/s', 2]],
    ['ms', [0.25], ['µs', 250]],
    ['ms', [1, 1999], ['ms', 1999]],
    ['ms', [1, 4000], ['s', 4]],
    ['seconds', [299], ['s', 299]],
    ['seconds', [600], ['min', 10]],
    ['count', [9999], ['', 9999]],
    ['count', [15_000], ['thousand', 15]],
    ['per second', [1_500_000], ['million/s', 1.5]],
    ['share', [0.5], ['%', 50]],
    ['ms', [], ['µs', undefined]],
  ] as const)('tells %s up to %j in %j', (quantity, values, [unit, last]) => {
    const { y, data } = drawingOf(
      plotOf({
        y: { label: 'y', quantity },
        xs: [...values.keys()],
        series: [{ label: 'a', values }],
      }),
    );
    expect([y.unit, data[1]!.at(-1)]).toEqual([
      unit,
      last === undefined ? undefined : expect.closeTo(last),
    ]);
  });

  it('takes one unit for all series, and on a logarithmic axis that of the least value', () => {
    const series = [
      { label: 'a', values: [1, 2] },
      { label: 'b', values: [null, 5000] },
    ];
    expect(drawingOf(plotOf({ series }))).toMatchObject({
      y: { unit: 's' },
      data: [
        [0, 1],
        [0.001, 0.002],
        [null, 5],
      ],
    });
    const log = drawingOf(plotOf({ y: { ...LATENCY, spread: 'log' }, series }));
    expect(log).toMatchObject({
      y: { unit: 'ms' },
      data: [
        [0, 1],
        [1, 2],
        [null, 5000],
      ],
    });
  });

  it('leaves out what has no place: no number, and nothing on a logarithmic axis', () => {
    const values = [Number.NaN, Infinity, 0, -1, 2];
    const xs = [0, 1, 2, 3, 4];
    const drawn = (spread: 'linear' | 'log'): unknown =>
      drawingOf(plotOf({ xs, y: { ...LATENCY, spread }, series: [{ label: 'a', values }] }))
        .data[1];
    expect(drawn('linear')).toEqual([null, null, 0, -1, 2]);
    expect(drawn('log')).toEqual([null, null, null, null, 2]);
  });

  it('puts marks where the values are, and leaves percentiles as they are', () => {
    expect(drawingOf(plotOf({ xs: [0, 1200], marks: [{ x: 600, label: 'half' }] }))).toMatchObject({
      x: { unit: 'min' },
      data: [
        [0, 20],
        [expect.anything(), expect.anything()],
      ],
      marks: [{ x: 10, label: 'half' }],
    });
    const marks = [
      { x: 9, label: 'late' },
      { x: 1, label: 'early' },
    ];
    expect(drawingOf(plotOf({ xs: [0, 10], marks })).marks.map(({ label }) => label)).toEqual([
      'early',
      'late',
    ]);
    const percentiles = plotOf({
      x: { label: 'p', quantity: 'count', spread: 'percentile' },
      xs: [0, 99.9],
    });
    expect(drawingOf(percentiles)).toMatchObject({
      x: { unit: '%', spread: 'percentile' },
      data: [
        [0, 99.9],
        [1, 2],
      ],
    });
  });

  it.each([
    ['events', 'per second', [10], 'events/s'],
    ['events', 'per second', [15_000], 'thousand events/s'],
    ['latency', 'ms', [12], 'latency (ms)'],
    ['lines', 'count', [10], 'lines'],
    ['lines', 'count', [15_000], 'lines (thousand)'],
    ['traffic', 'bytes per second', [2048], 'traffic (KiB/s)'],
    ['share of a core', 'share', [1], 'share of a core (%)'],
  ] as const)('names an axis of %s %s up to %j: %s', (label, quantity, values, title) => {
    const axis = { label, quantity };
    const drawing = drawingOf(
      plotOf({ x: axis, y: axis, xs: values, series: [{ label: 'a', values }] }),
    );
    expect([drawing.x.title, drawing.y.title]).toEqual([title, title]);
  });

  it('is told in words', () => {
    const { text } = plot(
      plotOf({
        series: [
          { label: 'p99', values: [3, 12.345] },
          { label: 'none', values: [null, null] },
        ],
      }),
    );
    expect(text).toContain(
      'aria-label="A plot, latency over after the start. p99 from 3 to 12.3 ms; none: no values."',
    );
  });
});
