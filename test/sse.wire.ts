/**
 * The event stream on the wire: head, prelude, frames, replay, gaps, heartbeats, several
 * channels.
 */
import { describe, expect, onTestFinished, test } from 'vitest';
import { SseLine, type LineOptions } from './support/line.js';
import { hostedForTest, hostedWithEvents, sharedHosted } from './support/hosted.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import { codeOf, RawConnection, request } from './support/wire.js';

async function open(
  server: ServerUnderTest,
  path: string,
  options: LineOptions = {},
): Promise<SseLine> {
  const line = await SseLine.open(server.port, path, options);
  onTestFinished(() => line.close());
  return line;
}

/** The stream without the prelude, as bytes in Latin-1. */
function afterPrelude(line: SseLine): string {
  return line.text.slice(line.text.indexOf('\n\n') + 2);
}

const from = (id: number | string): LineOptions => ({ headers: { 'Last-Event-ID': String(id) } });

describe('opening', () => {
  const shared = sharedHosted();
  test('the head is the documented set of headers and nothing else', async () => {
    const server = await hostedForTest();
    const line = await open(server, '/c');
    expect(line.head.raw.split('\r\n')[0]).toBe('HTTP/1.1 200 OK');
    const headers = Object.fromEntries(line.head.headers);
    delete headers['date'];
    delete headers['uwebsockets'];
    expect(headers).toEqual({
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
      vary: 'Accept, Accept-Encoding',
      'transfer-encoding': 'chunked',
    });
  });

  test('the first block is retry and the position the line continues from', async () => {
    const server = await hostedWithEvents('c', 3);
    const line = await open(server, '/c');
    await line.waitForBlocks(1);
    expect(line.text).toMatch(/^retry: 10[01]\nid: 3\n\n$/);
  });

  test('without an event the prelude still carries a position: first id − 1', async () => {
    const server = await hostedForTest();
    const line = await open(server, '/c');
    await line.waitForBlocks(1);
    expect(line.text).toMatch(/^retry: 10[01]\nid: 0\n\n$/);
  });

  test('without --first-id the ids start at the clock, so that they do not go back over a restart', async () => {
    const before = Date.now() * 1000;
    const server = await hostedForTest({ 'first-id': false });
    const id = await server.publish('c', 'x');
    expect(id).toBeGreaterThanOrEqual(before);
    expect(id).toBeLessThanOrEqual(Date.now() * 1000);
    expect(await server.publish('c', 'y')).toBe(id + 1);
  });

  test.each([
    ['no Accept at all, as of a script', {}],
    ['Accept: */*, as of curl', { Accept: '*/*' }],
    ['SSE with the highest q', { Accept: 'application/json;q=0.5, text/event-stream;q=0.9' }],
    ['an Accept that nobody can fulfil (never 406)', { Accept: 'image/png' }],
  ])('%s gets the event stream', async (_name, headers: Record<string, string>) => {
    const server = shared();
    const bytes = `GET /c HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\n${Object.entries(headers)
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('')}\r\n`;
    const connection = await RawConnection.open(server.port);
    onTestFinished(() => connection.destroy());
    connection.send(bytes);
    await connection.waitFor('a prelude', () => connection.text.includes('retry: '));
    expect(connection.text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(connection.text).toMatch(/\r\nContent-Type: text\/event-stream\r\n/i);
  });
});

describe('frames', () => {
  const shared = sharedHosted();
  test('id, event and data stand in this order, byte for byte', async () => {
    const server = await hostedForTest();
    const line = await open(server, '/c');
    await server.publish('c', 'hello', 'notice');
    await server.publish('c', 'plain');
    await server.publish('c', 'grüße 😀', 'a b');
    await line.waitForId(3);
    expect(Buffer.from(afterPrelude(line), 'latin1').toString('utf8')).toBe(
      'id: 1\nevent: notice\ndata: hello\n\nid: 2\ndata: plain\n\nid: 3\nevent: a b\ndata: grüße 😀\n\n',
    );
  });

  test.each([
    ['LF', 'a\nb', 'data: a\ndata: b\n\n'],
    ['CR', 'a\rb', 'data: a\ndata: b\n\n'],
    ['CRLF', 'a\r\nb', 'data: a\ndata: b\n\n'],
    ['LF CR, two breaks', 'a\n\rb', 'data: a\ndata: \ndata: b\n\n'],
    ['a break at the end', 'a\n', 'data: a\ndata: \n\n'],
    ['a break at the start', '\na', 'data: \ndata: a\n\n'],
    ['nothing', '', 'data: \n\n'],
    ['a leading blank', ' a', 'data:  a\n\n'],
    [
      'text that looks like a field',
      'id: 99\n\nevent: gap\n: c',
      'data: id: 99\ndata: \ndata: event: gap\ndata: : c\n\n',
    ],
  ])('data with %s is one data line per line', async (_name, data, frame) => {
    const server = shared();
    const line = await open(server, '/c');
    const id = await server.publish('c', data);
    await line.waitForId(id);
    expect(afterPrelude(line)).toBe(`id: ${id}\n${frame}`);
  });

  test('JSON is sent on as it stands: blanks, key order, long numbers, escapes', async () => {
    const server = await hostedForTest();
    const line = await open(server, '/c');
    const body = '{"b": 1.0,  "a":12345678901234567890, "b":"\\u00e9\\/", "e":-0.0e+01}';
    await server.post('c', body, { headers: { 'Content-Type': 'application/json' } });
    await server.post('c', '[1,\r\n 2]', { headers: { 'Content-Type': 'application/json' } });
    await line.waitForId(2);
    expect(afterPrelude(line)).toBe(`id: 1\ndata: ${body}\n\nid: 2\ndata: [1,\ndata:  2]\n\n`);
  });

  test('a channel of its own gets nothing of another one', async () => {
    const server = await hostedForTest();
    const line = await open(server, '/mine');
    await server.publish('other', 'x');
    await server.publish('mine', 'y');
    await line.waitForId(2);
    expect(afterPrelude(line)).toBe('id: 2\ndata: y\n\n');
  });
});

describe('replay', () => {
  const shared = sharedHosted();
  test.each([
    ['Last-Event-ID: 4', '/c', { 'Last-Event-ID': '4' }],
    ['last_event_id=4', '/c?last_event_id=4', {}],
    ['lastEventId=4', '/c?lastEventId=4', {}],
    ['since=4 with an SSE Accept', '/c?since=4', {}],
    ['last=3', '/c?last=3', {}],
  ])(
    '%s continues with 5, 6, 7 and goes on live without a seam',
    async (_name, path, headers: Record<string, string>) => {
      const server = await hostedWithEvents('c', 7);
      const line = await open(server, path, { headers });
      await server.publish('c', 'n8');
      await line.waitForId(8);
      expect(line.text).toMatch(/^retry: 10[01]\nid: 4\n\n/);
      expect(afterPrelude(line)).toBe(
        'id: 5\ndata: n5\n\nid: 6\ndata: n6\n\nid: 7\ndata: n7\n\nid: 8\ndata: n8\n\n',
      );
    },
  );

  test.each([
    [
      'the header beats every position in the URL, as a reconnect repeats the URL',
      '/c?last_event_id=2&since=1&last=7',
      { 'Last-Event-ID': '6' },
      7,
    ],
    ['last_event_id beats since and last', '/c?last=7&since=2&last_event_id=5', {}, 6],
    ['lastEventId beats since and last', '/c?last=7&since=2&lastEventId=5', {}, 6],
    ['since beats last', '/c?last=7&since=3', {}, 4],
  ])('%s', async (_name, path, headers: Record<string, string>, firstId) => {
    const server = await hostedWithEvents('c', 7);
    const line = await open(server, path, { headers });
    await line.waitForId(7);
    expect(line.ids[0]).toBe(firstId);
    expect(line.gaps).toEqual([]);
  });

  test('since=latest starts from now', async () => {
    const server = await hostedWithEvents('c', 7);
    const line = await open(server, '/c?since=latest');
    await server.publish('c', 'n8');
    await line.waitForId(8);
    expect(line.ids).toEqual([8]);
  });

  test('position 0 is everything held, and no gap even where older events are gone', async () => {
    const server = await hostedWithEvents('c', 20, { 'replay-events': 5 });
    for (const [path, options] of [
      ['/c?since=0', {}],
      ['/c', from(0)],
    ] as const) {
      const line = await open(server, path, options);
      await line.waitForId(20);
      expect(line.gaps).toEqual([]);
      expect(line.ids).toEqual(line.ids.map((_, i) => 20 - line.ids.length + 1 + i));
      expect(line.ids.length).toBeGreaterThanOrEqual(5);
    }
  });

  test('last=N gives the newest N; more than are held gives all held without a gap; 0 gives none', async () => {
    const server = await hostedWithEvents('c', 6);
    const three = await open(server, '/c?last=3');
    const all = await open(server, '/c?last=1000');
    const none = await open(server, '/c?last=0');
    const id = await server.publish('c', 'live');
    for (const line of [three, all, none]) await line.waitForId(id);
    expect(three.ids).toEqual([4, 5, 6, 7]);
    expect(all.ids).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(none.ids).toEqual([7]);
    expect([three.gaps, all.gaps, none.gaps]).toEqual([[], [], []]);
  });

  test('a replay larger than one cork comes whole and in order', async () => {
    const server = await hostedForTest({ 'replay-events': 5000, 'replay-bytes': '8MiB' });
    const events = Array.from({ length: 2000 }, (_, i) => ({ data: `${i}:${'x'.repeat(700)}` }));
    await server.publishBatch('c', events);
    const line = await open(server, '/c?since=0');
    await line.waitForId(2000);
    expect(line.ids).toEqual(Array.from({ length: 2000 }, (_, i) => i + 1));
    expect(line.events.map((event) => event.data)).toEqual(events.map((event) => event.data));
  });

  test('a reconnect with the newest id gets nothing twice', async () => {
    const server = await hostedWithEvents('c', 4);
    const line = await open(server, '/c', from(4));
    await server.publish('c', 'n5');
    await line.waitForId(5);
    expect(line.ids).toEqual([5]);
    expect(line.gaps).toEqual([]);
  });

  test.each([
    '-1',
    '1e9',
    '9007199254740992',
    '00',
    '+1',
    '1.0',
    'abc',
    '0x10',
    '',
    '%00',
    '4%00',
    '10000000000000000000000',
  ])('a position "%s" in the query is 400', async (text) => {
    const server = shared();
    for (const name of ['since', 'last_event_id', 'lastEventId', 'last']) {
      const answer = await request(server.port, 'GET', `/c?${name}=${text}`, {
        headers: { Accept: 'text/event-stream' },
      });
      expect([name, answer.status, codeOf(answer)]).toEqual([name, 400, 'HOLDLINE_BAD_POSITION']);
      const beaten = await request(server.port, 'GET', `/c?${name}=${text}`, {
        headers: { Accept: 'text/event-stream', 'Last-Event-ID': '1' },
      });
      expect(
        beaten.status,
        'also where a header beats it: whoever wrote the URL made a mistake',
      ).toBe(400);
    }
  });
});

describe('gaps', () => {
  test('a position before what is lost is told the gap first, then everything held', async () => {
    const server = await hostedForTest({ 'replay-events': 5, 'replay-bytes': '1KiB' });
    // The in-flight window may hold more than the replay's 5: publish far more than both, and ask
    // the server what is left.
    for (let round = 0; round < 20; round++) {
      await server.publishBatch(
        'c',
        Array.from({ length: 100 }, (_, i) => ({ data: `${round}.${i} ${'x'.repeat(200)}` })),
      );
    }
    const held = await open(server, '/c?since=0');
    await held.waitForId(2000);
    const oldest = held.ids[0]!;
    expect(oldest).toBeGreaterThan(5);
    const late = await open(server, '/c', from(4));
    await late.waitForId(2000);
    expect(late.gaps).toEqual([{ after: 4, before: oldest }]);
    expect(afterPrelude(late)).toMatch(
      new RegExp(`^event: gap\\ndata: {"after":4,"before":${oldest}}\\n\\nid: ${oldest}\\ndata: `),
    );
    expect(late.ids).toEqual(held.ids);
    // To continue after the newest lost id is no gap: nothing after it is missing.
    const justInTime = await open(server, '/c', from(oldest - 1));
    await justInTime.waitForId(2000);
    expect(justInTime.gaps).toEqual([]);
    expect(justInTime.ids).toEqual(held.ids);
    const { counters } = await server.stats();
    expect(counters).toMatchObject({ gaps_total: 1, gaps_at_join_total: 1, gaps_slow_total: 0 });
  });

  test('where nothing is kept a missed event is a gap with before null, and live goes on', async () => {
    const server = await hostedWithEvents('c', 5, { 'replay-events': 0 });
    const line = await open(server, '/c', from(2));
    const id = await server.publish('c', 'live');
    await line.waitForId(id);
    expect(line.gaps).toEqual([{ after: 2, before: null }]);
    expect(line.ids).toEqual([id]);
  });

  test('a position past the last id is a gap: it is of another life of this server', async () => {
    const server = await hostedWithEvents('c', 3);
    const line = await open(server, '/c', from(999));
    const id = await server.publish('c', 'live');
    await line.waitFor('the live event', () => line.ids.includes(id));
    expect(line.gaps).toHaveLength(1);
    expect(line.gaps[0]!.before).toBe(line.ids[0]);
    expect(line.blocks.findIndex((block) => block.event === 'gap')).toBe(1);
    expect(
      line.blocks[0]!.id,
      'the prelude must not repeat a position that nothing can follow',
    ).toBeLessThanOrEqual(3);
  });

  test.each(['-1', '1e9', 'abc', '9007199254740992', '4 5', 'cafe-babe'])(
    'a foreign Last-Event-ID "%s" is a gap and everything held',
    async (text) => {
      const server = await hostedWithEvents('c', 3);
      const line = await open(server, '/c', from(text));
      const id = await server.publish('c', 'live');
      await line.waitForId(id);
      expect(line.gaps).toHaveLength(1);
      expect(line.gaps[0]!.before).toBe(1);
      expect(line.ids).toEqual([1, 2, 3, 4]);
      expect(line.blocks[1]!.event).toBe('gap');
    },
  );

  test('a foreign position on a channel that holds nothing is a gap with before null', async () => {
    const server = await hostedForTest();
    const line = await open(server, '/empty', from('abc'));
    await line.waitFor('the gap', () => line.gaps[0]);
    expect(line.gaps[0]!.before).toBe(null);
    await server.publish('empty', 'x');
    await line.waitForId(1);
    expect(line.ids).toEqual([1]);
    expect(line.gaps).toHaveLength(1);
  });

  test('a ring that was dropped for --replay-total is a gap to who comes back to it, and to nobody else', async () => {
    const server = await hostedForTest({
      'replay-total': '1MiB',
      'replay-bytes': '512KiB',
      'replay-events': 10_000,
    });
    const held = await open(server, '/c0');
    for (let i = 0; i < 8; i++) {
      await server.publishBatch(
        `c${i}`,
        Array.from({ length: 300 }, () => ({ data: 'x'.repeat(1000) })),
      );
    }
    await held.waitForEvents(300);
    const { counters, channels } = await server.stats();
    expect(counters.rings_dropped_total).toBeGreaterThan(0);
    expect(channels.ringBytes).toBeLessThanOrEqual(2 ** 20);
    const dropped = await open(server, '/c0', from(1));
    await dropped.waitFor('the gap', () => dropped.gaps.length > 0);
    const kept = await open(server, '/c7', from(2101));
    await kept.waitForId(2400);
    const id = await server.publish('c0', 'live');
    for (const line of [held, dropped]) await line.waitForId(id);
    expect([dropped.gaps, dropped.ids]).toEqual([[{ after: 1, before: null }], [id]]);
    expect([held.gaps, held.eventCount]).toEqual([[], 301]);
    expect([kept.gaps, kept.eventCount]).toEqual([[], 299]);
  });
});

describe('heartbeat', () => {
  test('a quiet line hears a comment with the head as id, and comes back from there without a false gap', async () => {
    const server = await hostedForTest({
      heartbeat: '100ms',
      'replay-events': 2,
      'replay-bytes': '1KiB',
    });
    const line = await open(server, '/quiet');
    await line.waitFor('a first heartbeat', () => line.text.includes(': keepalive\nid: 0\n\n'));
    await server.publishBatch(
      'busy',
      Array.from({ length: 50 }, (_, i) => ({ data: `${i}` })),
    );
    await line.waitFor('a heartbeat at the head', () =>
      line.text.includes(': keepalive\nid: 50\n\n'),
    );
    expect(line.eventCount).toBe(0);
    line.close();
    const again = await open(server, '/quiet', from(50));
    await server.publish('quiet', 'x');
    await again.waitForId(51);
    expect(again.gaps).toEqual([]);
    const { counters } = await server.stats();
    expect(counters.heartbeats_total).toBeGreaterThanOrEqual(2);
  });

  test('heartbeats do not fall behind an event: positions on a line never go back', async () => {
    const server = await hostedForTest({ heartbeat: '100ms' });
    const line = await open(server, '/c');
    for (let i = 0; i < 5; i++) {
      const beats = line.blocks.filter((block) => block.comment === 'keepalive').length;
      await server.publish(i % 2 ? 'c' : 'other', 'x');
      await line.waitFor(
        'another heartbeat',
        () => line.blocks.filter((block) => block.comment === 'keepalive').length > beats,
      );
    }
    expect(line.broken).toBeUndefined();
    expect(line.lastId).toBe(5);
  });
});

test('--flush-interval holds events back for at most that long and loses none', async () => {
  const server = await hostedForTest({ 'flush-interval': '300ms' });
  const line = await open(server, '/c');
  const publishedAtMs = performance.now();
  for (let i = 1; i <= 5; i++) await server.publish('c', `n${i}`);
  await line.waitForId(1);
  expect(performance.now() - publishedAtMs).toBeGreaterThanOrEqual(290);
  await line.waitForId(5);
  expect(line.ids).toEqual([1, 2, 3, 4, 5]);
  expect(
    (await server.stats()).counters.writes_total,
    'what came within the interval left as one write',
  ).toBeLessThan(5);
});

describe('several channels on one line', () => {
  test('each event comes as the object that names its channel, ids in order over all', async () => {
    const server = await hostedForTest();
    const line = await open(server, '/a,b,c');
    await server.publish('a', 'one', 'notice');
    await server.publish('b', 'two "quoted"\nline');
    await server.post('c', '{"n": 1.0,\n"m":[]}', {
      headers: { 'Content-Type': 'application/json' },
    });
    await server.publish('other', 'not this');
    await server.publish('a', 'five');
    await line.waitForId(5);
    expect(afterPrelude(line)).toBe(
      [
        'id: 1\nevent: notice\ndata: {"id":1,"channel":"a","event":"notice","data":"one"}\n\n',
        'id: 2\ndata: {"id":2,"channel":"b","data":"two \\"quoted\\"\\nline"}\n\n',
        'id: 3\ndata: {"id":3,"channel":"c","data":{"n": 1.0, "m":[]}}\n\n',
        'id: 5\ndata: {"id":5,"channel":"a","data":"five"}\n\n',
      ].join(''),
    );
  });

  test('replay over several channels is in id order, and so is what follows', async () => {
    const server = await hostedForTest();
    for (let i = 1; i <= 30; i++) await server.publish('abc'[(i * 7) % 3]!, `n${i}`);
    const line = await open(server, '/c,a,b', from(10));
    for (let i = 31; i <= 40; i++) await server.publish('abc'[(i * 5) % 3]!, `n${i}`);
    await line.waitForId(40);
    expect(line.ids).toEqual(Array.from({ length: 30 }, (_, i) => i + 11));
    expect(line.gaps).toEqual([]);
  });

  test('last=N is the newest N of each of its channels', async () => {
    const server = await hostedForTest();
    for (let i = 1; i <= 9; i++) await server.publish('ab'[i % 2]!, `n${i}`);
    const line = await open(server, '/a,b?last=2');
    await line.waitForId(9);
    expect(line.ids).toEqual([6, 7, 8, 9]);
  });

  test('duplicates collapse: /a,b,a is /a,b, and each event comes once', async () => {
    const server = await hostedForTest();
    const line = await open(server, '/a,b,a');
    await server.publish('a', 'x');
    await server.publish('b', 'y');
    await line.waitForId(2);
    expect(line.ids).toEqual([1, 2]);
    expect((await server.stats()).lines.open).toBe(1);
  });

  test('?envelope=1 gives the same object on a single channel', async () => {
    const server = await hostedWithEvents('c', 1);
    const line = await open(server, '/c?envelope=1&since=0');
    await server.publish('c', 'two', 't');
    await line.waitForId(2);
    expect(afterPrelude(line)).toBe(
      'id: 1\ndata: {"id":1,"channel":"c","data":"n1"}\n\nid: 2\nevent: t\ndata: {"id":2,"channel":"c","event":"t","data":"two"}\n\n',
    );
  });

  test('a gap on any of its channels is told', async () => {
    const server = await hostedForTest({ 'replay-events': 5, 'replay-bytes': '1KiB' });
    await server.publish('a', 'first');
    for (let round = 0; round < 20; round++) {
      await server.publishBatch(
        'b',
        Array.from({ length: 100 }, () => ({ data: 'x'.repeat(200) })),
      );
    }
    const line = await open(server, '/a,b', from(1));
    await line.waitForId(2001);
    expect(line.gaps).toHaveLength(1);
    expect(line.gaps[0]).toEqual({ after: 1, before: line.ids[0] });
    const single = await open(server, '/a', from(1));
    const id = await server.publish('a', 'live');
    await single.waitForId(id);
    expect(single.gaps).toEqual([]);
  });
});
