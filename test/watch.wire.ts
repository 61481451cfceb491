/**
 * `/-/watch` on a real server: who may watch what, in both encodings, and every end of a stream.
 */
import { createHash } from 'node:crypto';
import { SignJWT } from 'jose';
import { afterAll, describe, expect, test } from 'vitest';
import { createServer, type Server } from '../dist/index.js';
import { CLOCK_TOLERANCE_MS } from '../src/limits.js';
import { SseLine } from './support/line.js';
import { readMetrics } from './support/prometheus.js';
import { handshakeBytes } from './support/websocket.js';
import {
  codeOf,
  jsonOf,
  RawConnection,
  request,
  requestBytes,
  ResponseReader,
  Watched,
  type Answer,
} from './support/wire.js';
import { until } from './support/until.js';

const SECRET = 'a-secret-of-thirty-two-bytes-or-more';
const servers: Server[] = [];
const open: { close(): void }[] = [];

// Its tests wait for seconds of the server, so they run side by side.
afterAll(async () => {
  for (const one of open.splice(0)) one.close();
  await Promise.all(servers.splice(0).map((server) => server.close({ drainMs: 0 })));
});

async function listening(): Promise<{ server: Server; port: number }> {
  const server = createServer({
    port: 0,
    opsKey: 'ops',
    jwtSecret: SECRET,
    openSubscribe: true,
    keys: [
      { name: 'on-call', sha256: createHash('sha256').update('on-call').digest('hex'), ops: true },
    ],
  });
  servers.push(server);
  const { port } = await server.listen();
  return { server, port };
}

function tokenFor(user: string, watch: readonly string[], seconds = 600): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({ sub: user, iat: now - 60, exp: now + seconds, holdline: { watch } })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(new TextEncoder().encode(SECRET));
}

/** A client of `/-/watch`, which believes what it is told. */
class WatchClient extends Watched {
  readonly known: Record<string, number> = {};
  resets = 0;
  text = '';
  end: { code: string; reconnect: boolean } | undefined;
  readonly connection: RawConnection;
  readonly reader: ResponseReader;
  #read = 0;

