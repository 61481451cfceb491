/**
 * Room: accepted events wait for the slowest healthy line, publishers wait for the events, and
 * nobody waits for ever.
 */
import { describe, expect, test } from 'vitest';
import {
  GRACE_MS,
  CORK_WRITE_BYTES_MAX,
  ENTERED_PER_TURN_MAX,
  PUBLISH_BYTES_MAX,
  PUBLISH_WAIT_MS_MAX,
  QUEUED_EVENT_BYTES,
  WAITING_PUBLISHERS_MAX,
  IN_FLIGHT_WINDOW_CORKS_MAX,
  LARGE_WRITE_BYTES_MAX,
} from '../src/limits.js';
import { settlePromises } from './support/fake-clock.js';
import { LIVE } from '../src/core/position.js';
import { FakeHub, ids, idsOf, type FakeLine } from './support/fake-hub.js';
import { Random } from './support/random.js';

const busy: unknown = expect.objectContaining({ code: 'HOLDLINE_PUBLISH_BUSY' });
/** An event of which one fits the least in-flight window, and two do not. */
const LARGE = 'x'.repeat(10_000);
/** Publishes of one channel that may wait where no other channel has any. */
const PLACES = WAITING_PUBLISHERS_MAX / 2;
/** One byte of work a sweep: every channel with a line has the least in-flight window. */
const LITTLE_ROOM = { sweepWorkBytes: 1 };

/** Collects the order in which promises are answered. */
function watch(into: string[], name: string, promise: Promise<unknown>): void {
  promise.then(
    () => into.push(name),
    (error: unknown) => into.push(`${name} ${(error as { code?: string }).code}`),
  );
}

describe('publishers', () => {
  test('with room are answered at once; without, they wait and are let in first come first, after the next sweep', async () => {
    const fake = new FakeHub(LITTLE_ROOM);
    const line = fake.join('c');
    const answered: string[] = [];
    for (const name of ['first', 'second', 'third', 'fourth'])
      watch(answered, name, fake.publish('c', `${name} ${LARGE}`));
    await settlePromises();
    expect(answered).toEqual(['first']);
    expect(fake.hub.figures.gauges).toMatchObject({ waitingPublishers: 3, queueEvents: 0 });
    await fake.settle(line);
    expect(answered).toEqual(['first', 'second', 'third', 'fourth']);
    expect([...line.text.matchAll(/data: (\w+) x/g)].map((match) => match[1])).toEqual(answered);
    expect(fake.hub.figures.gauges).toMatchObject({ waitingPublishers: 0, waitingBytes: 0 });
    expect(fake.counters.publish_waited_total).toBe(3);
  });

  test('that find others waiting wait behind them, however small their event is', async () => {
    const fake = new FakeHub(LITTLE_ROOM);
    const line = fake.join('c');
    const answered: string[] = [];
    for (const name of ['large 1', 'large 2']) watch(answered, name, fake.publish('c', LARGE));
    watch(answered, 'small', fake.publish('c', 'small'));
    await settlePromises();
    expect(answered).toEqual(['large 1']);
    await fake.settle(line);
    expect(answered).toEqual(['large 1', 'large 2', 'small']);
    expect(idsOf(line.text)).toEqual([1, 2, 3]);
  });

  test('of a channel without lines never wait', async () => {
    const fake = new FakeHub({ ...LITTLE_ROOM, replay: { events: 1, bytes: 0 } });
    for (let i = 0; i < 100; i++) await fake.publish('c', LARGE);
    expect(fake.counters.publish_waited_total).toBe(0);
    expect(fake.hub.figures.gauges.ringBytes).toBeLessThan(100_000);
  });

  test('of another channel are let in while one waits', async () => {
    const fake = new FakeHub(LITTLE_ROOM);
    fake.join('busy');
    fake.join('quiet');
    const answered: string[] = [];
    watch(answered, 'busy', fake.publish('busy', LARGE));
    watch(answered, 'busy, waiting', fake.publish('busy', LARGE));
    watch(answered, 'quiet', fake.publish('quiet', LARGE));
    await settlePromises();
    expect(answered).toEqual(['busy', 'quiet']);
  });

  test('stalled lines hold nobody up', async () => {
    const fake = new FakeHub({ ...LITTLE_ROOM, replay: { events: 1, bytes: 0 } });
    const stalled = fake.join('c', { kind: 'live' }, 1000);
    const healthy = fake.join('c');
    for (let i = 0; i < 50; i++) {
      // Nobody waits for it any more.
      if (fake.hub.figures.gauges.linesStalled === 1) await fake.clock.turn(GRACE_MS);
      await fake.publish('c', LARGE);
      await fake.settle(healthy);
    }
    expect(idsOf(healthy.text)).toEqual(ids(1, 50));
    expect(fake.counters.publish_waited_total).toBe(0);
    expect(stalled.socket.unreadBytes).toBeLessThan(40_000);
  });

  test('when the last line goes, whoever waited is let in', async () => {
    const fake = new FakeHub(LITTLE_ROOM);
    const line = fake.join('c');
    const answered: string[] = [];
    for (const name of ['first', 'second', 'third'])
      watch(answered, name, fake.publish('c', LARGE));
    fake.leave(line);
    await fake.settle();
    expect(answered).toEqual(['first', 'second', 'third']);
  });
});

