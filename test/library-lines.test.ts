/**
 * Lines of the embedding program, on a clock of the test's own: what an iterator gets, what it may
 * hold, and how it ends.
 */
import { getEventListeners } from 'node:events';
import { describe, expect, test } from 'vitest';
import { LibraryLines, type LibraryLine } from '../src/transports/library.js';
import { subscription } from '../src/server/subscription.js';
import { LIBRARY_UNREAD_BYTES_MAX } from '../src/limits.js';
import type { HubOptions } from '../src/core/hub.js';
import { LIVE, type Position } from '../src/core/position.js';
import { settlePromises } from './support/fake-clock.js';
import { FakeHub, ids } from './support/fake-hub.js';

const ALL: Position = { kind: 'after', id: 0 };

interface Opened {
  readonly fake: FakeHub;
  readonly lines: LibraryLines;
  readonly open: (position?: Position, name?: string) => LibraryLine;
}

function hub(options: Partial<HubOptions> = {}): Opened {
  const fake = new FakeHub(options);
  const lines = new LibraryLines(fake.hub as never, () => {});
  return { fake, lines, open: (position = LIVE, name = 'c') => lines.open(name, position) };
}

type Step = Awaited<ReturnType<LibraryLine['next']>>;

/** Calls of `next` that are still waited for: the next item is theirs. */
const asked = new WeakMap<LibraryLine, Promise<Step>>();

/** What can be read without waiting for anything: ids, gaps and the end, which is undefined. */
async function readAll(line: LibraryLine, count = Infinity): Promise<unknown[]> {
  const found: unknown[] = [];
  while (found.length < count) {
    const reading = asked.get(line) ?? line.next();
    asked.set(line, reading);
    let step: Step | undefined;
    void reading.then((read) => (step = read));
    await settlePromises();
    if (step === undefined) break;
    asked.delete(line);
    found.push(step.done === true ? undefined : (step.value.id ?? step.value.gap));
    if (step.done === true) break;
  }
  return found;
}

describe('what it gets', () => {
  test('is what is published, as it was published, in order', async () => {
    const { fake, open } = hub();
    const line = open();
    const data: [Uint8Array, boolean, unknown][] = [
      [Buffer.from('two\nlines'), false, 'two\nlines'],
      [Buffer.from('5'), false, '5'],
      [Buffer.from('5'), true, 5],
      [Buffer.from('{"a":[1,\r\n null]}'), true, { a: [1, null] }],
      [Buffer.from('\ufeff😀'), false, '\ufeff😀'],
    ];
    for (const [bytes, json] of data)
      void fake.hub.publish('c', [
        { channel: 'c', type: json ? 'j' : undefined, data: bytes, json },
      ]);
    await fake.settle();
    for (const [i, [, json, value]] of data.entries()) {
      const expected = { id: i + 1, channel: 'c', ...(json ? { event: 'j' } : {}), data: value };
      expect(await line.next()).toEqual({ value: expected, done: false });
      expect(line.position).toBe(i + 1);
    }
  });

  test('begins where it is asked to, in the turn of the call', async () => {
    const { fake, open } = hub();
    void fake.publish('c', 'a', 'b', 'c');
    await fake.settle();
    const [live, all, second] = [open(), open(ALL), open({ kind: 'after', id: 2 })];
    expect([live.position, all.position, second.position]).toEqual([3, 0, 2]);
    void fake.publish('c', 'd');
    await fake.settle();
    expect(await readAll(live)).toEqual([4]);
    expect(await readAll(all)).toEqual([1, 2, 3, 4]);
    expect(await readAll(second)).toEqual([3, 4]);
  });

  test('has a gap notice in the place of what is lost, at the beginning and later', async () => {
    const { fake, open } = hub({ replay: { events: 3, bytes: 1e9 } });
    void fake.publish('c', ...ids(1, 10).map(String));
    await fake.settle();
    const line = open({ kind: 'after', id: 2 });
    expect(await readAll(line, 4)).toEqual([{ after: 2, before: 8 }, 8, 9, 10]);
    const text = 'x'.repeat(LIBRARY_UNREAD_BYTES_MAX);
    void fake.publish('c', text);
    await fake.settle();
    // It refuses what follows for longer than grace, and is lapped.
    await fake.clock.run(3000);
    for (let i = 0; i < 20; i++) void fake.publish('c', 'y');
    await fake.settle();
    await fake.clock.run(3000);
    const found = await readAll(line, 1);
    await fake.settle();
    expect([...found, ...(await readAll(line))]).toEqual([
      11,
      { after: 11, before: 29 },
      29,
      30,
      31,
    ]);
    expect(fake.counters.gaps_slow_total).toBe(1);
    expect(line.position).toBe(31);
  });

  test('is given to calls of next in their order, also to those that waited', async () => {
    const { fake, open } = hub();
    const line = open();
    const order: unknown[] = [];
    const reading = Array.from({ length: 5 }, async (_, i) => {
      const { value } = await line.next();
      order.push([i, value?.id]);
      // One that comes while others wait is behind them.
      if (i === 0) order.push(['late', (await line.next()).value?.id]);
    });
    void fake.publish('c', 'a', 'b', 'c');
    await fake.settle();
    void fake.publish('c', 'd', 'e', 'f');
    await fake.settle();
    await Promise.all(reading);
    expect(order).toEqual([
      [0, 1],
      [1, 2],
      [2, 3],
      [3, 4],
      [4, 5],
      ['late', 6],
    ]);
  });

  test('is for those that wait, before anybody who asks in the turn in which it is written', async () => {
    const { open } = hub();
    const line = open();
    const first = line.next();
    line.write(Buffer.from('{"id":1}\n{"id":2}\n'));
    const second = line.next();
    expect([(await first).value?.id, (await second).value?.id]).toEqual([1, 2]);
  });

  test('an event larger than a cork comes whole', async () => {
    const { fake, open } = hub();
    const line = open();
    const data = 'x'.repeat(200_000);
    void fake.publish('c', data, 'small');
    await fake.settle();
    expect((await line.next()).value?.data).toBe(data);
    await fake.settle();
    expect((await line.next()).value?.data).toBe('small');
  });
});

