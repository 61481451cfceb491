/**
 * Publishing over a WebSocket: what is accepted and how it is answered, what is refused, and that
 * no refused message reaches a line.
 */
import { describe, expect, onTestFinished, test } from 'vitest';
import { sharedControl } from './support/control.js';
import { SseLine } from './support/line.js';
import { hostedForTest, sharedHosted } from './support/hosted.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import { serverForTest } from './support/server.js';
import {
  closeBytes,
  frameBytes,
  openWebSocket,
  WsClient,
  type Reply,
  type WebSocketLine,
} from './support/websocket.js';

/** What a message adds to the counters of messages. */
async function messageCounts(
  server: ServerUnderTest,
): Promise<{ received: number; refused: number; accepted: number }> {
  const { counters } = await server.stats();
  return {
    received: counters.messages_received_total,
    refused: counters.messages_refused_total,
    accepted: counters.events_accepted_total,
  };
}

/** Sends a message that must be refused, without an event and without an end of the connection. */
async function expectRefused(
  server: ServerUnderTest,
  line: WebSocketLine,
  text: string | Uint8Array,
  code: string,
): Promise<void> {
  const before = await messageCounts(server);
  const reply = await line.ask(text);
  expect([reply.error?.code, reply.ok]).toEqual([code, undefined]);
  expect(reply.error!.message.length).toBeGreaterThan(10);
  await line.roundTrip();
  expect([line.closeFrame, line.closed]).toEqual([undefined, false]);
  expect(await messageCounts(server)).toEqual({
    received: before.received + 1,
    refused: before.refused + 1,
    accepted: before.accepted,
  });
}