/** A batch that is read for ever: nothing behind it has room. */
function readForEver({ hub }: FakeHub): void {
  const read = (): Promise<never> => new Promise(() => {});
  void hub.submit('c', { reservation: hub.reserve('c'), read });
}

/** As long as a publish waits, in a loop whose turns take 100 ms beside the sweeps. */
async function waitInVain({ clock }: FakeHub): Promise<void> {
  const untilMs = clock.nowMs() + PUBLISH_WAIT_MS_MAX + 1_000;
  while (clock.nowMs() < untilMs) await clock.turn(100);
}

describe('the admission queue', () => {
  test(`leaves a channel half of its ${WAITING_PUBLISHERS_MAX} places; the next is refused at once and nothing of it is accepted`, async () => {
    const fake = new FakeHub(LITTLE_ROOM);
    const line = fake.join('c');
    const waiting = [fake.publish('c', LARGE), fake.publish('c', LARGE)];
    for (let i = 1; i < PLACES; i++) waiting.push(fake.publish('c', `${i}`));
    await expect(fake.publish('c', 'too many')).rejects.toThrow(busy);
    await expect(fake.publish('c', 'too many'), 'and it says how many wait').rejects.toThrow(
      String(PLACES),
    );
    const answers = Promise.all(waiting);
    await fake.settle(line);
    expect((await answers).flatMap((published) => published.ids)).toEqual(ids(1, PLACES + 1));
    expect(idsOf(line.text)).toEqual(ids(1, PLACES + 1));
    expect(line.text).not.toContain('too many');
    await fake.publish('c', 'again');
  });

  test('of which others have all says so, and not that none wait', async () => {
    const fake = new FakeHub(LITTLE_ROOM);
    const waiting: Promise<unknown>[] = [];
    for (let i = 0; i < WAITING_PUBLISHERS_MAX; i++) {
      fake.join(`c${i}`);
      await fake.publish(`c${i}`, LARGE);
      waiting.push(fake.publish(`c${i}`, LARGE));
    }
    await expect(fake.publish('other', 'x')).rejects.toThrow(
      `${WAITING_PUBLISHERS_MAX} publishes already wait for room, 0 of them to other; try again`,
    );
    await fake.settle();
    await Promise.all(waiting);
  });

  test('leaves a channel half of its memory; a batch that does not fit beside the others is refused at once', async () => {
    const fake = new FakeHub(LITTLE_ROOM);
    readForEver(fake);
    const mib = Array.from({ length: 128 }, () => 'x'.repeat(8192 - QUEUED_EVENT_BYTES));
    const waiting = Array.from({ length: PUBLISH_BYTES_MAX / 2 ** 21 }, () =>
      fake.publish('c', ...mib),
    );
    await expect(fake.publish('c', LARGE)).rejects.toThrow(busy);
    expect(fake.hub.figures.gauges).toMatchObject({
      waitingPublishers: waiting.length,
      waitingBytes: PUBLISH_BYTES_MAX / 2,
    });
    await fake.publish('other', ...mib);
    const refused = Promise.allSettled(waiting);
    await waitInVain(fake);
    expect((await refused).map((answer) => answer.status)).toEqual(waiting.map(() => 'rejected'));
    expect(fake.hub.figures.gauges).toMatchObject({ waitingPublishers: 0, waitingBytes: 0 });
  });

  test(`is left after ${PUBLISH_WAIT_MS_MAX} ms with a refusal; what is refused is never delivered`, async () => {
    // 10 ms a cork and 20 lines: a sweep takes 200 ms, a batch of 40 sweeps 8 s.
    const fake = new FakeHub(LITTLE_ROOM, 10);
    const lines = Array.from({ length: 20 }, () => fake.join('c'));
    const batch = await fake.publish('c', ...Array.from({ length: 40 }, () => LARGE));
    expect(batch.ids).toEqual(ids(1, 40));
    const answered: string[] = [];
    watch(answered, 'late', fake.publish('c', 'late'));
    const waitsFromMs = fake.clock.nowMs();
    while (fake.clock.nowMs() < waitsFromMs + PUBLISH_WAIT_MS_MAX - 500) await fake.clock.turn();
    expect(answered, 'not before its time').toEqual([]);
    while (fake.clock.nowMs() < waitsFromMs + PUBLISH_WAIT_MS_MAX + 500) await fake.clock.turn();
    expect(answered).toEqual(['late HOLDLINE_PUBLISH_BUSY']);
    await fake.settle(...lines);
    for (const line of lines) expect(idsOf(line.text)).toEqual(ids(1, 40));
    expect((await fake.publish('c', 'after')).ids, 'a refused publish takes no id').toEqual([41]);
    expect(fake.clock.timerCount, 'no deadline is left behind').toBe(1);
  });

  test.each([
    [
      'its lines take less than is published',
      (fake: FakeHub) => {
        for (let i = 0; i < 20; i++) fake.join('c');
        void fake.publish('c', ...Array.from({ length: 40 }, () => LARGE));
      },
    ],
    ['a large batch before it is still being read', readForEver],
    [
      'what was published before it has not entered yet',
      (fake: FakeHub) => {
        const batch = Array.from({ length: 60 * ENTERED_PER_TURN_MAX }, () => 'x');
        void fake.publish('c', ...batch);
      },
    ],
  ])('says of who waits in vain that %s', async (reason, hold) => {
    const fake = new FakeHub(LITTLE_ROOM, 10);
    hold(fake);
    const refused = fake.publish('c', LARGE);
    refused.catch(() => {});
    await waitInVain(fake);
    await expect(refused).rejects.toThrow(
      `c had no room for ${PUBLISH_WAIT_MS_MAX} ms, since ${reason}; try again after Retry-After`,
    );
  });
});

