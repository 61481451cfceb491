/**
 * Polls, long and short, on the wire: answers, positions, gaps, waiting, deadlines, limits.
 */
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createServer } from '../dist/index.js';
import { BODY_PIECES_PER_TURN_MAX, POLL_WAIT_DEFAULT_SECONDS } from '../src/limits.js';
import { stalledLine, SseLine } from './support/line.js';
import { begunBefore } from './support/begun.js';
import { holdPoll, holdPolls, poll, Poller, readPoll, type HeldPoll } from './support/poll.js';
import { HostedServer, hostedForTest, hostedWithEvents, sharedHosted } from './support/hosted.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import { serverForTest, type BatchEvent } from './support/server.js';
import { codeOf, HttpClient, RawConnection, requestBytes } from './support/wire.js';

const JSON_TYPE = { 'Content-Type': 'application/json' };
/** What a busy machine may add to a wait, ms. */
const LATE_MS = 1_000;
const MIB = 1024 * 1024;
const APP = 'https://app.example';

/** That many events to publish, all alike. */
function same(count: number): BatchEvent[] {
  return Array.from({ length: count }, () => ({ data: 'x' }));
}

/** The time until a poll is answered 204, ms. */
async function timed(client: HttpClient, path: string): Promise<number> {
  const startedMs = performance.now();
  const answer = await client.request('GET', path, {}, 35_000);
  client.close();
  expect(answer.status).toBe(204);
  return performance.now() - startedMs;
}

/** Two polls that wait for long. */
const longPolls = begunBefore(async (atEnd) => {
  const server = await HostedServer.start();
  atEnd(() => server.end());
  const used = await HttpClient.open(server.port);
  expect((await used.request('GET', '/quiet?wait=0')).status).toBe(204);
  const unsaid = await HttpClient.open(server.port);
  const polls = {
    used: timed(used, '/quiet?wait=16'),
    unsaid: timed(unsaid, '/quiet?since=latest'),
  };
  // Looked at by their tests, which may come later.
  for (const tookMs of Object.values(polls)) tookMs.catch(() => {});
  return polls;
});

/**
 * A server that has evicted events: 2000 were published on `c`, and those from `oldest` on are
 * held.
 */
async function withEvicted(): Promise<{ server: ServerUnderTest; oldest: number }> {
  const server = await hostedForTest({ 'replay-events': 5, 'replay-bytes': '1KiB' });
  // The in-flight window may hold more than the replay's 5: publish far more than both, and ask the
  // server what is left.
  for (let round = 0; round < 20; round++) {
    await server.publishBatch(
      'c',
      Array.from({ length: 100 }, () => ({ data: 'x'.repeat(200) })),
    );
  }
  const { events } = await poll(server, '/c?since=0&wait=0&limit=1000');
  expect(events.at(-1)!.id).toBe(2000);
  expect(events[0]!.id).toBeGreaterThan(5);
  return { server, oldest: events[0]!.id };
}

/**
 * The lines of a head: the status first, the headers in any order, without those that uWebSockets
 * adds, and without the `Connection: close` that one bodiless answer in 64 has by chance.
 */
function headersOf(raw: string): string[] {
  const [status = '', ...headers] = raw.split('\r\n');
  return [
    status,
    ...headers.filter((line) => !/^(?:Date: |uWebSockets: |Connection: close$)/.test(line)).sort(),
  ];
}

