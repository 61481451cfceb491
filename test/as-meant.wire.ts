/**
 * What was sent is read as it was meant, or refused in words: spellings, aliases, charsets, marks,
 * halves of characters, fields that repeat, and what curl sends.
 */
import { describe, expect, onTestFinished, test } from 'vitest';
import { NdjsonLine, SseLine } from './support/line.js';
import { poll } from './support/poll.js';
import { hostedForTest, sharedHosted } from './support/hosted.js';
import { codeOf, exchange, jsonOf, request, type Answer } from './support/wire.js';
import { openWebSocket } from './support/websocket.js';

const shared = sharedHosted();

/** As curl asks. */
const CURL = { Accept: '*/*', 'User-Agent': 'curl/7.88.1' };

function expectRefused(answer: Answer, status: number, code: string, words: string): void {
  expect([answer.status, codeOf(answer)]).toEqual([status, code]);
  expect((jsonOf(answer) as { error: { message: string } }).error.message).toContain(words);
}

async function openSse(
  port: number,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<SseLine> {
  const line = await SseLine.open(port, path, { headers });
  onTestFinished(() => line.close());
  return line;
}

/** What a reader that comes afterwards is given of a channel. */
async function dataOf(port: number, channel: string): Promise<unknown[]> {
  const { events } = await poll({ port }, `/${channel}?since=0&limit=100&wait=0`);
  return events.map(({ event, data }) => (event === undefined ? data : [event, data]));
}

describe('a position in the query', () => {
  test.each(['last_event_id', 'lastEventId', 'lastEventID', 'Last-Event-ID', 'last-event-id'])(
    'is read in the spelling %s, with event streams and polls, and beats since as the header does',
    async (name) => {
      const server = shared();
      const channel = `p-${name}`;
      const ids = [];
      for (const data of ['a', 'b', 'c']) ids.push(await server.publish(channel, data));
      for (const path of [
        `/${channel}?${name}=${ids[0]}`,
        `/${channel}?since=0&${name}=${ids[0]}`,
      ]) {
        const line = await openSse(server.port, path);
        await line.waitForId(ids[2] as number);
        expect(line.ids).toEqual(ids.slice(1));
        expect((await poll(server, `${path}&limit=9&wait=0`)).events.map(({ id }) => id)).toEqual(
          ids.slice(1),
        );
      }
    },
  );

  test('that has two values is refused', async () => {
    const { port } = shared();
    for (const query of ['since=1&since=2', 'last_event_id=1&lastEventId=2', 'last=1&last=2']) {
      const answer = await request(port, 'GET', `/c?${query}`, { headers: CURL });
      expectRefused(answer, 400, 'HOLDLINE_BAD_QUERY', 'there once, or the same each time');
    }
  });

  test.each(['-1', '1.5', '%204', '%D9%A4', '9007199254740992', '1e3', '', 'now'])(
    'that is no position is refused, with what it must be: since=%s',
    async (text) => {
      const answer = await request(shared().port, 'GET', `/c?since=${text}`, { headers: CURL });
      expectRefused(answer, 400, 'HOLDLINE_BAD_POSITION', 'a whole number from 0 to');
    },
  );
});

describe('a name in the query', () => {
  test.each([
    ['GET', 'sinc=0', 'did you mean since?'],
    ['GET', 'lastEventd=0', 'did you mean last_event_id?'],
    ['GET', 'event=notice', 'means nothing to a GET'],
    ['POST', 'evnt=notice', 'did you mean event?'],
    ['POST', 'Event=notice', 'did you mean event?'],
    ['POST', 'since=0', 'means nothing to a POST'],
    ['DELETE', 'event=notice', 'means nothing to a DELETE'],
    ['DELETE', 'evnt=notice', 'did you mean event?'],
  ])(
    'that is not meant like this is refused, and nothing is done: %s ?%s',
    async (method, query, words) => {
      const server = shared();
      await server.publish('named', 'kept');
      const before = (await server.stats()).counters.events_accepted_total;
      const held = await dataOf(server.port, 'named');
      const answer = await request(server.port, method, `/named?${query}`, {
        headers: method === 'DELETE' ? server.opsHeaders : {},
        ...(method === 'POST' ? { body: 'x' } : {}),
      });
      expectRefused(answer, 400, 'HOLDLINE_BAD_QUERY', words);
      expect((await server.stats()).counters.events_accepted_total).toBe(before);
      expect(await dataOf(server.port, 'named')).toEqual(held);
    },
  );

  test('of somebody else passes', async () => {
    const server = shared();
    const others = '_=1700&utm_source=a&token=b&v=1';
    const posted = await server.post('others', 'x', { query: `?${others}&event=notice` });
    expect(posted.status).toBe(200);
    const line = await openSse(server.port, `/others?${others}&last_event_id=0`);
    await line.waitForId(server.published.get('others')!.at(-1)!);
    expect(line.events.map(({ event, data }) => [event, data])).toEqual([['notice', 'x']]);
    const deleted = await request(server.port, 'DELETE', `/others?${others}`, {
      headers: server.opsHeaders,
    });
    expect(deleted.status).toBe(200);
  });

  test('of a page under /-/ is refused when it is mistyped', async () => {
    const server = shared();
    const answer = await request(server.port, 'GET', '/-/connections?srot=age', {
      headers: server.opsHeaders,
    });
    expectRefused(answer, 400, 'HOLDLINE_BAD_QUERY', 'did you mean sort?');
  });
});

describe('a member', () => {
  test.each([
    ['{"evnt":"notice","data":1}', 'did you mean event?'],
    ['{"Data":1}', 'did you mean data?'],
    ['{"type":"notice","data":1}', 'known are event, data'],
  ])('of a batch line that is not known is refused: %s', async (line, words) => {
    const server = shared();
    const answer = await server.post('m', `{"data":0}\n${line}`, {
      headers: { 'Content-Type': 'application/x-ndjson' },
    });
    expectRefused(answer, 400, 'HOLDLINE_BAD_BATCH', words);
    expect(await dataOf(server.port, 'm')).toEqual([]);
  });

  test.each([
    ['{"publish":{"evnt":"notice","data":1},"ref":7}', 'did you mean event?'],
    ['{"publish":{"data":1,"chanel":"c"},"ref":7}', 'did you mean channel?'],
    ['{"Publish":{"data":1},"ref":7}', 'did you mean publish?'],
    ['{"publish":{"data":1},"ref":7,"id":1}', 'known are publish, ref'],
  ])('of a WebSocket message that is not known is refused: %s', async (message, words) => {
    const server = shared();
    const socket = await openWebSocket(server, '/m');
    const { error } = await socket.ask(message);
    expect(error).toMatchObject({ code: 'HOLDLINE_BAD_MESSAGE', ref: 7 });
    expect(error!.message).toContain(words);
    expect(await dataOf(server.port, 'm')).toEqual([]);
  });
});

describe('a body', () => {
  test.each([
    'application/x-ndjson',
    'Application/NDJSON; charset=UTF-8',
    'application/jsonl',
    'application/x-jsonlines',
  ])('of type %s is a batch, and what accepts that is given lines', async (type) => {
    const server = shared();
    const channel = `lines-${type.length}`;
    const answer = await server.post(channel, '{"event":"a","data":1}\n{"data":"b"}\n', {
      headers: { 'Content-Type': type },
    });
    expect(jsonOf(answer)).toMatchObject({ count: 2 });
    expect(await dataOf(server.port, channel)).toEqual([['a', 1], 'b']);
    const head = await request(server.port, 'HEAD', `/${channel}`, { headers: { Accept: type } });
    expect(head.headers.get('content-type')).toBe('application/x-ndjson');
  });

  test.each([
    ['text/plain; charset=iso-8859-1', 'send UTF-8'],
    ['application/json; charset="ISO-8859-1"', 'send UTF-8'],
    ['application/x-ndjson;CHARSET=utf-16', 'send UTF-8'],
    ['application/jsno', 'did you mean application/json?'],
    ['application/json-seq', 'send application/x-ndjson'],
    ['multipart/form-data; boundary=x', 'send the data alone'],
  ])('of type %s is 415', async (type, words) => {
    const server = shared();
    const answer = await server.post('u', '1', { headers: { 'Content-Type': type } });
    expectRefused(answer, 415, 'HOLDLINE_UNSUPPORTED_MEDIA_TYPE', words);
    expect(await dataOf(server.port, 'u')).toEqual([]);
  });

  test.each([
    'text/plain;charset=UTF-8',
    'text/plain; charset="us-ascii"',
    'application/x-www-form-urlencoded',
  ])('of type %s is text', async (type) => {
    const answer = await shared().post('t', 'é', { headers: { 'Content-Type': type } });
    expect(answer.status).toBe(200);
  });

  test('of JSON may begin with a byte order mark, which no reader sees; text keeps it', async () => {
    const server = shared();
    for (const [type, body] of [
      ['application/json', '\uFEFF{"a":1}'],
      ['application/x-ndjson', '\uFEFF{"data":"b"}'],
      ['text/plain', '\uFEFFc'],
    ] as const) {
      const answer = await server.post('mark', body, { headers: { 'Content-Type': type } });
      expect(answer.status).toBe(200);
    }
    expect(await dataOf(server.port, 'mark')).toEqual([{ a: 1 }, 'b', '\uFEFFc']);
  });

  test.each([
    ['application/json', '{"a":"\\ud800"}', 'HOLDLINE_BAD_JSON'],
    ['application/x-ndjson', '{"data":"a\\uDC00"}', 'HOLDLINE_BAD_BATCH'],
    ['application/x-ndjson', '{"data":{"\\ud83d":1}}', 'HOLDLINE_BAD_BATCH'],
    ['application/x-ndjson', '{"event":"\\ud83d","data":1}', 'HOLDLINE_BAD_BATCH'],
  ])('with half of a surrogate pair is refused: %s %s', async (type, body, code) => {
    const server = shared();
    const answer = await server.post('half', body, { headers: { 'Content-Type': type } });
    expectRefused(answer, 400, code, 'half of a surrogate pair at byte');
    expect(await dataOf(server.port, 'half')).toEqual([]);
  });

  test.each([
    ['a surrogate as three bytes (CESU-8)', [0x22, 0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80, 0x22]],
    ['a byte of Latin-1', [0x22, 0xe9, 0x22]],
    ['a character cut off', [0x22, 0xf0, 0x9f, 0x98, 0x22]],
    ['an overlong slash', [0x22, 0xc0, 0xaf, 0x22]],
  ])('with %s is refused, whatever its type', async (_name, bytes) => {
    const server = shared();
    for (const type of ['text/plain', 'application/json', 'application/x-ndjson']) {
      const answer = await server.post('bytes', Buffer.from(bytes), {
        headers: { 'Content-Type': type },
      });
      expectRefused(answer, 400, 'HOLDLINE_NOT_UTF8', 'not UTF-8');
    }
  });

  test('over a WebSocket with half of a pair is refused with its ref, and the line stays', async () => {
    const server = shared();
    const socket = await openWebSocket(server, '/half-ws');
    for (const message of [
      '{"publish":{"data":"\\ud800"},"ref":1}',
      '{"ref":1,"publish":{"data":{"a":["\\udfff"]}}}',
      '{"ref":1,"publish":{"data":1,"event":"\\ud800"}}',
    ]) {
      const { error } = await socket.ask(message);
      expect(error).toMatchObject({ code: 'HOLDLINE_BAD_MESSAGE', ref: 1 });
    }
    expect(await socket.publish({ data: '\ud83d\ude00' })).toBeGreaterThan(0);
    expect(await dataOf(server.port, 'half-ws')).toEqual(['😀']);
  });
});

describe('a header field that is there twice', () => {
  /** A request whose last field is written twice. */
  const twice = (
    port: number,
    start: string,
    name: string,
    one: string,
    other: string,
    body = '',
  ) =>
    exchange(
      port,
      `${start} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n${name}: ${one}\r\n${name}: ${other}\r\n\r\n${body}`,
    );

  test.each([
    ['Content-Type', 'text/plain', 'application/json'],
    ['Idempotency-Key', 'a', 'b'],
    ['Authorization', 'Bearer a', 'Bearer b'],
    ['Last-Event-ID', '1', '2'],
    ['Origin', 'http://localhost', 'https://evil.example'],
  ])('with two values is refused: %s', async (name, one, other) => {
    const server = shared();
    const before = (await server.stats()).counters.events_accepted_total;
    const answer = await twice(server.port, 'POST /twice', name, one, other, 'x');
    expectRefused(answer, 400, 'HOLDLINE_BAD_HEADER', name.toLowerCase());
    expectRefused(
      await twice(server.port, 'GET /twice', name, one, other),
      400,
      'HOLDLINE_BAD_HEADER',
      name.toLowerCase(),
    );
    expect((await server.stats()).counters.events_accepted_total).toBe(before);
  });

  test('with one value is read', async () => {
    const { port } = shared();
    for (const [name, value] of [
      ['Content-Type', 'application/json'],
      ['Idempotency-Key', 'once'],
    ] as const) {
      const answer = await twice(port, `POST /same-${name}`, name, value, value, '{"a":1}');
      expect(answer.status).toBe(200);
    }
    expect(await dataOf(port, 'same-Content-Type')).toEqual([{ a: 1 }]);
  });

  test('and is a list is one list: Accept', async () => {
    const { port } = shared();
    const answer = await twice(
      port,
      'GET /twice?wait=0',
      'Accept',
      'text/html',
      'application/json',
    );
    expect(answer.status).toBe(204);
    const lines = await exchange(
      port,
      'HEAD /twice HTTP/1.1\r\nHost: localhost\r\nAccept: application/json;q=0.5\r\nAccept: application/jsonl\r\n\r\n',
      { bodyless: true },
    );
    expect(lines.headers.get('content-type')).toBe('application/x-ndjson');
  });

  test('and says which server is meant is refused, and the connection closes: Host', async () => {
    const { port } = shared();
    const hosts = 'Host: localhost\r\nHost: localhost\r\n';
    const answer = await exchange(port, `GET /c?wait=0 HTTP/1.1\r\n${hosts}\r\n`);
    expect([answer.status, answer.headers.get('connection')]).toEqual([400, 'close']);
  });

  test('an Idempotency-Key that is empty, or was cut off to nothing, is refused', async () => {
    for (const key of ['', 'é'])
      expect(codeOf(await shared().post('key', 'x', { headers: { 'Idempotency-Key': key } }))).toBe(
        'HOLDLINE_BAD_IDEMPOTENCY_KEY',
      );
  });
});

describe('a path', () => {
  test('may have its tilde escaped, in either case', async () => {
    const server = shared();
    await server.post('a%7Eb', '1');
    await server.post('a%7eb', '2');
    await server.post('a~b', '3');
    expect(await dataOf(server.port, 'a~b')).toEqual(['1', '2', '3']);
  });

  test.each(['/a%2Cb', '/a%2cb', '/a%2Fb', '/a%25b', '/a%257Eb', '/%61', '/%2D/health', '/a%00'])(
    '%s is no other path: a rule of a proxy for that one must hold here',
    async (path) => {
      const answer = await request(shared().port, 'GET', path, { headers: CURL });
      expect([400, 404]).toContain(answer.status);
      expect(['HOLDLINE_BAD_CHANNEL', 'HOLDLINE_NOT_FOUND']).toContain(codeOf(answer));
    },
  );
});

describe('curl, with the tables of the README', () => {
  /** The ids that a request is given, as a stream and with event streams' own Accept. */
  async function given(query: string, last: number, headers = {}): Promise<number[]> {
    const line = await openSse(shared().port, `/tables${query}`, headers);
    await line.waitForId(last);
    return line.ids;
  }

  test('each row of "where to start" holds for a stream, and for a poll', async () => {
    const server = shared();
    const ids: number[] = [];
    for (const data of ['a', 'b', 'c']) ids.push(await server.publish('tables', data));
    const [first, , last] = ids as [number, number, number];
    for (const [query, expected] of [
      [`?last_event_id=${first}`, ids.slice(1)],
      [`?since=${first}`, ids.slice(1)],
      ['?last=2', ids.slice(1)],
      ['?since=0', ids],
    ] as const) {
      expect([query, await given(query, last)]).toEqual([query, expected]);
      const polled = await poll(server, `/tables${query}&wait=0&limit=9`, CURL);
      expect([query, polled.events.map(({ id }) => id)]).toEqual([query, expected]);
    }
    expect(await given('', last, { 'Last-Event-ID': String(first) })).toEqual(ids.slice(1));
  });

  test('?since= alone is a poll, as the table of transports says, and last_event_id a stream', async () => {
    const server = shared();
    const id = await server.publish('curl', 'a');
    const polled = await request(server.port, 'GET', '/curl?since=0', { headers: CURL });
    expect(polled.headers.get('content-type')).toBe('application/json');
    expect(jsonOf(polled)).toEqual({ id, channel: 'curl', data: 'a' });
    const head = await request(server.port, 'HEAD', '/curl?last_event_id=0', { headers: CURL });
    expect(head.headers.get('content-type')).toBe('text/event-stream');
  });
});

describe('?last=N on several channels', () => {
  test('gives the newest N of each, and what followed the oldest of these, in the order of ids', async () => {
    const server = await hostedForTest();
    const publish = async (channel: string, count: number): Promise<void> => {
      for (let i = 0; i < count; i++) await server.publish(channel, `${channel}${i}`);
    };
    await publish('busy', 3);
    await publish('quiet', 2);
    await publish('busy', 4);
    await publish('other', 1);
    // busy 1–3, quiet 4 and 5, busy 6–9, other 10.
    for (const [path, ids] of [
      ['/busy,quiet,other,empty?last=1', [5, 6, 7, 8, 9, 10]],
      ['/quiet,busy?last=2', [4, 5, 6, 7, 8, 9]],
      ['/busy,other?last=1', [9, 10]],
      ['/busy?last=2', [8, 9]],
      ['/busy,quiet?last=100', [1, 2, 3, 4, 5, 6, 7, 8, 9]],
    ] as const) {
      const last = ids.at(-1) as number;
      const line = await openSse(server.port, path);
      await line.waitForId(last);
      const lines = await NdjsonLine.open(server.port, path);
      onTestFinished(() => lines.close());
      await lines.waitForId(last);
      const socket = await openWebSocket(server, path);
      await socket.waitForId(last);
      const polled = await poll(server, `${path}&limit=100&wait=0`);
      expect([path, line.ids, lines.ids, socket.ids]).toEqual([path, ids, ids, ids]);
      expect([path, polled.events.map(({ id }) => id), polled.position]).toEqual([path, ids, last]);
      expect(lines.position).toBe(ids[0] - 1);
      expect(line.gaps).toEqual([]);
    }
    const none = await NdjsonLine.open(server.port, '/busy,quiet?last=0');
    onTestFinished(() => none.close());
    expect(none.position).toBe(10);
  });
});

test('no key, another scheme and a wrong key are told apart, and no answer shows a key', async () => {
  const server = await hostedForTest({ 'open-publish': false, 'publish-key': 'sesame' });
  for (const [headers, words] of [
    [{}, 'the request has no Authorization'],
    [{ Authorization: 'Basic c2VzYW1l' }, 'does not begin with Bearer'],
    [{ Authorization: 'Bearer' }, 'does not begin with Bearer'],
    [{ Authorization: 'sesame' }, 'does not begin with Bearer'],
    [{ Authorization: 'Bearer wrong' }, 'is not the publish key'],
  ] as [Record<string, string>, string][]) {
    const answer = await request(server.port, 'POST', '/c', { headers, body: 'x' });
    expectRefused(answer, 401, 'HOLDLINE_UNAUTHORIZED', words);
    expect(answer.text).not.toMatch(/sesame|wrong/);
    expect(answer.text).not.toContain(server.opsKey);
  }
  const stats = await request(server.port, 'GET', '/-/stats', {
    headers: { Authorization: 'Bearer sesame' },
  });
  expectRefused(stats, 403, 'HOLDLINE_FORBIDDEN', 'has no right to operate');
  const headers = { Authorization: `Bearer ${server.opsKey}` };
  const publish = await request(server.port, 'POST', '/c', { headers, body: 'x' });
  expectRefused(publish, 403, 'HOLDLINE_FORBIDDEN', 'has no right to publish to c');
});