describe('what it holds', () => {
  test('is bounded, however much is published; the rest stays in the ring until it reads on', async () => {
    const { fake, open } = hub({ replay: { events: 10_000, bytes: 1e9 } });
    const line = open();
    const before = fake.counters.written_bytes_total;
    for (let i = 0; i < 30; i++) {
      void fake.publish('c', ...ids(1, 100).map(() => 'x'.repeat(1000)));
      await fake.settle();
      await fake.clock.run(200);
    }
    const written = fake.counters.written_bytes_total - before;
    expect(written).toBeGreaterThan(LIBRARY_UNREAD_BYTES_MAX);
    expect(written).toBeLessThanOrEqual(LIBRARY_UNREAD_BYTES_MAX + 16_384);
    expect(fake.hub.figures.gauges).toMatchObject({ linesStalled: 1, linesOpen: 1 });
    const read: unknown[] = [];
    while (read.length < 3000) {
      const part = await readAll(line, 3000 - read.length);
      expect(part.length).toBeGreaterThan(0);
      read.push(...part);
      await fake.settle();
    }
    expect(read).toEqual(ids(1, 3000));
    expect(fake.hub.figures.gauges.linesStalled).toBe(0);
  });

  test('one that reads in time never stalls', async () => {
    const { fake, open } = hub();
    const line = open();
    for (let i = 0; i < 100; i++) {
      void fake.publish('c', 'x'.repeat(5000), 'y');
      await fake.settle();
      expect((await readAll(line, 2)).length).toBe(2);
    }
    expect(fake.counters.lines_stalled_total).toBe(0);
  });

  test('two of them are one group and hold nothing of each other', async () => {
    const { fake, open } = hub();
    const [slow, fast] = [open(), open()];
    void fake.publish('c', 'a', 'b');
    await fake.settle();
    expect(await readAll(fast, 2)).toEqual([1, 2]);
    void fake.publish('c', 'd');
    await fake.settle();
    expect(await readAll(fast, 1)).toEqual([3]);
    expect(await readAll(slow, 3)).toEqual([1, 2, 3]);
    expect(fake.hub.figures.gauges.linesByTransport).toMatchObject({ library: 2 });
  });
});

