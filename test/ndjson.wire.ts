/**
 * The NDJSON stream on the wire: head, first byte, events, replay, gaps, heartbeats, end.
 */
import { describe, expect, onTestFinished, test } from 'vitest';
import { NdjsonLine, SseLine, stalledLine, type LineOptions } from './support/line.js';
import { hostedForTest, hostedWithEvents, sharedHosted } from './support/hosted.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import { serverForTest } from './support/server.js';
import { VECTORS } from './support/vectors.js';
import { codeOf, HttpClient } from './support/wire.js';

const NDJSON = { Accept: 'application/x-ndjson' };
const JSON_TYPE = { 'Content-Type': 'application/json' };
const APP = 'https://app.example';

async function open(
  server: ServerUnderTest,
  path: string,
  options: LineOptions = {},
): Promise<NdjsonLine> {
  const line = await NdjsonLine.open(server.port, path, options);
  onTestFinished(() => line.close());
  return line;
}

/** What came on the stream, as UTF-8. */
function textOf(line: NdjsonLine): string {
  return Buffer.from(line.text, 'latin1').toString('utf8');
}

const from = (id: number | string): LineOptions => ({ headers: { 'Last-Event-ID': String(id) } });

describe('opening', () => {
  test('the head is the documented set of headers, byte for byte, and no others', async () => {
    const server = await hostedWithEvents('c', 3);
    const line = await open(server, '/c');
    const lines = line.head.raw.split('\r\n');
    expect(lines[0]).toBe('HTTP/1.1 200 OK');
    expect(
      lines
        .slice(1)
        .filter((header) => !/^(?:Date|uWebSockets): /.test(header))
        .sort(),
    ).toEqual([
      'Cache-Control: no-cache, no-transform',
      'Content-Type: application/x-ndjson',
      'Holdline-Position: 3',
      'Transfer-Encoding: chunked',
      'Vary: Accept, Accept-Encoding',
      'X-Accel-Buffering: no',
      'X-Content-Type-Options: nosniff',
    ]);
  });

  test('the first byte is an empty line, so that the head gets through at once', async () => {
    const server = await hostedForTest();
    const line = await open(server, '/c');
    await line.waitForHeartbeats(1);
    expect(line.text).toBe('\n');
    expect(line.position).toBe(0);
  });

  test('HEAD is the head of the stream and no body, and opens no line', async () => {
    const server = await hostedWithEvents('c', 3);
    const answer = await server.request('HEAD', '/c', { headers: NDJSON });
    expect([answer.status, answer.body.length]).toEqual([200, 0]);
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'content-type': 'application/x-ndjson',
      'cache-control': 'no-cache, no-transform',
      'x-content-type-options': 'nosniff',
    });
    expect((await server.stats()).lines.open).toBe(0);
  });

  test('it is counted as what it is', async () => {
    const server = await hostedForTest();
    const line = await open(server, '/c');
    const sse = await SseLine.open(server.port, '/c');
    onTestFinished(() => sse.close());
    expect((await server.stats()).lines).toMatchObject({
      open: 2,
      byTransport: { sse: 1, ndjson: 1, websocket: 0, poll: 0, library: 0 },
    });
    expect((await server.post('c', 'x')).text).toBe('{"id":1,"subscribers":2}');
    line.close();
    await server.statsUntil(
      'it is gone',
      ({ lines }) => lines.byTransport.ndjson === 0 && lines.open === 1,
    );
  });

  test('a listed origin may read it, and its position', async () => {
    const server = await hostedForTest({ 'allow-origin': APP });
    const line = await open(server, '/c', { headers: { Origin: APP } });
    expect(line.head.headers.get('access-control-allow-origin')).toBe(APP);
    expect(line.head.headers.get('access-control-expose-headers')).toBe(
      'Holdline-Position, Retry-After',
    );
    expect(line.head.headers.get('vary')).toBe('Accept, Accept-Encoding, Origin');
  });
});