describe('the answer', () => {
  test('200 is the next event, byte for byte, under the documented headers and no others', async () => {
    const server = await hostedForTest();
    await server.publish('c', 'hello\n"wörld"', 'notice');
    await server.publish('c', 'later');
    const answer = await server.request('GET', '/c?since=0');
    const body = '{"id":1,"channel":"c","event":"notice","data":"hello\\n\\"wörld\\""}';
    expect(answer.text).toBe(body);
    expect(headersOf(answer.raw)).toEqual([
      'HTTP/1.1 200 OK',
      'Cache-Control: no-store',
      `Content-Length: ${Buffer.byteLength(body)}`,
      'Content-Type: application/json',
      'Holdline-Position: 1',
      'Vary: Accept, Accept-Encoding',
      'X-Content-Type-Options: nosniff',
    ]);
  });

  test('204 is a position and no body, under the documented headers and no others', async () => {
    const server = await hostedWithEvents('c', 3);
    const answer = await server.request('GET', '/c?since=3&wait=0');
    expect(answer.body.length).toBe(0);
    expect(headersOf(answer.raw)).toEqual([
      'HTTP/1.1 204 No Content',
      'Cache-Control: no-store',
      'Holdline-Position: 3',
      'Vary: Accept, Accept-Encoding',
      'X-Content-Type-Options: nosniff',
    ]);
  });

  test('JSON is embedded as it was published: 1.0, long numbers, escapes, and blanks for line breaks', async () => {
    const server = await hostedForTest();
    await server.post(
      'c',
      '{"b": 1.0,  "a":12345678901234567890, "b":"\\u00e9\\/",\r\n"e":-0.0e+01}',
      { headers: JSON_TYPE },
    );
    expect((await poll(server, '/c?since=0')).text).toBe(
      '{"id":1,"channel":"c","data":{"b": 1.0,  "a":12345678901234567890, "b":"\\u00e9\\/",  "e":-0.0e+01}}',
    );
  });

  test('with limit it is an array of the same objects, byte for byte', async () => {
    const server = await hostedForTest();
    await server.publish('c', 'one', 'notice');
    await server.post('c', '1.0', { headers: JSON_TYPE });
    await server.publish('c', 'three');
    const answer = await poll(server, '/c?since=0&limit=10');
    expect(answer.text).toBe(
      '[{"id":1,"channel":"c","event":"notice","data":"one"},{"id":2,"channel":"c","data":1.0},{"id":3,"channel":"c","data":"three"}]',
    );
    expect((await poll(server, '/c?since=1&limit=1')).text).toBe(
      '[{"id":2,"channel":"c","data":1.0}]',
    );
  });

  test('a client of fetch reads the example of a loop: an event, its position, the next one, and 204', async () => {
    const server = await hostedWithEvents('c', 2);
    const seen: unknown[] = [];
    let position = '0';
    for (let polls = 0; polls < 3; polls++) {
      const answer = await fetch(`${server.url}/c?since=${position}&wait=0`);
      if (answer.status === 200) seen.push(await answer.json());
      position = answer.headers.get('holdline-position')!;
    }
    expect(seen).toEqual([
      { id: 1, channel: 'c', data: 'n1' },
      { id: 2, channel: 'c', data: 'n2' },
    ]);
    expect(position).toBe('2');
  });
});

