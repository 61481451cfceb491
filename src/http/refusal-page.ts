/** A refusal as a page, for a browser that shows what it was answered. */
import { STATUS_CODES } from 'node:http';
import { statusOf, type HoldlineError } from '../errors.js';
import type { Head } from './head.js';
import { escapeHtml, smallPage } from './small-page.js';

/** HTML in an Accept, unless with the weight that says no (RFC 9110, 12.4.2). */
const ASKS_FOR_HTML = /\btext\/html\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/i;

/** True if a person will see the answer: only browsers ask for HTML, and only for a whole page. */
export function wantsPage(head: Head): boolean {
  return (
    (head.method === 'GET' || head.method === 'HEAD') && ASKS_FOR_HTML.test(head.get('accept'))
  );
}

/** The page; `homePath` is that of the page that says what the server offers. */
export function refusalPage(error: HoldlineError, homePath: string): string {
  const status = statusOf(error);
  const title = `${status} ${STATUS_CODES[status] ?? ''}`.trim();
  return smallPage(
    title,
    title,
    `<p class="message lead">${escapeHtml(error.message)}</p>
<p class="muted"><code>${error.code}</code> · <a href="${homePath}">What this server offers</a></p>`,
  );
}
