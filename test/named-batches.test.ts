/**
 * Batches over several channels in the core: all or nothing on whichever channel has no room, never
 * waiting, and nothing left behind. Over the wire: named-batches.wire.ts.
 */
import { describe, expect, test } from 'vitest';
import type { NewEvent } from '../src/core/event.js';
import type { Published } from '../src/core/intake.js';
import {
  BATCH_CHANNELS_MAX,
  ENTERED_PER_TURN_MAX,
  NAMED_BATCH_BYTES_MAX,
  NAMED_BATCH_WAIT_MS_MAX,
} from '../src/limits.js';
import { settlePromises } from './support/fake-clock.js';
import { FakeHub, ids, idsOf } from './support/fake-hub.js';

const busy: unknown = expect.objectContaining({ code: 'HOLDLINE_PUBLISH_BUSY' });
/** An event of which one fits the least in-flight window, and two do not. */
const LARGE = 'x'.repeat(10_000);
/** One byte of work a sweep: every channel with a line has the least in-flight window. */
const LITTLE_ROOM = { sweepWorkBytes: 1 };

/** Events by channel and data, such as `a:1`. */
function eventsOf(...given: readonly string[]): NewEvent[] {
  return given.map((text) => {
    const colon = text.indexOf(':');
    return {
      channel: text.slice(0, colon),
      type: undefined,
      data: Buffer.from(text.slice(colon + 1)),
      json: false,
    };
  });
}

function publish(fake: FakeHub, events: readonly NewEvent[], credential = ''): Promise<Published> {
  return fake.hub.batches.submit(events, fake.hub.batches.reserve(credential));
}

/** What a hub holds of publishes and knows of channels: nothing may be left behind. */
function traces(fake: FakeHub): unknown {
  const { channels, rings, queueEvents, queueBytes, waitingPublishers, readingPublishers, head } =
    fake.hub.figures.gauges;
  const accepted = fake.counters.events_accepted_total;
  return {
    channels,
    rings,
    queueEvents,
    queueBytes,
    waitingPublishers,
    readingPublishers,
    head,
    accepted,
    lastId: fake.hub.lastId,
    busy: ['a', 'b', 'c', 'd', 'e'].filter((name) => fake.hub.channels.get(name)?.isBusy),
  };
}