describe('how it ends', () => {
  test('with its channel, after what came before; it tells why', async () => {
    const { fake, open } = hub();
    const line = open();
    void fake.publish('c', 'a');
    void fake.hub.deleteChannel('c');
    await fake.settle();
    expect(line.end).toEqual({ code: 'deleted', reconnect: false });
    expect(await readAll(line)).toEqual([1, undefined]);
    expect(await readAll(line)).toEqual([undefined]);
    expect(fake.hub.figures.gauges.linesOpen).toBe(0);
  });

  test('a reader that waits is told at once', async () => {
    const { fake, open } = hub();
    const waiting = [open(), open()].flatMap((line) => [line.next(), line.next()]);
    fake.hub.endSome(10, 'draining');
    const over = { value: undefined, done: true };
    expect(await Promise.all(waiting)).toEqual([over, over, over, over]);
  });

  test('when the server is through and it has not read on, it is cut; what was sent can be read', async () => {
    const { fake, lines, open } = hub();
    const [stalled, idle] = [open(), open(LIVE, 'd')];
    void fake.publish('c', 'x'.repeat(LIBRARY_UNREAD_BYTES_MAX), 'y');
    await fake.settle();
    expect(fake.hub.endSome(10, 'draining')).toBe(1);
    expect([stalled.end, idle.end?.code]).toEqual([undefined, 'draining']);
    lines.closeAll();
    expect(stalled.end).toEqual({ code: 'draining', reconnect: true });
    expect(await readAll(stalled)).toEqual([1, undefined]);
    expect(fake.hub.figures.gauges.linesOpen).toBe(0);
    lines.closeAll();
  });

  test('with --slow close, when it is lapped', async () => {
    const { fake, open } = hub({ replay: { events: 1, bytes: 1e9 }, slow: 'close' });
    const line = open();
    void fake.publish('c', 'x'.repeat(LIBRARY_UNREAD_BYTES_MAX));
    await fake.settle();
    await fake.clock.run(3000);
    for (let i = 0; i < 5; i++) void fake.publish('c', 'y');
    await fake.settle();
    await fake.clock.run(3000);
    expect(await readAll(line, 1)).toEqual([1]);
    await fake.settle();
    expect(await readAll(line)).toEqual([undefined]);
    expect(line.end).toEqual({ code: 'slow', reconnect: true });
  });

  test('when it is disconnected, but never for its age, which would bring it back to the same process', async () => {
    const { fake, open } = hub({ maxAgeMs: 1000 });
    const [line, other] = [open(), open(LIVE, 'd')];
    const socket = fake.join('c');
    await fake.clock.run(5000);
    expect([socket.socket.endCode, line.end]).toEqual(['aged', undefined]);
    expect(fake.hub.disconnect({ channel: 'c' }, 'disconnected')).toBe(1);
    await fake.settle();
    expect([line.end, other.end]).toEqual([{ code: 'disconnected', reconnect: true }, undefined]);
  });

  test('by return, by break and by the signal: at once, without what was not read', async () => {
    const { fake, lines, open } = hub();
    const abort = new AbortController();
    const returned = subscription(open(), undefined);
    const aborted = subscription(open(), abort.signal);
    const broken = subscription(open(), undefined);
    const waiting = subscription(open(LIVE, 'd'), abort.signal);
    const waits = waiting.next();
    void fake.publish('c', 'a', 'b', 'c');
    await fake.settle();
    const over = { value: undefined, done: true };
    expect(await returned.return()).toEqual(over);
    expect(await returned.next()).toEqual(over);
    for await (const { id } of broken) if (id === 2) break;
    expect(await broken.next()).toEqual(over);
    expect(broken.position).toBe(2);
    abort.abort();
    expect(await waits).toEqual(over);
    expect(await aborted.next()).toEqual(over);
    expect([returned, aborted, broken, waiting].map(({ end }) => end)).toEqual(
      Array.from({ length: 4 }),
    );
    expect(fake.hub.figures.gauges.linesOpen).toBe(0);
    // Nothing is left to be closed, and the loop turns on.
    lines.closeAll();
    await returned.return();
    expect(fake.counters.lines_closed_total).toBe(4);
  });

  test('a signal that is aborted already closes it, and one that outlives it holds nothing of it', async () => {
    const { fake, open } = hub();
    const over = { value: undefined, done: true };
    expect(await subscription(open(), AbortSignal.abort()).next()).toEqual(over);
    const abort = new AbortController();
    abort.signal.removeEventListener = () => {
      throw new Error('the program’s own function is called in the middle of a sweep');
    };
    for (let i = 0; i < 5; i++) {
      const one = subscription(open(), abort.signal);
      if (i % 2 === 0) await one.return();
    }
    void fake.hub.deleteChannel('c');
    await fake.settle();
    expect(fake.hub.figures.gauges.linesOpen).toBe(0);
    expect(getEventListeners(abort.signal, 'abort')).toEqual([]);
  });

  test('what only looks like a signal is refused, and leaves no line open', () => {
    const { fake, open } = hub();
    const inherits = Object.create(AbortSignal.prototype) as AbortSignal;
    expect(() => subscription(open(), inherits)).toThrow(TypeError);
    expect(fake.hub.figures.gauges.linesOpen).toBe(0);
  });
});