describe('a large batch', () => {
  test(`enters in portions of ${ENTERED_PER_TURN_MAX} where no line holds it up, and is answered at once`, async () => {
    const fake = new FakeHub();
    const batch = Array.from({ length: 2 * ENTERED_PER_TURN_MAX + 7 }, (_, i) => `${i}`);
    expect((await fake.publish('c', ...batch)).ids).toEqual(ids(1, batch.length));
    expect(fake.counters.events_entered_total).toBe(ENTERED_PER_TURN_MAX);
    await fake.clock.turn();
    expect(fake.counters.events_entered_total).toBe(2 * ENTERED_PER_TURN_MAX);
    await fake.clock.turn();
    expect(fake.counters.events_entered_total).toBe(batch.length);
    expect(fake.hub.figures.gauges).toMatchObject({ queueEvents: 0, queueBytes: 0 });
  });

  test('holds up no other channel, and a line on both is given both in the order of ids', async () => {
    const fake = new FakeHub(LITTLE_ROOM);
    const line = fake.join('a,b');
    const answered: string[] = [];
    watch(answered, 'batch', fake.publish('a', ...Array.from({ length: 5 }, () => LARGE)));
    watch(answered, 'other channel', fake.publish('b', 'small'));
    await settlePromises();
    expect(answered).toEqual(['batch', 'other channel']);
    expect(fake.hub.figures.gauges.queueEvents).toBe(4);
    await fake.settle(line);
    expect(idsOf(line.text)).toEqual(ids(1, 6));
  });

  test.each([
    [1, CORK_WRITE_BYTES_MAX, IN_FLIGHT_WINDOW_CORKS_MAX * CORK_WRITE_BYTES_MAX],
    [10, CORK_WRITE_BYTES_MAX, 6 * CORK_WRITE_BYTES_MAX],
    [1000, CORK_WRITE_BYTES_MAX, CORK_WRITE_BYTES_MAX],
    [1, LARGE_WRITE_BYTES_MAX, 4 * LARGE_WRITE_BYTES_MAX],
    [10, LARGE_WRITE_BYTES_MAX, LARGE_WRITE_BYTES_MAX],
    [20, LARGE_WRITE_BYTES_MAX, 3 * CORK_WRITE_BYTES_MAX],
    [1000, LARGE_WRITE_BYTES_MAX, CORK_WRITE_BYTES_MAX],
  ])(
    'with %i lines, writes of up to %i bytes and a million bytes a sweep fills %i bytes of in-flight window, and waits there for the sweep',
    async (lines, writeBytesMax, windowBytes) => {
      const fake = new FakeHub({ sweepWorkBytes: 1_000_000, writeBytesMax });
      for (let i = 0; i < lines; i++) fake.join('c');
      void fake.publish('c', ...Array.from({ length: 400 }, () => 'x'.repeat(1000)));
      const entered = fake.counters.events_entered_total;
      expect(entered * 1000).toBeLessThanOrEqual(windowBytes);
      expect(entered, 'and no less, but for a few bytes an event').toBeGreaterThan(
        (0.95 * windowBytes) / 1000 - 1,
      );
      await fake.settle();
      expect(fake.counters.events_entered_total).toBe(400);
    },
  );
});

