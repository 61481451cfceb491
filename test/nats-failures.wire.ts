/** The log on NATS while NATS is killed, frozen, cut off, purged, deleted, replaced. */
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { SYSTEM_CLOCK, type Clock } from '../src/clock.js';
import { HoldlineError } from '../src/errors.js';
import { NATS_LOOK_MS, NATS_SILENT_MS_MAX } from '../src/limits.js';
import { Past } from '../src/log/nats/past.js';
import { Publisher } from '../src/log/nats/publisher.js';
import { NatsServer } from './support/nats.js';
import { event, LogNode } from './support/nats-log.js';
import { until } from './support/until.js';

/** Two nodes on one NATS; the way of one of them can be cut. */
async function twoNodes(options: Parameters<typeof LogNode.open>[1] = {}) {
  const nats = await NatsServer.start();
  const proxy = await nats.behindProxy();
  const cut = await LogNode.open(proxy.url, options);
  const other = await LogNode.open(nats.url, options);
  return { nats, proxy, cut, other };
}

/** The same when both have one event, and one of them is cut off and knows it. */
async function cutOff(options: Parameters<typeof LogNode.open>[1] = {}) {
  const nodes = await twoNodes(options);
  await nodes.other.log.append([event('a', '0')]);
  await nodes.cut.hasEntries(1);
  nodes.proxy.cut();
  await nodes.cut.isUp(false);
  return nodes;
}

/** A publisher that goes on while NATS is killed and comes back, and what it was told. */
class Publishing {
  readonly acknowledged = new Map<string, number>();
  readonly codes = new Map<string, number>();
  longestMs = 0;
  #isOver = false;
  readonly #running: Promise<unknown>;

  constructor(node: LogNode, name: string, writers = 4) {
    this.#running = Promise.all(
      Array.from({ length: writers }, async (_, writer) => {
        for (let i = 0; !this.#isOver; i++) await this.#publish(node, `${name}.${writer}.${i}`);
      }),
    );
  }

  async #publish(node: LogNode, text: string): Promise<void> {
    const fromMs = performance.now();
    try {
      const [id] = await node.log.append([event('a', text)]);
      this.acknowledged.set(text, id!);
    } catch (error) {
      const code = error instanceof HoldlineError ? error.code : String(error);
      this.codes.set(code, (this.codes.get(code) ?? 0) + 1);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    this.longestMs = Math.max(this.longestMs, performance.now() - fromMs);
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }
}

/** Every acknowledged event was handed over under its id, once, and all ids rise. */
function expectAll(node: LogNode, ...publishers: readonly Publishing[]): void {
  const idOf = new Map(node.texts.map((text, i) => [text.slice('a: '.length), node.ids[i]]));
  expect(idOf.size).toBe(node.entries.length);
  for (const { acknowledged } of publishers)
    expect([...acknowledged].filter(([text, id]) => idOf.get(text) !== id)).toEqual([]);
  expect(node.ids.every((id, i) => i === 0 || id > node.ids[i - 1]!)).toBe(true);
}

describe('NATS is killed and comes back', () => {
  test('every acknowledged event is on every node once; publishes are refused quickly', async () => {
    const nats = await NatsServer.start();
    const a = await LogNode.open(nats.url);
    const b = await LogNode.open(nats.url);
    const publishers = [new Publishing(a, 'a'), new Publishing(b, 'b')];
    for (let round = 0; round < 3; round++) {
      const count = a.entries.length;
      await a.hasEntries(count + 200);
      await nats.kill();
      await a.isUp(false);
      if (round === 0) {
        // Long enough that publishes are refused.
        await until('refusals', () => publishers[0]!.codes.has('HOLDLINE_LOG_UNAVAILABLE'));
      }
      await nats.startAgain();
      await a.isUp();
      await b.isUp();
    }
    await a.hasEntries(a.entries.length + 100);
    for (const publisher of publishers) await publisher.end();
    const [id] = await a.log.append([event('a', 'end')]);
    await b.waitFor('the end', () => b.log.lastId() >= id!);
    for (const node of [a, b]) expectAll(node, ...publishers);
    expect(b.ids).toEqual(a.ids);
    expect([a.lost, b.lost]).toEqual([[], []]);
    for (const { codes, longestMs } of publishers) {
      expect(
        [...codes.keys()].filter(
          (code) => code !== 'HOLDLINE_LOG_UNAVAILABLE' && code !== 'HOLDLINE_OUTCOME_UNKNOWN',
        ),
      ).toEqual([]);
      expect(longestMs).toBeLessThan(NATS_SILENT_MS_MAX + 1_000);
    }
  });

  test('a publish on its way is not known, one that comes later is known not to be', async () => {
    const nats = await NatsServer.start();
    const { log } = await LogNode.open(nats.url);
    await log.append([event('a', '1')]);
    await nats.freeze();
    const codeOf = async (): Promise<unknown> =>
      log.append([event('a', '2')]).then(
        () => 'published',
        (error: unknown) => (error as HoldlineError).code,
      );
    const fromMs = performance.now();
    expect(await codeOf()).toBe('HOLDLINE_OUTCOME_UNKNOWN');
    expect(performance.now() - fromMs).toBeLessThan(NATS_SILENT_MS_MAX + 500);
    expect(log.state).toEqual({ isUp: false, problem: 'NATS does not answer' });
    const laterMs = performance.now();
    expect(await codeOf()).toBe('HOLDLINE_LOG_UNAVAILABLE');
    expect(performance.now() - laterMs).toBeLessThan(50);
    nats.thaw();
    await until('the log is up', () => log.state.isUp);
    expect(await codeOf()).toBe('published');
  });
});