describe('what is taken', () => {
  const shared = sharedHosted();

  test.each([
    ['a string', '"r1"'],
    ['an empty string', '""'],
    ['a string with quotation marks, line breaks, é and escapes', '"a\\"\\né\\u00e9\\/"'],
    ['a pair of surrogates', '"\\ud83d\\ude00"'],
    ['128 characters', `"${'r'.repeat(128)}"`],
    ['128 characters of three bytes', `"${'漢'.repeat(128)}"`],
    ['128 characters, all escaped', `"${'\\u0072'.repeat(128)}"`],
    ['a number', '7'],
    ['zero', '0'],
    ['a negative number', '-1.5'],
    ['a number with a zero too many', '1.0'],
    ['a number longer than a double is exact', '12345678901234567890'],
    ['a number with an exponent', '-1.50E+007'],
    ['a number of 128 digits', '9'.repeat(128)],
  ])('a ref that is %s comes back in the ok as it was', async (_name, ref) => {
    const line = await openWebSocket(shared(), '/refs');
    const reply = await line.ask(`{"publish":{"data":"x"},"ref":${ref}}`);
    await line.waitForEvents(1);
    expect(reply.raw).toBe(`{"ok":{"ref":${ref},"id":${line.lastId}}}`);
  });

  test('without a ref the ok is the id alone', async () => {
    const line = await openWebSocket(shared(), '/refs');
    const reply = await line.ask('{"publish":{"data":"x"}}');
    await line.waitForEvents(1);
    expect(reply.raw).toBe(`{"ok":{"id":${line.lastId}}}`);
  });

  test('an event goes to the channel of the URL, or to the one that is named', async () => {
    const server = await hostedForTest();
    const [own, other] = await Promise.all(
      ['/own', '/other'].map((path) => SseLine.open(server.port, path)),
    );
    onTestFinished(() => (own!.close(), other!.close()));
    const line = await openWebSocket(server, '/own');
    expect(await line.publish({ data: 'to own' })).toBe(1);
    expect(await line.publish({ data: 'to other', channel: 'other' })).toBe(2);
    expect(await line.publish({ data: 'to own by name', channel: 'own', event: 'notice' })).toBe(3);
    await own!.waitForId(3);
    await other!.waitForId(2);
    expect(own!.events.map(({ id, event, data }) => [id, event, data])).toEqual([
      [1, undefined, 'to own'],
      [3, 'notice', 'to own by name'],
    ]);
    expect(other!.events.map(({ id, data }) => [id, data])).toEqual([[2, 'to other']]);
    await line.waitForId(3);
    expect(
      line.ids,
      'a publisher that listens sees its own events, and only those of its channel',
    ).toEqual([1, 3]);
  });

  test('on several channels the channel must be named', async () => {
    const server = await hostedForTest();
    const line = await openWebSocket(server, '/a,b');
    await expectRefused(server, line, '{"publish":{"data":1},"ref":1}', 'HOLDLINE_BAD_CHANNEL');
    expect(line.replies[0]!.error!.ref).toBe(1);
    expect(await line.publish({ data: 'x', channel: 'b' })).toBe(1);
    expect(await line.publish({ data: 'x', channel: 'elsewhere' })).toBe(2);
    await line.waitForId(1);
    expect(line.ids).toEqual([1]);
  });

  test('strings are text, line breaks and all; anything else is JSON', async () => {
    const server = await hostedForTest();
    const sse = await SseLine.open(server.port, '/c');
    onTestFinished(() => sse.close());
    const line = await openWebSocket(server, '/c');
    for (const data of [
      '"one\\ntwo \\u00e9 \\ud83d\\ude00"',
      '"{\\"n\\":1}"',
      '""',
      'null',
      'true',
      '5',
      '[1,"a"]',
      '{}',
    ])
      await line.ask(`{"publish":{"data":${data}}}`);
    await sse.waitForId(8);
    expect(sse.events.map(({ data }) => data)).toEqual([
      'one\ntwo é 😀',
      '{"n":1}',
      '',
      'null',
      'true',
      '5',
      '[1,"a"]',
      '{}',
    ]);
    await line.waitForId(8);
    expect(line.events.map(({ raw }) => raw)).toEqual([
      '{"id":1,"channel":"c","data":"one\\ntwo é 😀"}',
      '{"id":2,"channel":"c","data":"{\\"n\\":1}"}',
      '{"id":3,"channel":"c","data":""}',
      '{"id":4,"channel":"c","data":null}',
      '{"id":5,"channel":"c","data":true}',
      '{"id":6,"channel":"c","data":5}',
      '{"id":7,"channel":"c","data":[1,"a"]}',
      '{"id":8,"channel":"c","data":{}}',
    ]);
  });

  test.each([
    ['1.0'],
    ['-0.0e+01'],
    ['12345678901234567890'],
    ['{"b": 1.0,  "a":[ 2.50 ,3],"b":"\\u00e9\\/"}'],
    ['{"data":{"data":1.0},"publish":{"data":2}}'],
    ['[{"a":"}]"},"{\\"data\\":9}"]'],
  ])('the JSON %s is sent on as it stands', async (data) => {
    const line = await openWebSocket(shared(), '/bytes');
    const sse = await SseLine.open(shared().port, '/bytes');
    onTestFinished(() => sse.close());
    const id = (
      await line.ask(
        `{ "ref" : "\\"data\\":0" , "publish" : { "event" : "t" , "data" : ${data} , "channel":"bytes" } }`,
      )
    ).ok!.id;
    await line.waitForId(id);
    await sse.waitForId(id);
    expect(line.events.at(-1)!.raw).toBe(
      `{"id":${id},"channel":"bytes","event":"t","data":${data}}`,
    );
    expect(sse.events.at(-1)!.data).toBe(data);
  });

  test('line breaks between the tokens of JSON become blanks in a line and data lines in an event stream', async () => {
    const server = await hostedForTest();
    const sse = await SseLine.open(server.port, '/c');
    onTestFinished(() => sse.close());
    const line = await openWebSocket(server, '/c');
    await line.ask('{"publish":\n{"data":\r\n[1.0,\n2]\n}\n}');
    await line.waitForId(1);
    await sse.waitForId(1);
    expect(line.events[0]!.raw).toBe('{"id":1,"channel":"c","data":[1.0, 2]}');
    expect(sse.events[0]!.data).toBe('[1.0,\n2]');
  });

  test.each([
    [
      'the last of members of one name counts, as in JSON.parse',
      '{"publish":{"data":1.0,"data":2.0}}',
      '2.0',
    ],
    ['and so for `publish` itself', '{"publish":{"data":1.0},"publish":{"data":3.0}}', '3.0'],
    ['names may be written with escapes', '{"p\\u0075blish":{"d\\u0061ta":[4]}}', '[4]'],
    [
      'names are looked for in their own object only',
      '{"ref":"publish","publish":{"event":"data","data":[5.0]}}',
      '[5.0]',
    ],
  ])('%s', async (_name, text, data) => {
    const line = await openWebSocket(shared(), '/names');
    const id = (await line.ask(text)).ok!.id;
    await line.waitForId(id);
    expect(line.events.at(-1)!.raw.endsWith(`"data":${data}}`)).toBe(true);
  });

  test('100 messages at once are answered in their order with rising ids, and their events come in that order', async () => {
    const server = await hostedForTest();
    const line = await openWebSocket(server, '/c');
    for (let ref = 1; ref <= 100; ref++) line.send(`{"publish":{"data":${ref}},"ref":${ref}}`);
    await line.waitFor(
      'all replies and events',
      () => line.replyCount === 100 && line.eventCount === 100,
    );
    const refs = Array.from({ length: 100 }, (_, i) => i + 1);
    expect(line.replies.map(({ ok }) => ok?.ref)).toEqual(refs);
    expect(line.replies.map(({ ok }) => ok?.id)).toEqual(refs);
    expect(line.events.map(({ data }) => data)).toEqual(refs);
    expect(await messageCounts(server)).toEqual({ received: 100, refused: 0, accepted: 100 });
  });

  test('`ws` publishes and hears itself, beside what others publish over HTTP', async () => {
    const server = await hostedForTest();
    const client = await WsClient.open(server, '/c');
    await server.publish('c', 'by HTTP');
    client.socket.send(JSON.stringify({ publish: { data: { by: 'ws' }, event: 'e' }, ref: 'r' }));
    await client.waitForLines(3);
    expect(client.lines.filter((line) => 'id' in line)).toEqual([
      { id: 1, channel: 'c', data: 'by HTTP' },
      { id: 2, channel: 'c', event: 'e', data: { by: 'ws' } },
    ]);
    expect(client.lines.filter((line) => 'ok' in line)).toEqual([{ ok: { ref: 'r', id: 2 } }]);
  });

  test('who publishes and goes at once has published; nobody is there for the answer', async () => {
    const server = await serverForTest();
    const sse = await SseLine.open(server.port, '/c');
    onTestFinished(() => sse.close());
    const publish = frameBytes('{"publish":{"data":"last words"}}');
    const [closing, ending] = [
      await openWebSocket(server, '/c'),
      await openWebSocket(server, '/c'),
    ];
    closing.connection.send(Buffer.concat([publish, closeBytes(1000)]));
    ending.connection.socket.end(publish);
    await sse.waitForEvents(2);
    for (const line of [closing, ending]) await line.waitForClose();
    await server.statsUntil(
      'they are counted out',
      (stats) => stats.lines.byTransport.websocket === 0,
    );
    expect(sse.events.map(({ data }) => data)).toEqual(['last words', 'last words']);
    expect(server.errorOutput).toBe('');
  });

  test('an event of the largest size that HTTP takes is taken', async () => {
    const server = await hostedForTest({ 'max-event-bytes': '4KiB' });
    const size = await largestText(server);
    const line = await openWebSocket(server, '/c');
    await line.publish({ data: 'x'.repeat(size) });
    await expectRefused(
      server,
      line,
      JSON.stringify({ publish: { data: 'x'.repeat(size + 1) }, ref: 'big' }),
      'HOLDLINE_TOO_LARGE',
    );
    expect(line.replies.at(-1)!.error!.ref).toBe('big');
  });
});

