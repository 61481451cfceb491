/**
 * Isolation: what publishers and lines of one channel do delays, refuses and loses nothing of
 * another.
 */
import { describe, expect, test } from 'vitest';
import type { NewEvent } from '../src/core/event.js';
import {
  BATCH_AT_ONCE_BYTES_MAX,
  CORK_WRITE_BYTES_MAX,
  PUBLISH_WAIT_MS_MAX,
  CONCURRENT_READS_MAX,
} from '../src/limits.js';
import { settlePromises } from './support/fake-clock.js';
import { FakeHub, ids, idsOf } from './support/fake-hub.js';

/** An event of which one fits the least in-flight window, and two do not. */
const LARGE = 'x'.repeat(10_000);
/** One byte of work a sweep: every channel with a line has the least in-flight window. */
const LITTLE_ROOM = { sweepWorkBytes: 1 };
const CORK_MS = 1;

/**
 * A hub in which channel a is held up: 40 lines at a millisecond a cork, and a batch that takes
 * them seconds.
 */
async function heldUp(
  batch = 40,
): Promise<{ readonly fake: FakeHub; readonly lines: ReturnType<FakeHub['join']>[] }> {
  const fake = new FakeHub(LITTLE_ROOM, CORK_MS);
  const lines = Array.from({ length: 40 }, () => fake.join('a'));
  await fake.publish('a', ...Array.from({ length: batch }, () => LARGE));
  expect(fake.hub.figures.gauges.queueEvents).toBe(batch - 1);
  return { fake, lines };
}

