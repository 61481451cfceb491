/**
 * Idempotency-Key over the wire: a publish that is sent again is answered again and published once.
 */
import { describe, expect, onTestFinished, test } from 'vitest';
import { SseLine } from './support/line.js';
import { poll } from './support/poll.js';
import { hostedForTest, sharedHosted } from './support/hosted.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import {
  codeOf,
  HttpClient,
  jsonOf,
  RawConnection,
  requestBytes,
  type Answer,
} from './support/wire.js';

const JSON_TYPE = { 'Content-Type': 'application/json' };
const BATCH = { 'Content-Type': 'application/x-ndjson' };
const APP = 'https://app.example';

interface Publish {
  readonly body: string;
  readonly query?: string;
  readonly headers?: Record<string, string>;
}

/** Publishes to a channel under a key. */
function publish(
  server: ServerUnderTest,
  channel: string,
  key: string,
  { body, query = '', headers = {} }: Publish,
): Promise<Answer> {
  return server.request('POST', `/${channel}${query}`, {
    headers: { 'Idempotency-Key': key, ...headers },
    body,
  });
}

/** The data of everything a channel holds. */
async function held(server: ServerUnderTest, channel: string): Promise<unknown[]> {
  const { events } = await poll(server, `/${channel}?since=0&wait=0&limit=1000`);
  return events.map((event) => event.data);
}

function withoutDate(answer: Answer): string {
  return `${answer.raw.replace(/^Date: .*$/im, '')}\n${answer.text}`;
}

describe('the same request again', () => {
  test('it is answered with the same bytes, and nothing is published', async () => {
    const server = await hostedForTest();
    const first = await publish(server, 'c', 'key-1', { body: 'x' });
    expect([first.status, first.text]).toEqual([200, '{"id":1,"subscribers":0}']);
    const line = await SseLine.open(server.port, '/c');
    onTestFinished(() => line.close());
    for (let again = 0; again < 3; again++) {
      const answer = await publish(server, 'c', 'key-1', { body: 'x' });
      expect(withoutDate(answer), 'subscribers as they were at first, too').toBe(
        withoutDate(first),
      );
    }
    expect(await held(server, 'c')).toEqual(['x']);
    const { counters, head } = await server.stats();
    expect(head).toBe(1);
    expect(counters).toMatchObject({
      events_accepted_total: 1,
      idempotent_repeats_total: 3,
      idempotency_evicted_total: 0,
    });
    expect(line.eventCount).toBe(0);
  });

  test('JSON, a type in the query and a batch are kept as they are', async () => {
    const server = await hostedForTest();
    const requests: Publish[] = [
      { body: '{"a": 1.0}', headers: JSON_TYPE },
      { body: '{"a": 1.0}', headers: JSON_TYPE, query: '?event=notice' },
      { body: '{"data":1}\n{"data":2,"event":"t"}\n{"data":3}\n', headers: BATCH },
    ];
    const answers: string[] = [];
    for (const [i, request] of requests.entries()) {
      const first = await publish(server, 'c', `key-${i}`, request);
      expect(first.status).toBe(200);
      answers.push(first.text);
      expect((await publish(server, 'c', `key-${i}`, request)).text).toBe(first.text);
    }
    expect(answers[2]).toBe('{"first":3,"last":5,"count":3,"subscribers":0}');
    expect(await held(server, 'c')).toEqual([{ a: 1 }, { a: 1 }, 1, 2, 3]);
  });

  test('a Content-Type that is read alike is the same request', async () => {
    const server = await hostedForTest();
    for (const [key, types] of [
      ['text', ['text/plain', 'application/octet-stream']],
      ['json', ['application/json', 'Application/JSON; charset=utf-8']],
    ] as const) {
      const answers = await Promise.all(
        types.map((type) =>
          publish(server, 'c', key, { body: '1', headers: { 'Content-Type': type } }),
        ),
      );
      expect(answers[0]!.status).toBe(200);
      expect(answers[1]!.text).toBe(answers[0]!.text);
    }
    expect(await held(server, 'c')).toHaveLength(2);
  });

  test('a publisher that never heard its answer hears it when it asks again', async () => {
    const server = await hostedForTest();
    const connection = await RawConnection.open(server.port);
    onTestFinished(() => connection.destroy());
    connection.pause();
    connection.send(
      requestBytes(server.port, 'POST', '/c', {
        headers: { 'Idempotency-Key': 'lost' },
        body: 'x',
      }),
    );
    await server.statsUntil(
      'it is published',
      ({ counters }) => counters.events_accepted_total === 1,
    );
    connection.destroy();
    expect((await publish(server, 'c', 'lost', { body: 'x' })).text).toBe(
      '{"id":1,"subscribers":0}',
    );
    expect(await held(server, 'c')).toEqual(['x']);
  });

  test('without a key the same body is another event', async () => {
    const server = await hostedForTest();
    await publish(server, 'c', 'key', { body: 'x' });
    expect((await server.post('c', 'x')).text).toBe('{"id":2,"subscribers":0}');
    expect((await server.post('c', 'x')).text).toBe('{"id":3,"subscribers":0}');
  });
});