describe('a partition', () => {
  test('a node that is cut off misses nothing, and reads nothing false meanwhile', async () => {
    const { proxy, cut, other } = await cutOff();
    for (let i = 1; i <= 100; i++) await other.log.append([event('a', String(i))]);
    await expect(
      cut.log.history!.newest('a', { through: cut.log.lastId(), eventsMax: 1, bytesMax: 1 }),
    ).rejects.toMatchObject({ code: 'HOLDLINE_LOG_UNAVAILABLE' });
    expect(cut.entries).toHaveLength(1);
    proxy.heal();
    await cut.hasEntries(101);
    expect(cut.ids).toEqual(other.ids);
    await cut.isUp();
    expect(cut.lost).toEqual([]);
  });

  test('rows that were put meanwhile are told when it is over', async () => {
    const { proxy, cut, other } = await twoNodes();
    const heard: string[] = [];
    cut.log.rows!.onChange = ({ key }) => heard.push(key);
    expect(await cut.log.rows!.load('revoked')).toEqual([]);
    proxy.cut();
    await cut.isUp(false);
    await other.log.rows!.put('revoked', 'user', 'x', Date.now() + 60_000);
    proxy.heal();
    await until('the row', () => heard.length > 0);
    expect(heard).toEqual(['user']);
  });

  test('a silent one is found, and what was sent into it is kept once', async () => {
    const nats = await NatsServer.start();
    const proxy = await nats.behindProxy();
    const { log } = await LogNode.open(proxy.url);
    const other = await LogNode.open(nats.url);
    await log.append([event('a', '0')]);
    proxy.silence();
    const lost = await log.append([event('a', '1')]).catch((error: unknown) => error);
    expect(lost).toMatchObject({ code: 'HOLDLINE_OUTCOME_UNKNOWN' });
    proxy.heal();
    await until('the log is up', () => log.state.isUp);
    await log.append([event('a', '2')]);
    await other.hasEntries(3);
    expect(other.texts).toEqual(['a: 0', 'a: 1', 'a: 2']);
  });

  test('half a batch says how much of it is kept, and the same key completes it', async () => {
    const { proxy, cut, other } = await twoNodes();
    const batch = Array.from({ length: 10_000 }, (_, i) => event('a', String(i)));
    const request = { key: 'k', digest: 'd', subscribers: 0 };
    const failed = cut.log.append(batch, request).catch((error: unknown) => error);
    await other.hasEntries(1);
    // By then the first answers are here, too.
    await cut.hasEntries(50);
    proxy.cut();
    const error = (await failed) as HoldlineError;
    expect(error).toBeInstanceOf(HoldlineError);
    expect(error.message).toMatch(
      /[1-9]\d* of 10000 events were published.*the same Idempotency-Key publishes what is missing/,
    );
    const ids = await other.log.append(batch, request);
    await other.hasEntries(10_000);
    expect(other.texts).toEqual(batch.map((_, i) => `a: ${i}`));
    expect(other.ids).toEqual(ids);
    proxy.heal();
    await cut.hasEntries(10_000);
    expect(cut.ids).toEqual(ids);
    expect(await cut.log.kept('k')).toMatchObject({ digest: 'd' });
  });
});

test('a request that another node has published, and that is sent again when NATS is back, is no other stream', async () => {
  const nats = await NatsServer.start();
  // By its clock the receipts of others are over.
  const clock = { ...SYSTEM_CLOCK, wallMs: () => Date.now() + 600_000 };
  const node = await LogNode.open(nats.url, { clock });
  const other = await LogNode.open(nats.url);
  const request = { key: 'k', digest: 'd', subscribers: 0 };
  const ids = await other.log.append([event('a', '1')], request);
  await node.hasEntries(1);
  // oxlint-disable-next-line typescript/unbound-method
  const { publish } = Publisher.prototype;
  const sending = vi.spyOn(Publisher.prototype, 'publish').mockImplementationOnce(function twice(
    this: Publisher,
    ...asked
  ) {
    const published = publish.apply(this, asked);
    this.resend();
    return published;
  });
  onTestFinished(() => sending.mockRestore());
  expect(await node.log.append([event('a', '1')], request)).toEqual(ids);
  expect([node.log.state.problem, node.reports]).toEqual(['', []]);
});