/** Characters of the largest text event that a POST to `/c` may carry, by halving. */
async function largestText(server: ServerUnderTest): Promise<number> {
  let [fits, tooLarge] = [0, 8192];
  while (tooLarge - fits > 1) {
    const size = (fits + tooLarge) >> 1;
    if ((await server.post('c', 'x'.repeat(size))).status === 200) fits = size;
    else tooLarge = size;
  }
  return fits;
}

describe('what is refused, and the WebSocket stays', () => {
  const shared = sharedControl();

  test.each([
    ['null', 'null'],
    ['a number', '1'],
    ['a string', '"publish"'],
    ['an array', '[{"publish":{"data":1}}]'],
    ['nothing to publish', '{}'],
    ['something else to do', '{"subscribe":"c"}'],
    ['publish that is null', '{"publish":null}'],
    ['publish that is text', '{"publish":"x"}'],
    ['publish that is an array', '{"publish":[1]}'],
    ['no data', '{"publish":{"event":"x"}}'],
    ['a type that is no text', '{"publish":{"event":5,"data":1}}'],
    ['a type that is null', '{"publish":{"event":null,"data":1}}'],
    ['a channel that is no text', '{"publish":{"channel":5,"data":1}}'],
    ['a ref that is an object', '{"publish":{"data":1},"ref":{}}'],
    ['a ref that is true', '{"publish":{"data":1},"ref":true}'],
    ['a ref of 129 characters', `{"publish":{"data":1},"ref":"${'r'.repeat(129)}"}`],
    ['an unknown member', '{"publish":{"data":1},"reference":1}'],
    ['an unknown member of what is to be published', '{"publish":{"data":1,"id":5}}'],
    ['a ref that is half of a pair', '{"publish":{"data":1},"ref":"\\ud83d"}'],
    ['a ref that is null', '{"publish":{"data":1},"ref":null}'],
    ['a ref of 129 digits', `{"publish":{"data":1},"ref":${'9'.repeat(129)}}`],
    ['a ref of 129 characters, escaped', `{"publish":{"data":1},"ref":"${'\\u0072'.repeat(129)}"}`],
  ])('%s is HOLDLINE_BAD_MESSAGE', async (_name, text) => {
    const { server, control } = shared();
    const line = await openWebSocket(server, '/control');
    await expectRefused(server, line, text, 'HOLDLINE_BAD_MESSAGE');
    expect(line.replies[0]!.error).not.toHaveProperty('ref');
    await control.noticedNothing();
  });

  test('what is wrong with a message is said with its ref', async () => {
    const { server, control } = shared();
    const line = await openWebSocket(server, '/control');
    for (const [text, ref] of [
      ['{"ref":5}', 5],
      ['{"ref":"a","publish":1}', 'a'],
      ['{"publish":{},"ref":"b"}', 'b'],
    ] as const) {
      await expectRefused(server, line, text, 'HOLDLINE_BAD_MESSAGE');
      expect(line.replies.at(-1)!.error!.ref).toBe(ref);
    }
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
      'a\nb',
      'a\rb',
      'a\u0000b',
      '\u2028',
      'a\u007fb',
    ].map((type) => [
      `the event type ${JSON.stringify(type)}`,
      { data: 1, event: type },
      'HOLDLINE_BAD_EVENT_TYPE',
    ]),
    ...['', '.a', 'a..b', 'a//b', 'a,b', 'a b', 'é', 'x'.repeat(129)].map((channel) => [
      `the channel ${JSON.stringify(channel)}`,
      { data: 1, channel },
      'HOLDLINE_BAD_CHANNEL',
    ]),
    ['text over the limit', { data: 'x'.repeat(64 * 1024) }, 'HOLDLINE_TOO_LARGE'],
    [
      'text that only a frame makes too large',
      { data: '\n'.repeat(12 * 1024) },
      'HOLDLINE_TOO_LARGE',
    ],
    ['JSON over the limit', { data: ['x'.repeat(64 * 1024)] }, 'HOLDLINE_TOO_LARGE'],
  ] as [string, { data: unknown; event?: string; channel?: string }, string][])(
    '%s',
    async (_name, publish, code) => {
      const { server, control } = shared();
      const line = await openWebSocket(server, '/control');
      await expectRefused(server, line, JSON.stringify({ publish, ref: 'r' }), code);
      expect(line.replies[0]!.error!.ref).toBe('r');
      expect(await line.publish({ data: 'good', channel: 'elsewhere' })).toBeGreaterThan(0);
      await control.noticedNothing();
    },
  );

  test('of messages in one segment only the wrong ones are refused', async () => {
    const { server, control } = shared();
    const line = await openWebSocket(server, '/segment');
    line.connection.send(
      Buffer.concat(
        [
          '{"publish":{"data":1},"ref":1}',
          '{"publish":{},"ref":2}',
          '{"publish":{"data":3},"ref":3}',
        ].map((text) => frameBytes(text)),
      ),
    );
    await line.waitFor('three replies', () => line.replyCount === 3);
    const byRef = line.replies.map(({ ok, error }) => [ok?.ref ?? error?.ref, error?.code]);
    expect(byRef.sort((a, b) => Number(a[0]) - Number(b[0]))).toEqual([
      [1, undefined],
      [2, 'HOLDLINE_BAD_MESSAGE'],
      [3, undefined],
    ]);
    await control.noticedNothing();
  });
});

