/**
 * Publishing over the wire: what is accepted and how it is answered, what is refused, and that no
 * part of a refused publish reaches a line.
 */
import { describe, expect, onTestFinished, test } from 'vitest';
import { ControlLine, sharedControl } from './support/control.js';
import { SseLine } from './support/line.js';
import { hostedForTest } from './support/hosted.js';
import { KERNEL_BUFFERS } from './support/server.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import { codeOf, jsonOf, RawConnection, requestBytes, type Answer } from './support/wire.js';

const JSON_TYPE = { 'Content-Type': 'application/json' };
const BATCH = { 'Content-Type': 'application/x-ndjson' };
const MIB = 1024 * 1024;

async function serverAndControl(
  flags = {},
): Promise<{ server: ServerUnderTest; control: ControlLine }> {
  const server = await hostedForTest(flags);
  const control = await ControlLine.open(server);
  onTestFinished(() => control.line.close());
  return { server, control };
}

/**
 * Checks a refusal: status, code and counter; a control line on the same channel notices
 * nothing.
 */
async function expectRefused(
  answers: () => Promise<Answer[]>,
  server: ServerUnderTest,
  control: ControlLine,
  status: number,
  code: string,
): Promise<void> {
  const before = await server.stats();
  const given = await answers();
  expect(given.map((answer) => [answer.status, codeOf(answer)])).toEqual(
    given.map(() => [status, code]),
  );
  const after = await server.stats();
  expect(
    (after.counters.refused[code] ?? 0) - (before.counters.refused[code] ?? 0),
    `counter refused.${code}`,
  ).toBe(given.length);
  expect(after.counters.refused_total - before.counters.refused_total).toBe(given.length);
  expect(after.counters.events_accepted_total).toBe(before.counters.events_accepted_total);
  await control.noticedNothing();
}

