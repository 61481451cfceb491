/**
 * The page of every HTML report: one file that needs no network, in the reader's colour scheme, for
 * laptop and phone. Its content is made of blocks: figures, tables, notes, commands and plots.
 */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { html, Html, inlineElement } from './html.js';
import { decimal } from './words.js';

/** The meaning of a note, a figure or a cell. It sets the colour, which is never the only sign. */
export type Tone = 'plain' | 'good' | 'warning' | 'bad';

/** A whole report. */
export interface Page {
  readonly title: string;
  /** What was run, in one line of text. */
  readonly subtitle?: string;
  /** The result, in a sentence or two. */
  readonly verdict?: { readonly text: string; readonly tone: Tone };
  readonly sections: readonly Section[];
  /** Where and when it was measured. */
  readonly footer?: string;
}

/** A part of a report with its own heading. */
export interface Section {
  readonly title: string;
  /** A sentence about what is shown. */
  readonly intro?: string;
  /** Two plots are side by side where there is room; other blocks take the whole width. */
  readonly blocks: readonly Html[];
}

/** One large figure. */
export interface Figure {
  readonly label: string;
  readonly value: string;
  /** A few more words about the value. */
  readonly detail?: string;
  readonly tone?: Tone;
}

/** A cell of a table. Numbers get thousands separators. */
export type Cell = string | number | Html | { readonly text: string | number; readonly tone: Tone };

/** A table. */
export interface Table {
  readonly caption?: string;
  /** A column with its name under `right` holds figures and is right-aligned. */
  readonly columns: readonly (string | { readonly right: string })[];
  /** The first cell of a row names it. */
  readonly rows: readonly (readonly Cell[])[];
}