test('compressed lines leave room for as many more events as they are written fewer bytes', async () => {
  const fake = new FakeHub({ sweepWorkBytes: 1_000_000, replay: { events: 1000, bytes: 1 } });
  const plain = Array.from({ length: 5 }, () => fake.join('c'));
  const gzip = Array.from({ length: 15 }, () => fake.join('c', undefined, Infinity, 'sse-gzip'));
  /** Events that enter before a sweep. */
  const filled = async (): Promise<number> => {
    const before = fake.counters.events_entered_total;
    void fake.publish('c', ...Array.from({ length: 400 }, (_, i) => `${i}`.padEnd(1000, 'x')));
    const entered = fake.counters.events_entered_total - before;
    await fake.settle();
    return entered;
  };
  const corks = (events: number): number => Math.round((events * 1015) / CORK_WRITE_BYTES_MAX);
  expect(corks(await filled()), 'nothing has been compressed yet').toBe(3);
  expect(corks(await filled()), '15 lines are written a few bytes each, as one line in all').toBe(
    10,
  );
  for (const line of plain) fake.leave(line);
  expect(corks(await filled())).toBe(IN_FLIGHT_WINDOW_CORKS_MAX);
  for (let i = 0; i < 20; i++) fake.join('c');
  for (const line of gzip.splice(1)) fake.leave(line);
  expect(corks(await filled()), 'all but one of the compressed lines have left').toBe(2);
  for (const line of gzip) fake.leave(line);
  await fake.settle();
  expect(corks(await filled()), 'the compressed lines have left').toBe(3);
});

test('what compression saves a channel follows every line that comes or leaves', async () => {
  const fake = new FakeHub();
  const random = new Random(5);
  const lines: FakeLine[] = [];
  fake.join('c');
  const channel = fake.hub.channels.get('c')!;
  const saved = (): number =>
    channel.groups.reduce((sum, { compressed, table }) => {
      if (compressed === undefined) return sum;
      return sum + Math.floor(table.count * (1 - 1 / compressed.ratio));
    }, 0);
  let most = 0;
  for (let step = 0; step < 500; step++) {
    const comes = random.below(100) < (step % 200 < 100 ? 70 : 30);
    if (comes) {
      const by = random.below(2) === 0 ? 'sse-gzip' : 'ndjson-gzip';
      lines.push(fake.join('c', LIVE, Infinity, by));
    } else if (lines.length > 0) {
      fake.leave(lines.splice(random.below(lines.length), 1)[0]!);
    }
    if (random.below(8) === 0) {
      await fake.publish('c', 'x'.repeat(5_000));
      await fake.settle();
    }
    expect(channel.savedLineCount).toBe(saved());
    most = Math.max(most, channel.savedLineCount);
  }
  expect(most).toBeGreaterThan(10);
  await fake.hub.deleteChannel('c');
  await fake.settle();
  expect(channel.savedLineCount).toBe(0);
});

