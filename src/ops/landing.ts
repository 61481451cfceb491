/** `/`: what the server is and how to try it, for people who open it in a browser. */
import type { Head } from '../http/head.js';
import { escapeHtml, smallPage } from '../http/small-page.js';
import { shownPathOf, type OpsPages } from './page.js';

/** What may stand in a Host; anything else would break a command that is copied. */
const HOST = /^[\w.:[\]-]{1,255}$/;

/** What the page says of the server. */
export interface LandingParts {
  readonly pages: OpsPages;
  /** Who may publish: everyone, clients with a credential, or nobody. */
  readonly publishing: 'open' | 'key' | 'off';
  /** Path below which everything is; empty for the root. */
  readonly basePath: string;
  /** The server itself has the TLS. */
  readonly isTls: boolean;
  /** Operations are on a port of their own. */
  readonly hasOpsPort: boolean;
}

/** The page, with commands for the address that it was asked for at. */
export function landingPage(parts: LandingParts, head: Head): string {
  const { pages, publishing, basePath, isTls, hasOpsPort } = parts;
  const origin = `${originOf(head, isTls)}${basePath}`;
  const demo = pages.has('demo')
    ? `<a class="button" href="${basePath}/-/demo">See it at work: open the demo</a>`
    : '';
  return smallPage(
    'Holdline',
    'Holdline',
    `<p class="lead">Clients do not ask “anything new yet?”. This server holds the line open and pushes each event to everyone at once.</p>
${demo}
<div class="cards">
<section class="card"><h2>Listen</h2>
<p>Every channel is a path. Its line stays open:</p>
${pre(`curl -N ${origin}/notifications`)}
<p>Or <a href="${basePath}/notifications">open /notifications</a> in a tab, leave it open, and publish to it.</p>
</section>
<section class="card"><h2>Publish</h2>
${publishCard(publishing, origin)}
</section>
<section class="card"><h2>In a page</h2>
<p>It comes back by itself after a loss, and gets what it missed:</p>
${pre(`const feed = new EventSource('${basePath}/notifications');\nfeed.addEventListener('notice', (event) =>\n  console.log(event.data));`)}
</section>
<section class="card"><h2>Operate</h2>
<ul>${['/-/health', '/-/ready', '/-/openapi.json'].map((path) => `<li><a href="${basePath}${path}">${path}</a></li>`).join('')}</ul>
${hasOpsPort ? '<p>Operations have a port of their own.</p>' : operations(pages, origin)}
</section>
</div>`,
  );
}

function operations(pages: OpsPages, origin: string): string {
  return `<p>With the ops key: ${withKey(pages)}</p>
${pre(`curl -H 'Authorization: Bearer OPS_KEY' \\\n  ${origin}/-/stats`)}`;
}

function publishCard(publishing: LandingParts['publishing'], origin: string): string {
  const url = `'${origin}/notifications?event=notice'`;
  if (publishing === 'open')
    return `<p>The body is the event’s data, the query its type:</p>\n${pre(`curl -d hello \\\n  ${url}`)}`;
  if (publishing === 'off')
    return '<p>Nobody may publish here. Start the server with <code>--publish-key KEY</code>, or with <code>--open-publish</code> for everyone.</p>';
  return `<p>The body is the event’s data, the query its type. It takes a credential that may publish:</p>\n${pre(`curl -d hello \\\n  -H 'Authorization: Bearer PUBLISH_KEY' \\\n  ${url}`)}`;
}

function withKey(pages: OpsPages): string {
  return [...pages]
    .filter(([, { access }]) => access === 'key')
    .map(([name]) => `<code>${shownPathOf(name)}</code>`)
    .join(' ');
}

/** Commands. Where they are wider than their card, they wrap between parts of the URL. */
function pre(text: string): string {
  const parts = text.split(/(?<=\w\/|[?&,(])/);
  return `<pre>${parts.map(escapeHtml).join('<wbr>')}</pre>`;
}

function originOf(head: Head, isTls: boolean): string {
  const host = head.get('host');
  // A proxy that says so has the TLS; nothing but these words depends on it.
  const scheme = isTls || head.get('x-forwarded-proto') === 'https' ? 'https' : 'http';
  return `${scheme}://${HOST.test(host) ? host : 'localhost:8080'}`;
}