describe('a batch over several channels', () => {
  test('has its ids in the order of its lines, and each channel and line gets its own', async () => {
    const fake = new FakeHub();
    const [a, both] = [fake.join('a'), fake.join('a,org/7/b')];
    const published = await publish(fake, eventsOf('a:1', 'org/7/b:2', 'a:3', 'c:4'));
    expect(published).toEqual({ ids: [1, 2, 3, 4], subscribers: 3 });
    await fake.settle(a, both);
    expect(idsOf(a.text)).toEqual([1, 3]);
    expect(idsOf(both.text)).toEqual([1, 2, 3]);
    expect(fake.poll('c', { kind: 'after', id: 0 }).answer?.body?.toString()).toContain(
      '"data":"4"',
    );
    expect(fake.counters).toMatchObject({ events_accepted_total: 4, events_entered_total: 4 });
  });

  test.each([0, 1, 2, 3, 4])(
    'is refused whole while channel %i of its five has no room, and is taken when it has',
    async (full) => {
      const names = ['a', 'b', 'c', 'd', 'e'];
      const fake = new FakeHub(LITTLE_ROOM);
      const line = fake.join(names[full]!);
      await fake.publish(names[full]!, LARGE);
      const before = traces(fake);
      const batch = eventsOf(...names.map((name) => `${name}:${LARGE}`));
      await expect(publish(fake, batch)).rejects.toEqual(busy);
      await expect(publish(fake, batch)).rejects.toThrow(
        `${names[full]} has no room now, and nothing of the batch was published`,
      );
      expect(traces(fake), 'no id, no event, no channel and no memory').toEqual(before);
      expect(fake.counters.publish_waited_total).toBe(0);
      await fake.settle(line);
      expect((await publish(fake, batch)).ids).toEqual(ids(2, 6));
      await fake.settle(line);
      expect(idsOf(line.text)).toEqual([1, full + 2]);
    },
  );

  test('does not overtake a publish that waits or is being read, nor a deletion', async () => {
    const fake = new FakeHub(LITTLE_ROOM);
    const line = fake.join('a');
    await fake.publish('a', LARGE);
    const waiting = fake.publish('a', LARGE);
    await expect(publish(fake, eventsOf('b:1', 'a:2'))).rejects.toEqual(busy);
    await fake.settle(line);
    expect((await waiting).ids).toEqual([2]);

    let read!: (events: readonly NewEvent[]) => void;
    const reservation = fake.hub.reserve('c');
    const reading = fake.hub.submit('c', {
      reservation,
      read: () => new Promise((resolve) => (read = resolve)),
    });
    await expect(publish(fake, eventsOf('b:1', 'c:2'))).rejects.toEqual(busy);
    read(eventsOf('c:first'));
    expect((await reading).ids).toEqual([3]);
    await fake.settle(line);

    fake.hub.publish('a', eventsOf(`a:${LARGE}`)).catch(() => {});
    const deleted = fake.hub.deleteChannel('a');
    const batch = publish(fake, eventsOf('b:1', 'a:2'));
    await fake.settle(line);
    const [deletion] = (await deleted).ids;
    expect((await batch).ids[0]).toBeGreaterThan(deletion!);
    expect(fake.hub.isDeleted(['a'])).toBe(false);
  });

  test('waits for what was accepted before it to enter, and for nothing else', async () => {
    const fake = new FakeHub();
    const line = fake.join('a');
    await fake.publish('a', ...Array.from({ length: 3 * ENTERED_PER_TURN_MAX }, () => 'x'));
    const [first, second] = [1, 2].map((i) => publish(fake, eventsOf(`b:${i}`, `a:${i}`)));
    await settlePromises();
    expect(fake.hub.figures.gauges).toMatchObject({ readingPublishers: 2, waitingPublishers: 0 });
    expect(fake.hub.isSettled).toBe(false);
    expect(fake.hub.channels.get('b')).toBeUndefined();
    await fake.settle(line);
    const before = 3 * ENTERED_PER_TURN_MAX;
    expect((await first!).ids).toEqual([before + 1, before + 2]);
    expect((await second!).ids).toEqual([before + 3, before + 4]);
    expect(fake.hub.figures.gauges).toMatchObject({ readingPublishers: 0, queueEvents: 0 });
  });

  test('waits for them 500 ms at most, not where another is full, and not when it has left', async () => {
    const fake = new FakeHub(LITTLE_ROOM);
    fake.join('full');
    await fake.publish('full', LARGE);
    const entering = Array.from({ length: 60 * ENTERED_PER_TURN_MAX }, () => 'x');
    await fake.publish('slow', ...entering);
    await expect(publish(fake, eventsOf('slow:1', `full:${LARGE}`))).rejects.toEqual(busy);
    const left = fake.hub.batches.reserve('');
    const leaving = fake.hub.batches.submit(eventsOf('slow:1'), left);
    const waiting = publish(fake, eventsOf('slow:1', 'b:2'));
    const outcomes = [leaving, waiting].map((one) => one.catch((error: unknown) => error));
    await fake.clock.turn();
    left.release();
    await fake.clock.turn();
    expect(await outcomes[0]).toEqual(busy);
    expect(fake.hub.figures.gauges.readingPublishers).toBe(1);
    for (let turns = 0; turns <= 20; turns++) await fake.clock.turn(NAMED_BATCH_WAIT_MS_MAX / 20);
    expect(await outcomes[1]).toEqual(busy);
    expect(fake.hub.figures.gauges.queueEvents).toBeGreaterThan(0);
    expect(fake.hub.channels.get('b')).toBeUndefined();
  });

  test('is taken from nobody who left while it was read', async () => {
    const fake = new FakeHub();
    const reservation = fake.hub.batches.reserve('');
    reservation.grow(1000);
    reservation.release();
    await expect(fake.hub.batches.submit(eventsOf('a:1'), reservation)).rejects.toEqual(busy);
    expect(fake.hub.lastId).toBe(0);
  });

  test('that is full ends a flush interval early, so that it has room when it is sent again', async () => {
    const fake = new FakeHub({ ...LITTLE_ROOM, flushIntervalMs: 60_000 });
    const line = fake.join('a');
    await fake.publish('a', LARGE);
    await fake.settle(line);
    expect(idsOf(line.text)).toEqual([]);
    await expect(publish(fake, eventsOf('b:1', `a:${LARGE}`))).rejects.toEqual(busy);
    await fake.settle(line);
    expect(idsOf(line.text)).toEqual([1]);
    expect((await publish(fake, eventsOf('b:1', `a:${LARGE}`))).ids).toEqual([2, 3]);
  });

  test('of 10,000 events over 100 channels enters in portions, and every line gets its own in order', async () => {
    const fake = new FakeHub();
    const names = Array.from({ length: 100 }, (_, i) => `org/${i}/c`);
    const lines = [fake.join(names[0]!), fake.join(names.slice(3, 6).join(','))];
    const batch = eventsOf(...Array.from({ length: 10_000 }, (_, i) => `${names[i % 100]}:${i}`));
    const published = await publish(fake, batch);
    expect(published.ids).toEqual(ids(1, 10_000));
    expect(fake.counters.events_entered_total).toBe(ENTERED_PER_TURN_MAX);
    await fake.settle(...lines);
    expect(fake.counters.events_entered_total).toBe(10_000);
    expect(idsOf(lines[0]!.text)).toEqual(Array.from({ length: 100 }, (_, i) => 100 * i + 1));
    expect(idsOf(lines[1]!.text)).toEqual(
      Array.from({ length: 300 }, (_, i) => 100 * Math.floor(i / 3) + 4 + (i % 3)),
    );
    expect(fake.hub.figures.gauges).toMatchObject({ queueEvents: 0, queueBytes: 0 });
  });
});

