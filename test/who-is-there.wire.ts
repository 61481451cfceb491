/** `/-/channels`, `/-/channels/NAME` and `DELETE /-/connections` on a real server. */
import { SignJWT } from 'jose';
import { afterEach, describe, expect, test } from 'vitest';
import { createServer, type Server } from '../dist/index.js';
import { SseLine } from './support/line.js';
import { WebSocketLine } from './support/websocket.js';
import {
  codeOf,
  jsonOf,
  RawConnection,
  request,
  requestBytes,
  type Answer,
} from './support/wire.js';

const SECRET = 'a-secret-of-thirty-two-bytes-or-more';
const OPS = { Authorization: 'Bearer ops' };
const servers: Server[] = [];
const open: { close(): void }[] = [];

afterEach(async () => {
  for (const one of open.splice(0)) one.close();
  await Promise.all(servers.splice(0).map((server) => server.close({ drainMs: 0 })));
});

async function listening(
  options: Parameters<typeof createServer>[0] = {},
): Promise<{ server: Server; port: number }> {
  const server = createServer({
    port: 0,
    firstId: 1,
    opsKey: 'ops',
    publishKey: 'publish',
    jwtSecret: SECRET,
    ticketSecret: [SECRET],
    openSubscribe: true,
    // All lines of these tests come from one address.
    maxConnections: 5_000,
    ...options,
  });
  servers.push(server);
  const { port } = await server.listen();
  return { server, port };
}

/** Issued some seconds before now. */
function tokenOf(user: string, agoSeconds = 1): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const holdline = { subscribe: ['**'], publish: ['**'] };
  return new SignJWT({ sub: user, iat: now - agoSeconds, exp: now + 600, holdline })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(new TextEncoder().encode(SECRET));
}

const bearer = (text: string) => ({ Authorization: `Bearer ${text}` });

async function line(port: number, path: string, headers = {}): Promise<SseLine> {
  const opened = await SseLine.open(port, path, { headers });
  open.push(opened);
  return opened;
}

const get = (port: number, path: string, headers: Record<string, string> = OPS): Promise<Answer> =>
  request(port, 'GET', path, { headers });

const end = (port: number, query: string, headers: Record<string, string> = OPS): Promise<Answer> =>
  request(port, 'DELETE', `/-/connections${query}`, { headers });

interface Listed {
  readonly channels: readonly { readonly name: string; readonly lines: number }[];
  readonly next: string | null;
}