describe('events', () => {
  const shared = sharedHosted();

  test('each is one object on a line, byte for byte: id, channel, type where there is one, data', async () => {
    const server = await hostedForTest();
    const line = await open(server, '/c');
    await server.publish('c', 'hello', 'notice');
    await server.publish('c', 'grüße 😀\n"2"');
    await server.publish('other', 'not this');
    await server.post('c', '{"n":1}', { headers: JSON_TYPE, query: '?event=a%20%22b%22' });
    await line.waitForId(4);
    expect(textOf(line)).toBe(
      [
        '',
        '{"id":1,"channel":"c","event":"notice","data":"hello"}',
        '{"id":2,"channel":"c","data":"grüße 😀\\n\\"2\\""}',
        '{"id":4,"channel":"c","event":"a \\"b\\"","data":{"n":1}}',
        '',
      ].join('\n'),
    );
  });

  test('JSON is embedded as it was published: 1.0, digits of long numbers, escapes, key order, and blanks for line breaks', async () => {
    const server = await hostedForTest();
    const line = await open(server, '/c');
    for (const body of [
      '1.0',
      '{"b": 1.0,  "a":12345678901234567890, "b":"\\u00e9\\/", "e":-0.0e+01}',
      '[1,\r\n 2,\n\t3\r]',
      ' \n"a\\nb"\r\n',
    ]) {
      expect((await server.post('c', body, { headers: JSON_TYPE })).status).toBe(200);
    }
    await server.post('c', '{"data": 2.50 }\n{"data":[1,\t2]}', {
      headers: { 'Content-Type': 'application/x-ndjson' },
    });
    await line.waitForId(6);
    expect(line.text).toBe(
      [
        '',
        '{"id":1,"channel":"c","data":1.0}',
        '{"id":2,"channel":"c","data":{"b": 1.0,  "a":12345678901234567890, "b":"\\u00e9\\/", "e":-0.0e+01}}',
        '{"id":3,"channel":"c","data":[1,   2, \t3 ]}',
        '{"id":4,"channel":"c","data":  "a\\nb"  }',
        '{"id":5,"channel":"c","data":2.50}',
        '{"id":6,"channel":"c","data":[1,\t2]}',
        '',
      ].join('\n'),
    );
  });

  test('awkward text comes out of JSON.parse as it was published, live and in a replay', async () => {
    const server = await hostedForTest({ 'replay-bytes': '16MiB' });
    const live = await open(server, '/c');
    const everything: [string, string][] = [
      ...VECTORS,
      [
        'every character below U+3000',
        Array.from({ length: 0x3000 }, (_, i) => String.fromCharCode(i)).join(''),
      ],
    ];
    for (const [, data] of everything) await server.publish('c', data);
    const replayed = await open(server, '/c?since=0');
    for (const line of [live, replayed]) {
      await line.waitForEvents(everything.length);
      expect(line.events.map((event) => event.data)).toEqual(everything.map(([, data]) => data));
    }
  });

  test('several channels come on one line, each event with its channel, ids in order', async () => {
    const server = await hostedForTest();
    for (let i = 1; i <= 20; i++) await server.publish('abc'[(i * 7) % 3]!, `n${i}`);
    const line = await open(server, '/c,a,b,a?since=5');
    for (let i = 21; i <= 30; i++) await server.publish('abc'[(i * 7) % 3]!, `n${i}`);
    await line.waitForId(30);
    expect(line.events.map(({ id, channel, data }) => [id, channel, data])).toEqual(
      Array.from({ length: 25 }, (_, i) => [i + 6, 'abc'[((i + 6) * 7) % 3], `n${i + 6}`]),
    );
    expect(line.position).toBe(5);
  });

  test('envelope=1 says what it is anyway', async () => {
    const server = shared();
    const line = await open(server, '/enveloped?envelope=1');
    const id = await server.publish('enveloped', 'x');
    await line.waitForId(id);
    expect(line.text).toBe(`\n{"id":${id},"channel":"enveloped","data":"x"}\n`);
  });

  test('event streams and NDJSON streams on one channel are given the same events, each in its encoding', async () => {
    const server = await hostedForTest({ 'replay-bytes': '16MiB' });
    await server.publishBatch(
      'c',
      Array.from({ length: 500 }, (_, i) => ({ data: `a${i}` })),
    );
    const [line, sse] = [
      await open(server, '/c?since=0'),
      await SseLine.open(server.port, '/c?since=0'),
    ];
    onTestFinished(() => sse.close());
    await server.publishBatch(
      'c',
      Array.from({ length: 500 }, (_, i) => ({ event: 't', data: { i } })),
    );
    await Promise.all([line.waitForId(1000), sse.waitForId(1000)]);
    expect(line.events.map((event) => [event.id, event.event])).toEqual(
      sse.events.map((event) => [event.id, event.event]),
    );
    expect(
      line.events.map(({ data }) => (typeof data === 'string' ? data : JSON.stringify(data))),
    ).toEqual(sse.events.map((event) => event.data));
  });
});