describe('who may publish', () => {
  const KEY = 'a-publish-key-for-tests';

  test('with a publish key: without it HOLDLINE_UNAUTHORIZED, unread, and the line stays; with it on the upgrade, ok', async () => {
    const server = await hostedForTest({ 'open-publish': false, 'publish-key': KEY });
    const [without, wrong, right] = await Promise.all(
      [{}, { Authorization: 'Bearer not-the-key' }, { Authorization: `Bearer ${KEY}` }].map(
        (headers) => openWebSocket(server, '/c', { headers }),
      ),
    );
    for (const line of [without!, wrong!]) {
      await expectRefused(
        server,
        line,
        '{"publish":{"data":1},"ref":"r"}',
        'HOLDLINE_UNAUTHORIZED',
      );
      expect(line.replies[0]!.error, 'nothing of it is parsed').not.toHaveProperty('ref');
    }
    const id = await right!.publish({ data: 'x' });
    for (const line of [without!, wrong!, right!]) {
      await line.waitForId(id);
      expect(line.ids).toEqual([id]);
    }
  });

  test('with a publish key a query is no place for it', async () => {
    const server = await hostedForTest({ 'open-publish': false, 'publish-key': KEY });
    const line = await openWebSocket(server, `/c?key=${KEY}&authorization=${KEY}`);
    await expectRefused(server, line, '{"publish":{"data":1}}', 'HOLDLINE_UNAUTHORIZED');
  });

  test('without a key and without --open-publish nobody may', async () => {
    const server = await hostedForTest({ 'open-publish': false });
    const line = await openWebSocket(server, '/c', {
      headers: { Authorization: `Bearer ${server.opsKey}` },
    });
    await expectRefused(server, line, '{"publish":{"data":1}}', 'HOLDLINE_UNAUTHORIZED');
  });
});