describe('channels', () => {
  test('are listed in pages, by lines or by rate', async () => {
    const { server, port } = await listening();
    for (const path of ['/a', '/org/7/x', '/org/7/x', '/b']) await line(port, path);
    for (let i = 0; i < 3; i++) await server.channel('a:loud').publish({ data: 'x' });
    await server.channel('b').publish({ data: 'x' });
    const page = async (query: string): Promise<Listed> =>
      jsonOf(await get(port, `/-/channels${query}`)) as Listed;
    const names = ({ channels }: Listed): string[] => channels.map(({ name }) => name);
    const first = await page('?limit=2');
    expect([names(first), first.next]).toEqual([['org/7/x', 'a'], '1:a']);
    expect(first).toMatchObject({ sort: 'lines', channels: [{ lines: 2 }, { lines: 1 }] });
    const second = await page(`?limit=2&after=${first.next}`);
    expect([names(second), second.next]).toEqual([['b', 'a:loud'], null]);
    const rates = await page('?sort=rate&limit=1');
    expect([names(rates), rates.next]).toEqual([['a:loud'], '3:a:loud']);
    expect(names(await page(`?sort=rate&after=${rates.next}`))).toEqual(['b', 'a', 'org/7/x']);
  });

  test('one by its name, of several segments, too, with its users when they are asked for', async () => {
    const { port } = await listening();
    await line(port, '/org/7/x', bearer(await tokenOf('ada')));
    await line(port, '/org/7/x');
    const answer = await get(port, '/-/channels/org/7/x');
    expect(answer.headers.get('cache-control')).toBe('no-store');
    const shown = jsonOf(answer) as object;
    expect(shown).toMatchObject({ name: 'org/7/x', lines: 2, linesByTransport: { sse: 2 } });
    expect(shown).not.toHaveProperty('users');
    expect(jsonOf(await get(port, '/-/channels/org/7/x?users=1'))).toMatchObject({
      users: [{ user: 'ada', lines: 1 }],
      usersTotal: 1,
      linesWithoutUser: 1,
    });
  });

  test.each([
    ['/-/channels/nobody', OPS, 404, 'HOLDLINE_NOT_FOUND'],
    ['/-/channels/', OPS, 400, 'HOLDLINE_BAD_CHANNEL'],
    ['/-/channels/a//b', OPS, 404, 'HOLDLINE_NOT_FOUND'],
    ['/-/channels/a%20b', OPS, 400, 'HOLDLINE_BAD_CHANNEL'],
    ['/-/channels/a?users=yes', OPS, 400, 'HOLDLINE_BAD_QUERY'],
    ['/-/channels?sort=name', OPS, 400, 'HOLDLINE_BAD_QUERY'],
    ['/-/channels?limit=1001', OPS, 400, 'HOLDLINE_BAD_QUERY'],
    ['/-/channels?after=a', OPS, 400, 'HOLDLINE_BAD_QUERY'],
    ['/-/channels', {}, 401, 'HOLDLINE_UNAUTHORIZED'],
    ['/-/channels/a', {}, 401, 'HOLDLINE_UNAUTHORIZED'],
    ['/-/channels', bearer('publish'), 403, 'HOLDLINE_FORBIDDEN'],
    ['/-/channels/a?users=1', bearer('publish'), 403, 'HOLDLINE_FORBIDDEN'],
    ['/-/stats/more', OPS, 404, 'HOLDLINE_NOT_FOUND'],
  ] as const)('%s with %o is %d %s', async (path, headers, status, code) => {
    const { port } = await listening();
    const answer = await get(port, path, { ...headers });
    expect([answer.status, codeOf(answer)]).toEqual([status, code]);
    const other = await request(port, 'POST', '/-/channels/a', { headers: OPS });
    expect([other.status, other.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  });
});

describe('to end', () => {
  test('one line by its id, as /-/connections shows it; its client may come back', async () => {
    const { port } = await listening();
    const [one, other] = [await line(port, '/c'), await line(port, '/c')];
    const { connections } = jsonOf(await get(port, '/-/connections?sort=age')) as {
      connections: { id: number }[];
    };
    const ids = connections.map(({ id }) => id).toSorted((a, b) => a - b);
    expect(jsonOf(await end(port, `?id=${ids[0]}`))).toEqual({ ended: 1, id: ids[0] });
    await one.waitForEnd();
    expect(one.blocks.at(-1)!.data).toBe('{"code":"disconnected","reconnect":true}');
    expect(jsonOf(await end(port, `?id=${ids[0]}`))).toEqual({ ended: 0, id: ids[0] });
    expect(other.closed).toBe(false);
  });

  test('all lines of a channel, on every transport', async () => {
    const { server, port } = await listening();
    const sse = await line(port, '/org/7/x');
    const both = await line(port, '/org/7/x,other');
    const websocket = await WebSocketLine.open(port, '/org/7/x');
    open.push({ close: () => websocket.connection.destroy() });
    const poll = get(port, '/org/7/x?since=latest&wait=30');
    await expect.poll(() => server.stats().lines.open, { interval: 5 }).toBe(4);
    const control = await line(port, '/other');
    expect(jsonOf(await end(port, '?channel=org/7/x'))).toEqual({ ended: 4, channel: 'org/7/x' });
    await Promise.all([sse.waitForEnd(), both.waitForEnd()]);
    await websocket.waitFor('the close', () => websocket.closed);
    expect([sse.endCode, both.endCode, websocket.end?.code]).toEqual(
      Array.from({ length: 3 }, () => 'disconnected'),
    );
    expect((await poll).status).toBe(204);
    expect(control.closed).toBe(false);
    expect(server.stats().counters.closed.disconnected).toBe(4);
  });

  test('a user with 1,000 lines: all end with revoked, older tokens and tickets are refused, others notice nothing', async () => {
    const { server, port } = await listening();
    const token = await tokenOf('ada');
    const ticketBody = JSON.stringify({ channels: ['c'] });
    const made = await request(port, 'POST', '/-/tickets', {
      headers: bearer(token),
      body: ticketBody,
    });
    const { ticket } = jsonOf(made) as { ticket: string };
    const bytes = requestBytes(port, 'GET', '/c', {
      headers: { Accept: 'application/x-ndjson', ...bearer(token) },
    });
    const lines: RawConnection[] = [];
    for (let i = 0; i < 1_000; i += 100) {
      const some = await Promise.all(Array.from({ length: 100 }, () => RawConnection.open(port)));
      for (const one of some) {
        one.send(bytes);
        open.push({ close: () => one.destroy() });
      }
      lines.push(...some);
    }
    await expect.poll(() => server.stats().lines.open, { interval: 10 }).toBe(1_000);
    const bob = await line(port, '/c', bearer(await tokenOf('bob')));

    expect(jsonOf(await end(port, '?user=ada'))).toEqual({ ended: 1_000, user: 'ada' });
    expect(jsonOf(await end(port, '?user=ann+x'))).toEqual({ ended: 0, user: 'ann x' });
    const id = await server.channel('c').publish({ data: 'only for bob' });
    await bob.waitForId(id);
    for (const one of lines) await one.waitFor('the end', () => one.text.includes('"end"'));
    for (const { text } of lines) {
      expect(text).toContain('{"end":{"code":"revoked","reconnect":false}}');
      expect(text).not.toContain('only for bob');
    }
    for (const [path, headers] of [
      ['/c', bearer(token)],
      [`/c?ticket=${ticket}`, {}],
    ] as const) {
      const again = await get(port, path, { ...headers, Accept: 'application/x-ndjson' });
      expect([again.status, codeOf(again)]).toEqual([403, 'HOLDLINE_REVOKED']);
    }
    // Times of issue are in whole seconds.
    await line(port, '/c', bearer(await tokenOf('ada', -1)));
    expect(bob.closed).toBe(false);
    const { counters } = server.stats();
    expect([counters.closed.revoked, counters.revocations_total]).toEqual([1_000, 2]);
  });

  test('a user whom the program calls otherwise: the lines of their credential end', async () => {
    const authorize = (): { allow: true; user: string } => ({ allow: true, user: '42' });
    const { server, port } = await listening({ authorize });
    const own = await line(port, '/c', bearer(await tokenOf('ada')));
    const other = await line(port, '/c', bearer(await tokenOf('bob')));
    expect(jsonOf(await end(port, '?user=ada'))).toEqual({ ended: 1, user: 'ada' });
    const id = await server.channel('c').publish({ data: 'only for bob' });
    await other.waitForId(id);
    await own.waitForEnd();
    expect([own.endCode, own.ids]).toEqual(['revoked', []]);
  });

  test.each([
    ['text/plain', '/c', 'begun'],
    ['application/json', '/c', '{"a":1}'],
    ['application/x-ndjson', '/c', '{"data":1}\n'],
    ['application/x-ndjson', '/-/publish', '{"channel":"c","data":1}\n'],
  ])('a user whose publish as %s to %s has begun publishes nothing', async (type, path, body) => {
    const { server, port } = await listening();
    const headers = { ...bearer(await tokenOf('ada')), 'Content-Type': type };
    const bytes = requestBytes(port, 'POST', path, { headers, body }).toString();
    const publisher = await RawConnection.open(port);
    open.push({ close: () => publisher.destroy() });
    publisher.send(bytes.slice(0, -3));
    await expect.poll(() => server.stats().counters.requests_total, { interval: 5 }).toBe(1);
    // It has been let in when one that came later is.
    expect((await get(port, '/c?since=0&wait=0', headers)).status).toBe(204);
    expect((await end(port, '?user=ada')).status).toBe(200);
    publisher.send(bytes.slice(-3));
    await publisher.waitFor('the answer', () => publisher.text.includes('"error"'));
    expect(publisher.text).toMatch(/^HTTP\/1.1 403 [^]*HOLDLINE_REVOKED/);
    expect(server.stats().counters.events_accepted_total).toBe(0);
  });

  test.each([
    ['', OPS, 400, 'HOLDLINE_BAD_QUERY'],
    ['?id=1&channel=c', OPS, 400, 'HOLDLINE_BAD_QUERY'],
    ['?id=0', OPS, 400, 'HOLDLINE_BAD_QUERY'],
    ['?id=1e3', OPS, 400, 'HOLDLINE_BAD_QUERY'],
    ['?user=', OPS, 400, 'HOLDLINE_BAD_QUERY'],
    ['?user=a%0ab', OPS, 400, 'HOLDLINE_BAD_QUERY'],
    ['?chanel=c', OPS, 400, 'HOLDLINE_BAD_QUERY'],
    ['?channel=a%20b', OPS, 400, 'HOLDLINE_BAD_CHANNEL'],
    ['?channel=c', {}, 401, 'HOLDLINE_UNAUTHORIZED'],
    ['?user=ada', bearer('publish'), 403, 'HOLDLINE_FORBIDDEN'],
    ['?user=ada', { ...OPS, 'Sec-Fetch-Site': 'cross-site' }, 403, 'HOLDLINE_CROSS_SITE'],
  ] as const)('%s with %o is %d %s, and ends nothing', async (query, headers, status, code) => {
    const { server, port } = await listening();
    const held = await line(port, '/c', bearer(await tokenOf('ada')));
    const answer = await end(port, query, { ...headers });
    expect([answer.status, codeOf(answer)]).toEqual([status, code]);
    await server.channel('c').publish({ data: 'x' });
    await held.waitForEvents(1);
    expect(server.stats().counters.revocations_total).toBe(0);
  });
});
