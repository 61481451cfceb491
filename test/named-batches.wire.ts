/**
 * `POST /-/publish` over the wire, and channels whose names have segments: every transport, byte
 * for byte, who may, and what is refused.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { SignJWT } from 'jose';
import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import { createServer, type Server } from '../dist/index.js';
import { sharedControl } from './support/control.js';
import { NdjsonLine, SseLine } from './support/line.js';
import { poll } from './support/poll.js';
import { hostedForTest, sharedHosted } from './support/hosted.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import { KERNEL_BUFFERS, serverForTest } from './support/server.js';
import { openWebSocket } from './support/websocket.js';
import {
  codeOf,
  HttpClient,
  jsonOf,
  RawConnection,
  request,
  requestBytes,
  type Answer,
} from './support/wire.js';

const NDJSON = { 'Content-Type': 'application/x-ndjson' };

type Line = readonly [channel: string, data: unknown, event?: string];

/** The body of a batch. */
function bodyOf(...lines: readonly Line[]): string {
  return lines
    .map(([channel, data, event]) => `${JSON.stringify({ channel, event, data })}\n`)
    .join('');
}

function publish(
  server: { readonly port: number },
  body: string | Uint8Array,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return request(server.port, 'POST', '/-/publish', { headers: { ...NDJSON, ...headers }, body });
}

/** The data of everything a channel holds. */
async function held(server: ServerUnderTest, channel: string): Promise<unknown[]> {
  const { events } = await poll(server, `/${channel}?since=0&wait=0&limit=1000`);
  return events.map((event) => event.data);
}

describe('a channel whose name has segments', () => {
  const shared = sharedHosted();

  test('is published to and read by every transport under that name', async () => {
    const server = shared();
    const name = 'org/7/alerts:eu@x';
    const sse = await SseLine.open(server.port, `/${name}`);
    const several = await SseLine.open(server.port, `/${name},org/8`);
    const ndjson = await NdjsonLine.open(server.port, `/${name}`, {
      headers: { Accept: 'application/x-ndjson' },
    });
    onTestFinished(() => [sse, several, ndjson].forEach((line) => line.close()));
    const socket = await openWebSocket(server, `/${name}`);
    const id = await server.publish(name, 'x');
    await Promise.all([sse, several, ndjson, socket].map((line) => line.waitForId(id)));
    const object = `{"id":${id},"channel":"${name}","data":"x"}\n`;
    expect(sse.text.endsWith(`id: ${id}\ndata: x\n\n`)).toBe(true);
    expect(several.text.endsWith(`id: ${id}\ndata: ${object}\n`)).toBe(true);
    expect(ndjson.text.endsWith(object)).toBe(true);
    expect(socket.events.at(-1)).toMatchObject({ id, channel: name, data: 'x' });
    expect(await held(server, name)).toEqual(['x']);
    const { ok } = await socket.ask('{"publish":{"channel":"org/8","data":"y"}}');
    await several.waitForId(ok!.id);
    const { error } = await socket.ask('{"publish":{"channel":"org//8","data":"y"}}');
    expect(error?.code).toBe('HOLDLINE_BAD_CHANNEL');
    await server.deleteChannel(name);
    await sse.waitForEnd();
    expect(sse.endCode).toBe('deleted');
    expect(several.complete).toBe(false);
  });

  test('is another than one with a part of its name', async () => {
    const server = shared();
    await server.publish('part/a', '1');
    await server.publish('part', '2');
    await server.publish('part:a', '3');
    expect(
      await Promise.all(['part/a', 'part', 'part:a'].map((name) => held(server, name))),
    ).toEqual([['1'], ['2'], ['3']]);
  });

  test('is a path as it stands: no client may come by another spelling', async () => {
    const server = shared();
    await server.publish('secret/a', 'x');
    for (const [path, status] of [
      ['/secret%2Fa', 400],
      ['/secret//a', 404],
      ['/secret/./a', 400],
      ['/x/../secret/a', 400],
      ['/secret/a/', 404],
      ['/%73ecret/a', 400],
      ['/b%2Csecret/a', 400],
      ['/b,-/stats', 400],
    ] as const) {
      const answer = await server.request('GET', `${path}?since=0&wait=0`);
      expect([path, answer.status]).toEqual([path, status]);
      expect(answer.text).not.toContain('"data"');
    }
    expect((await server.request('GET', '/-/secret/a')).status).toBe(404);
  });
});