describe('where there is no place for another channel', () => {
  const FULL = { channelsMax: 3 };

  test('a batch is refused whole, and leaves no channel behind', async () => {
    const fake = new FakeHub(FULL);
    for (const name of ['a', 'b']) {
      await fake.publish(name, 'x');
      fake.join(name);
    }
    const before = traces(fake);
    await expect(publish(fake, eventsOf('c:1', 'd:2'))).rejects.toEqual(
      expect.objectContaining({ code: 'HOLDLINE_CHANNELS_FULL' }),
    );
    expect(traces(fake)).toEqual(before);
    expect((await publish(fake, eventsOf('a:1', 'c:2'))).ids).toEqual([3, 4]);
  });

  test('its own channels are not forgotten for one another, new or known', async () => {
    const fake = new FakeHub(FULL);
    await fake.publish('old', 'x');
    await fake.publish('known', 'x');
    const { ids: given } = await publish(fake, eventsOf('new 1:1', 'known:2', 'new 2:3'));
    expect(given).toEqual([3, 4, 5]);
    for (const [name, id] of [
      ['new 1', 3],
      ['known', 4],
      ['new 2', 5],
    ] as const)
      expect(fake.hub.channels.get(name)?.newestId).toBe(id);
    expect(fake.hub.channels.get('old')).toBeUndefined();
    expect(fake.counters.channels_forgotten_total).toBe(1);
  });

  test('as many channels as a batch may have are found among as many that are known', async () => {
    const fake = new FakeHub({ channelsMax: BATCH_CHANNELS_MAX });
    const batch = (prefix: string): NewEvent[] =>
      eventsOf(...Array.from({ length: BATCH_CHANNELS_MAX }, (_, i) => `${prefix}${i}:x`));
    await publish(fake, batch('a'));
    await publish(fake, batch('b'));
    expect(fake.hub.figures.gauges.channels).toBe(BATCH_CHANNELS_MAX);
    expect(fake.hub.channels.get('b0')?.newestId).toBe(BATCH_CHANNELS_MAX + 1);
  });
});

describe('the memory of batches over several channels', () => {
  test('is apart from that of other publishes, and a credential takes no more than is free', () => {
    const { batches } = new FakeHub().hub;
    const mine = batches.reserve('Bearer 1');
    mine.grow(NAMED_BATCH_BYTES_MAX / 2);
    expect(() => batches.reserve('Bearer 1').grow(1)).toThrow(busy);
    const other = batches.reserve('Bearer 2');
    other.grow(NAMED_BATCH_BYTES_MAX / 4);
    expect(() => other.grow(1)).toThrow(
      `batches over several channels already hold ${0.75 * NAMED_BATCH_BYTES_MAX} of ${NAMED_BATCH_BYTES_MAX} bytes, ${0.25 * NAMED_BATCH_BYTES_MAX} of them of this credential`,
    );
    mine.release();
    mine.release();
    other.grow(NAMED_BATCH_BYTES_MAX / 8);
    other.release();
    batches.reserve('Bearer 1').grow(NAMED_BATCH_BYTES_MAX / 2);
  });

  test('leaves the room of channels as it is', async () => {
    const fake = new FakeHub();
    const reservation = fake.hub.batches.reserve('');
    reservation.grow(NAMED_BATCH_BYTES_MAX / 2);
    const single = fake.hub.reserve('a');
    single.grow(NAMED_BATCH_BYTES_MAX);
    single.release();
    expect((await fake.publish('a', 'x')).ids).toEqual([1]);
  });

  test('a batch that is being read holds up the end, and one that failed does not', async () => {
    const fake = new FakeHub();
    const { hub } = fake;
    let fail!: (error: Error) => void;
    const reading = hub.batches.read(() => new Promise((_resolve, reject) => (fail = reject)));
    expect([hub.isSettled, hub.figures.gauges.readingPublishers]).toEqual([false, 1]);
    fail(new Error('not JSON'));
    await expect(reading).rejects.toThrow('not JSON');
    expect([hub.isSettled, hub.figures.gauges.readingPublishers]).toEqual([true, 0]);
  });
});