describe('position', () => {
  const shared = sharedHosted();

  test.each([
    ['Last-Event-ID: 4', '/c', { 'Last-Event-ID': '4' }],
    ['last_event_id=4', '/c?last_event_id=4', {}],
    ['lastEventId=4', '/c?lastEventId=4', {}],
    ['since=4', '/c?since=4', {}],
    ['last=3', '/c?last=3', {}],
    [
      'the header before everything in the URL',
      '/c?since=1&last_event_id=2',
      { 'Last-Event-ID': '4' },
    ],
  ] as [string, string, Record<string, string>][])(
    '%s continues with 5, 6, 7 and goes on live without a seam',
    async (_name, path, headers) => {
      const server = await hostedWithEvents('c', 7);
      const line = await open(server, path, { headers });
      await server.publish('c', 'n8');
      await line.waitForId(8);
      expect(line.position).toBe(4);
      expect(line.text).toBe(
        ['', ...[5, 6, 7, 8].map((id) => `{"id":${id},"channel":"c","data":"n${id}"}`), ''].join(
          '\n',
        ),
      );
    },
  );

  test('without a position, and with since=latest, it starts from now', async () => {
    const server = await hostedWithEvents('c', 7);
    const lines = [await open(server, '/c'), await open(server, '/c?since=latest')];
    await server.publish('c', 'n8');
    for (const line of lines) {
      await line.waitForId(8);
      expect([line.position, line.ids]).toEqual([7, [8]]);
    }
  });

  test('a replay larger than one cork comes whole and in order', async () => {
    const server = await hostedForTest({ 'replay-events': 5000, 'replay-bytes': '8MiB' });
    const events = Array.from({ length: 2000 }, (_, i) => ({ data: `${i}:${'x'.repeat(700)}` }));
    await server.publishBatch('c', events);
    const line = await open(server, '/c?since=0');
    await line.waitForId(2000);
    expect(line.events.map((event) => event.data)).toEqual(events.map((event) => event.data));
  });

  test('a bad position in the query is 400, and no stream', async () => {
    const answer = await shared().request('GET', '/c?since=abc', { headers: NDJSON });
    expect([answer.status, codeOf(answer)]).toEqual([400, 'HOLDLINE_BAD_POSITION']);
  });
});

describe('gaps', () => {
  test('a gap is a line of its own before what follows it, byte for byte', async () => {
    const server = await hostedForTest({ 'replay-events': 5, 'replay-bytes': '1KiB' });
    for (let round = 0; round < 20; round++) {
      await server.publishBatch(
        'c',
        Array.from({ length: 100 }, () => ({ data: 'x'.repeat(200) })),
      );
    }
    const held = await open(server, '/c?since=0');
    await held.waitForId(2000);
    const oldest = held.ids[0]!;
    expect([oldest > 5, held.gaps]).toEqual([true, []]);
    const late = await open(server, '/c', from(4));
    await late.waitForId(2000);
    expect(
      late.text.startsWith(
        `\n{"gap":{"after":4,"before":${oldest}}}\n{"id":${oldest},"channel":"c",`,
      ),
    ).toBe(true);
    expect([late.gaps.length, late.ids]).toEqual([1, held.ids]);
  });

  test('where nothing is held its before is null, and an unreadable header is after null', async () => {
    const server = await hostedWithEvents('c', 5, { 'replay-events': 0 });
    for (const [position, after] of [
      ['2', '2'],
      ['cafe-babe', 'null'],
    ] as const) {
      const line = await open(server, '/c', from(position));
      await line.waitFor('the gap', () => line.gaps.length > 0);
      expect(line.text).toBe(`\n{"gap":{"after":${after},"before":null}}\n`);
    }
  });

  test('a position past the last id is a gap and everything held', async () => {
    const server = await hostedWithEvents('c', 2);
    const line = await open(server, '/c', from(999));
    await line.waitForId(2);
    expect(line.text).toBe(
      '\n{"gap":{"after":999,"before":1}}\n{"id":1,"channel":"c","data":"n1"}\n{"id":2,"channel":"c","data":"n2"}\n',
    );
    expect(line.position).toBeLessThanOrEqual(2);
  });

  test('a reader that fell behind what is held is told, and goes on with what is held', async () => {
    const server = await hostedForTest({ 'replay-events': 5, 'replay-bytes': '1KiB' });
    const line = await open(server, '/c');
    line.connection.pause();
    let last = 0;
    const batch = Array.from({ length: 1000 }, () => ({ data: 'x'.repeat(1000) }));
    for (let stalled = 0; stalled === 0; stalled = (await server.stats()).lines.stalled) {
      last = (await server.publishBatch('c', batch)).last;
    }
    for (let rounds = 0; rounds < 3; rounds++) last = (await server.publishBatch('c', batch)).last;
    line.connection.resume();
    await line.waitForId(last);
    // While it catches up the rest of the batch still enters, and may get ahead of it once more.
    expect(line.gaps.length).toBeGreaterThanOrEqual(1);
    const isLost = (id: number): boolean =>
      line.gaps.some(({ after, before }) => id > after! && id < before!);
    expect(line.ids).toEqual(
      Array.from({ length: last }, (_, i) => i + 1).filter((id) => !isLost(id)),
    );
  });
});