describe('while one channel is held up', () => {
  test('publishes to another are answered and delivered at once', async () => {
    const { fake, lines } = await heldUp();
    const control = fake.join('b');
    for (let i = 0; i < 20; i++) {
      const { ids: given } = await fake.publish('b', `${i}`);
      // Channels take turns of 32 corks.
      for (let turn = 0; turn < 2; turn++) await fake.clock.turn();
      expect(idsOf(fake.read(control)).at(-1)).toBe(given[0]);
    }
    expect(fake.hub.figures.gauges.queueEvents).toBeGreaterThan(0);
    expect(fake.counters.publish_waited_total).toBe(0);
    await fake.settle(...lines, control);
    for (const line of lines) expect(idsOf(line.text)).toEqual(ids(1, 40));
    expect(fake.counters.gaps_total).toBe(0);
  });

  test('a line on both is given what waits there, too, in the order of ids, and waits for nobody', async () => {
    const { fake, lines } = await heldUp();
    const both = fake.join('a,b', { kind: 'after', id: 1 });
    await fake.publish('b', 'y');
    for (let turn = 0; turn < 60; turn++) {
      await fake.clock.turn();
      fake.read(both);
    }
    expect(idsOf(both.text)).toEqual(ids(2, 41));
    expect(
      fake.hub.figures.gauges.queueEvents,
      'the others have not been given it yet',
    ).toBeGreaterThan(0);
    await fake.settle(...lines, both);
    expect(idsOf(both.text)).toEqual(ids(2, 41));
    expect(fake.counters.gaps_total).toBe(0);
  });

  test('who comes back to both with an id of the other misses nothing that it was owed, and is given nothing twice', async () => {
    const { fake, lines } = await heldUp();
    const first = fake.join('a,b', { kind: 'after', id: 0 });
    const { ids: given } = await fake.publish('b', 'y');
    for (let turn = 0; !idsOf(first.text).includes(given[0] as number) && turn < 100; turn++) {
      await fake.clock.turn();
      fake.read(first);
    }
    expect(idsOf(first.text)).toEqual(ids(1, 41));
    fake.leave(first);
    const again = fake.join('a,b', { kind: 'after', id: given[0] as number });
    const last = fake.publish('a', 'z');
    await fake.settle(...lines, again);
    expect(idsOf(again.text)).toEqual((await last).ids);
    expect(fake.counters.gaps_total).toBe(0);
  });

  test('positions that are told are ones that everything was given up to', async () => {
    const { fake } = await heldUp();
    await fake.publish('b', 'y');
    // One event of a has entered; the next is 2.
    expect(fake.poll('a').answer?.position).toBe(1);
    expect(fake.poll('b').answer?.position).toBe(41);
    expect(fake.poll('a,b').answer?.position).toBe(41);
    expect(fake.join('a').text + fake.read(fake.join('a'))).toContain('id: 1\n\n');
    expect(fake.read(fake.join('b'))).toContain('id: 41\n\n');
    const { hub } = fake;
    expect(hub.startOf(['a'], { kind: 'last', count: 1 }).continuesAfter).toBe(0);
    expect(hub.startOf(['a', 'b'], { kind: 'last', count: 1 }).continuesAfter).toBe(39);
    expect(hub.startOf(['a', 'b'], { kind: 'last', count: 2 }).continuesAfter).toBe(38);
    expect(hub.startOf(['a', 'b'], { kind: 'after', id: 0 }).cursor).toBe(0);
  });

  test('the other is deleted at once, and its lines are ended', async () => {
    const { fake } = await heldUp();
    const other = fake.join('b');
    const both = fake.join('a,b');
    await fake.publish('b', 'y');
    await fake.clock.turn();
    fake.read(other);
    await fake.hub.deleteChannel('b');
    for (let turn = 0; turn < 3; turn++) await fake.clock.turn();
    expect(fake.read(other)).toContain('"code":"deleted"');
    expect(fake.hub.isDeleted(['b'])).toBe(true);
    expect(fake.hub.figures.gauges.queueEvents).toBeGreaterThan(0);
    expect(both.socket.ended).toBe(false);
  });

  test('the other waits for no line on both: past its replay that line is told one gap, and it is counted', async () => {
    const fake = new FakeHub({ ...LITTLE_ROOM, replay: { events: 10, bytes: 1_000_000 } }, CORK_MS);
    const lines = Array.from({ length: 40 }, () => fake.join('a'));
    const both = Array.from({ length: 40 }, () => fake.join('a,b'));
    await fake.publish('a', ...Array.from({ length: 40 }, () => LARGE));
    let answered = 0;
    for (let i = 0; i < 30; i++) void fake.publish('b', LARGE).then(() => answered++);
    await settlePromises();
    expect(answered).toBe(30);
    await fake.settle(...lines, ...both);
    for (const line of lines) expect(idsOf(line.text)).toEqual(ids(1, 40));
    for (const line of both) {
      expect(line.text.match(/event: gap/g)).toHaveLength(1);
      expect(idsOf(line.text).filter((id) => id <= 40)).toEqual(ids(1, 40));
      expect(idsOf(line.text).at(-1)).toBe(70);
    }
    expect(fake.counters.gaps_slow_total).toBe(40);
  });

  test.each(['latest', 'close'] as const)(
    'with --slow %s, too, that gap is all: a line that takes what it is given is not slow',
    async (slow) => {
      const replay = { events: 10, bytes: 1_000_000 };
      const fake = new FakeHub({ ...LITTLE_ROOM, slow, replay }, CORK_MS);
      const lines = Array.from({ length: 40 }, () => fake.join('a'));
      const both = Array.from({ length: 40 }, () => fake.join('a,b'));
      await fake.publish('a', ...Array.from({ length: 40 }, () => LARGE));
      for (let i = 0; i < 30; i++) void fake.publish('b', LARGE);
      await settlePromises();
      await fake.settle(...lines, ...both);
      for (const line of both) {
        expect(line.socket.endCode).toBeUndefined();
        expect(line.text.match(/event: gap/g)).toHaveLength(1);
        expect(idsOf(line.text).filter((id) => id <= 40)).toEqual(ids(1, 40));
        expect(idsOf(line.text).at(-1)).toBe(70);
      }
      expect(fake.counters).toMatchObject({
        gaps_slow_total: 40,
        slow_latest_total: 0,
        slow_closed_total: 0,
      });
    },
  );
});

