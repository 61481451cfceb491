/**
 * A dashboard of counters. Each event is the whole picture, so the newest one is all that a page
 * needs: `?last=1` shows it at once, and whoever was away is current with the next.
 *
 *   node scripts/examples/dashboard.js         then open http://127.0.0.1:3000
 */
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'holdline';

const PORT = Number(process.env.PORT ?? 8080);
const APP_PORT = Number(process.env.APP_PORT ?? 3000);
const EVERY_MS = 1000;

const events = createServer({
  port: PORT,
  allowOrigin: [`http://127.0.0.1:${APP_PORT}`, `http://localhost:${APP_PORT}`],
  // Nobody reads yesterday's counters.
  replayEvents: 10,
});
await events.listen();

const counters = { orders: 0, visitors: 0, errors: 0 };
const channel = events.channel('counters');
/** What was published last: a quiet shop publishes nothing, and heartbeats keep lines open. */
let published = '';
async function publish() {
  const picture = JSON.stringify(counters);
  if (picture === published) return;
  published = picture;
  await channel.publish({
    event: 'counters',
    data: { ...counters, readers: events.stats().lines.open },
  });
}
await publish();
setInterval(() => void publish(), EVERY_MS);

const PAGE = `<!doctype html><meta charset="utf-8"><title>Dashboard</title>
<dl><dt>orders<dd id="orders">–<dt>visitors<dd id="visitors">–<dt>errors<dd id="errors">–</dl>
<button onclick="fetch('/count?name=orders', { method: 'POST' })">Order something</button>
<script type="module">
  const source = new EventSource('http://127.0.0.1:${PORT}/counters?last=1');
  source.addEventListener('counters', ({ data }) => {
    const counters = JSON.parse(data);
    for (const name of ['orders', 'visitors', 'errors'])
      document.querySelector('#' + name).textContent = counters[name];
  });
</script>`;

const app = createHttpServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  const name = searchParams.get('name');
  if (request.method === 'POST' && pathname === '/count' && Object.hasOwn(counters, name)) {
    counters[name]++;
    response.end(String(counters[name]));
  } else {
    if (pathname === '/') counters.visitors++;
    response.setHeader('Content-Type', 'text/html').end(PAGE);
  }
});
app.listen(APP_PORT, '127.0.0.1', () => console.log(`open http://127.0.0.1:${APP_PORT}`));