describe('heartbeat', () => {
  test('a quiet line is given an empty line every --heartbeat, and nothing else', async () => {
    const server = await hostedForTest({ heartbeat: '100ms' });
    const line = await open(server, '/c');
    const startedMs = performance.now();
    await line.waitForHeartbeats(6);
    const tookMs = performance.now() - startedMs;
    expect(tookMs).toBeGreaterThan(300);
    expect(line.text).toMatch(/^\n{6,}$/);
    expect((await server.stats()).counters.heartbeats_total).toBeGreaterThanOrEqual(5);
  });

  test('an event among them is whole', async () => {
    const server = await hostedForTest({ heartbeat: '100ms' });
    const line = await open(server, '/c');
    for (let i = 1; i <= 5; i++) {
      await line.waitForHeartbeats(line.reader.emptyLines + 1);
      await server.publish('c', `n${i}`);
    }
    await line.waitForId(5);
    expect(line.reader.lines.filter((raw) => raw !== '')).toEqual(
      [1, 2, 3, 4, 5].map((id) => `{"id":${id},"channel":"c","data":"n${id}"}`),
    );
  });
});

describe('the end', () => {
  test('a drain gives what is owed, then the end line, byte for byte, and the end of the stream', async () => {
    const server = await serverForTest();
    const lines = [await open(server, '/c'), await open(server, '/c,d')];
    await server.publish('c', 'last');
    server.signal('SIGTERM');
    for (const line of lines) {
      await line.waitForEnd();
      expect(line.text).toBe(
        '\n{"id":1,"channel":"c","data":"last"}\n{"end":{"code":"draining","reconnect":true}}\n',
      );
      expect(line.complete, 'the chunked body has its last chunk').toBe(true);
    }
    expect(await server.exited()).toBe(0);
  });

  test('--slow close ends a line that fell behind with its reason', async () => {
    const server = await hostedForTest({
      slow: 'close',
      'replay-events': 5,
      'replay-bytes': '1KiB',
    });
    const line = await open(server, '/c');
    line.connection.pause();
    const batch = Array.from({ length: 1000 }, () => ({ data: 'x'.repeat(1000) }));
    for (let stalled = 0; stalled === 0; stalled = (await server.stats()).lines.stalled)
      await server.publishBatch('c', batch);
    for (let rounds = 0; rounds < 3; rounds++) await server.publishBatch('c', batch);
    line.connection.resume();
    await line.waitForEnd();
    expect(line.reader.lines.at(-1)).toBe('{"end":{"code":"slow","reconnect":true}}');
    expect(line.complete).toBe(true);
    expect(line.ids).toEqual(line.ids.map((_, i) => i + 1));
  });
});

describe('refused for now', () => {
  test('when lines are full it is a plain 503 with Retry-After, not a stream that ends', async () => {
    const server = await hostedForTest({ 'max-connections': 1, 'allow-origin': APP });
    await open(server, '/c');
    const answer = await server.request('GET', '/c', { headers: { ...NDJSON, Origin: APP } });
    expect([answer.status, codeOf(answer)]).toEqual([503, 'HOLDLINE_LINES_FULL']);
    expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(
      answer.headers.get('access-control-allow-origin'),
      'a page must be able to read why',
    ).toBe(APP);
  });

  test('while draining it is 503 with Retry-After', async () => {
    const server = await serverForTest({ drain: '8s' });
    const client = await HttpClient.open(server.port);
    onTestFinished(() => client.close());
    expect((await client.request('GET', '/-/ready')).status).toBe(200);
    const bystander = await open(server, '/c');
    await stalledLine(server);
    server.signal('SIGTERM');
    await bystander.waitForEnd();
    const answer = await client.request('GET', '/c', { headers: NDJSON });
    expect([answer.status, codeOf(answer)]).toEqual([503, 'HOLDLINE_DRAINING']);
    expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    server.signal('SIGINT');
    await server.exited();
  });
});

test('a client of fetch reads events line by line as they come', async () => {
  const server = await hostedForTest();
  const abort = new AbortController();
  const answer = await fetch(`${server.url}/c`, { headers: NDJSON, signal: abort.signal });
  const seen: unknown[] = [];
  let rest = '';
  await server.publish('c', 'n1');
  for await (const text of answer.body!.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    for (const line of lines.filter((one) => one !== ''))
      seen.push((JSON.parse(line) as { data: unknown }).data);
    if (seen.length === 3) break;
    if (seen.length > 0) await server.publish('c', `n${seen.length + 1}`);
  }
  abort.abort();
  expect(seen).toEqual(['n1', 'n2', 'n3']);
});