describe('a publish that waits', () => {
  test('gives its place and its memory back when its publisher leaves, and is not published', async () => {
    const { fake, lines } = await heldUp();
    const reservation = fake.hub.reserve('a');
    reservation.grow(5_000);
    let reads = 0;
    const read = (): never => {
      reads++;
      throw new Error('nobody asks');
    };
    const answered = fake.hub.submit('a', { reservation, read });
    const refused: unknown = expect.objectContaining({ code: 'HOLDLINE_PUBLISH_BUSY' });
    expect(fake.hub.figures.gauges).toMatchObject({ waitingPublishers: 1, waitingBytes: 5_000 });
    reservation.release();
    expect(fake.hub.figures.gauges).toMatchObject({ waitingPublishers: 0, waitingBytes: 0 });
    await expect(answered).rejects.toEqual(refused);
    await fake.settle(...lines);
    expect(reads).toBe(0);
  });

  test('is read when there is room and not before, so that what waits is as large as what was sent', async () => {
    const { fake, lines } = await heldUp(3);
    const reservation = fake.hub.reserve('a');
    let readAfter = -1;
    const read = () => {
      readAfter = fake.counters.events_entered_total;
      return [{ channel: 'a', type: undefined, data: Buffer.from('z'), json: false }];
    };
    const published = fake.hub.submit('a', { reservation, read });
    await fake.settle(...lines);
    expect((await published).ids).toEqual([4]);
    expect(readAfter).toBe(3);
    expect(reservation.isReleased).toBe(true);
  });

  test('that cannot be read is its publisher’s own fault: the next one is let in', async () => {
    const { fake, lines } = await heldUp(2);
    const reservation = fake.hub.reserve('a');
    const bad = fake.hub.submit('a', {
      reservation,
      read: () => Promise.reject(new Error('not JSON')),
    });
    const good = fake.publish('a', 'z');
    await Promise.all([expect(bad).rejects.toThrow('not JSON'), fake.settle(...lines)]);
    expect((await good).ids).toEqual([3]);
    expect(fake.clock.nowMs()).toBeLessThan(PUBLISH_WAIT_MS_MAX);
    expect(CORK_WRITE_BYTES_MAX).toBeGreaterThan(LARGE.length);
  });
});

describe('publishes that take several turns to read', () => {
  /** A submission of a large batch, that is read when the test says so. */
  function slowly(fake: FakeHub, channel: string) {
    const reservation = fake.hub.reserve(channel);
    reservation.grow(BATCH_AT_ONCE_BYTES_MAX + 1);
    const event: NewEvent = { channel, type: undefined, data: Buffer.from(channel), json: false };
    let finish!: (error?: Error) => void;
    let reads = 0;
    const reading = new Promise<readonly NewEvent[]>((resolve, reject) => {
      finish = (error) => (error === undefined ? resolve([event]) : reject(error));
    });
    const read = (): Promise<readonly NewEvent[]> => {
      reads++;
      return reading;
    };
    return { reservation, finish, submission: { reservation, read }, reads: () => reads };
  }

  test('are so many at a time; one that cannot be read is refused at once, whoever else is being read', async () => {
    const fake = new FakeHub();
    const batches = Array.from({ length: CONCURRENT_READS_MAX + 2 }, (_, i) =>
      slowly(fake, `c${i}`),
    );
    const published = batches.map(({ submission }, i) => fake.hub.submit(`c${i}`, submission));
    await settlePromises();
    expect(batches.filter(({ reads }) => reads() === 1)).toHaveLength(CONCURRENT_READS_MAX);
    batches[3]!.finish(new Error('not JSON'));
    await expect(published[3]).rejects.toThrow('not JSON');
    await fake.clock.turn();
    expect(batches.filter(({ reads }) => reads() === 1)).toHaveLength(CONCURRENT_READS_MAX + 1);
    for (const { finish } of batches) finish();
    for (let turn = 0; turn < 4; turn++) await fake.clock.turn();
    const outcomes = await Promise.allSettled(published);
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(
      batches.length - 1,
    );
    expect(fake.hub.isSettled).toBe(true);
    expect((await fake.publish('c3', 'x')).ids, 'the channel takes the next one').toHaveLength(1);
  });

  test('are not published when their publisher leaves before, or while they are read', async () => {
    const fake = new FakeHub();
    const before = slowly(fake, 'a');
    before.reservation.release();
    await expect(fake.hub.submit('a', before.submission)).rejects.toMatchObject({
      code: 'HOLDLINE_PUBLISH_BUSY',
    });
    expect(before.reads()).toBe(0);
    const meanwhile = slowly(fake, 'a');
    const asked = fake.hub.submit('a', meanwhile.submission);
    meanwhile.reservation.release();
    meanwhile.finish();
    await expect(asked).rejects.toMatchObject({ code: 'HOLDLINE_PUBLISH_BUSY' });
    expect(fake.counters.events_accepted_total).toBe(0);
    await fake.clock.turn();
    expect((await fake.publish('a', 'x')).ids).toEqual([1]);
  });
});
