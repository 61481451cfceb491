/** A hub on a log that opens late, answers late, and fails. */
import { describe, expect, test } from 'vitest';
import type { NewEvent } from '../src/core/event.js';
import { Idempotency } from '../src/core/idempotency.js';
import type { Published } from '../src/core/intake.js';
import { asError, type HoldlineError } from '../src/errors.js';
import { APPEND_WINDOW_BYTES_MIN, PUBLISH_WAIT_MS_MAX } from '../src/limits.js';
import { receiptOf } from '../src/transports/publish.js';
import { settlePromises } from './support/fake-clock.js';
import { FakeHub, ids, idsOf } from './support/fake-hub.js';
import { KeepingLog, KeepingStore, type AppendFault, type Faults } from './support/keeping-log.js';

async function opened(
  faults: Faults = {},
  store = new KeepingStore(),
  options: ConstructorParameters<typeof FakeHub>[0] = {},
): Promise<{ fake: FakeHub; log: KeepingLog; store: KeepingStore }> {
  let made: KeepingLog | undefined;
  const fake = new FakeHub(options, 0, (clock) => (made = new KeepingLog(store, faults, clock)));
  const log = made as KeepingLog;
  const opening = log.open();
  await fake.clock.run(50);
  await opening;
  fake.hub.begin();
  return { fake, log, store };
}

/** What a publish came to: its ids, or the code of its refusal. */
function outcomeOf(published: Promise<Published>): { value: unknown } {
  const outcome: { value: unknown } = { value: undefined };
  published.then(
    (answer) => (outcome.value = answer.ids),
    (error: unknown) => (outcome.value = (asError(error) as HoldlineError).code),
  );
  return outcome;
}

const eventsOf = (...named: string[]): NewEvent[] =>
  named.map((channel) => ({ channel, type: undefined, data: Buffer.from('x'), json: false }));

describe('a log that opens late', () => {
  test('tells the hub where it stands when the hub begins, and not before', async () => {
    const store = new KeepingStore(1000);
    store.commit(eventsOf('c', 'c'), 0);
    const fake = new FakeHub({}, 0, (clock) => new KeepingLog(store, { openMs: () => 20 }, clock));
    expect([fake.hub.head, fake.hub.lastId]).toEqual([0, 0]);
    const { fake: begun } = await opened({ openMs: () => 20 }, store);
    expect([begun.hub.head, begun.hub.lastId, begun.hub.figures.gauges.floor]).toEqual([
      1001, 1001, 1001,
    ]);
    const line = begun.join('c');
    await begun.publish('c', 'next');
    await begun.settle(line);
    expect(line.text).toContain('id: 1001\n');
    expect(idsOf(line.text)).toEqual([1002]);
  });
});

describe('while the log has publishes that it has not answered', () => {
  test('they are handed over in order, lines before publishers, and the hub is not settled', async () => {
    const { fake } = await opened({ appendMs: () => 10, appendAnswerMs: () => 10 });
    const line = fake.join('c');
    const outcomes = [1, 2, 3].map(() => outcomeOf(fake.publish('c', 'x')));
    expect(fake.hub.isSettled).toBe(false);
    await fake.clock.run(12);
    expect(idsOf(fake.read(line))).toEqual([1, 2, 3]);
    expect(outcomes.map(({ value }) => value)).toEqual([undefined, undefined, undefined]);
    expect(fake.hub.isSettled).toBe(false);
    await fake.clock.run(12);
    expect(outcomes.map(({ value }) => value)).toEqual([[1], [2], [3]]);
    expect(fake.hub.isSettled).toBe(true);
  });

  test('they take the room of their channel, so that what is accepted waits in no queue', async () => {
    const { fake } = await opened({ appendMs: () => 10 }, undefined, { sweepWorkBytes: 1 });
    const line = fake.join('c');
    await fake.clock.run(1);
    // One of them fits the least in-flight window, and two do not.
    const outcomes = [1, 2, 3].map(() => outcomeOf(fake.publish('c', 'x'.repeat(10_000))));
    const other = outcomeOf(fake.publish('other', 'x'));
    for (const waiting of [2, 1, 0]) {
      expect(fake.hub.figures.gauges.waitingPublishers).toBe(waiting);
      await fake.clock.run(11);
      fake.read(line);
      expect(fake.hub.figures.gauges.queueEvents).toBe(0);
    }
    expect(outcomes.map(({ value }) => value)).toEqual([[1], [3], [4]]);
    expect(other.value).toEqual([2]);
  });

  test('who waits too long for the log is told so', async () => {
    const { fake } = await opened({ appendMs: () => 2 * PUBLISH_WAIT_MS_MAX });
    fake.join('c');
    const answers = [1, 2].map(() => fake.publish('c', 'x'.repeat(10_000)));
    const told = Promise.allSettled(answers);
    await fake.clock.run(2 * PUBLISH_WAIT_MS_MAX + 10);
    expect(await told).toMatchObject([
      { value: { ids: [1] } },
      {
        reason: { message: expect.stringContaining('since the log answers too slowly') as string },
      },
    ]);
  });

  test('a batch over several channels takes the room of its events, not of their memory', async () => {
    const { fake } = await opened({ appendMs: () => 50 }, undefined, { sweepWorkBytes: 1 });
    const line = fake.join('a');
    await fake.clock.run(1);
    // In a queue they take more than the least in-flight window, in a ring a sixth of it.
    const events = eventsOf(...Array.from({ length: 80 }, () => 'a'), 'b');
    const batch = outcomeOf(fake.hub.batches.submit(events, fake.hub.batches.reserve('')));
    await settlePromises();
    const behind = outcomeOf(fake.publish('a', 'x'));
    expect(fake.hub.figures.gauges.waitingPublishers).toBe(0);
    await fake.clock.run(60);
    expect([batch.value, behind.value]).toEqual([ids(1, 81), [82]]);
    expect(idsOf(fake.read(line))).toEqual([...ids(1, 80), 82]);
    expect(fake.hub.isSettled).toBe(true);
  });

  test('others that wait for the log alone do not keep a batch over several channels back', async () => {
    const { fake } = await opened({ appendMs: () => 50 });
    const data = 'x'.repeat(0.75 * APPEND_WINDOW_BYTES_MIN);
    const outcomes = [1, 2, 3].map(() => outcomeOf(fake.publish('a', data)));
    expect(fake.hub.figures.gauges.waitingPublishers).toBe(2);
    const batch = outcomeOf(
      fake.hub.batches.submit(eventsOf('a', 'b'), fake.hub.batches.reserve('')),
    );
    await fake.clock.run(60);
    expect(batch.value).toEqual([2, 3]);
    await fake.clock.run(120);
    expect(outcomes.map(({ value }) => value)).toEqual([[1], [4], [5]]);
    expect(fake.hub.isSettled).toBe(true);
  });

  test('their memory is held until they are answered', async () => {
    const { fake } = await opened({ appendMs: () => 10 });
    const channelOf = (): number => fake.hub.channels.get('c')?.share.heldBytes ?? -1;
    const outcome = outcomeOf(fake.publish('c', 'x'.repeat(1000)));
    expect(channelOf()).toBeGreaterThan(1000);
    await fake.clock.run(12);
    expect(outcome.value).toEqual([1]);
    expect(channelOf()).toBe(0);
  });
});