describe('a healthy line', () => {
  test.each([0, 1])(
    'is never lapped by a fast publisher, with %i events kept for those who come back',
    async (replayEvents) => {
      const fake = new FakeHub(
        { ...LITTLE_ROOM, replay: { events: replayEvents, bytes: 100 } },
        0.1,
      );
      const lines = Array.from({ length: 60 }, () => fake.join('c'));
      const reader = fake.join('c,d');
      let refused = 0;
      let sent = 0;
      for (let turn = 0; turn < 300; turn++) {
        // Ten times what a sweep of 61 lines at 0.1 ms a cork can take.
        for (let i = 0; i < 20; i++)
          fake.publish('c', 'x'.repeat(turn * 10)).then(
            () => sent++,
            () => refused++,
          );
        await fake.clock.turn(0);
      }
      await fake.settle(...lines, reader);
      expect(sent + refused).toBe(6000);
      expect(fake.counters.publish_waited_total).toBeGreaterThan(1000);
      for (const line of [...lines, reader]) expect(idsOf(fake.read(line))).toEqual(ids(1, sent));
      expect(fake.counters.gaps_total).toBe(0);
      expect(fake.counters.events_evicted_total, 'the last one is larger than what is kept').toBe(
        sent,
      );
    },
  );
});

describe('--flush-interval', () => {
  const SLOW_FLUSH = { flushIntervalMs: 10_000 };

  test('keeps what is published until it is over, then sends it in one cork', async () => {
    const fake = new FakeHub(SLOW_FLUSH);
    const line = fake.join('c');
    const before = line.socket.writes;
    for (let i = 0; i < 10; i++) {
      await fake.publish('c', `${i}`);
      await fake.clock.run(900);
    }
    expect(line.socket.writes).toBe(before);
    await fake.clock.run(1100);
    expect(line.socket.writes).toBe(before + 1);
    expect(idsOf(fake.read(line))).toEqual(ids(1, 10));
  });

  test('is overridden by a full ring, so that publishers do not wait for it', async () => {
    const fake = new FakeHub({ ...SLOW_FLUSH, ...LITTLE_ROOM });
    const line = fake.join('c');
    const answered: string[] = [];
    for (const name of ['first', 'second', 'third'])
      watch(answered, name, fake.publish('c', LARGE));
    await fake.clock.run(10);
    expect(answered).toEqual(['first', 'second', 'third']);
    expect(idsOf(fake.read(line))).toContain(2);
  });

  test('is overridden by a batch that does not fit', async () => {
    const fake = new FakeHub({ ...SLOW_FLUSH, ...LITTLE_ROOM });
    const line = fake.join('c');
    await fake.publish('c', ...Array.from({ length: 50 }, () => LARGE));
    await fake.clock.run(200);
    expect(fake.hub.figures.gauges.queueEvents).toBe(0);
    expect(idsOf(fake.read(line)).length).toBeGreaterThanOrEqual(49);
  });

  test('holds up no line that joins from an old position, and none that has drained', async () => {
    const fake = new FakeHub(SLOW_FLUSH);
    const line = fake.join('c', { kind: 'live' }, 1000);
    await fake.publish('c', ...Array.from({ length: 10 }, () => LARGE));
    await fake.clock.run(10_010);
    await fake.settle(line);
    expect(idsOf(line.text)).toEqual(ids(1, 10));
    const late = fake.join('c', { kind: 'after', id: 0 });
    await fake.settle(late);
    expect(idsOf(late.text)).toEqual(ids(1, 10));
  });
});

test('a line on several channels that has been given the queue of one lets publishes to it in', async () => {
  const MIB = 1024 * 1024;
  const fake = new FakeHub({ replay: { events: 100_000, bytes: 64 * MIB } });
  fake.join('c,d', LIVE, 1000);
  const batch = Array.from({ length: 1000 }, () => 'x'.repeat(1000));
  const answered: string[] = [];
  for (let count = 1; count <= 10; count++) {
    watch(answered, 'ok', fake.publish('c', ...batch));
    await fake.clock.run(100);
    expect(answered).toEqual(Array.from({ length: count }, () => 'ok'));
  }
});
