/** What channels have lost on NATS, as a server tells it from the ids that it has seen. */
import { expect, test } from 'vitest';
import { NATS_SEEN_CHANNELS_MAX, NATS_SEEN_SPANS_MAX } from '../src/limits.js';
import { SeenIds } from '../src/log/nats/seen-ids.js';
import { Random } from './support/random.js';

test('a channel has lost its last message that the stream has forgotten', () => {
  const seen = new SeenIds(100);
  for (const id of [110, 150, 151]) seen.seen('c', id);
  const lost = (throughId: number): number => seen.lostThrough('c', throughId);
  // Nobody here knows what was before 100.
  expect([lost(90), lost(100), lost(109)]).toEqual([90, 100, 100]);
  expect([lost(110), lost(149), lost(150), lost(151), lost(400)]).toEqual([
    110, 110, 150, 151, 151,
  ]);
});

test('a channel without a message since the start has lost what was before, at the most', () => {
  const seen = new SeenIds(100);
  seen.seen('other', 120);
  expect([seen.lostThrough('c', 90), seen.lostThrough('c', 110)]).toEqual([90, 100]);
});

test('what was missed may have been of any channel', () => {
  const seen = new SeenIds(100);
  seen.seen('c', 110);
  seen.missed(130);
  expect([seen.lostThrough('c', 120), seen.lostThrough('c', 140)]).toEqual([120, 130]);
  seen.seen('c', 150);
  expect([seen.lostThrough('c', 140), seen.lostThrough('c', 160)]).toEqual([130, 150]);
});

test('never less than what was lost, and exactly that of channels with few messages', () => {
  const random = new Random(1);
  for (let run = 0; run < 30; run++) {
    const since = random.below(50);
    const seen = new SeenIds(since);
    const ids: Record<string, number[]> = { busy: [], quiet: [] };
    let forgotten = 0;
    for (let id = since + 1; id < since + 600; id++) {
      const isQuiet = ids['quiet']!.length < NATS_SEEN_SPANS_MAX && random.chance(0.02);
      const channel = isQuiet ? 'quiet' : random.chance(0.4) ? 'busy' : 'other';
      ids[channel]?.push(id);
      seen.seen(channel, id);
      if (!random.chance(0.1)) continue;
      forgotten = random.between(forgotten, id);
      for (const [name, own] of Object.entries(ids)) {
        const truth = own.findLast((one) => one <= forgotten) ?? Math.min(since, forgotten);
        const told = seen.lostThrough(name, forgotten);
        if (name === 'quiet') expect(told).toBe(truth);
        expect(told).toBeGreaterThanOrEqual(truth);
        expect(told).toBeLessThanOrEqual(forgotten);
      }
    }
  }
});

test('of a busy channel the longest spans are known', () => {
  const seen = new SeenIds(0);
  for (let id = 1; id <= 1000; id += 2) seen.seen('c', id);
  seen.seen('c', 2000);
  for (let id = 2002; id <= 3000; id += 2) seen.seen('c', id);
  expect(seen.lostThrough('c', 1500)).toBe(999);
});

test('too many channels: those seen least recently are not told apart from unknown ones', () => {
  const seen = new SeenIds(0);
  for (let i = 0; i < NATS_SEEN_CHANNELS_MAX + 2; i++) seen.seen(`c${i}`, 10 * (i + 1));
  const end = 10 * (NATS_SEEN_CHANNELS_MAX + 2);
  expect([seen.lostThrough('c0', 5), seen.lostThrough('c0', end)]).toEqual([5, 20]);
  expect(seen.lostThrough('c2', end)).toBe(30);
  expect(seen.lostThrough('never', end)).toBe(20);
});