describe('rows beside the events', () => {
  /** Looks at the stream five times a second. */
  const looksOften: Clock = {
    ...SYSTEM_CLOCK,
    later: (ms, task) => SYSTEM_CLOCK.later(ms === NATS_LOOK_MS ? 200 : ms, task),
  };
  const untilMs = Date.now() + 600_000;

  /** Two nodes, of which one hears of no row: no message of one ever comes to it. */
  async function oneDeaf() {
    const nats = await NatsServer.startWith(`authorization { users: [
      { user: hears, password: p },
      { user: deaf, password: p, permissions: { subscribe: { deny: "_holdline_rows.>" } } } ] }`);
    const other = await LogNode.open(`hears:p@${nats.url}`, { clock: looksOften });
    const deaf = await LogNode.open(`deaf:p@${nats.url}`, { clock: looksOften });
    const told: string[] = [];
    deaf.log.rows!.onChange = ({ key }) => told.push(key);
    expect(await deaf.log.rows!.load('revoked')).toEqual([]);
    const put = (key: string): Promise<void> => other.log.rows!.put('revoked', key, 'x', untilMs);
    return { nats, deaf, told, put };
  }

  test('are told with the next look to a node that never heard of them, once', async () => {
    const { told, put } = await oneDeaf();
    await put('first');
    await until('the first', () => told.length > 0);
    await put('second');
    await until('the second', () => told.length > 1);
    expect(told).toEqual(['first', 'second']);
  });

  test('that cannot be read are tried again until they can, and that is said once', async () => {
    const { deaf, told, put } = await oneDeaf();
    const read = vi.spyOn(Past.prototype, 'read').mockRejectedValue(new Error('no leader'));
    onTestFinished(() => read.mockRestore());
    await put('user');
    await until('three attempts', () => read.mock.calls.length >= 3);
    expect([told, deaf.reports]).toEqual([[], [expect.stringMatching(/revoked.*no leader/)]]);
    read.mockRestore();
    await until('the row', () => told.length > 0);
    expect(told).toEqual(['user']);
  });

  test('are kept and told again when their stream was deleted', async () => {
    const { nats, told, put } = await oneDeaf();
    await put('before');
    await until('the one before', () => told.length > 0);
    const client = await connect({ servers: nats.url, user: 'hears', pass: 'p' });
    onTestFinished(() => client.close());
    await (await jetstreamManager(client)).streams.delete('holdline_rows');
    await until('it is kept', () => put('after').then(() => true));
    await until('the one after', () => told.length > 1);
    expect(told).toEqual(['before', 'after']);
  });
});

