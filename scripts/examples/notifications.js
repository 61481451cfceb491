/**
 * Each user's own notifications, by the cookie of a session: `authorize` looks at the cookie that a
 * browser sends by itself, and lets a user listen to their own channel only.
 *
 *   node scripts/examples/notifications.js     then open http://127.0.0.1:3000
 */
import { randomUUID } from 'node:crypto';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'holdline';

const PORT = Number(process.env.PORT ?? 8080);
const APP_PORT = Number(process.env.APP_PORT ?? 3000);
const ORIGIN = `http://127.0.0.1:${APP_PORT}`;

/** Names of users by session. Yours are in a database, and `authorize` may be async. */
const sessions = new Map();

function userOf(cookies = '') {
  return sessions.get(/(?:^|;\s*)session=([^;]*)/.exec(cookies)?.[1]);
}

const events = createServer({
  port: PORT,
  // By name: only then may the page send its cookie along.
  allowOrigin: [ORIGIN],
  authorize: ({ action, channels, headers }) => {
    const user = userOf(headers.cookie);
    return (
      action === 'subscribe' &&
      user !== undefined &&
      channels.every((channel) => channel === `user-${user}`)
    );
  },
});
await events.listen();

const PAGE = `<!doctype html><meta charset="utf-8"><title>Notifications</title>
<p><a href="/login?user=ada">I am Ada</a> · <a href="/login?user=bob">I am Bob</a> ·
<button onclick="fetch('/notify?user=ada', { method: 'POST', body: 'Hello, Ada' })">Notify Ada</button></p>
<h1 id="user"></h1><ul></ul>
<script type="module">
  const user = await (await fetch('/me')).text();
  document.querySelector('#user').textContent = user;
  const url = 'http://127.0.0.1:${PORT}/user-' + user + '?last=20';
  // withCredentials sends the cookie to Holdline's port, too.
  const source = new EventSource(url, { withCredentials: true });
  source.addEventListener('notice', ({ data, lastEventId }) => {
    const item = document.createElement('li');
    item.textContent = data;
    item.dataset.id = lastEventId;
    document.querySelector('ul').prepend(item);
  });
</script>`;

const app = createHttpServer((request, response) => void respond(request, response));

async function respond(request, response) {
  const { pathname, searchParams } = new URL(request.url, ORIGIN);
  const user = searchParams.get('user');
  if (pathname === '/login' && /^[a-z]+$/.test(user)) {
    // Stands for your login, which asks for a password.
    const session = randomUUID();
    sessions.set(session, user);
    response.setHeader('Set-Cookie', `session=${session}; HttpOnly; SameSite=Lax; Path=/`);
    response.writeHead(303, { Location: '/' }).end();
  } else if (pathname === '/notify' && request.method === 'POST' && /^[a-z]+$/.test(user)) {
    let text = '';
    for await (const piece of request.setEncoding('utf8')) text += piece;
    const id = await events.channel(`user-${user}`).publish({ event: 'notice', data: text });
    response.end(String(id));
  } else if (pathname === '/me') {
    response.end(userOf(request.headers.cookie) ?? 'nobody');
  } else {
    response.setHeader('Content-Type', 'text/html').end(PAGE);
  }
}
app.listen(APP_PORT, '127.0.0.1', () => console.log(`open ${ORIGIN}`));