describe('another request under the same key', () => {
  const shared = sharedHosted();

  test.each([
    ['another body', { body: 'y' }],
    ['a body with one more byte', { body: 'x\n' }],
    ['no body', { body: '' }],
    ['a type', { body: 'x', query: '?event=notice' }],
  ] as [string, Publish][])('%s is 422, and publishes nothing', async (name, other) => {
    const server = shared();
    const channel = name.replaceAll(' ', '-');
    const first = await publish(server, channel, 'key', { body: 'x' });
    const answer = await publish(server, channel, 'key', other);
    expect([answer.status, codeOf(answer)]).toEqual([422, 'HOLDLINE_IDEMPOTENCY_MISMATCH']);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(await held(server, channel)).toEqual(['x']);
    expect(
      (await publish(server, channel, 'key', { body: 'x' })).text,
      'what was kept is still kept',
    ).toBe(first.text);
  });

  test('another type, none at all and another Content-Type are 422', async () => {
    const server = shared();
    const first: Publish = { body: '{"data":1}', query: '?event=a', headers: JSON_TYPE };
    expect((await publish(server, 'typed', 'key', first)).status).toBe(200);
    for (const other of [
      { ...first, query: '?event=b' },
      { ...first, query: '' },
      { ...first, headers: { 'Content-Type': 'text/plain' } },
      { ...first, query: '', headers: BATCH },
    ]) {
      const answer = await publish(server, 'typed', 'key', other);
      expect([answer.status, codeOf(answer)]).toEqual([422, 'HOLDLINE_IDEMPOTENCY_MISMATCH']);
    }
    expect(await held(server, 'typed')).toEqual([{ data: 1 }]);
  });

  test('type and body cannot be taken for each other', async () => {
    const server = shared();
    expect((await publish(server, 'framed', 'key', { body: 'bc', query: '?event=a' })).status).toBe(
      200,
    );
    expect((await publish(server, 'framed', 'key', { body: 'c', query: '?event=ab' })).status).toBe(
      422,
    );
  });

  test('another batch is 422', async () => {
    const server = shared();
    await publish(server, 'batch', 'key', { body: '{"data":1}\n{"data":2}', headers: BATCH });
    const answer = await publish(server, 'batch', 'key', {
      body: '{"data":1}\n{"data":3}',
      headers: BATCH,
    });
    expect([answer.status, codeOf(answer)]).toEqual([422, 'HOLDLINE_IDEMPOTENCY_MISMATCH']);
    expect(await held(server, 'batch')).toEqual([1, 2]);
  });
});