  constructor(connection: RawConnection) {
    super();
    this.connection = connection;
    this.reader = new ResponseReader((bytes) => this.#take(bytes.toString()));
    connection.consume = (bytes) => {
      this.reader.feed(bytes);
      this.changed();
    };
    connection.socket.on('close', () => this.changed());
    open.push(this);
  }

  static async open(port: number, key: string, accept = 'text/event-stream'): Promise<WatchClient> {
    const client = new WatchClient(await RawConnection.open(port));
    const headers = { Accept: accept, Authorization: `Bearer ${key}` };
    client.connection.send(requestBytes(port, 'GET', '/-/watch', { headers }));
    await client.waitFor('the head', () => client.reader.head);
    return client;
  }

  #take(text: string): void {
    this.text += text;
    for (;;) {
      const end = this.text.indexOf('\n', this.#read);
      if (end < 0) return;
      const row = this.text.slice(this.#read, end).replace(/^data: /, '');
      this.#read = end + 1;
      if (row.startsWith('{')) this.#row(JSON.parse(row) as Record<string, never>);
    }
  }

  #row(row: Record<string, never>): void {
    if ('reset' in row) {
      this.resets++;
      for (const name of Object.keys(this.known)) delete this.known[name];
    } else if ('end' in row) this.end = row['end'];
    else if ('code' in row) this.end = row as never;
    else if (row['subscribers'] === 0) delete this.known[row['channel']!];
    else this.known[row['channel']!] = row['subscribers']!;
  }

  knows(known: Record<string, number>): Promise<boolean> {
    const text = (counts: Record<string, number>): string =>
      Object.keys(counts)
        .toSorted()
        .map((name) => `${name} ${counts[name]}`)
        .join();
    return this.waitFor(`${text(known)}, and nothing else`, () => text(this.known) === text(known));
  }

  get isOver(): boolean {
    return this.reader.complete || this.connection.closed;
  }

  describe(): string {
    return JSON.stringify([this.known, this.end, this.text.slice(-300)]);
  }

  close(): void {
    this.connection.destroy();
  }
}

async function line(port: number, path: string): Promise<SseLine> {
  const opened = await SseLine.open(port, path);
  open.push(opened);
  return opened;
}

const ask = (port: number, path: string, headers = {}): Promise<Answer> =>
  request(port, 'GET', path, { headers });

const ENCODINGS = ['text/event-stream', 'application/x-ndjson'] as const;

test.concurrent('a producer learns when the first comes and when the last leaves', async () => {
  const { port } = await listening();
  const first = await line(port, '/org/7/a');
  const clients = await Promise.all(ENCODINGS.map((one) => WatchClient.open(port, 'ops', one)));
  const know = (known: Record<string, number>): Promise<unknown> =>
    Promise.all(clients.map((client) => client.knows(known)));
  for (const [i, { reader }] of clients.entries()) {
    const { status, headers } = reader.head!;
    const names = ['content-type', 'cache-control', 'x-accel-buffering'];
    expect([status, ...names.map((name) => headers.get(name))]).toEqual([
      200,
      ENCODINGS[i],
      'no-cache, no-transform',
      'no',
    ]);
  }
  await know({ 'org/7/a': 1 });
  const [events, lines] = clients.map(({ text }) => text);
  expect(events).toMatch(
    /^retry: \d+\ndata: {"reset":true}\n\ndata: {"channel":"org\/7\/a","subscribers":1}\n\n$/,
  );
  expect(lines).toBe('{"reset":true}\n{"channel":"org/7/a","subscribers":1}\n');
  const second = await line(port, '/org/7/a,other');
  await know({ 'org/7/a': 2, other: 1 });
  first.close();
  second.close();
  await know({});
  for (const { text, resets } of clients) {
    expect(text).toContain('{"channel":"org/7/a","subscribers":0}');
    expect(resets).toBe(1);
  }
});

test.concurrent('polls count while they wait, and the time between two of them does not', async () => {
  const { server, port } = await listening();
  const client = await WatchClient.open(port, 'ops');
  for (let i = 0; i < 8; i++) {
    const answer = ask(port, '/polled?since=latest&wait=5');
    await until('a poll waits', () => server.stats().lines.byTransport.poll === 1);
    if (i === 0) await client.knows({ polled: 1 });
    await server.channel('polled').publish({ data: `${i}` });
    expect((await answer).status).toBe(200);
  }
  await client.knows({});
  expect(client.text.match(/"polled"/g)).toHaveLength(2);
});

describe.concurrent('who may', () => {
  test('a token sees what its patterns match, and the library’s count is the same', async () => {
    const { server, port } = await listening();
    for (const path of ['/org/7/a', '/org/8/a', '/news']) await line(port, path);
    const client = await WatchClient.open(port, await tokenFor('ada', ['org/7/*', 'news']));
    await client.knows({ 'org/7/a': 1, news: 1 });
    await line(port, '/org/8/b');
    await line(port, '/org/7/b');
    await client.knows({ 'org/7/a': 1, 'org/7/b': 1, news: 1 });
    expect(client.text).not.toContain('org/8');
    expect(server.channel('org/7/b').subscribers).toBe(1);
    // Whoever may operate sees everything, also with a key that names no channel.
    const operator = await WatchClient.open(port, 'on-call');
    await operator.knows({ 'org/7/a': 1, 'org/7/b': 1, 'org/8/a': 1, 'org/8/b': 1, news: 1 });
  });

  test('nobody without that right: 401 without a credential or with a wrong one, else 403', async () => {
    const { port } = await listening();
    const wrong = await tokenFor('ada', []);
    for (const [headers, status, code] of [
      [{}, 401, 'HOLDLINE_UNAUTHORIZED'],
      [{ Authorization: 'Bearer nope' }, 401, 'HOLDLINE_UNAUTHORIZED'],
      [{ Authorization: `Bearer ${wrong}` }, 403, 'HOLDLINE_FORBIDDEN'],
    ] as const) {
      const answer = await ask(port, '/-/watch', headers);
      expect([answer.status, codeOf(answer)]).toEqual([status, code]);
    }
    const posted = await request(port, 'POST', '/-/watch', {});
    expect([posted.status, posted.headers.get('allow')]).toEqual([405, 'GET']);
  });

  test('a WebSocket is refused, and so is a mistyped name in the query', async () => {
    const { port } = await listening();
    const connection = await RawConnection.open(port);
    open.push({ close: () => connection.destroy() });
    connection.send(handshakeBytes(port, '/-/watch', { Authorization: 'Bearer ops' }));
    await connection.waitFor('the refusal', () => connection.text.endsWith('}}'));
    // To ask for an upgrade (426) would have the client try it again.
    expect(connection.text).toMatch(/^HTTP\/1.1 404 /);
    expect(connection.text).not.toMatch(/\r\n(?:Upgrade|Sec-WebSocket-Version):/i);
    expect(connection.text).toContain('HOLDLINE_NOT_FOUND","message":"there is no WebSocket at');
    const answer = await ask(port, '/-/watch?clients=fetch', { Authorization: 'Bearer ops' });
    expect([answer.status, codeOf(answer)]).toEqual([400, 'HOLDLINE_BAD_QUERY']);
  });
});

test.concurrent('a client that does not read costs no queue, and knows everything when it does', async () => {
  const { server, port } = await listening();
  const known: Record<string, number> = {};
  for (let i = 0; i < 400; i++) {
    const names = Array.from({ length: 16 }, (_, j) => `${'long-'.repeat(20)}${i}-${j}`);
    for (const name of names) known[name] = 1;
    await line(port, `/${names.join()}`);
  }
  const control = await WatchClient.open(port, 'ops');
  const slow = new WatchClient(await RawConnection.open(port, { paused: true }));
  const headers = { Authorization: 'Bearer ops', Accept: 'application/x-ndjson' };
  slow.connection.send(requestBytes(port, 'GET', '/-/watch', { headers }));
  await until('two watch', () => server.stats().watchers === 2);
  await control.knows(known);
  const late = await line(port, '/late');
  await control.knows({ ...known, late: 1 });
  slow.connection.resume();
  await slow.knows({ ...known, late: 1 });
  late.close();
  await slow.knows(known);
  expect([slow.resets, control.resets]).toEqual([1, 1]);
});

describe.concurrent('the end', () => {
  test('of a token that expires', async () => {
    const { port } = await listening();
    const token = await tokenFor('ada', ['**'], 2 - CLOCK_TOLERANCE_MS / 1000);
    const clients = await Promise.all(ENCODINGS.map((one) => WatchClient.open(port, token, one)));
    for (const client of clients) {
      await client.waitFor('the end', () => client.isOver);
      expect(client.reader.complete).toBe(true);
    }
    const [events, lines] = clients.map(({ text }) => text);
    expect(events).toMatch(/event: end\ndata: {"code":"expired","reconnect":true}\n\n$/);
    expect(lines).toMatch(/\n{"end":{"code":"expired","reconnect":true}}\n$/);
  });

  test('of a user who is revoked, who gets 403 after it; others stay', async () => {
    const { port } = await listening();
    const token = await tokenFor('ada', ['**']);
    const ada = await WatchClient.open(port, token);
    const bob = await WatchClient.open(port, await tokenFor('bob', ['**']));
    const headers = { Authorization: 'Bearer ops' };
    const answer = await request(port, 'DELETE', '/-/connections?user=ada', { headers });
    expect(jsonOf(answer)).toMatchObject({ ended: 1 });
    await ada.waitFor('the end', () => ada.isOver);
    expect(ada.end).toEqual({ code: 'revoked', reconnect: false });
    const again = await ask(port, '/-/watch', { Authorization: `Bearer ${token}` });
    expect([again.status, codeOf(again)]).toEqual([403, 'HOLDLINE_REVOKED']);
    expect(bob.isOver).toBe(false);
  });

  test('of a server that drains; a new stream is refused, an EventSource with 200 and retry', async () => {
    const { server, port } = await listening();
    const client = await WatchClient.open(port, 'ops');
    const held = await line(port, '/c');
    const waiting = await RawConnection.open(port);
    open.push({ close: () => waiting.destroy() });
    const closed = server.close({ drainMs: 3_000 });
    await client.waitFor('the end', () => client.isOver);
    expect(client.end).toEqual({ code: 'draining', reconnect: true });
    expect(client.text).toMatch(/retry: \d+\nevent: end/);
    const headers = { Authorization: 'Bearer ops', Accept: 'text/event-stream' };
    waiting.send(requestBytes(port, 'GET', '/-/watch', { headers }));
    await waiting.waitFor('an answer', () => waiting.text.includes('retry: '));
    expect(waiting.text).toMatch(/^HTTP\/1.1 200 /);
    held.close();
    await closed;
  });
});

test.concurrent('figures: open streams, and how many were opened', async () => {
  const { server, port } = await listening();
  const client = await WatchClient.open(port, 'ops');
  const headers = { Authorization: 'Bearer ops' };
  const metrics = readMetrics((await ask(port, '/-/metrics', headers)).text);
  expect([...metrics.get('holdline_watchers')!.samples.values()]).toEqual([1]);
  client.close();
  await until('nobody watches', () => server.stats().watchers === 0);
  const { counters } = server.stats();
  expect([counters.watchers_opened_total, counters.watch_resets_total]).toEqual([1, 0]);
});
