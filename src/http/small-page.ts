/**
 * A small page of HTML for people who open the server in a browser: the frame and the look of `/`
 * and of refusals. It is whole in itself; its policy lets nothing run and nothing be loaded.
 */
import { createHash } from 'node:crypto';
import type { Headers } from './answer.js';

export const PAGE_CONTENT_TYPE = 'text/html; charset=utf-8';

const MARK =
  "%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Crect width='32' height='32' rx='8' fill='%230b6b60'/%3E%3Cpath d='M7 16h8m0 0 7-7m-7 7h9m-9 0 7 7' stroke='%23fff' stroke-width='2.5' stroke-linecap='round' fill='none'/%3E%3C/svg%3E";

/** The colours are those of the demo (browser/demo.css). */
const STYLE = `
:root { color-scheme: light dark; --page: light-dark(#f3f5f3, #0e1413); --card: light-dark(#fff, #161e1d);
  --ink: light-dark(#14201e, #e4ecea); --muted: light-dark(#55625f, #97a8a4); --edge: light-dark(#dbe2de, #27322f);
  --accent: light-dark(#0b6b60, #4fc7b5); --on-accent: light-dark(#fff, #06231f); --raw: light-dark(#14201e, #0a100f);
  font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif }
* { box-sizing: border-box }
body { max-width: 68rem; margin: 0 auto; padding: 40px 20px 56px; background: var(--page); color: var(--ink) }
h1, h2, p, pre, ul { margin: 0; padding: 0 }
header { display: flex; align-items: center; gap: 12px; margin-bottom: 18px }
header img { width: 36px; height: 36px }
h1 { font-size: 1.5rem; letter-spacing: -.01em }
h2 { font-size: 1.05rem }
a { color: var(--accent) }
a:focus-visible, pre:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
code, pre { font: .82em/1.55 ui-monospace, 'SF Mono', 'Cascadia Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace }
code { white-space: nowrap }
pre { padding: 10px 14px; white-space: pre-wrap; overflow-wrap: anywhere; border-radius: 8px; background: var(--raw); color: #d3e2de; color-scheme: dark }
.lead { max-width: 46rem; margin-bottom: 24px; font-size: 1.15rem }
.button { display: inline-block; margin-bottom: 28px; padding: 10px 20px; border-radius: 8px; background: var(--accent);
  color: var(--on-accent); font-weight: 600; text-decoration: none }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: 14px }
.card { display: grid; gap: 10px; align-content: start; min-width: 0; padding: 18px 20px 20px; border: 1px solid var(--edge);
  border-radius: 10px; background: var(--card) }
.card p, .muted { color: var(--muted); font-size: .92rem }
ul { display: flex; flex-wrap: wrap; gap: 2px 18px; list-style: none }
.message { max-width: 46rem; overflow-wrap: anywhere }`;

/** Nothing but the style, by its hash, and the mark (CSP Level 3). */
export const PAGE_HEADERS: Headers = [
  [
    'Content-Security-Policy',
    `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  ],
];

/** The page; `content` is HTML. */
export function smallPage(title: string, heading: string, content: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<link rel="icon" href="data:image/svg+xml,${MARK}">
<style>${STYLE}</style>
</head>
<body>
<header><img src="data:image/svg+xml,${MARK}" alt=""><h1>${escapeHtml(heading)}</h1></header>
${content}
</body>
</html>
`;
}

/** Text as HTML, between tags and in quoted attributes. */
export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