describe('a batch over several channels', () => {
  const shared = sharedControl();

  test('is published whole, with ids in the order of its lines, and answered byte for byte', async () => {
    const server = await hostedForTest();
    const both = await SseLine.open(server.port, '/a,org/7/b');
    onTestFinished(() => both.close());
    const answer = await publish(
      server,
      bodyOf(['a', 1], ['org/7/b', 'two', 'note'], ['a', { n: 3 }], ['c', null]),
    );
    expect([answer.status, answer.text]).toEqual([
      200,
      '{"first":1,"last":4,"count":4,"subscribers":2}',
    ]);
    expect(answer.headers.get('content-type')).toBe('application/json');
    expect(answer.headers.get('cache-control')).toBe('no-store');
    await both.waitForEvents(3);
    expect(both.ids).toEqual([1, 2, 3]);
    expect(await held(server, 'a')).toEqual([1, { n: 3 }]);
    expect(await held(server, 'org/7/b')).toEqual(['two']);
    expect(await held(server, 'c')).toEqual([null]);
    expect((await server.stats()).counters).toMatchObject({
      events_accepted_total: 4,
      publish_requests_total: 1,
    });
  });

  test('of 10,000 lines over 100 channels comes whole, and the control line loses nothing', async () => {
    const { server, control } = shared();
    const line = await SseLine.open(server.port, '/many/3,many/4');
    onTestFinished(() => line.close());
    const answer = await publish(
      server,
      bodyOf(...Array.from({ length: 10_000 }, (_, i): Line => [`many/${i % 100}`, i])),
    );
    const { first, last, count } = jsonOf(answer) as { first: number; last: number; count: number };
    expect([answer.status, count, last - first]).toEqual([200, 10_000, 9_999]);
    await line.waitForEvents(200);
    expect(line.ids).toEqual(
      Array.from({ length: 200 }, (_, i) => first + 100 * Math.floor(i / 2) + 3 + (i % 2)),
    );
    // The next ones wait until it has entered, in place of being refused.
    const client = await HttpClient.open(server.port);
    onTestFinished(() => client.close());
    for (let again = 0; again < 3; again++) {
      const next = await client.request('POST', '/-/publish', {
        headers: NDJSON,
        body: bodyOf(...Array.from({ length: 10_000 }, (_, i): Line => [`many/${i % 100}`, i])),
      });
      expect(next.status).toBe(200);
    }
    await control.noticedNothing();
  });

  const one = (line: string): string => `${bodyOf(['h1', 1])}${line}\n${bodyOf(['h2', 2])}`;
  test.each<[string, string, number, string, Record<string, string>?]>([
    ['a line without a channel', one('{"data":1}'), 400, 'HOLDLINE_BAD_BATCH'],
    ['a channel that is no name', one('{"channel":"a..b","data":1}'), 400, 'HOLDLINE_BAD_CHANNEL'],
    ['a list of channels', one('{"channel":"a,b","data":1}'), 400, 'HOLDLINE_BAD_CHANNEL'],
    ['a reserved channel', one('{"channel":"-/a","data":1}'), 400, 'HOLDLINE_BAD_CHANNEL'],
    [
      'a reserved type',
      one('{"channel":"a","event":"end","data":1}'),
      400,
      'HOLDLINE_BAD_EVENT_TYPE',
    ],
    ['a member of another name', one('{"channel":"a","data":1,"id":2}'), 400, 'HOLDLINE_BAD_BATCH'],
    ['deep JSON', one(`{"channel":"a","data":${'['.repeat(5000)}`), 400, 'HOLDLINE_BAD_BATCH'],
    ['a line that is cut', one('{"channel":"a","data'), 400, 'HOLDLINE_BAD_BATCH'],
    ['no line', '\n\n', 400, 'HOLDLINE_BAD_BATCH'],
    ['nothing', '', 400, 'HOLDLINE_BAD_BATCH'],
    [
      'a large event',
      one(`{"channel":"a","data":"${'x'.repeat(70_000)}"}`),
      413,
      'HOLDLINE_TOO_LARGE',
    ],
    ['10,001 lines', '{"channel":"a","data":1}\n'.repeat(10_001), 413, 'HOLDLINE_TOO_LARGE'],
    [
      '1,001 channels',
      bodyOf(...Array.from({ length: 1001 }, (_, i): Line => [`h/${i}`, i])),
      413,
      'HOLDLINE_TOO_LARGE',
    ],
    ['a body over 4 MiB', ' '.repeat(4 * 1024 * 1024 + 1), 413, 'HOLDLINE_TOO_LARGE'],
    [
      'JSON',
      bodyOf(['h', 1]),
      415,
      'HOLDLINE_UNSUPPORTED_MEDIA_TYPE',
      { 'Content-Type': 'application/json' },
    ],
    [
      'a form',
      bodyOf(['h', 1]),
      415,
      'HOLDLINE_UNSUPPORTED_MEDIA_TYPE',
      { 'Content-Type': 'application/x-www-form-urlencoded' },
    ],
    [
      'an encoding',
      bodyOf(['h', 1]),
      415,
      'HOLDLINE_UNSUPPORTED_ENCODING',
      { 'Content-Encoding': 'gzip' },
    ],
    [
      'an empty key',
      bodyOf(['h', 1]),
      400,
      'HOLDLINE_BAD_IDEMPOTENCY_KEY',
      { 'Idempotency-Key': '' },
    ],
    [
      'another site',
      bodyOf(['h', 1]),
      403,
      'HOLDLINE_CROSS_SITE',
      { Origin: 'https://evil.example' },
    ],
    ['another host', bodyOf(['h', 1]), 403, 'HOLDLINE_BAD_HOST', { Host: 'rebound.example' }],
  ])('with %s is refused whole, and leaves nothing', async (_what, body, status, code, headers) => {
    const { server, control } = shared();
    const before = await server.stats();
    const answer = await publish(server, body, headers);
    expect([answer.status, codeOf(answer)]).toEqual([status, code]);
    const after = await server.stats();
    expect(after.channels.known).toBe(before.channels.known);
    expect(after.counters.events_accepted_total).toBe(before.counters.events_accepted_total);
    expect((after.counters.refused[code] ?? 0) - (before.counters.refused[code] ?? 0)).toBe(1);
    await control.noticedNothing();
  });

  test('that is not UTF-8 is refused whole', async () => {
    const { server } = shared();
    const answer = await publish(server, Buffer.from('{"channel":"a","data":"\xff"}', 'latin1'));
    expect([answer.status, codeOf(answer)]).toEqual([400, 'HOLDLINE_NOT_UTF8']);
  });

  test('with a type for all in the query is refused, and so is a misspelt parameter', async () => {
    for (const query of ['event=x', 'evnt=x']) {
      const answer = await shared().server.request('POST', `/-/publish?${query}`, {
        headers: NDJSON,
        body: bodyOf(['a', 1]),
      });
      expect([answer.status, codeOf(answer)]).toEqual([400, 'HOLDLINE_BAD_QUERY']);
    }
  });

  test('another method is 405, and a preflight is told POST', async () => {
    const { server } = shared();
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE']) {
      const answer = await server.request(method, '/-/publish');
      expect([method, answer.status, answer.headers.get('allow')]).toEqual([method, 405, 'POST']);
    }
    const options = await server.request('OPTIONS', '/-/publish');
    expect([options.status, options.headers.get('allow')]).toEqual([204, 'POST']);
  });

  test('whose client leaves before its end leaves nothing', async () => {
    const { server, control } = shared();
    const before = await server.stats();
    const connection = await RawConnection.open(server.port);
    const whole = requestBytes(server.port, 'POST', '/-/publish', {
      headers: NDJSON,
      body: bodyOf(['left', 1], ['left', 2]),
    });
    connection.send(whole.subarray(0, whole.length - 5));
    connection.destroy();
    await server.statsUntil(
      'its client has left',
      ({ counters }) => counters.publish_aborted_total > before.counters.publish_aborted_total,
    );
    expect(await held(server, 'left')).toEqual([]);
    await control.noticedNothing();
  });

  test('that was accepted before the end is delivered before it', async () => {
    const server = await serverForTest(KERNEL_BUFFERS);
    const lines = await Promise.all(['/a', '/b'].map((path) => SseLine.open(server.port, path)));
    const client = await HttpClient.open(server.port);
    const { status } = await client.request('POST', '/-/publish', {
      headers: NDJSON,
      body: bodyOf(
        ...Array.from({ length: 5000 }, (_, i): Line => ['ab'[i % 2]!, `${i}`.padEnd(200)]),
      ),
    });
    server.signal('SIGTERM');
    expect(status).toBe(200);
    for (const line of lines) {
      await line.waitForEnd();
      expect([line.eventCount, line.gaps.length, line.endCode]).toEqual([2500, 0, 'draining']);
    }
    expect(await server.exited()).toBe(0);
  });
});