describe('position', () => {
  const shared = sharedHosted();
  beforeAll(async () => {
    expect((await shared().publishBatch('c', same(7))).first).toBe(1);
  });

  test.each([
    ['since=4', '/c?since=4', {}, 5],
    ['last_event_id=4 with a JSON Accept', '/c?last_event_id=4', { Accept: 'application/json' }, 5],
    ['lastEventId=4 with a JSON Accept', '/c?lastEventId=4', { Accept: 'application/json' }, 5],
    [
      'Last-Event-ID: 4 with a JSON Accept',
      '/c',
      { Accept: 'application/json', 'Last-Event-ID': '4' },
      5,
    ],
    ['last=3 with a JSON Accept', '/c?last=3', { Accept: 'application/json' }, 5],
    [
      'the header beats everything in the URL',
      '/c?last_event_id=2&since=1&last=7',
      { 'Last-Event-ID': '6' },
      7,
    ],
    ['last_event_id beats since and last', '/c?last=7&since=2&last_event_id=5', {}, 6],
    ['lastEventId beats since and last', '/c?last=7&since=2&lastEventId=5', {}, 6],
    ['since beats last', '/c?last=7&since=3', {}, 4],
    ['since=0 is everything held', '/c?since=0', {}, 1],
    ['Last-Event-ID: 0 is everything held', '/c?wait=1', { 'Last-Event-ID': '0' }, 1],
  ] as [string, string, Record<string, string>, number][])(
    '%s',
    async (_name, path, headers, firstId) => {
      const { events, isArray } = await poll(shared(), path, headers);
      expect([events.map((event) => event.id), isArray]).toEqual([[firstId], false]);
    },
  );

  test.each([
    ['nothing but a JSON Accept', '', { Accept: 'application/json' }],
    ['since=latest', 'since=latest&', {}],
    ['last=0', 'last=0&', {}],
    ['wait alone', '', {}],
    ['limit alone', 'limit=10&', {}],
  ] as [string, string, Record<string, string>][])(
    '%s is from now',
    async (name, query, headers) => {
      const server = shared();
      const channel = name.replaceAll(/\W/g, '');
      const before = await server.publish(channel, 'before');
      const now = await poll(server, `/${channel}?${query}wait=0`, headers);
      expect([now.status, now.position]).toEqual([204, before]);
      const held = await holdPoll(server, `/${channel}?${query}wait=5`, headers);
      const id = await server.publish(channel, 'after');
      expect((await held.answered).events.map((event) => event.id)).toEqual([id]);
    },
  );

  test('every answer says where to go on: nothing comes twice and nothing is left out, by header or by id', async () => {
    const server = await hostedWithEvents('c', 9);
    for (const by of ['header', 'id'] as const) {
      const poller = await Poller.open(server);
      const ids: number[] = [];
      for (let position = 0; ids.length < 9;) {
        const answer = await poller.poll(`/c?since=${position}&limit=2`);
        ids.push(...answer.events.map((event) => event.id));
        position = by === 'header' ? answer.position : answer.events.at(-1)!.id;
      }
      expect(ids).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
  });

  test('a position before events of other channels goes on without a gap, and so does that of a 204', async () => {
    const server = await hostedWithEvents('c', 2);
    await server.publishBatch('other', same(5));
    const empty = await poll(server, '/c?since=2&wait=0');
    expect(empty.position).toBeGreaterThanOrEqual(2);
    expect(empty.position).toBeLessThanOrEqual(7);
    const id = await server.publish('c', 'next');
    for (const position of [2, empty.position]) {
      const { events } = await poll(server, `/c?since=${position}`);
      expect(events.map((event) => [event.id, event.gap])).toEqual([[id, undefined]]);
    }
  });

  test('where nothing was ever published a 204 gives a position all the same: first id − 1', async () => {
    const server = await hostedForTest();
    for (const since of ['0', 'latest']) {
      expect((await poll(server, `/none?since=${since}&wait=0`)).position).toBe(0);
    }
  });

  test.each(['-1', '1e9', '9007199254740992', '00', '+1', '1.0', 'abc', '0x10', '', '4%00'])(
    'since=%s is 400 HOLDLINE_BAD_POSITION, also where a header beats it',
    async (text) => {
      for (const headers of [{}, { 'Last-Event-ID': '1' }] as Record<string, string>[]) {
        const answer = await shared().request('GET', `/c?since=${text}`, { headers });
        expect([answer.status, codeOf(answer)]).toEqual([400, 'HOLDLINE_BAD_POSITION']);
      }
    },
  );
});

describe('wait and limit', () => {
  const shared = sharedHosted();

  test.each([
    '-1',
    '60.001',
    '61',
    '1.2345',
    '1e1',
    'abc',
    '',
    '+1',
    '%201',
    'Infinity',
    'NaN',
    '0x1',
    '1,5',
    '1s',
    '1.5.0',
  ])('wait=%s is 400 HOLDLINE_BAD_QUERY', async (text) => {
    const answer = await shared().request('GET', `/c?since=0&wait=${text}`);
    expect([answer.status, codeOf(answer)]).toEqual([400, 'HOLDLINE_BAD_QUERY']);
  });

  test.each(['0', '1001', '-1', '1.5', '1.0', '1e2', 'abc', '', '+1', '%201', '0x10'])(
    'limit=%s is 400 HOLDLINE_BAD_QUERY',
    async (text) => {
      const answer = await shared().request('GET', `/c?since=0&wait=0&limit=${text}`);
      expect([answer.status, codeOf(answer)]).toEqual([400, 'HOLDLINE_BAD_QUERY']);
    },
  );

  test.each(['0', '0.0', '0.001', '0.25', '60', '60.000', '7.125'])(
    'wait=%s is taken',
    async (text) => {
      const server = shared();
      const id = await server.publish('taken', 'x');
      const { events } = await poll(server, `/taken?since=${id - 1}&wait=${text}`);
      expect(events.map((event) => event.id)).toEqual([id]);
    },
  );

  test('limit bounds an array from 1 to 1000', async () => {
    const server = await hostedWithEvents('c', 1500, { 'replay-events': 2000 });
    for (const [limit, count] of [
      [1, 1],
      [7, 7],
      [999, 999],
      [1000, 1000],
    ] as const) {
      const answer = await poll(server, `/c?since=0&limit=${limit}`);
      expect([answer.isArray, answer.events.length, answer.position]).toEqual([true, count, count]);
    }
  });

  test('an array with nothing in it is a 204', async () => {
    const server = await hostedWithEvents('c', 1);
    expect((await poll(server, '/c?since=1&wait=0&limit=10')).status).toBe(204);
  });

  test('a body is at most 1 MiB, and the next poll goes on where it ends', async () => {
    const server = await hostedForTest({ 'replay-bytes': '16MiB' });
    const count = 60;
    for (let i = 0; i < count; i += 10) {
      await server.publishBatch(
        'c',
        Array.from({ length: 10 }, (_, at) => ({ data: `${i + at}:${'y'.repeat(60_000)}` })),
      );
    }
    const seen: unknown[] = [];
    for (let position = 0; position < count;) {
      const answer = await poll(server, `/c?since=${position}&limit=1000`);
      expect(answer.answer.body.length).toBeLessThanOrEqual(MIB);
      if (answer.position < count)
        expect(answer.answer.body.length, 'no smaller than it must be').toBeGreaterThan(
          MIB - 61_000,
        );
      seen.push(...answer.events.map((event) => (event.data as string).split(':')[0]));
      position = answer.position;
    }
    expect(seen).toEqual(Array.from({ length: count }, (_, i) => String(i)));
  });

  test('commas and brackets count, too', async () => {
    const server = await hostedForTest({ 'replay-bytes': '16MiB' });
    // 1000 objects of 1 MiB together, without what is between them.
    const objectBytes = Math.floor(MIB / 1000);
    const around = '{"id":1,"channel":"c","data":""}'.length;
    for (let size = objectBytes - around - 2, id = 1; id <= 1000; id += 250) {
      await server.publishBatch(
        'c',
        Array.from({ length: 250 }, () => ({ data: 'z'.repeat(size) })),
      );
    }
    const answer = await poll(server, '/c?since=0&limit=1000');
    expect(answer.answer.body.length).toBeLessThanOrEqual(MIB);
    expect(answer.answer.body.length, 'no smaller than it must be').toBeGreaterThan(
      MIB - 2 * objectBytes,
    );
  });

  test('an event as large as events may be comes alone, whatever the bound', async () => {
    const server = await hostedForTest({ 'max-event-bytes': '1MiB', 'replay-bytes': '16MiB' });
    const data = 'z'.repeat(MIB - 1000);
    for (let i = 0; i < 2; i++) await server.publish('c', data);
    for (const since of [0, 1]) {
      const { events } = await poll(server, `/c?since=${since}&limit=1000`);
      expect(events.map((event) => [event.id, event.data === data])).toEqual([[since + 1, true]]);
    }
  });

  test('text with every kind of character in it comes back as it was published', async () => {
    const server = shared();
    const data =
      Array.from({ length: 0x300 }, (_, i) => String.fromCharCode(i)).join('') +
      '\u2028\u2029\uFEFF\uFFFF😀\r\n\r';
    const id = await server.publish('awkward', data, 'a "type"\\');
    const { events } = await poll(server, `/awkward?since=${id - 1}`);
    expect(events[0]).toMatchObject({ data, event: 'a "type"\\' });
  });
});

describe('gap', () => {
  test('it is the first member of the first object, byte for byte, and stands on no other', async () => {
    const { server, oldest } = await withEvicted();
    const one = await poll(server, '/c?since=4');
    const data = 'x'.repeat(200);
    expect(one.text).toBe(
      `{"gap":{"after":4,"before":${oldest}},"id":${oldest},"channel":"c","data":"${data}"}`,
    );
    const two = await poll(server, '/c?since=4&limit=2');
    expect(two.text).toBe(
      `[{"gap":{"after":4,"before":${oldest}},"id":${oldest},"channel":"c","data":"${data}"},{"id":${oldest + 1},"channel":"c","data":"${data}"}]`,
    );
    expect(
      (await poll(server, `/c?since=${two.position}`)).events[0]!.gap,
      'told once',
    ).toBeUndefined();
    expect((await server.stats()).counters.gaps_total).toBe(2);
  });

  test('nothing is missed after the newest id that is lost, nor after 0', async () => {
    const { server, oldest } = await withEvicted();
    for (const since of [oldest - 1, 0]) {
      expect(
        (await poll(server, `/c?since=${since}`)).events.map((event) => [event.id, event.gap]),
      ).toEqual([[oldest, undefined]]);
    }
    expect((await poll(server, `/c?since=${oldest - 2}`)).events[0]!.gap).toEqual({
      after: oldest - 2,
      before: oldest,
    });
  });

  test('an unreadable Last-Event-ID is a gap after null and everything held', async () => {
    const server = await hostedWithEvents('c', 3);
    const answer = await poll(server, '/c?limit=10', { 'Last-Event-ID': 'cafe-babe' });
    expect(answer.events.map((event) => [event.id, event.gap])).toEqual([
      [1, { after: null, before: 1 }],
      [2, undefined],
      [3, undefined],
    ]);
  });

  test('a position past the last id is a gap and everything held: it is of another life of this server', async () => {
    const server = await hostedWithEvents('c', 3);
    const { events } = await poll(server, '/c?since=999');
    expect(events.map((event) => [event.id, event.gap])).toEqual([[1, { after: 999, before: 1 }]]);
  });

  test.each([
    ['a position whose events are gone', '/c?since=2', {}, 2],
    ['a position past the last id', '/c?since=999', {}, 999],
    ['an unreadable header', '/c?since=0', { 'Last-Event-ID': 'abc' }, null],
  ] as [string, string, Record<string, string>, number | null][])(
    'where nothing is held, %s is told with the next event',
    async (_name, path, headers, after) => {
      const server = await hostedWithEvents('c', 5, { 'replay-events': 0 });
      const held = await holdPoll(server, `${path}&wait=5`, headers);
      await server.publish('c', 'next');
      expect((await held.answered).text).toBe(
        `{"gap":{"after":${after},"before":6},"id":6,"channel":"c","data":"next"}`,
      );
      expect((await server.stats()).counters.gaps_total).toBe(1);
    },
  );

  test.each([
    ['of a position whose events are gone', '/c?since=2', {}],
    ['of a position past the last id', '/c?since=999', {}],
    ['of an unreadable header', '/c?limit=1', { 'Last-Event-ID': 'abc' }],
  ] as [string, string, Record<string, string>][])(
    'the gap %s that a 204 could not tell is told by the poll that goes on from it',
    async (_name, path, headers) => {
      const server = await hostedWithEvents('c', 5, { 'replay-events': 0 });
      for (const wait of ['0', '0.1']) {
        const empty = await poll(server, `${path}&wait=${wait}`, headers);
        expect(empty.status).toBe(204);
        const again = await poll(server, `/c?since=${empty.position}&wait=0`);
        const held = await holdPoll(server, `/c?since=${again.position}&wait=5`);
        const id = await server.publish('c', 'next');
        const { events } = await held.answered;
        expect(events.map((event) => [event.id, event.gap?.before])).toEqual([[id, id]]);
      }
    },
  );

  test('a gap on one of several channels is told', async () => {
    const { server, oldest } = await withEvicted();
    await server.publish('d', 'x');
    const { events } = await poll(server, '/c,d?since=4');
    expect(events.map((event) => [event.id, event.gap])).toEqual([
      [oldest, { after: 4, before: oldest }],
    ]);
  });
});

describe('waiting', () => {
  const shared = sharedHosted();

  test('a publish answers it with the NDJSON line less its line feed, long before its time is up', async () => {
    const server = shared();
    const held = await holdPoll(server, '/c?since=latest&wait=20');
    const startedMs = performance.now();
    const id = await server.publish('c', 'now', 'notice');
    const answer = await held.answered;
    expect(performance.now() - startedMs).toBeLessThan(2_000);
    expect(answer.text).toBe(`{"id":${id},"channel":"c","event":"notice","data":"now"}`);
    expect(answer.position).toBe(id);
  });

  test('15 that wait are 15 subscribers, and are answered with the same bytes', async () => {
    const server = await hostedForTest();
    const held = await holdPolls(
      server,
      Array.from({ length: 15 }, () => '/c?since=latest&wait=20'),
    );
    const { lines } = await server.stats();
    expect([lines.open, lines.byTransport]).toEqual([
      15,
      { sse: 0, ndjson: 0, websocket: 0, poll: 15, library: 0 },
    ]);
    expect((await server.post('c', 'to all')).text).toBe('{"id":1,"subscribers":15}');
    const answers = await Promise.all(held.map((one) => one.answered));
    expect(
      new Set(answers.map(({ answer }) => answer.raw.replace(/^Date: .*$/m, '') + answer.text))
        .size,
    ).toBe(1);
    expect(answers[0]!.text).toBe('{"id":1,"channel":"c","data":"to all"}');
    const stats = await server.stats();
    expect([stats.lines.open, stats.lines.byTransport.poll]).toEqual([0, 0]);
    expect(stats.counters).toMatchObject({
      polls_waited_total: 15,
      polls_answered_total: 15,
      polls_empty_total: 0,
    });
  });

  test('waiters at one place ask in different ways and are given different shapes', async () => {
    const server = await hostedWithEvents('c', 3);
    const held = await holdPolls(server, [
      '/c?since=3',
      '/c?since=3&limit=1',
      '/c?since=3&limit=50',
      '/c?since=latest',
      '/c,d?since=3',
    ]);
    await server.publish('c', 'n4');
    const object = '{"id":4,"channel":"c","data":"n4"}';
    const texts = (await Promise.all(held.map((one) => one.answered))).map((answer) => answer.text);
    expect(texts).toEqual([object, `[${object}]`, `[${object}]`, object, object]);
  });

  test('an event that is there already is not waited for', async () => {
    const server = shared();
    const id = await server.publish('there', 'x');
    const startedMs = performance.now();
    await poll(server, `/there?since=${id - 1}&wait=30`);
    expect(performance.now() - startedMs).toBeLessThan(2_000);
  });

  test('a batch that comes meanwhile is taken whole, in as many polls as it needs', async () => {
    const server = shared();
    for (const limit of ['', '&limit=3', '&limit=1000']) {
      const { poller, answered } = await holdPoll(server, `/batch?wait=5${limit}`);
      const { first, last } = await server.publishBatch('batch', same(5));
      let answer = await answered;
      const ids = answer.events.map((event) => event.id);
      while (ids.at(-1)! < last) {
        answer = await poller.poll(`/batch?since=${answer.position}&wait=5${limit}`);
        ids.push(...answer.events.map((event) => event.id));
      }
      expect(ids).toEqual([0, 1, 2, 3, 4].map((i) => first + i));
    }
  });

  test('an event of another channel does not answer it', async () => {
    const server = shared();
    const held = await holdPolls(server, ['/mine?wait=5', '/mine,shared?wait=5']);
    const other = await server.publish('shared', 'x');
    expect((await held[1]!.answered).position).toBe(other);
    expect((await server.stats()).lines.byTransport.poll).toBe(1);
    const id = await server.publish('mine', 'x');
    expect((await held[0]!.answered).events.map((event) => event.id)).toEqual([id]);
  });

  test('events that come between two polls are there for the next one', async () => {
    const server = shared();
    const poller = await Poller.open(server);
    let { position } = await poller.poll('/between?wait=0');
    for (let i = 0; i < 20; i++) {
      const id = await server.publish('between', `n${i}`);
      const answer = await poller.poll(`/between?since=${position}&wait=5`);
      expect(answer.events.map((event) => event.id)).toEqual([id]);
      position =
        i % 2 === 0
          ? answer.position
          : (await poller.poll(`/between?since=${id}&wait=0.01`)).position;
    }
  });

  test('between 90 % and 100 % of its wait it is answered 204', async () => {
    const server = await hostedWithEvents('c', 3);
    const waitMs = 3000;
    const pollers = await Promise.all(Array.from({ length: 60 }, () => Poller.open(server)));
    const took = await Promise.all(
      pollers.map(async (poller) => {
        const startedMs = performance.now();
        const answer = await poller.poll(`/c?since=3&wait=${waitMs / 1000}`);
        expect([answer.status, answer.position]).toEqual([204, 3]);
        return performance.now() - startedMs;
      }),
    );
    // A timer of Node may be a millisecond early.
    expect(Math.min(...took)).toBeGreaterThanOrEqual(0.9 * waitMs - 2);
    expect(Math.max(...took)).toBeLessThan(waitMs + LATE_MS);
    expect((await server.stats()).counters).toMatchObject({
      polls_waited_total: 60,
      polls_empty_total: 60,
      polls_answered_total: 0,
    });
  });

  test('several polls go over one connection, whatever they are answered', async () => {
    const server = await hostedForTest();
    const poller = await Poller.open(server);
    expect((await poller.poll('/c?wait=0')).status).toBe(204);
    expect((await poller.poll('/c?wait=0.2')).status).toBe(204);
    for (let i = 1; i <= 3; i++) {
      const answered = poller.poll(`/c?since=${i - 1}&wait=5`);
      await server.statsUntil('it waits', ({ lines }) => lines.byTransport.poll === 1);
      await server.publish('c', `n${i}`);
      expect((await answered).events[0]!.id).toBe(i);
    }
    const refused = await poller.client.request('GET', '/c?since=x');
    expect(refused.status).toBe(400);
    expect((await poller.poll('/c?since=0&limit=10')).events).toHaveLength(3);
    expect(poller.client.connection.closed).toBe(false);
  });

  test.each([
    ['resets', 'resetAndDestroy'],
    ['closes its side of', 'end'],
  ] as const)(
    'a client that %s its connection while it waits leaves nothing behind',
    async (_name, act) => {
      const server = await hostedForTest();
      const held = await holdPolls(server, ['/c?wait=30', '/c,d?wait=30', '/c?wait=30&limit=5']);
      for (const { poller, answered } of held) {
        answered.catch(() => undefined);
        poller.client.connection.socket[act]();
      }
      const { lines, counters } = await server.statsUntil(
        'nobody waits',
        (stats) => stats.lines.byTransport.poll === 0,
      );
      expect(lines.open).toBe(0);
      expect(counters.lines_opened_total - counters.lines_closed_total).toBe(0);
      expect((await server.post('c', 'x')).text).toBe('{"id":1,"subscribers":0}');
    },
  );

  test('a request behind one that waits closes the connection or is answered after it, and leaves nothing behind', async () => {
    const server = await hostedForTest();
    const { poller, answered } = await holdPoll(server, '/c?wait=30');
    answered.catch(() => undefined);
    const { connection } = poller.client;
    connection.consume = () => undefined;
    connection.send(requestBytes(server.port, 'GET', '/c?wait=0'));
    await server.request('GET', '/-/health');
    await server.publish('c', 'x');
    await server.statsUntil(
      'nobody waits',
      ({ lines }) => lines.byTransport.poll === 0 && lines.open === 0,
    );
    expect((await poll(server, '/c?since=0')).events[0]!.data).toBe('x');
  });
});

describe('several channels', () => {
  test('what is held is merged in id order', async () => {
    const server = await hostedForTest();
    for (let i = 1; i <= 30; i++) await server.publish('abc'[(i * 7) % 3]!, `n${i}`);
    const poller = await Poller.open(server);
    const all = await poller.poll('/c,a,b?since=10&limit=1000');
    expect(all.events.map((event) => [event.id, event.channel, event.data])).toEqual(
      Array.from({ length: 20 }, (_, i) => [i + 11, 'abc'[((i + 11) * 7) % 3], `n${i + 11}`]),
    );
    const ids: number[] = [];
    for (let position = 0; position < 30;) {
      const answer = await poller.poll(`/a,b,c?since=${position}`);
      ids.push(...answer.events.map((event) => event.id));
      position = answer.position;
    }
    expect(ids).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
  });

  test('last=N is the newest N of each of them, and duplicates collapse', async () => {
    const server = await hostedForTest();
    for (let i = 1; i <= 9; i++) await server.publish('ab'[i % 2]!, `n${i}`);
    const { events } = await poll(server, '/a,b,a?last=2&limit=10');
    expect(events.map((event) => event.id)).toEqual([6, 7, 8, 9]);
  });

  test('a waiter on two counts as a subscriber of each', async () => {
    const server = await hostedForTest();
    const held = await holdPoll(server, '/a,b?wait=5');
    expect((await server.post('other', 'x')).text).toBe('{"id":1,"subscribers":0}');
    expect((await server.post('b', 'x')).text).toBe('{"id":2,"subscribers":1}');
    expect((await held.answered).text).toBe('{"id":2,"channel":"b","data":"x"}');
  });
});

describe('HEAD', () => {
  test('it is the status and headers of the same GET without waiting, and the connection serves on', async () => {
    const server = await hostedWithEvents('c', 3);
    const client = await HttpClient.open(server.port);
    onTestFinished(() => client.close());
    for (const [path, headers] of [
      ['/c?since=0', {}],
      ['/c?since=0&limit=2', {}],
      ['/c?since=3&wait=60', {}],
      ['/c', { Accept: 'application/json' }],
    ] as [string, Record<string, string>][]) {
      const startedMs = performance.now();
      const head = await client.request('HEAD', path, { headers });
      expect(performance.now() - startedMs).toBeLessThan(2_000);
      const get = await client.request(
        'GET',
        path.replace('wait=60', 'wait=0').replace(/^\/c$/, '/c?wait=0'),
        { headers },
      );
      expect(headersOf(head.raw)).toEqual(headersOf(get.raw));
    }
    expect((await server.stats()).counters).toMatchObject({
      polls_waited_total: 0,
      lines_opened_total: 0,
    });
  });

  test('it refuses what GET refuses', async () => {
    const server = await hostedForTest();
    for (const query of ['since=x', 'wait=61', 'limit=0']) {
      expect((await server.request('HEAD', `/c?${query}`)).status).toBe(400);
    }
  });
});

describe('when there is no place', () => {
  test('a poll that would wait beyond --max-connections is 503 with Retry-After, and is taken when one has gone', async () => {
    const server = await hostedForTest({ 'max-connections': 3 });
    const stream = await SseLine.open(server.port, '/c');
    onTestFinished(() => stream.close());
    const held = await holdPolls(server, ['/c?wait=20', '/d?wait=20']);
    const refused = await server.request('GET', '/c?wait=20');
    expect([refused.status, codeOf(refused)]).toEqual([503, 'HOLDLINE_LINES_FULL']);
    expect(refused.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    expect(refused.headers.get('content-type')).toBe('application/json');
    await server.publish('d', 'x');
    await held[1]!.answered;
    await holdPoll(server, '/c?wait=20');
  });

  test('a poll that does not wait is answered all the same: it holds nothing', async () => {
    const server = await hostedForTest({ 'max-connections': 1 });
    const id = await server.publish('c', 'x');
    await holdPoll(server, '/c?wait=20');
    expect((await poll(server, '/c?since=0&wait=20')).position).toBe(id);
    expect((await poll(server, '/c?wait=0')).status).toBe(204);
    expect((await server.request('HEAD', '/c?wait=20')).status).toBe(204);
  });

  test('a drain answers those that wait with 204 and their position, and new ones with 503', async () => {
    const server = await serverForTest({ drain: '8s' });
    await server.publishBatch('c', same(3));
    const late = await HttpClient.open(server.port);
    onTestFinished(() => late.close());
    // A connection that has carried a request is certainly accepted.
    expect((await late.request('GET', '/-/ready')).status).toBe(200);
    const held = await holdPolls(server, [
      '/c?since=3&wait=30',
      '/c,d?since=3&wait=30',
      '/c?since=3&wait=30&limit=9',
    ]);
    await stalledLine(server);
    server.signal('SIGTERM');
    for (const { answered } of held) {
      const answer = await answered;
      expect(answer.status).toBe(204);
      expect(answer.position).toBeGreaterThanOrEqual(3);
    }
    const refused = await late.request('GET', '/c?since=0');
    expect([refused.status, codeOf(refused)]).toEqual([503, 'HOLDLINE_DRAINING']);
    expect(refused.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    // A second is left to it; without the signal it would be eight.
    server.signal('SIGINT');
    await server.exited();
  });
});

describe('pages of other origins', () => {
  test('a listed one may read 200 and 204, and the position with them', async () => {
    const server = await hostedForTest({ 'allow-origin': APP });
    await server.publish('c', 'x');
    for (const path of ['/c?since=0', '/c?since=1&wait=0', '/c?since=1&wait=0.05']) {
      const { headers } = readPoll(
        await server.request('GET', path, { headers: { Origin: APP } }),
      ).answer;
      expect(headers.get('access-control-allow-origin')).toBe(APP);
      expect(headers.get('access-control-expose-headers')).toBe('Holdline-Position, Retry-After');
      expect(headers.get('vary')).toBe('Origin, Accept, Accept-Encoding');
      const foreign = await server.request('GET', path, {
        headers: { Origin: 'https://evil.example' },
      });
      expect(foreign.headers.has('access-control-allow-origin')).toBe(false);
    }
  });

  test('one that waited is answered with the headers of its own origin', async () => {
    const server = await hostedForTest({ 'allow-origin': [APP, 'https://two.example'] });
    const held: HeldPoll[] = [];
    for (const headers of [{ Origin: APP }, { Origin: 'https://two.example' }, {}] as Record<
      string,
      string
    >[]) {
      held.push(await holdPoll(server, '/c?wait=10', headers));
    }
    await server.publish('c', 'x');
    const origins = (await Promise.all(held.map((one) => one.answered))).map(({ answer }) =>
      answer.headers.get('access-control-allow-origin'),
    );
    expect(origins).toEqual([APP, 'https://two.example', undefined]);
  });
});

test.each(['', '&later'])(
  'authorize decides over polls%s, before anything is held or told',
  async (later) => {
    const asked: unknown[] = [];
    const server = createServer({
      port: 0,
      firstId: 1,
      authorize: ({ action, channels, headers, query }) => {
        asked.push([action, channels, query]);
        const answer = headers['x-who'] === 'friend';
        return query.includes('later')
          ? new Promise((resolve) => setImmediate(() => resolve(answer)))
          : answer;
      },
    });
    onTestFinished(() => server.close({ drainMs: 0 }));
    const { port } = await server.listen();
    const url = `http://127.0.0.1:${port}/c,d?since=0${later}`;
    const refused = await fetch(url);
    expect([
      refused.status,
      ((await refused.json()) as { error: { code: string } }).error.code,
    ]).toEqual([403, 'HOLDLINE_FORBIDDEN']);
    expect(refused.headers.has('holdline-position')).toBe(false);
    const waiting = fetch(url, { headers: { 'x-who': 'friend' } });
    await expect.poll(() => server.stats().lines.byTransport.poll).toBe(1);
    expect(await server.channel('d').publish({ data: { n: 1 } })).toBe(1);
    expect(await (await waiting).text()).toBe('{"id":1,"channel":"d","data":{"n":1}}');
    expect((await fetch(`${url}&wait=0`, { method: 'HEAD' })).status).toBe(403);
    expect(asked[0]).toEqual(['subscribe', ['c', 'd'], `since=0${later}`]);
  },
);

test('a body that comes behind a large answer, which was to close the connection, ends no process', async () => {
  for (const [length, pieces] of [
    [5, ['later']],
    [10_000, Array.from({ length: BODY_PIECES_PER_TURN_MAX + 88 }, () => 'x')],
  ] as const) {
    const server = await hostedForTest();
    const connection = await RawConnection.open(server.port);
    onTestFinished(() => connection.destroy());
    connection.send(
      `GET /c?wait=9&limit=9 HTTP/1.1\r\nHost: localhost\r\nConnection: close, te\r\nContent-Length: ${length}\r\n\r\n`,
    );
    await expect.poll(async () => (await server.stats()).lines.byTransport.poll).toBe(1);
    await server.publish('c', 'x'.repeat(20_000));
    await connection.waitFor('the answer', () => connection.text.includes('"}]'));
    for (const piece of pieces) {
      if (connection.closed) break;
      connection.send(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await server.publish('c', 'after');
    expect((await server.request('GET', '/-/health')).status).toBe(200);
  }
});

describe('polls that take their time', () => {
  test('on a connection that has carried a poll, one may wait longer than uWebSockets lets idle connections be', async () => {
    const tookMs = await longPolls().value.used;
    expect(tookMs).toBeGreaterThanOrEqual(0.9 * 16_000 - 2);
    expect(tookMs).toBeLessThan(16_000 + LATE_MS);
  });

  test(`without wait it is ${POLL_WAIT_DEFAULT_SECONDS} seconds`, async () => {
    const waitMs = POLL_WAIT_DEFAULT_SECONDS * 1_000;
    const tookMs = await longPolls().value.unsaid;
    expect(tookMs).toBeGreaterThanOrEqual(0.9 * waitMs - 2);
    expect(tookMs).toBeLessThan(waitMs + LATE_MS);
  });
});
