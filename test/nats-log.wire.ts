/** The log on a real NATS: ids, order, receipts, deletions, history, and other publishers. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { headers } from '@nats-io/transport-node';
import { JetStreamApiError, jetstreamManager } from '@nats-io/jetstream';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { SYSTEM_CLOCK } from '../src/clock.js';
import { statusOf } from '../src/errors.js';
import { floorOf, openStream } from '../src/log/nats/stream.js';
import { Past } from '../src/log/nats/past.js';
import { JSON_HEADER, TYPE_HEADER } from '../src/log/nats/record.js';
import { makeCertificate } from './support/openssl.js';
import { NatsServer } from './support/nats.js';
import { event, LogNode, MAX_EVENT_BYTES, texts } from './support/nats-log.js';
import { until } from './support/until.js';

const ALL = { through: Number.MAX_SAFE_INTEGER, eventsMax: 1_000, bytesMax: 1 << 20 };

async function nodes(count: number): Promise<readonly [NatsServer, ...LogNode[]]> {
  const nats = await NatsServer.start();
  const opened = await Promise.all(
    Array.from({ length: count }, () => LogNode.open(nats.url, { firstId: undefined })),
  );
  return [nats, ...opened];
}

async function one(): Promise<readonly [NatsServer, LogNode]> {
  const [nats, node] = await nodes(1);
  return [nats, node!];
}

describe('ids and order', () => {
  test('a stream starts at the first id given, and ids rise by one over all channels', async () => {
    const nats = await NatsServer.start();
    const node = await LogNode.open(nats.url, { firstId: 1_790_000_000_123_000 });
    expect([node.log.floor(), node.log.lastId()]).toEqual([
      1_790_000_000_122_999, 1_790_000_000_122_999,
    ]);
    const batches = await Promise.all([
      node.log.append([event('a', '1'), event('b/c', '2')]),
      node.log.append([]),
      node.log.append([event('c.d', '3', { type: ' é%', json: false })]),
      node.log.append([event('a', '{"x":1}', { json: true, type: 'x' })]),
    ]);
    const first = 1_790_000_000_123_000;
    expect(batches).toEqual([[first, first + 1], [], [first + 2], [first + 3]]);
    expect(node.entries).toEqual([
      { id: first, ...event('a', '1') },
      { id: first + 1, ...event('b/c', '2') },
      { id: first + 2, ...event('c.d', '3', { type: ' é%' }) },
      { id: first + 3, ...event('a', '{"x":1}', { json: true, type: 'x' }) },
    ]);
    expect([node.log.floor(), node.log.lastId()]).toEqual([first - 1, first + 3]);
  });

  test('a stream starts at the clock, ms × 1000, by default', async () => {
    const fromMs = Date.now();
    const [, node] = await one();
    const [id] = await node.log.append([event('a', '1')]);
    expect(id! % 1000).toBe(0);
    expect(id).toBeGreaterThanOrEqual(fromMs * 1000);
    expect(id).toBeLessThanOrEqual(Date.now() * 1000);
  });

  test('a stream that another node makes at the same time is taken, whatever NATS calls it', async () => {
    const nats = await NatsServer.start();
    const manager = await jetstreamManager(await nats.client());
    // What nats-server 2.9 said in 5 of 3,000 such moments, of which no two can be made to order.
    const overlap = { code: 400, err_code: 10_065, description: 'subjects overlap' };
    vi.spyOn(manager.streams, 'add').mockImplementationOnce(async () => {
      await LogNode.open(nats.url, { firstId: 1_790_000_000_123_000 });
      throw new JetStreamApiError(overlap);
    });
    const options = { stream: 'holdline', prefix: 'holdline', replicas: 1, firstId: undefined };
    const retention = { events: 0, bytes: 0, ageMs: 0 };
    const info = await openStream(manager, { ...options, retention }, 1, SYSTEM_CLOCK);
    expect(floorOf(info)).toBe(1_790_000_000_122_999);
  });

  test('nodes that want to make the stream at once make one, and see one order', async () => {
    const [, ...five] = await nodes(5);
    expect(new Set(five.map((node) => node.log.floor())).size).toBe(1);
    await Promise.all(
      five.flatMap((node, index) =>
        Array.from({ length: 40 }, (_, i) =>
          node.log.append([event(`c${i % 3}`, `${index}.${i}`)]),
        ),
      ),
    );
    for (const node of five) await node.hasEntries(200);
    for (const node of five) expect(node.texts).toEqual(five[0]!.texts);
    const first = five[0]!.log.floor() + 1;
    expect(five[0]!.ids).toEqual(Array.from({ length: 200 }, (_, i) => first + i));
  });

  test('a publisher hears of its events after this node has handed them over', async () => {
    const [, node] = await one();
    for (let i = 0; i < 20; i++) {
      const [id] = await node.log.append([event('a', String(i))]);
      expect(node.ids.at(-1)).toBe(id);
    }
  });

  test('a node that opens later hands over only what comes from then on', async () => {
    const [nats, node] = await one();
    const [id] = await node.log.append([event('a', 'before')]);
    const later = await LogNode.open(nats.url);
    expect([later.log.lastId(), later.log.floor()]).toEqual([id, node.log.floor()]);
    await node.log.append([event('a', 'after')]);
    await later.hasEntries(1);
    expect(later.texts).toEqual(['a: after']);
  });

  test('a batch of 10,000 keeps its order', async () => {
    const [, node] = await one();
    const batch = Array.from({ length: 10_000 }, (_, i) => event('a', String(i)));
    const ids = await node.log.append(batch);
    expect(ids).toEqual(Array.from({ length: 10_000 }, (_, i) => ids[0]! + i));
    expect(node.texts).toEqual(batch.map((_, i) => `a: ${i}`));
  });
});

describe('a key', () => {
  const request = (key: string, digest: string) => ({ key, digest, subscribers: 7 });
  const batch = (...names: string[]) => names.map((name) => event('a', name));

  test('has its receipt on every node', async () => {
    const [, a, b] = await nodes(2);
    const ids = await a!.log.append(batch('1', '2', '3'), request('k', 'd'));
    await b!.hasEntries(3);
    const receipt = { firstId: ids[0], lastId: ids[2], count: 3, subscribers: 7 };
    expect(await a!.log.kept('k')).toMatchObject({ digest: 'd', receipt });
    expect(await b!.log.kept('k')).toMatchObject({ digest: 'd', receipt });
    expect(await b!.log.kept('other')).toBeUndefined();
  });

  test('publishes once, also at two nodes at once, and after a restart', async () => {
    const [nats, a, b] = await nodes(2);
    const all = await Promise.all([
      a!.log.append(batch('1', '2', '3'), request('k', 'd')),
      b!.log.append(batch('1', '2', '3'), request('k', 'd')),
    ]);
    // One that finds all of it in the stream gets no ids: it counts for the other.
    const [ids] = all.toSorted((left, right) => right.length - left.length);
    for (const given of all) expect([[], ids]).toContainEqual(given);
    const later = await LogNode.open(nats.url);
    expect(await later.log.kept('k')).toMatchObject({
      receipt: { firstId: ids![0], lastId: ids![2], subscribers: 7 },
    });
    expect(await later.log.append(batch('1', '2', '3'), request('k', 'd'))).toEqual([]);
    await a!.log.append(batch('end'));
    expect(a!.texts).toEqual(['a: 1', 'a: 2', 'a: 3', 'a: end']);
  });

  test('with another body is refused on any node, and nothing of it is published', async () => {
    const [, a, b] = await nodes(2);
    const results = await Promise.allSettled([
      a!.log.append(batch('1', '2'), request('k', 'one')),
      b!.log.append(batch('3', '4'), request('k', 'two')),
    ]);
    const refused = results.filter((result) => result.status === 'rejected');
    expect(refused.map(({ reason }) => [statusOf(reason), (reason as Error).message])).toEqual([
      [422, expect.stringContaining('another body')],
    ]);
    await a!.log.append(batch('end'));
    expect([
      ['a: 1', 'a: 2', 'a: end'],
      ['a: 3', 'a: 4', 'a: end'],
    ]).toContainEqual(a!.texts);
  });
});

describe('the history', () => {
  test('gives pages of several channels in id order, without what is deleted', async () => {
    const [, node] = await one();
    const { log } = node;
    const names = ['a', 'b', 'c/d'];
    const ids = await log.append(
      Array.from({ length: 300 }, (_, i) => event(names[i % 3]!, String(i))),
    );
    const first = await log.history!.read({
      channels: ['a', 'c/d'],
      after: ids[10]!,
      through: ids[299]!,
      eventsMax: 100,
      bytesMax: 1 << 20,
    });
    const wanted = ids.map((_, i) => i).filter((i) => i > 10 && i % 3 !== 1);
    const got = (page: { readonly events: readonly { readonly id: number }[] }): number[] =>
      page.events.map(({ id }) => ids.indexOf(id));
    expect(got(first)).toEqual(wanted.slice(0, got(first).length));
    expect(first.through).toBe(first.events.at(-1)!.id);
    expect(first.lostThrough).toBe(log.floor());
    let after = first.through;
    const rest: number[] = [];
    while (after < ids[299]!) {
      const page = await log.history!.read({
        channels: ['a', 'c/d'],
        after,
        through: ids[299]!,
        eventsMax: 7,
        bytesMax: 12,
      });
      expect(page.events.length).toBeLessThanOrEqual(7);
      rest.push(...got(page));
      after = page.through;
    }
    expect([...got(first), ...rest]).toEqual(wanted);

    const [mark] = await log.append([{ channel: 'a', isDeletion: true }]);
    await log.append([event('a', 'new')]);
    expect(node.texts.slice(-2)).toEqual(['end of a', 'a: new']);
    const page = await log.history!.read({ channels: ['a'], after: ids[0]!, ...ALL });
    expect([texts(page.events), page.lostThrough]).toEqual([['a: new'], mark]);
    const before = await log.history!.read({
      channels: ['a'],
      after: ids[0]!,
      ...ALL,
      through: ids[9]!,
    });
    expect([texts(before.events), before.lostThrough]).toEqual([[], mark]);
  });

  test('a deletion is known to a node that was started later', async () => {
    const [nats, node] = await one();
    await node.log.append([event('a', 'old')]);
    const [mark] = await node.log.append([{ channel: 'a', isDeletion: true }]);
    const later = await LogNode.open(nats.url);
    const page = await later.log.history!.newest('a', { ...ALL, through: later.log.lastId() });
    expect([page.events, page.lostThrough]).toEqual([[], mark]);
  });

  test('gives the newest events, as many as fit, and says what is not among them', async () => {
    const [, node] = await one();
    const { log } = node;
    const rare = await log.append(Array.from({ length: 5 }, (_, i) => event('rare', String(i))));
    await log.append(Array.from({ length: 5_000 }, (_, i) => event('busy', String(i))));
    const through = log.lastId();
    const newest = (channel: string, eventsMax: number, bytesMax = 1 << 20) =>
      log.history!.newest(channel, { through, eventsMax, bytesMax });
    const all = await newest('rare', 10);
    expect([texts(all.events).length, all.lostThrough]).toEqual([5, log.floor()]);
    const two = await newest('rare', 2);
    expect([texts(two.events), two.lostThrough]).toEqual([['rare: 3', 'rare: 4'], rare[2]]);
    const busy = await newest('busy', 100);
    expect(texts(busy.events)).toEqual(Array.from({ length: 100 }, (_, i) => `busy: ${4_900 + i}`));
    expect([busy.lostThrough, busy.through]).toEqual([through - 100, through]);
    const small = await newest('busy', 100, 9);
    expect(texts(small.events)).toEqual(['busy: 4998', 'busy: 4999']);
    const none = await newest('none', 100);
    expect([none.events, none.lostThrough]).toEqual([[], log.floor()]);
  });

  test('finds the last id before a time', async () => {
    const [, { log }] = await one();
    const startMs = Date.now();
    const [first] = await log.append([event('a', '1')]);
    await until('a later millisecond', () => Date.now() > startMs + 20);
    const middleMs = Date.now();
    await until('a later millisecond', () => Date.now() > middleMs + 20);
    const [second] = await log.append([event('a', '2')]);
    expect(await log.history!.idBefore(startMs - 1_000)).toBe(log.floor());
    expect(await log.history!.idBefore(middleMs)).toBe(first);
    expect(await log.history!.idBefore(Date.now() + 1_000)).toBe(second);
  });

  test('says what retention has taken', async () => {
    const nats = await NatsServer.start();
    const { log } = await LogNode.open(nats.url, {
      retention: { events: 10, bytes: 0, ageMs: 0 },
    });
    const ids = await log.append(Array.from({ length: 25 }, (_, i) => event('a', String(i))));
    const page = await log.history!.read({ channels: ['a'], after: ids[3]!, ...ALL });
    expect([texts(page.events)[0], page.events.length, page.lostThrough]).toEqual([
      'a: 15',
      10,
      ids[14],
    ]);
    const newest = await log.history!.newest('a', { ...ALL, through: ids[24]! });
    expect([newest.events.length, newest.lostThrough]).toEqual([10, ids[14]]);
  });

  test('says of a quiet channel what it has lost itself, when retention takes others', async () => {
    const nats = await NatsServer.start();
    const { log } = await LogNode.open(nats.url, {
      retention: { events: 10, bytes: 0, ageMs: 0 },
    });
    const noise = Array.from({ length: 9 }, (_, i) => event('noise', String(i)));
    const [q1] = await log.append([event('q', '1')]);
    await log.append(noise);
    const [q2] = await log.append([event('q', '2')]);
    await log.append(noise.slice(0, 4));
    const read = async (channel: string, after: number) => {
      const page = await log.history!.read({ channels: [channel], after, ...ALL });
      return [texts(page.events), page.lostThrough];
    };
    expect(await read('q', q1!)).toEqual([['q: 2'], q1]);
    const bounds = { ...ALL, through: log.lastId() };
    const newest = await log.history!.newest('q', bounds);
    expect([texts(newest.events), newest.lostThrough]).toEqual([['q: 2'], q1]);
    await log.append(noise);
    expect(await read('q', q1!)).toEqual([[], q2]);
    // One of which nothing was seen has lost what was before this server, at the most.
    expect(await read('never', log.floor() - 1)).toEqual([[], log.floor()]);
    // To a server that starts now all of what the stream has forgotten may be of it.
    const later = await LogNode.open(nats.url);
    const page = await later.log.history!.read({ channels: ['q'], after: q2!, ...ALL });
    expect(page.lostThrough).toBe(log.lastId() - 10);
  });

  test('pages one after another are read by one consumer, also after a restart of NATS', async () => {
    const [nats, node] = await one();
    const { log } = node;
    const ids = await log.append(Array.from({ length: 90 }, (_, i) => event('a', String(i))));
    await log.append(Array.from({ length: 10 }, () => event('b', 'x')));
    const through = log.lastId();
    let made = 0;
    const client = await nats.client();
    client.subscribe('$JS.EVENT.ADVISORY.CONSUMER.CREATED.>', { callback: () => void made++ });
    await client.flush();
    const page = (after: number) =>
      log.history!.read({ channels: ['a'], after, through, eventsMax: 30, bytesMax: 1 << 20 });
    const expectPage = async (nth: number): Promise<void> => {
      const { events, lostThrough } = await page(ids[30 * nth - 1] ?? log.floor());
      expect(events.map(({ id }) => id)).toEqual(ids.slice(30 * nth, 30 * nth + 30));
      expect(lostThrough).toBe(log.floor());
    };
    await expectPage(0);
    await expectPage(1);
    await until('NATS tells of the consumer', () => made > 0);
    expect(made).toBe(1);
    // Its consumers were in memory.
    await nats.kill();
    await node.isUp(false);
    await nats.startAgain();
    await node.isUp();
    await expectPage(2);
  });

  test('says what retention takes while a page is read', async () => {
    const nats = await NatsServer.start();
    const { log } = await LogNode.open(nats.url, {
      retention: { events: 10, bytes: 0, ageMs: 0 },
    });
    const ids = await log.append(Array.from({ length: 10 }, (_, i) => event('a', String(i))));
    // oxlint-disable-next-line typescript/unbound-method
    const begin = Past.prototype.read;
    const spy = vi.spyOn(Past.prototype, 'read').mockImplementation(async function read(
      this: Past,
      subject,
      after,
      through,
    ) {
      const reading = await begin.call(this, subject, after, through);
      // It began with everything kept; then the oldest four go.
      await log.append(['b', 'b', 'b', 'b'].map((channel) => event(channel, 'x')));
      return reading;
    });
    onTestFinished(() => spy.mockRestore());
    const bounds = { ...ALL, through: ids[9]! };
    const page = await log.history!.read({ channels: ['a'], after: log.floor(), ...bounds });
    expect([page.lostThrough, page.through]).toEqual([ids[3], ids[9]]);
    expect(texts(page.events)).toEqual(['a: 4', 'a: 5', 'a: 6', 'a: 7', 'a: 8', 'a: 9']);
    const newest = await log.history!.newest('a', bounds);
    expect([newest.lostThrough, texts(newest.events)]).toEqual([ids[7], ['a: 8', 'a: 9']]);
  });
});

describe('another publisher', () => {
  test('needs a subject and data, and may add a type and say that it is JSON', async () => {
    const [nats, node] = await one();
    const client = await nats.client();
    client.publish('holdline.org./7', 'plain');
    const head = headers();
    head.set(TYPE_HEADER, encodeURIComponent('Größe'));
    head.set(JSON_HEADER, '1');
    client.publish('holdline.a.b', '{"x":[1.0]}', { headers: head });
    await node.hasEntries(2);
    const first = node.log.floor() + 1;
    expect(node.entries).toEqual([
      { id: first, ...event('org/7', 'plain') },
      { id: first + 1, ...event('a.b', '{"x":[1.0]}', { type: 'Größe', json: true }) },
    ]);
  });

  test('what a publish would refuse is skipped, counted and told as lost', async () => {
    const [nats, node] = await one();
    const client = await nats.client();
    const typed = (type: string): { readonly headers: ReturnType<typeof headers> } => {
      const head = headers();
      head.set(TYPE_HEADER, type);
      return { headers: head };
    };
    const json = headers();
    json.set(JSON_HEADER, '1');
    client.publish('holdline.a', 'good');
    client.publish('holdline.a', Buffer.from([0xff, 0xfe]));
    client.publish('holdline.a', 'x'.repeat(MAX_EVENT_BYTES));
    client.publish('holdline.a', 'x', typed('gap'));
    client.publish('holdline.a', 'x', typed('%'));
    client.publish('holdline.a', '{', { headers: json });
    client.publish('holdline.$x', 'of no channel');
    client.publish('holdline.-./ready', 'a reserved name');
    client.publish('holdline.a', 'good again');
    await node.hasEntries(2);
    expect(node.texts).toEqual(['a: good', 'a: good again']);
    const first = node.log.floor() + 1;
    expect(node.lost).toEqual([
      ...[1, 2, 3, 4, 5].map((i) => [first + i, 'a']),
      [first + 7, '-/ready'],
    ]);
    expect(node.counters.log_records_refused_total).toBe(7);
    expect(node.reports).toHaveLength(7);
    // The page ends before the loss, and the next begins behind it.
    const page = await node.log.history!.read({ channels: ['a'], after: first - 1, ...ALL });
    expect([texts(page.events), page.through]).toEqual([['a: good'], first]);
    const next = await node.log.history!.read({ channels: ['a'], after: first, ...ALL });
    expect([texts(next.events), next.lostThrough]).toEqual([['a: good again'], first + 5]);
  });
});

describe('access', () => {
  test('by TLS with a user and a password; without them it is refused, and no secret is told', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdline-nats-tls-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')];
    makeCertificate({ key, certificate });
    const args = `--tls --tlscert ${certificate} --tlskey ${key} --user holdline --pass only-here`;
    const nats = await NatsServer.start(...args.split(' '));
    const tlsCa = readFileSync(certificate, 'utf8');
    const node = await LogNode.open(nats.url, { tlsCa, user: 'holdline', password: 'only-here' });
    const [id] = await node.log.append([event('a', '1')]);
    const other = await LogNode.open(`tls://holdline:only-here@${nats.url}`, { tlsCa });
    expect(other.log.lastId()).toBe(id);
    const wrong = new LogNode(nats.url, { tlsCa, user: 'holdline', password: 'a-guess' });
    const error = await wrong.open().catch((thrown: unknown) => thrown as Error);
    expect(error).toMatchObject({ code: 'HOLDLINE_BAD_LOG' });
    expect(String(error)).toContain('refuses the credentials');
    expect(String(error)).not.toMatch(/only-here|a-guess/);
    // An unknown authority is not waited for.
    const fromMs = performance.now();
    const unknown = new LogNode(`tls://holdline:only-here@${nats.url}`);
    await expect(unknown.open()).rejects.toMatchObject({ code: 'HOLDLINE_BAD_LOG' });
    expect(performance.now() - fromMs).toBeLessThan(5_000);
  });
});

test('an event that is larger than NATS takes is refused as too large, and others are taken', async () => {
  const nats = await NatsServer.startWith('max_payload: 4096');
  const node = await LogNode.open(nats.url);
  await expect(node.log.append([event('a', 'x'.repeat(5_000))])).rejects.toMatchObject({
    code: 'HOLDLINE_TOO_LARGE',
    message: expect.stringContaining('4096 bytes') as string,
  });
  await node.log.append([event('a', 'small')]);
  expect(node.texts).toEqual(['a: small']);
});

describe('what cannot be used', () => {
  test('NATS without JetStream, a stream of others, a prefix that is none', async () => {
    const nats = await NatsServer.start();
    const manager = await jetstreamManager(await nats.client());
    await manager.streams.add({ name: 'other', subjects: ['other.>'] });
    const refused = async (options: object): Promise<[unknown, string]> => {
      const node = new LogNode(nats.url, options);
      onTestFinished(() => node.log.close());
      const error = await node.log.open().catch((thrown: unknown) => thrown);
      return [(error as { code: string }).code, (error as Error).message];
    };
    expect(await refused({ stream: 'other' })).toEqual([
      'HOLDLINE_BAD_LOG',
      'the stream other cannot be used: its subjects must include holdline.> (--nats-prefix; they are other.>)',
    ]);
    await manager.streams.add({
      name: 'forgets',
      subjects: ['forgets.>'],
      max_msgs_per_subject: 2,
    });
    expect(await refused({ stream: 'forgets', prefix: 'forgets' })).toEqual([
      'HOLDLINE_BAD_LOG',
      expect.stringContaining('max_msgs_per_subject is 2, and must be -1'),
    ]);
    expect(await refused({ replicas: 3 })).toEqual([
      'HOLDLINE_BAD_LOG',
      expect.stringContaining('the stream holdline cannot be made'),
    ]);
    await manager.streams.add({ name: 'broad', subjects: ['_holdline_starting.>'] });
    expect(await refused({})).toEqual([
      'HOLDLINE_BAD_LOG',
      'the stream holdline cannot be made: subjects overlap with an existing stream',
    ]);
    expect(() => new LogNode(nats.url, { prefix: 'a.*' })).toThrow('--nats-prefix');
    expect(() => new LogNode(nats.url, { stream: 'a.b' })).toThrow('--nats-stream');
  });
});

test('a position ahead of this node, but not of the stream, is waited for', async () => {
  const [nats, node] = await one();
  const [id] = await node.log.append([event('a', '1')]);
  expect(await node.log.reach(id!)).toBe(true);
  expect(await node.log.reach(id! + 1)).toBe(false);
  const client = await nats.client();
  client.publish('holdline.a', '2');
  await client.flush();
  expect(await node.log.reach(id! + 1)).toBe(true);
  expect(node.texts).toEqual(['a: 1', 'a: 2']);
});

describe('rows beside the events', () => {
  test('are loaded when NATS answers again, after a read without an answer', async () => {
    const [, { log }] = await one();
    await log.rows!.put('revoked', 'user', 'x', Date.now() + 60_000);
    const spy = vi.spyOn(Past.prototype, 'read').mockRejectedValueOnce(new Error('timeout'));
    onTestFinished(() => spy.mockRestore());
    expect((await log.rows!.load('revoked')).map(({ key }) => key)).toEqual(['user']);
    expect(spy).toHaveBeenCalledTimes(2);
  });

  test('are kept once for each key, told to other nodes, and gone when their time is over', async () => {
    const [nats, a, b] = await nodes(2);
    const heard: unknown[] = [];
    b!.log.rows!.onChange = ({ kind, key, value }) => heard.push([kind, key, value]);
    a!.log.rows!.onChange = () => heard.push('its own');
    const untilMs = Date.now() + 60_000;
    await a!.log.rows!.put('revoked', 'user.*> 1', 'x', untilMs);
    await a!.log.rows!.put('revoked', 'user 2', 'y', untilMs);
    await a!.log.rows!.put('revoked', 'user.*> 1', 'z', untilMs);
    await a!.log.rows!.put('revoked', 'old', 'z', Date.now() - 1);
    await a!.log.rows!.put('other', 'user 2', 'o', untilMs);
    await until('five rows', () => heard.length === 5);
    expect(heard[2]).toEqual(['revoked', 'user.*> 1', 'z']);
    const later = await LogNode.open(nats.url);
    const rows = await later.log.rows!.load('revoked');
    expect(new Map(rows.map(({ key, value }) => [key, value]))).toEqual(
      new Map([
        ['user 2', 'y'],
        ['user.*> 1', 'z'],
      ]),
    );
    expect(a!.entries).toEqual([]);
  });

  test('are not deleted by a server whose clock is ahead', async () => {
    const [nats, a] = await nodes(1);
    await a!.log.rows!.put('revoked', 'user', 'x', Date.now() + 60_000);
    const clock = { ...SYSTEM_CLOCK, wallMs: () => Date.now() + 48 * 3_600_000 };
    const ahead = await LogNode.open(nats.url, { clock });
    expect(await ahead.log.rows!.load('revoked')).toEqual([]);
    const later = await LogNode.open(nats.url);
    expect(await later.log.rows!.load('revoked')).toMatchObject([{ key: 'user', value: 'x' }]);
  });
});