describe('the scope of a key', () => {
  test('another channel is another scope', async () => {
    const server = await hostedForTest();
    expect((await publish(server, 'a', 'key', { body: 'x' })).text).toBe(
      '{"id":1,"subscribers":0}',
    );
    expect((await publish(server, 'b', 'key', { body: 'y' })).text).toBe(
      '{"id":2,"subscribers":0}',
    );
    expect((await publish(server, 'a', 'key', { body: 'x' })).text).toBe(
      '{"id":1,"subscribers":0}',
    );
  });

  test('another credential is another scope, and none is one of its own', async () => {
    const server = await hostedForTest();
    const credentials: Record<string, string>[] = [
      {},
      { Authorization: 'Bearer one' },
      { Authorization: 'Bearer two' },
    ];
    for (const [i, headers] of credentials.entries()) {
      expect((await publish(server, 'c', 'key', { body: `of ${i}`, headers })).text).toBe(
        `{"id":${i + 1},"subscribers":0}`,
      );
    }
    for (const [i, headers] of credentials.entries()) {
      expect((await publish(server, 'c', 'key', { body: `of ${i}`, headers })).text).toBe(
        `{"id":${i + 1},"subscribers":0}`,
      );
    }
  });

  test('channel and key cannot be taken for each other', async () => {
    const server = await hostedForTest();
    await publish(server, 'a', 'b-c', { body: 'x' });
    expect((await publish(server, 'a-b', 'c', { body: 'x' })).text).toBe(
      '{"id":2,"subscribers":0}',
    );
    await publish(server, 'a', 'k', { body: 'x', headers: { Authorization: 'Bearer y' } });
    expect(
      (await publish(server, 'a', 'y k', { body: 'x', headers: { Authorization: 'Bearer' } })).text,
    ).toBe('{"id":4,"subscribers":0}');
  });

  test('whoever may not publish is not told what was kept', async () => {
    const server = await hostedForTest({ 'open-publish': false, 'publish-key': 'sesame' });
    const headers = { Authorization: 'Bearer sesame' };
    expect((await publish(server, 'c', 'key', { body: 'x', headers })).status).toBe(200);
    for (const wrong of [{}, { Authorization: 'Bearer wrong' }] as Record<string, string>[]) {
      const answer = await publish(server, 'c', 'key', { body: 'x', headers: wrong });
      expect([answer.status, codeOf(answer)]).toEqual([401, 'HOLDLINE_UNAUTHORIZED']);
    }
  });
});

describe('waitingDuplicates', () => {
  /** Sends these requests at one time, each on a connection that is open already. */
  async function atOnce(server: ServerUnderTest, requests: readonly Publish[]): Promise<Answer[]> {
    const clients = await Promise.all(requests.map(() => HttpClient.open(server.port)));
    onTestFinished(() => clients.forEach((client) => client.close()));
    return Promise.all(
      clients.map((client, i) => {
        const { body, headers = {} } = requests[i]!;
        return client.request('POST', '/c', {
          headers: { 'Idempotency-Key': 'waitingDuplicates', ...headers },
          body,
        });
      }),
    );
  }

  test('20 at one time are one event and 20 equal answers', async () => {
    const server = await hostedForTest();
    const line = await SseLine.open(server.port, '/c');
    onTestFinished(() => line.close());
    const answers = await atOnce(
      server,
      Array.from({ length: 20 }, () => ({ body: 'x' })),
    );
    expect(answers.map((answer) => answer.text)).toEqual(
      Array.from({ length: 20 }, () => '{"id":1,"subscribers":1}'),
    );
    expect(new Set(answers.map(withoutDate)).size).toBe(1);
    const id = await server.publish('c', 'after');
    await line.waitForId(id);
    expect(line.events.map((event) => event.data)).toEqual(['x', 'after']);
    expect((await server.stats()).counters).toMatchObject({
      events_accepted_total: 2,
      idempotent_repeats_total: 19,
    });
  });

  test('20 batches at one time are one batch', async () => {
    const server = await hostedForTest();
    const body = Array.from({ length: 100 }, (_, i) => `{"data":${i}}`).join('\n');
    const answers = await atOnce(
      server,
      Array.from({ length: 20 }, () => ({ body, headers: BATCH })),
    );
    expect(new Set(answers.map((answer) => answer.text))).toEqual(
      new Set(['{"first":1,"last":100,"count":100,"subscribers":0}']),
    );
    expect(await held(server, 'c')).toHaveLength(100);
  });

  test('of two bodies at one time one is published, and the other is 422 each time', async () => {
    const server = await hostedForTest();
    const answers = await atOnce(
      server,
      Array.from({ length: 20 }, (_, i) => ({ body: i % 2 ? 'odd' : 'even' })),
    );
    const data = await held(server, 'c');
    expect(data).toHaveLength(1);
    expect(['odd', 'even']).toContain(data[0]);
    for (const [i, answer] of answers.entries()) {
      const won = (i % 2 ? 'odd' : 'even') === data[0];
      expect(answer.status).toBe(won ? 200 : 422);
      if (won) expect(jsonOf(answer)).toEqual({ id: 1, subscribers: 0 });
    }
  });

  test('20 at one time that are refused are all refused, and then one that is good is published', async () => {
    const server = await hostedForTest();
    const answers = await atOnce(
      server,
      Array.from({ length: 20 }, () => ({ body: '{"a":', headers: JSON_TYPE })),
    );
    expect(answers.map((answer) => [answer.status, codeOf(answer)])).toEqual(
      answers.map(() => [400, 'HOLDLINE_BAD_JSON']),
    );
    const good = await publish(server, 'c', 'waitingDuplicates', {
      body: '{"a":1}',
      headers: JSON_TYPE,
    });
    expect([good.status, good.text]).toEqual([200, '{"id":1,"subscribers":0}']);
  });

  test('a body that is slow to come does not hold its duplicate up, and is then the repeat', async () => {
    const server = await hostedForTest();
    const slow = await HttpClient.open(server.port);
    onTestFinished(() => slow.close());
    const bytes = requestBytes(server.port, 'POST', '/c', {
      headers: { 'Idempotency-Key': 'slow' },
      body: 'slow body',
    });
    const before = (await server.stats()).counters.requests_total;
    slow.connection.send(bytes.subarray(0, bytes.length - 4));
    // Each look is a request itself.
    let looks = 0;
    await server.statsUntil(
      'its head is there',
      ({ counters }) => counters.requests_total - before - ++looks === 1,
    );
    const quick = await publish(server, 'c', 'slow', { body: 'slow body' });
    expect(quick.text).toBe('{"id":1,"subscribers":0}');
    expect((await slow.exchange(bytes.subarray(bytes.length - 4))).text).toBe(quick.text);
    expect(await held(server, 'c')).toEqual(['slow body']);
  });
});

