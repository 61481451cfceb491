/** How many writes compressed lines are given: what fits one block goes out in one. */
import { expect, test } from 'vitest';
import { FakeHub, ids, idsOf } from './support/fake-hub.js';
import { ticks } from './support/ticks.js';

test('what goes on at the beginning of the ring is in the same block as what was at its end', async () => {
  const fake = new FakeHub({ replay: { events: 100, bytes: 40_000 } });
  const line = fake.join('c', undefined, Infinity, 'sse-gzip');
  const next = ticks(1);
  const BATCHES = 60;
  const EVENTS = 20;
  const before = fake.counters.writes_total;
  for (let batch = 0; batch < BATCHES; batch++) {
    void fake.publish('c', ...Array.from({ length: EVENTS }, () => next()));
    await fake.settle(line);
  }
  expect(fake.counters.events_evicted_total, 'several laps').toBeGreaterThan(1000);
  expect(fake.counters.writes_total - before).toBe(BATCHES);
  expect(idsOf(fake.read(line))).toEqual(ids(1, BATCHES * EVENTS));
});