describe('an Idempotency-Key of such a batch', () => {
  test('counts for the credential and the route, not for a channel', async () => {
    const server = await hostedForTest();
    const body = bodyOf(['a', 1], ['b', 2]);
    const key = { 'Idempotency-Key': 'k' };
    const first = await publish(server, body, key);
    expect(first.text).toBe('{"first":1,"last":2,"count":2,"subscribers":0}');
    expect((await publish(server, body, key)).text).toBe(first.text);
    const other = await publish(server, bodyOf(['a', 1], ['c', 2]), key);
    expect([other.status, codeOf(other)]).toEqual([422, 'HOLDLINE_IDEMPOTENCY_MISMATCH']);
    const channel = await server.post('a', '{"data":1}', { headers: { ...NDJSON, ...key } });
    expect(channel.text).toBe('{"first":3,"last":3,"count":1,"subscribers":0}');
    const credential = await publish(server, body, { ...key, Authorization: 'Bearer other' });
    expect(credential.text).toBe('{"first":4,"last":5,"count":2,"subscribers":0}');
    expect((await server.stats()).counters.idempotent_repeats_total).toBe(1);
  });
});

describe('who may', () => {
  test('without the key nothing of the body is taken, with it every channel', async () => {
    const server = await hostedForTest({ 'open-publish': false, 'publish-key': 'sesame' });
    const body = bodyOf(['a', 1]);
    for (const headers of [{}, { Authorization: 'Bearer wrong' }] as Record<string, string>[]) {
      const answer = await publish(server, body, headers);
      expect([answer.status, codeOf(answer)]).toEqual([401, 'HOLDLINE_UNAUTHORIZED']);
    }
    expect((await server.stats()).counters.events_accepted_total).toBe(0);
    expect((await publish(server, body, { Authorization: 'Bearer sesame' })).status).toBe(200);
  });

  const servers: Server[] = [];
  afterEach(async () => {
    await Promise.all(servers.splice(0).map((server) => server.close({ drainMs: 0 })));
  });

  type Given = NonNullable<Parameters<typeof createServer>[0]>;
  async function listening(authorize: NonNullable<Given['authorize']>) {
    const server = createServer({ port: 0, firstId: 1, openPublish: true, authorize });
    servers.push(server);
    const { port } = await server.listen();
    return { server, port };
  }

  const SECRET = 'a-secret-of-thirty-two-bytes-or-more';
  async function token(changes: Record<string, unknown> = {}, secret = SECRET): Promise<string> {
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      sub: 'ada',
      iat: now,
      exp: now + 600,
      holdline: { publish: ['org/7/**', 'news'] },
      ...changes,
    };
    return new SignJWT(claims)
      .setProtectedHeader({ alg: 'HS256' })
      .sign(new TextEncoder().encode(secret));
  }

  test('a key or a token publishes to what its patterns say, all or nothing; others get 401 or 403', async () => {
    const key = (name: string, rights: object) => ({
      name,
      sha256: createHash('sha256').update(name).digest('hex'),
      ...rights,
    });
    const server = createServer({
      port: 0,
      firstId: 1,
      jwtSecret: SECRET,
      authCookie: 'session',
      keys: [
        key('writer', { publish: ['org/7/**', 'news'] }),
        key('reader', { subscribe: ['**'] }),
      ],
    });
    servers.push(server);
    const { port } = await server.listen();
    const good = bodyOf(['org/7/a', 1], ['news', 2], ['org/7/b/c', 3]);
    const bad = bodyOf(['org/7/a', 1], ['news', 2], ['org/8/a', 3]);
    const expired = await token({ iat: 1_700_000_000, exp: 1_700_000_600 });
    for (const [credential, body, status, code] of [
      ['writer', bad, 403, 'HOLDLINE_FORBIDDEN'],
      ['reader', good, 403, 'HOLDLINE_FORBIDDEN'],
      ['nobody', good, 401, 'HOLDLINE_UNAUTHORIZED'],
      [await token(), bad, 403, 'HOLDLINE_FORBIDDEN'],
      [await token({ holdline: { subscribe: ['**'] } }), good, 403, 'HOLDLINE_FORBIDDEN'],
      [await token({ holdline: undefined }), good, 403, 'HOLDLINE_FORBIDDEN'],
      [await token({}, `not-${SECRET}`), good, 401, 'HOLDLINE_UNAUTHORIZED'],
      [expired, good, 401, 'HOLDLINE_UNAUTHORIZED'],
    ] as const) {
      const answer = await publish({ port }, body, { Authorization: `Bearer ${credential}` });
      expect([credential.slice(0, 9), answer.status, codeOf(answer)]).toEqual([
        credential.slice(0, 9),
        status,
        code,
      ]);
    }
    const without = [{}, { Cookie: `session=${await token()}` }] as Record<string, string>[];
    for (const headers of without)
      expect((await publish({ port }, good, headers)).status).toBe(401);
    expect(server.stats().counters.events_accepted_total).toBe(0);
    expect(server.stats().channels.known).toBe(0);
    for (const credential of ['writer', await token()]) {
      const answer = await publish({ port }, good, { Authorization: `Bearer ${credential}` });
      expect(answer.status).toBe(200);
    }
    // The key counts for the user, whichever of its tokens is shown.
    const first = await token();
    const again = await token({ jti: 'another' });
    const answers = [];
    for (const credential of [first, again, 'writer']) {
      const headers = { Authorization: `Bearer ${credential}`, 'Idempotency-Key': 'k' };
      answers.push((await publish({ port }, good, headers)).text);
    }
    expect(answers[1]).toBe(answers[0]);
    expect(answers[2]).not.toBe(answers[0]);
  });

  test('who may publish nowhere is refused before a byte of its body', async () => {
    const server = createServer({
      port: 0,
      openPublish: false,
      publishKey: 'sesame',
      jwtSecret: SECRET,
    });
    servers.push(server);
    const { port } = await server.listen();
    for (const credential of ['wrong', await token({ holdline: {} })]) {
      const connection = await RawConnection.open(port);
      onTestFinished(() => connection.destroy());
      connection.send(
        `POST /-/publish HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${credential}\r\n` +
          'Content-Type: application/x-ndjson\r\nContent-Length: 1000000\r\n\r\n',
      );
      await connection.waitFor('an answer', () => connection.text.startsWith('HTTP/1.1 '));
      expect(connection.text).toMatch(/^HTTP\/1.1 40[13] /);
    }
  });

  test('authorize is asked once, for all channels, each once; one that may not be refuses all', async () => {
    const asked: unknown[] = [];
    const { server, port } = await listening(async ({ action, channels, headers }) => {
      asked.push([action, channels, headers['x-user']]);
      await Promise.resolve();
      return channels.every((name) => !name.startsWith('shut/'));
    });
    for (const position of [0, 1, 2]) {
      const lines: Line[] = [0, 1, 2].map((i) => [i === position ? 'shut/a' : `open/${i}`, i]);
      const answer = await publish({ port }, bodyOf(...lines, ...lines), { 'X-User': 'u' });
      expect([answer.status, codeOf(answer)]).toEqual([403, 'HOLDLINE_FORBIDDEN']);
      expect(asked.splice(0)).toEqual([['publish', lines.map(([name]) => name), 'u']]);
    }
    expect(server.stats().counters.events_accepted_total).toBe(0);
    expect(server.stats().channels.known).toBe(0);
    const allowed = await publish({ port }, bodyOf(['open/1', 1]));
    expect(allowed.status).toBe(200);
  });

  test('a program publishes to and is asked about names with segments, and not under -/', async () => {
    const asked: unknown[] = [];
    const { server, port } = await listening(({ channels }) => asked.push(channels) > 0);
    expect(await server.channel('org/7/a:b@c').publish({ data: 'x' })).toBe(1);
    const { text } = await request(port, 'GET', '/org/7/a:b@c,org/8?since=0&wait=0');
    expect(text).toBe('{"id":1,"channel":"org/7/a:b@c","data":"x"}');
    expect(asked).toEqual([['org/7/a:b@c', 'org/8']]);
    for (const name of ['-/a', 'a//b', '/a', 'a/', 'a/../b', '']) {
      expect(() => server.channel(name)).toThrow(
        expect.objectContaining({ code: 'HOLDLINE_BAD_CHANNEL' }),
      );
    }
  });

  test('a refusal names some of the channels, however many there are', async () => {
    const { port } = await listening(() => false);
    const lines = Array.from({ length: 1000 }, (_, i): Line => [`${'x'.repeat(100)}${i}`, i]);
    const answer = await publish({ port }, bodyOf(...lines));
    expect([answer.status, answer.text.length < 4096]).toEqual([403, true]);
    expect(answer.text).toContain('and others');
  });

  test('a kept receipt is given to nobody who may not publish any more', async () => {
    let open = true;
    const { port } = await listening(() => open);
    const send = (): Promise<Answer> =>
      publish({ port }, bodyOf(['a', 1]), { 'Idempotency-Key': 'k' });
    expect((await send()).status).toBe(200);
    open = false;
    expect((await send()).status).toBe(403);
  });

  test('nothing is published for a client that left while authorize decided', async () => {
    let decide!: (allowed: boolean) => void;
    let asked!: () => void;
    const question = new Promise<void>((resolve) => (asked = resolve));
    const { server, port } = await listening(
      () =>
        new Promise<boolean>((resolve) => {
          decide = resolve;
          asked();
        }),
    );
    const connection = await RawConnection.open(port);
    connection.send(
      requestBytes(port, 'POST', '/-/publish', { headers: NDJSON, body: bodyOf(['a', 1]) }),
    );
    await question;
    const closed = once(connection.socket, 'close');
    connection.destroy();
    await closed;
    await expect.poll(() => server.stats().sockets.open).toBe(0);
    decide(true);
    await expect.poll(() => server.stats().counters.events_accepted_total).toBe(0);
    expect(server.stats().channels.known).toBe(0);
  });
});