describe('what is not kept', () => {
  const shared = sharedHosted({ 'max-event-bytes': '1KiB' });

  test.each([
    ['JSON that is broken', 400, { body: '{"a":', headers: JSON_TYPE }],
    ['a batch that is broken', 400, { body: '{"data":1}\nnot json', headers: BATCH }],
    ['an event that is too large', 413, { body: 'x'.repeat(2000) }],
    ['a reserved type', 400, { body: 'x', query: '?event=gap' }],
  ] as [string, number, Publish][])('%s leaves its key free', async (name, status, bad) => {
    const server = shared();
    const channel = name.replaceAll(' ', '-');
    for (let again = 0; again < 2; again++)
      expect((await publish(server, channel, 'key', bad)).status).toBe(status);
    const good = await publish(server, channel, 'key', { body: 'good' });
    expect(good.status).toBe(200);
    expect((await publish(server, channel, 'key', { body: 'good' })).text).toBe(good.text);
    expect(await held(server, channel)).toEqual(['good']);
  });
});

describe('the key', () => {
  const shared = sharedHosted({ 'allow-origin': APP });

  test.each([
    ['129 characters', 'k'.repeat(129)],
    ['a character beyond ASCII', 'cl\u00e9s'],
    ['a tab', 'a\tb'],
    ['DEL', 'a\x7fb'],
  ])('of %s is 400, and nothing is published', async (_name, key) => {
    const server = shared();
    const before = (await server.stats()).head;
    const answer = await publish(server, 'bad', key, { body: 'x' });
    expect([answer.status, codeOf(answer)]).toEqual([400, 'HOLDLINE_BAD_IDEMPOTENCY_KEY']);
    expect((await server.stats()).head).toBe(before);
  });

  test.each([
    'k',
    'k'.repeat(128),
    '8e03978e-40d5-43dd-bc93-6894a57f9324',
    '"quoted"',
    "!#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
  ])('%s is taken', async (key) => {
    const server = shared();
    const body = `of ${key}`;
    const first = await publish(server, 'good', key, { body });
    expect(first.status).toBe(200);
    expect((await publish(server, 'good', key, { body })).text).toBe(first.text);
  });

  test('keys are told apart by case and by every character', async () => {
    const server = shared();
    const ids = new Set<unknown>();
    for (const key of [
      'key',
      'KEY',
      'key1',
      'key 1',
      `${'k'.repeat(127)}1`,
      `${'k'.repeat(127)}2`,
    ]) {
      ids.add((jsonOf(await publish(server, 'apart', key, { body: 'x' })) as { id: number }).id);
    }
    expect(ids.size).toBe(6);
  });

  test('a page of a listed origin may send it', async () => {
    const answer = await shared().request('OPTIONS', '/c', {
      headers: {
        Origin: APP,
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'idempotency-key',
      },
    });
    expect(answer.status).toBe(204);
    expect(
      answer.headers.get('access-control-allow-headers')?.toLowerCase().split(/, */),
    ).toContain('idempotency-key');
  });
});