test('past a full admission queue each message is told HOLDLINE_PUBLISH_BUSY; what was accepted is delivered once, in order', async () => {
  const server = await hostedForTest({
    'replay-bytes': '512MiB',
    'replay-total': '1GiB',
    'replay-events': 1_000_000,
  });
  // Enough healthy readers that a sweep over them takes longer than messages take to arrive.
  const readers = await Promise.all(
    Array.from({ length: 20 }, () => SseLine.open(server.port, '/busy', { keep: false })),
  );
  onTestFinished(() => readers.forEach((line) => line.close()));
  const accepted: number[] = [];
  const refused: string[] = [];
  const onReply = ({ ok, error }: Reply): void => {
    if (ok) accepted.push(ok.id);
    else refused.push(error!.code);
  };
  const publishers = await Promise.all(
    Array.from({ length: 16 }, () => openWebSocket(server, '/quiet', { keep: false, onReply })),
  );
  const frame = frameBytes(
    JSON.stringify({ publish: { channel: 'busy', data: 'x'.repeat(60_000) }, ref: 1 }),
  );
  const burst = Buffer.concat(Array.from({ length: 100 }, () => frame));
  let sent = 0;
  for (const deadline = performance.now() + 20_000; refused.length === 0; sent += 100) {
    if (performance.now() > deadline)
      throw new Error(`nothing was refused in ${accepted.length} messages`);
    for (const publisher of publishers) publisher.connection.send(burst);
    for (const publisher of publishers)
      await publisher.waitFor('all answers', () => publisher.replyCount === sent + 100, 20_000);
  }
  expect(new Set(refused)).toEqual(new Set(['HOLDLINE_PUBLISH_BUSY']));
  expect((await server.stats()).counters).toMatchObject({
    messages_refused_total: refused.length,
    events_accepted_total: accepted.length,
    lines_closed_total: 0,
  });
  for (const reader of readers) {
    await reader.waitForId(Math.max(...accepted), 20_000);
    expect([reader.eventCount, reader.gaps.length]).toEqual([accepted.length, 0]);
  }
});