describe('the stream changes under a running node', () => {
  test('what retention takes while a node is cut off is told as lost, and no more', async () => {
    const retention = { events: 50, bytes: 0, ageMs: 0 };
    const { proxy, cut, other } = await cutOff({ retention });
    const ids = await other.log.append(Array.from({ length: 200 }, (_, i) => event('a', `${i}`)));
    proxy.heal();
    await cut.hasEntries(51);
    expect(cut.lost).toEqual([[ids[149], undefined]]);
    expect(cut.ids.slice(1)).toEqual(ids.slice(150));
    expect(cut.counters.log_losses_total).toBe(1);
  });

  test('a purge takes all that a node has not read: it is told when it is back', async () => {
    const { nats, proxy, cut, other } = await cutOff();
    const ids = await other.log.append([event('a', '1'), event('a', '2')]);
    const manager = await jetstreamManager(await nats.client());
    await manager.streams.purge('holdline');
    proxy.heal();
    await cut.waitFor('the loss', () => cut.lost.length > 0);
    expect([cut.lost, cut.log.lastId()]).toEqual([[[ids[1], undefined]], ids[1]]);
    await other.log.append([event('a', '3')]);
    await cut.hasEntries(2);
    expect([cut.texts, cut.lost.length]).toEqual([['a: 0', 'a: 3'], 1]);
  });

  test('holes above the oldest message are no loss', async () => {
    const { nats, proxy, cut, other } = await cutOff();
    const ids = await other.log.append(['1', '2', '3', '4'].map((text) => event('a', text)));
    const manager = await jetstreamManager(await nats.client());
    for (const at of [0, 2]) await manager.streams.deleteMessage('holdline', ids[at]!);
    proxy.heal();
    await cut.hasEntries(3);
    expect([cut.texts, cut.lost]).toEqual([['a: 0', 'a: 2', 'a: 4'], []]);
  });

  test('a purge loses nothing for those who have read it, and ids go on', async () => {
    const nats = await NatsServer.start();
    const node = await LogNode.open(nats.url);
    const [first] = await node.log.append([event('a', '1')]);
    const manager = await jetstreamManager(await nats.client());
    await manager.streams.purge('holdline');
    expect(await node.log.append([event('a', '2')])).toEqual([first! + 1]);
    const page = await node.log.history!.read({
      channels: ['a'],
      after: first! - 1,
      through: first! + 1,
      eventsMax: 10,
      bytesMax: 1_000,
    });
    expect([page.events.length, page.lostThrough]).toEqual([1, first]);
    expect([node.texts, node.lost]).toEqual([['a: 1', 'a: 2'], []]);
  });

  test('one that was deleted is made again above all ids, and told as lost', async () => {
    const nats = await NatsServer.start();
    const a = await LogNode.open(nats.url);
    const b = await LogNode.open(nats.url);
    const [last] = await a.log.append([event('a', '1')]);
    await b.hasEntries(1);
    const manager = await jetstreamManager(await nats.client());
    await manager.streams.delete('holdline');
    const refused = await a.log.append([event('a', 'x')]).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'HOLDLINE_LOG_UNAVAILABLE' });
    let ids: readonly number[] = [];
    await until('a publish', async () => {
      ids = await a.log.append([event('a', '2')]).catch(() => []);
      return ids.length > 0;
    });
    await b.hasEntries(2);
    for (const node of [a, b]) {
      expect(node.texts).toEqual(['a: 1', 'a: 2']);
      expect(node.ids).toEqual([last, ids[0]]);
      expect(node.lost).toEqual([[ids[0]! - 1, undefined]]);
    }
    expect(ids[0]).toBeGreaterThan(last!);
  });

  test('one that was replaced by one with lower ids is not used', async () => {
    const nats = await NatsServer.start();
    const node = await LogNode.open(nats.url);
    const [id] = await node.log.append([event('a', '1')]);
    const bounds = { after: id! - 1, through: id!, eventsMax: 10, bytesMax: 1_000 };
    const unread = /the stream ends before ids that were given/;
    const manager = await jetstreamManager(await nats.client());
    const { config } = await manager.streams.info('holdline');
    await manager.streams.delete('holdline');
    await manager.streams.add({ ...config, description: 'by hand', name: 'holdline' });
    const history = node.log.history!;
    await expect(history.read({ channels: ['a'], ...bounds })).rejects.toThrow(unread);
    await expect(history.newest('a', bounds)).rejects.toThrow(unread);
    await until('the fault', () => node.log.state.problem.includes('replaced'));
    await expect(node.log.append([event('a', '2')])).rejects.toMatchObject({
      code: 'HOLDLINE_LOG_UNAVAILABLE',
    });
    await expect(history.read({ channels: ['a'], ...bounds })).rejects.toThrow(unread);
    expect(node.texts).toEqual(['a: 1']);
  });

  test('one whose maker died before it had started is started by another', async () => {
    const nats = await NatsServer.start();
    const manager = await jetstreamManager(await nats.client());
    await manager.streams.add({
      name: 'holdline',
      description: 'holdline: the first id is 5000',
      subjects: ['_holdline_starting.holdline'],
    });
    const [a, b] = await Promise.all([LogNode.open(nats.url), LogNode.open(nats.url)]);
    expect([a.log.floor(), b.log.floor()]).toEqual([4_999, 4_999]);
    expect(await a.log.append([event('a', '1')])).toEqual([5_000]);
    await b.hasEntries(1);
  });
});

test('a node that was away for 100,000 events catches up', async () => {
  const nats = await NatsServer.start();
  const proxy = await nats.behindProxy();
  const away = await LogNode.open(proxy.url);
  const other = await LogNode.open(nats.url);
  await other.log.append([event('a', 'x')]);
  await away.hasEntries(1);
  proxy.cut();
  await away.isUp(false);
  const client = await nats.client();
  for (let i = 0; i < 100_000; i++) client.publish('holdline.a', 'x'.repeat(100));
  await other.waitFor('all on another node', () => other.entries.length === 100_001, 20_000);
  proxy.heal();
  const fromMs = performance.now();
  await away.hasEntries(100_001, 20_000);
  console.log(`caught up in ${Math.round(performance.now() - fromMs)} ms`);
  expect(away.lost).toEqual([]);
  expect(away.ids.at(-1)).toBe(other.ids.at(-1));
});
