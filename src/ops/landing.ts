/** `/`: a short page of links for people who open the server in a browser. */
import type { OpsPages } from './page.js';

export function landingPage(pages: OpsPages): string {
  const demo = pages.has('demo')
    ? '\n  <li><a href="/-/demo">/-/demo</a>: see it at work</li>'
    : '';
  const withKey = [...pages]
    .filter(([, { access }]) => access === 'key')
    .map(([name]) => `<code>/-/${name}</code>`);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Holdline</title>
<style>
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
  body { max-width: 40rem; margin: 4rem auto; padding: 0 1rem }
  code { font-size: .95em }
</style>
<h1>Holdline</h1>
<p>This server holds the line open and pushes each event out to everyone at once. Every channel is a path:
<code>GET /notifications</code> with <code>Accept: text/event-stream</code> listens, <code>POST /notifications</code> publishes.</p>
<ul>${demo}
  <li><a href="/notifications">/notifications</a>, a channel: leave it open and publish to it</li>
  <li><a href="/-/health">/-/health</a> and <a href="/-/ready">/-/ready</a></li>
  <li>${withKey.join(', ')}, with the ops key as <code>Authorization: Bearer</code></li>
</ul>
</html>
`;
}