/** The report as the text of an HTML file. */
export function htmlDocument(page: Page): string {
  const { title, subtitle, verdict, sections, footer } = page;
  const { style, library, program, policy } = (parts ??= readParts());
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta http-equiv="Content-Security-Policy" content="${policy}" />
        <title>${title}</title>
        <link rel="icon" href="${ICON}" />
        ${style}
      </head>
      <body>
        <header class="top">
          <div>
            <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
              <rect width="32" height="32" rx="8" />
              <path d="M7 16h8m0 0 7-7m-7 7h9m-9 0 7 7" />
            </svg>
            <div>
              <h1>${title}</h1>
              ${subtitle === undefined ? [] : html`<p>${subtitle}</p>`}
            </div>
          </div>
        </header>
        <main>
          ${verdict === undefined ? [] : html`<p class="verdict ${verdict.tone}">${proseOf(verdict.text)}</p>`}
          ${sections.map(sectionOf)}
        </main>
        ${footer === undefined ? [] : html`<footer>${footer}</footer>`}
        <!-- uPlot, https://github.com/leeoniya/uPlot, MIT License, Copyright (c) 2022 Leon Sorokin -->
        ${library} ${program}
      </body>
    </html> `.text;
}

/**
 * The figures that a reader should see first, in rows without a hole: a last row with fewer of them
 * has wider ones.
 */
export function figures(items: readonly Figure[]): Html {
  return html`<dl class="figures by-${figuresInRow(items.length)}">
    ${items.map(
      ({ label, value, detail, tone = 'plain' }) =>
        html`<div class="${tone}">
          <dt>${label}</dt>
          <dd>${value}</dd>
          ${detail === undefined ? [] : html`<dd class="detail">${detail}</dd>`}
        </div>`,
    )}
  </dl>`;
}

/** A table with more columns than this scrolls sideways on a phone; others are stacked there. */
const STACKED_COLUMNS_MAX = 5;

/**
 * Rows under column heads. On a phone each row of a table with few columns is a block, whose cells
 * have the head beside them. One with many columns scrolls sideways, and says so where it does.
 */
export function table({ caption, columns, rows }: Table): Html {
  const heads = columns.map((column) =>
    typeof column === 'string' ? { text: column, side: '' } : { text: column.right, side: 'right' },
  );
  const cells = (row: readonly Cell[]): Html[] =>
    row.map((cell, index) => {
      if (index === 0) return html`<th scope="row">${contentOf(cell)}</th>`;
      const { text = '', side = '' } = heads[index] ?? {};
      const names = [side, toneOf(cell), cell === '' ? 'empty' : ''].join(' ').trim();
      return html`<td class="${names}" data-head="${text}"><span>${contentOf(cell)}</span></td>`;
    });
  const kind = heads.length > STACKED_COLUMNS_MAX ? 'sideways' : 'stacked';
  return html`<div class="table ${kind}">
    <p class="hint">This table is wider than the window: scroll it sideways.</p>
    <div class="scroll" tabindex="0" role="region" aria-label="${caption ?? 'Table'}">
      <table>
        ${
          caption === undefined
            ? []
            : html`<caption>
                ${caption}
              </caption>`
        }
        <thead>
          <tr>
            ${heads.map(({ text, side }) => html`<th scope="col" class="${side}">${text}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${rows.map(
            (row) =>
              html`<tr>
                ${cells(row)}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </div>`;
}

/** Names with their values, without column heads. */
export function pairs(rows: readonly (readonly [name: string, value: Cell])[]): Html {
  return html`<dl class="pairs">
    ${rows.map(
      ([name, value]) =>
        html`<div>
          <dt>${name}</dt>
          <dd class="${toneOf(value)}">${contentOf(value)}</dd>
        </div>`,
    )}
  </dl>`;
}

/** A sentence or two that a reader must not miss. */
export function note(text: string, tone: Tone = 'plain'): Html {
  return html`<p class="note ${tone}">${proseOf(text)}</p>`;
}

/** A shell command for copying. */
export function command(text: string): Html {
  return html`<pre class="command"><code>${text}</code></pre>`;
}

function sectionOf({ title, intro, blocks }: Section): Html {
  return html`<section>
    <h2>${title}</h2>
    ${intro === undefined ? [] : html`<p class="intro">${intro}</p>`}
    <div class="blocks">${blocks}</div>
  </section> `;
}

function contentOf(cell: Cell): Html {
  if (cell instanceof Html) return cell;
  const content = typeof cell === 'object' ? cell.text : cell;
  return proseOf(typeof content === 'number' ? decimal(content) : content);
}

/** An option of the command line. */
const FLAG = /(--[a-z][a-z-]*)/;

/** Text in which no option of the command line breaks at its hyphens. */
function proseOf(text: string): Html {
  const pieces = text.split(FLAG);
  return html`${pieces.map((piece, index) =>
    index % 2 === 1 ? html`<span class="flag">${piece}</span>` : html`${piece}`,
  )}`;
}

/** Three or four, whichever leaves the fewer places of the last row free. */
function figuresInRow(count: number): 3 | 4 {
  const free = (columns: number): number => (columns - (count % columns)) % columns;
  return free(3) < free(4) ? 3 : 4;
}

function toneOf(cell: Cell): string {
  return typeof cell === 'object' && !(cell instanceof Html) ? cell.tone : '';
}

const ICON =
  'data:image/svg+xml,' +
  encodeURIComponent(
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><rect width='32' height='32' " +
      "rx='8' fill='#0b6b60'/>" +
      "<path d='M7 16h8m0 0 7-7m-7 7h9m-9 0 7 7' stroke='#fff' stroke-width='2.5' " +
      "stroke-linecap='round' fill='none'/></svg>",
  );

/**
 * The inline parts of every report, and the policy with which nothing else runs and nothing is
 * loaded (CSP Level 3).
 */
interface Parts {
  readonly style: Html;
  readonly library: Html;
  readonly program: Html;
  readonly policy: string;
}

/** Read for the first report. */
let parts: Parts | undefined;

function readParts(): Parts {
  const { resolve } = createRequire(import.meta.url);
  const libraryText = (file: string): string => readFileSync(resolve(`uplot/dist/${file}`), 'utf8');
  // The page's program is in dist/, which has the same path from src/ and from dist/.
  const ownText = (file: string): string =>
    readFileSync(new URL(`../../../dist/browser/${file}`, import.meta.url), 'utf8');
  const style = libraryText('uPlot.min.css') + ownText('report.css');
  const library = libraryText('uPlot.iife.min.js');
  const program = ownText('report.js').replace(/^\/\/# sourceMappingURL=.*$/m, '');
  const policy =
    `default-src 'none'; script-src ${hashOf(library)} ${hashOf(program)}; style-src ` +
    `${hashOf(style)}; img-src data:; ` +
    "base-uri 'none'; form-action 'none'";
  return {
    style: inlineElement('style', style),
    library: inlineElement('script', library),
    program: inlineElement('script', program, 'module'),
    policy,
  };
}

function hashOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}