describe('what is taken', () => {
  test('text: the answer is the id and how many lines it goes to', async () => {
    const server = await hostedForTest();
    const first = await server.post('c', 'x');
    expect([first.status, first.text]).toEqual([200, '{"id":1,"subscribers":0}']);
    expect(first.headers.get('content-type')).toMatch(/^application\/json/);
    const lines = await Promise.all(
      ['/c', '/c,d', '/d'].map((path) => SseLine.open(server.port, path)),
    );
    onTestFinished(() => lines.forEach((line) => line.close()));
    expect(jsonOf(await server.post('c', 'y'))).toEqual({ id: 2, subscribers: 2 });
    await lines[0]!.waitForId(2);
    expect((await server.stats()).counters).toMatchObject({
      publish_requests_total: 2,
      events_accepted_total: 2,
    });
  });

  test('a body of any other type is text as it stands', async () => {
    const { server, control } = await serverAndControl();
    for (const headers of [
      {},
      { 'Content-Type': 'text/plain' },
      { 'Content-Type': 'application/x-www-form-urlencoded' },
    ] as Record<string, string>[]) {
      const id = (
        jsonOf(await server.post('control', '{"not": json', { headers })) as { id: number }
      ).id;
      await control.line.waitForId(id);
      expect(control.line.events.at(-1)!.data).toBe('{"not": json');
    }
    await control.noticedNothing();
  });

  test('JSON with parameters and other case in its content type is JSON', async () => {
    const { server, control } = await serverAndControl();
    for (const type of [
      'application/json; charset=utf-8',
      'Application/JSON',
      'application/json;x=1',
    ]) {
      expect(
        (await server.post('control', ' {"a" : 1} ', { headers: { 'Content-Type': type } })).status,
      ).toBe(200);
      expect(
        (await server.post('control', '{"a":', { headers: { 'Content-Type': type } })).status,
      ).toBe(400);
    }
    await control.noticedNothing();
  });

  test('a batch: ids follow each other, types and data as given, the answer counts', async () => {
    const server = await hostedForTest();
    const line = await SseLine.open(server.port, '/c');
    onTestFinished(() => line.close());
    await server.publish('c', 'x');
    const body = [
      '{"data":"one"}',
      '{"event":"notice","data":"two\\nlines \\u00e9"}',
      ' {"data" : {"n": 1.0, "big":12345678901234567890} }',
      '{"data":null}',
      '{"data":""}',
    ];
    const answer = await server.post('c', `${body.join('\n')}\n`, { headers: BATCH });
    expect(answer.text).toBe('{"first":2,"last":6,"count":5,"subscribers":1}');
    await line.waitForId(6);
    expect(line.events.slice(1).map(({ id, event, data }) => [id, event, data])).toEqual([
      [2, undefined, 'one'],
      [3, 'notice', 'two\nlines é'],
      [4, undefined, '{"n": 1.0, "big":12345678901234567890}'],
      [5, undefined, 'null'],
      [6, undefined, ''],
    ]);
  });

  test('strings of a batch are text and the rest is JSON, as an envelope shows', async () => {
    const server = await hostedForTest();
    const line = await SseLine.open(server.port, '/c?envelope=1');
    onTestFinished(() => line.close());
    await server.post('c', '{"data":"{}"}\r\n{"data":{}}\r\n{"data":7.50}', { headers: BATCH });
    await line.waitForId(3);
    expect(line.events.map((event) => event.data)).toEqual([
      '{"id":1,"channel":"c","data":"{}"}',
      '{"id":2,"channel":"c","data":{}}',
      '{"id":3,"channel":"c","data":7.50}',
    ]);
  });

  test('types: 64 printable characters, percent-encoded in the query', async () => {
    const { server, control } = await serverAndControl();
    for (const type of [
      'x'.repeat(64),
      'message',
      'a b',
      'naïve',
      'a:b',
      '{"x"}',
      'Gap',
      'ended',
    ]) {
      const id = await server.publish('control', 'x', type);
      await control.line.waitForId(id);
      expect(control.line.events.at(-1)!.event ?? 'message').toBe(type);
    }
    await control.noticedNothing();
  });

  test('a body in chunks is a body', async () => {
    const { server, control } = await serverAndControl();
    const answer = await server.post('control', '3\r\nfoo\r\n4\r\nbarr\r\n0\r\n\r\n', {
      headers: { 'Transfer-Encoding': 'chunked' },
    });
    expect(answer.status).toBe(200);
    await control.noticedNothing();
    expect(control.line.events.map((event) => event.data)).toContain('foobarr');
  });

  test('a body that comes byte by byte is one event', async () => {
    const { server, control } = await serverAndControl();
    const connection = await RawConnection.open(server.port);
    onTestFinished(() => connection.destroy());
    for (const byte of requestBytes(server.port, 'POST', '/elsewhere', { body: 'slow but sure' })) {
      connection.send(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await connection.waitFor('the answer', () => connection.text.includes('"subscribers":0'));
    await control.noticedNothing();
  });

  test('the largest event that fits the limit is taken, one byte more is not', async () => {
    const { server, control } = await serverAndControl({ 'max-event-bytes': '1KiB' });
    let fits = 0;
    for (let size = 1024; fits === 0; size--)
      if ((await server.post('control', 'x'.repeat(size))).status === 200) fits = size;
    // The frame's own parts with the longest id, in the larger of the encodings, are well under 200
    // bytes.
    expect(fits).toBeGreaterThan(1024 - 200);
    expect(codeOf(await server.post('control', 'x'.repeat(fits + 1)))).toBe('HOLDLINE_TOO_LARGE');
    await control.noticedNothing();
  });
});

describe('what is refused', () => {
  const shared = sharedControl();
  const DATA_TOO_LARGE = 64 * 1024;
  const five = (third: string): string =>
    ['{"data":1}', '{"data":2}', third, '{"data":4}', '{"data":5}'].join('\n');

  test.each([
    ['a broken object', '{"a":'],
    ['nothing', ''],
    ['two values', '1 2'],
    ['a trailing comma', '[1,]'],
    ['NaN', 'NaN'],
    ['single quotes', "{'a':1}"],
    ['a raw control character in a string', '"a\u0001b"'],
  ])('JSON that is %s is 400', async (_name, body) => {
    const { server, control } = shared();
    await expectRefused(
      async () => [await server.post('control', body, { headers: JSON_TYPE })],
      server,
      control,
      400,
      'HOLDLINE_BAD_JSON',
    );
  });

  test.each([
    ['not JSON', '{"data":'],
    ['no object', '"data"'],
    ['an array', '[{"data":1}]'],
    ['null', 'null'],
    ['without data', '{"event":"x"}'],
    ['with a type that is no text', '{"event":5,"data":1}'],
    ['with a reserved type', '{"event":"gap","data":1}'],
    ['with a type that has a line break', '{"event":"a\\nb","data":1}'],
    ['with an empty type', '{"event":"","data":1}'],
  ])(
    'a batch whose line 3 of 5 is %s is 400, names the line, and none of the five is published',
    async (_name, third) => {
      const { server, control } = shared();
      const before = await server.stats();
      const answer = await server.post('control', five(third), { headers: BATCH });
      expect(answer.status).toBe(400);
      expect(['HOLDLINE_BAD_BATCH', 'HOLDLINE_BAD_EVENT_TYPE']).toContain(codeOf(answer));
      expect(answer.text).toMatch(/line 3/);
      const after = await server.stats();
      expect(after.counters.refused_total).toBe(before.counters.refused_total + 1);
      expect(after.head).toBe(before.head);
      await control.noticedNothing();
    },
  );

  test('a batch with one event over the limit is 413, names the line, and none is published', async () => {
    const { server, control } = shared();
    const before = await server.stats();
    const answer = await server.post(
      'control',
      five(JSON.stringify({ data: 'x'.repeat(DATA_TOO_LARGE) })),
      { headers: BATCH },
    );
    expect([answer.status, codeOf(answer)]).toEqual([413, 'HOLDLINE_TOO_LARGE']);
    expect(answer.text).toMatch(/line 3/);
    expect((await server.stats()).head).toBe(before.head);
    await control.noticedNothing();
  });

  test('an empty batch is 400; 10,001 events are 413, 10,000 are taken', async () => {
    const { server, control } = shared();
    for (const body of ['', '\n\n', '\r\n'])
      expect(codeOf(await server.post('control', body, { headers: BATCH }))).toBe(
        'HOLDLINE_BAD_BATCH',
      );
    const lines = (count: number): string => '{"data":0}\n'.repeat(count);
    const tooMany = await server.post('control', lines(10_001), { headers: BATCH });
    expect([tooMany.status, codeOf(tooMany)]).toEqual([413, 'HOLDLINE_TOO_LARGE']);
    expect(jsonOf(await server.post('control', lines(10_000), { headers: BATCH }))).toMatchObject({
      count: 10_000,
    });
    await control.noticedNothing();
  });

  test.each([
    ...[
      'gap',
      'end',
      'open',
      'error',
      '',
      'x'.repeat(65),
      'a%0Ab',
      'a%0Db',
      'a%00b',
      '%E2%80%A8',
      'a%7Fb',
    ].map((type) => [type, 'HOLDLINE_BAD_EVENT_TYPE']),
    // A value that does not decode to UTF-8 is a bad query, whatever was meant.
    ['%ED%A0%80', 'HOLDLINE_BAD_QUERY'],
    ['a%FFb', 'HOLDLINE_BAD_QUERY'],
  ] as [string, string][])('the event type "%s" is 400 %s', async (type, code) => {
    const { server, control } = shared();
    await expectRefused(
      async () => [await server.post('control', 'x', { query: `?event=${type}` })],
      server,
      control,
      400,
      code,
    );
  });

  test.each([
    ['a lone continuation byte', [0x80]],
    ['an overlong NUL', [0xc0, 0x80]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['a character cut off at the end', [0x61, 0xf0, 0x9f, 0x98]],
    ['beyond U+10FFFF', [0xf4, 0x90, 0x80, 0x80]],
    ['Latin-1', [0x67, 0x72, 0xfc, 0xdf]],
  ])('a body with %s is 400, as text, JSON and batch', async (_name, bytes) => {
    const { server, control } = shared();
    const quoted = (before: string, after: string): Buffer =>
      Buffer.concat([Buffer.from(before), Buffer.from(bytes), Buffer.from(after)]);
    await expectRefused(
      async () => [
        await server.post('control', Buffer.from(bytes)),
        await server.post('control', quoted('"', '"'), { headers: JSON_TYPE }),
        await server.post('control', quoted('{"data":1}\n{"data":"', '"}'), { headers: BATCH }),
      ],
      server,
      control,
      400,
      'HOLDLINE_NOT_UTF8',
    );
  });

  test.each([
    [
      '64 KiB of newlines: as many bytes as the limit, seven times as many on the wire',
      '\n'.repeat(64 * 1024),
    ],
    ['10 KiB of newlines, which only the frame makes too large', '\n'.repeat(10 * 1024)],
    ['60 KiB of quotation marks, too large only as an envelope', '"'.repeat(60 * 1024)],
    ['12 KiB of control characters, too large only as an envelope', '\u0001'.repeat(12 * 1024)],
    ['one byte over the limit', 'x'.repeat(64 * 1024 + 1)],
  ])('%s is 413', async (_name, body) => {
    const { server, control } = shared();
    await expectRefused(
      async () => [await server.post('control', body)],
      server,
      control,
      413,
      'HOLDLINE_TOO_LARGE',
    );
  });

  test('a body over the limit is 413, whether its length is announced or not', async () => {
    const { server, control } = shared();
    const line = `{"data":"${'x'.repeat(1000)}"}\n`;
    const body = Buffer.from(line.repeat(Math.ceil((5 * MIB) / line.length)));
    const chunked = Buffer.concat([
      Buffer.from(`${body.length.toString(16)}\r\n`),
      body,
      Buffer.from('\r\n0\r\n\r\n'),
    ]);
    await expectRefused(
      async () => [
        await server.post('control', body, { headers: BATCH }),
        await server.post('control', chunked, {
          headers: { ...BATCH, 'Transfer-Encoding': 'chunked' },
        }),
      ],
      server,
      control,
      413,
      'HOLDLINE_TOO_LARGE',
    );
  });

  test('a body that is cut off publishes nothing and is counted', async () => {
    const { server, control } = shared();
    const before = await server.stats();
    for (const headers of [{}, BATCH] as Record<string, string>[]) {
      const connection = await RawConnection.open(server.port);
      connection.send(
        requestBytes(server.port, 'POST', '/control', {
          headers: { ...headers, 'Content-Length': '1000' },
          body: '{"data":1}\n{"data":2}\n',
        }),
      );
      // The server has the head and a part of the body when it has counted the request.
      const seen = (await server.stats()).counters.requests_total;
      expect(seen).toBeGreaterThan(before.counters.requests_total);
      connection.socket.resetAndDestroy();
    }
    const after = await server.statsUntil(
      'both cuts are counted',
      ({ counters }) =>
        counters.publish_aborted_total - before.counters.publish_aborted_total === 2,
    );
    expect(after.head).toBe(before.head);
    await control.noticedNothing();
  });

  test('bad channel names and paths refuse a publish as they refuse a line', async () => {
    const { server, control } = shared();
    for (const channel of ['a..b', '.a', 'a%20b', 'a,b', 'x'.repeat(129)]) {
      expect([channel, codeOf(await server.post(channel, 'x'))]).toEqual([
        channel,
        'HOLDLINE_BAD_CHANNEL',
      ]);
    }
    await control.noticedNothing();
  });
});

test('a batch far larger than the ring reaches every line that keeps up without a gap, and the ring does not grow with it', async () => {
  const { server, control } = await serverAndControl({
    'replay-bytes': '64KiB',
    'replay-events': 50,
    ...KERNEL_BUFFERS,
  });
  const lines = await Promise.all(
    Array.from({ length: 20 }, () => SseLine.open(server.port, '/control')),
  );
  onTestFinished(() => lines.forEach((line) => line.close()));
  const { last } = await server.publishBatch(
    'control',
    Array.from({ length: 1000 }, () => ({ data: 'x'.repeat(1000) })),
  );
  for (const line of lines) {
    await line.waitForId(last);
    expect([line.eventCount, line.gaps.length]).toEqual([1000, 0]);
  }
  const { channels, counters } = await server.stats();
  expect(counters.lines_stalled_total).toBe(0);
  expect(
    channels.ringBytes,
    'what is kept and the room beside it, rounded up; the batch alone is 1 MiB',
  ).toBeLessThan(MIB);
  await control.noticedNothing();
});

test('publishers past a full admission queue are told 503 and when to come back; what was accepted is delivered once, in order', async () => {
  // Events come at the speed of memory here, so every reader stalls now and then; the replay is
  // large enough to catch up without a gap.
  const { server, control } = await serverAndControl({
    'replay-bytes': '512MiB',
    'replay-total': '1GiB',
    'replay-events': 1_000_000,
  });
  // Enough healthy readers that a sweep over them takes longer than a batch takes to arrive.
  const readers = await Promise.all(
    Array.from({ length: 20 }, () => SseLine.open(server.port, '/control', { keep: false })),
  );
  onTestFinished(() => readers.forEach((line) => line.close()));
  const line = `{"data":"${'x'.repeat(4000)}"}\n`;
  const body = Buffer.from(line.repeat(Math.floor((3.9 * MIB) / line.length)));
  // One connection for each publisher, all at once, repeated until one is refused: 32 MiB may wait,
  // and a batch is 3.9 MiB.
  const answers: Answer[] = [];
  const deadline = performance.now() + 20_000;
  while (!answers.some((answer) => answer.status !== 200)) {
    if (performance.now() > deadline)
      throw new Error(`no publisher was refused in ${answers.length} batches`);
    answers.push(
      ...(await Promise.all(
        Array.from({ length: 16 }, () => server.post('control', body, { headers: BATCH })),
      )),
    );
  }
  for (const answer of answers.filter(({ status }) => status !== 200)) {
    expect([answer.status, codeOf(answer)]).toEqual([503, 'HOLDLINE_PUBLISH_BUSY']);
    expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
  }
  const refused = answers.filter(({ status }) => status !== 200).length;
  const stats = await server.stats();
  expect(stats.counters.refused['HOLDLINE_PUBLISH_BUSY']).toBe(refused);
  expect(stats.counters.publish_waited_total).toBeGreaterThan(0);
  // Answers to batches may overtake each other; ids do not.
  server.published.get('control')!.sort((a, b) => a - b);
  await control.line.waitForId(stats.head, 20_000);
  await control.noticedNothing();
  for (const reader of readers) {
    await reader.waitForId(control.line.lastId, 20_000);
    // All but the control line's first event, which came before them.
    expect([reader.eventCount, reader.gaps.length]).toEqual([control.line.eventCount - 1, 0]);
  }
});