const FAILURES: readonly (readonly [AppendFault, string])[] = [
  ['unavailable', 'HOLDLINE_LOG_UNAVAILABLE'],
  ['unknown', 'HOLDLINE_OUTCOME_UNKNOWN'],
  ['unknown-kept', 'HOLDLINE_OUTCOME_UNKNOWN'],
];

describe.each(FAILURES)('an append that fails as %s', (fault, code) => {
  const failing = (): { fault: AppendFault | undefined } => ({ fault });

  test('reaches its publisher, gives its memory back, and stands in the way of nobody', async () => {
    const now = failing();
    const { fake } = await opened({ appendMs: () => 5, appendFault: () => now.fault });
    const first = outcomeOf(fake.publish('c', 'one'));
    now.fault = undefined;
    const second = outcomeOf(fake.publish('c', 'two'));
    await fake.clock.run(10);
    expect([first.value, second.value]).toEqual([code, fault === 'unknown-kept' ? [2] : [1]]);
    expect(fake.hub.channels.get('c')?.share.heldBytes).toBe(0);
    expect(fake.hub.isSettled).toBe(true);
    expect(fake.counters.events_accepted_total).toBe(1);
  });

  test('does so for a batch over several channels, and for a deletion', async () => {
    const now = failing();
    const { fake } = await opened({ appendMs: () => 5, appendFault: () => now.fault });
    const batch = (): Promise<Published> =>
      fake.hub.batches.submit(eventsOf('a', 'b'), fake.hub.batches.reserve(''));
    const outcomes = [outcomeOf(batch()), outcomeOf(fake.hub.deleteChannel('c'))];
    await fake.clock.run(10);
    expect(outcomes.map(({ value }) => value)).toEqual([code, code]);
    now.fault = undefined;
    const again = outcomeOf(batch());
    await fake.clock.run(10);
    expect(again.value).toHaveLength(2);
    expect(
      ['a', 'b', 'c'].map((name) => fake.hub.channels.get(name)?.share.heldBytes ?? 0),
    ).toEqual([0, 0, 0]);
    expect([fake.hub.isSettled, fake.hub.batches.underWay]).toEqual([true, 0]);
  });

  test('is found out by the same idempotency key, which publishes once', async () => {
    const now = failing();
    const { fake, log, store } = await opened({ appendMs: () => 5, appendFault: () => now.fault });
    const idempotency = new Idempotency(log, fake.counters);
    const request = { key: 'k', digest: 'd' };
    const publish = (): { value: unknown } =>
      outcomeOf(
        (async () => {
          const reservation = fake.hub.reserve('c');
          const receipt = await idempotency.once(request, reservation, async () =>
            receiptOf(
              await fake.hub.submit('c', { reservation, read: () => eventsOf('c') }, request),
            ),
          );
          return { ids: [receipt.firstId], subscribers: 0 };
        })(),
      );
    const first = publish();
    await fake.clock.run(10);
    now.fault = undefined;
    const again = publish();
    await fake.clock.run(10);
    expect([first.value, again.value]).toEqual([code, [1]]);
    expect(store.eventsOf('c').map(({ id }) => id)).toEqual([1]);
  });
});
