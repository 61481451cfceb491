/**
 * The wheel of deadlines: each handle expires once, at most a step early and never late, whatever
 * the loop does meanwhile.
 */
import { fc } from './support/properties.js';
import { describe, expect, test } from 'vitest';
import { Deadlines } from '../src/core/deadlines.js';
import { DEADLINE_STEP_MS, SWEEP_SLICE_MS } from '../src/limits.js';
import { FakeClock } from './support/fake-clock.js';

const LONGEST_MS = 60_000;
/** Each look at the fake clock takes a microsecond. */
const LOOKS_MS = 0.5;

/** A handle that waits, as the naive model keeps it. */
interface Waiting {
  readonly addedMs: number;
  readonly dueMs: number;
  /** How far the wheel may have been behind the clock then. */
  readonly lagMs: number;
}

/** A wheel and what is known of it. `expired` calls take `costMs` each. */
class Wheel {
  readonly clock = new FakeClock();
  readonly waiting = new Map<number, Waiting>();
  readonly deadlines: Deadlines;
  costMs = 0;
  expired = 0;
  /** The handles that expired last, first to last. */
  order: number[] = [];
  /** Called for each handle that expires. */
  onExpired: ((handle: number) => void) | undefined;
  /** Since when the wheel may be behind. */
  #caughtUpMs = 0;

  constructor() {
    this.deadlines = new Deadlines(this.clock, LONGEST_MS, (handle) => this.#check(handle));
  }

  add(handle: number, delayMs: number): void {
    const addedMs = this.clock.nowMs();
    this.deadlines.add(handle, delayMs);
    this.waiting.set(handle, {
      addedMs,
      dueMs: addedMs + delayMs,
      lagMs: addedMs - this.#caughtUpMs,
    });
  }

  remove(handle: number): void {
    this.deadlines.remove(handle);
    this.waiting.delete(handle);
  }

  /**
   * A turn of the loop, in which `ms` pass before. What is due is gone afterwards, unless its slice
   * of time was over.
   */
  async turn(ms: number): Promise<void> {
    const expiredBefore = this.expired;
    await this.clock.turn(ms);
    const costMs = (this.expired - expiredBefore) * this.costMs;
    // Timers and `soon` have a slice each.
    if (costMs > 2 * (SWEEP_SLICE_MS + this.costMs))
      throw new Error(`one turn of the loop spent ${costMs} ms on it`);
    if (this.clock.timerCount > 1) throw new Error(`${this.clock.timerCount} timers run`);
    if (this.deadlines.count !== this.waiting.size) throw new Error('the count is off');
    if (!this.clock.isIdle) return;
    this.#caughtUpMs = this.clock.nowMs();
    for (const [handle, { addedMs, dueMs }] of this.waiting) {
      const lastMs = Math.max(dueMs, addedMs + DEADLINE_STEP_MS) + LOOKS_MS;
      if (this.#caughtUpMs - costMs > lastMs)
        throw new Error(`${handle} is late: due at ${dueMs}, and it is ${this.#caughtUpMs}`);
    }
  }

  /** Turns until nothing is left to do at once. */
  async settle(): Promise<void> {
    do await this.turn(0);
    while (!this.clock.isIdle);
  }

  /** Turns of at most a step each. */
  async pass(ms: number): Promise<void> {
    for (const untilMs = this.clock.nowMs() + ms; this.clock.nowMs() < untilMs;) {
      await this.turn(Math.min(DEADLINE_STEP_MS, untilMs - this.clock.nowMs()));
    }
  }

  #check(handle: number): void {
    const one = this.waiting.get(handle);
    if (one === undefined) throw new Error(`${handle} expired and was not waiting`);
    const nowMs = this.clock.nowMs();
    const delayMs = one.dueMs - one.addedMs;
    // Only where the wheel was behind and the delay reaches around it, it ends that much earlier.
    const aroundMs = Math.max(0, one.lagMs - (LONGEST_MS - delayMs));
    if (nowMs < one.dueMs - DEADLINE_STEP_MS - aroundMs - LOOKS_MS)
      throw new Error(`${handle} expired at ${nowMs}, due at ${one.dueMs}`);
    this.waiting.delete(handle);
    this.expired++;
    this.order.push(handle);
    this.clock.pass(this.costMs);
    this.onExpired?.(handle);
  }
}

test('random adds, removals, turns, pauses of the process and slow work: each expires once and in its time', async () => {
  const handles = fc.nat(200);
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ add: handles, delayMs: fc.oneof(fc.nat(200), fc.nat(LONGEST_MS)) }),
    },
    { weight: 2, arbitrary: fc.record({ remove: handles }) },
    { weight: 4, arbitrary: fc.record({ turns: fc.integer({ min: 1, max: 40 }), ms: fc.nat(30) }) },
    {
      weight: 1,
      arbitrary: fc.record({ pauseMs: fc.oneof(fc.nat(2_000), fc.nat(3 * LONGEST_MS)) }),
    },
    { weight: 1, arbitrary: fc.record({ costMs: fc.constantFrom(0, 0, 0.1, 1, 5) }) },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 80, size: 'max' }),
      async (steps) => {
        const wheel = new Wheel();
        for (const one of steps) {
          if ('add' in one) {
            if (!wheel.waiting.has(one.add)) wheel.add(one.add, one.delayMs);
          } else if ('remove' in one) {
            wheel.remove(one.remove);
          } else if ('turns' in one) {
            for (let turn = 0; turn < one.turns; turn++) await wheel.turn(one.ms);
          } else if ('pauseMs' in one) {
            await wheel.turn(one.pauseMs);
          } else {
            wheel.costMs = one.costMs;
          }
        }
        wheel.costMs = 0;
        await wheel.settle();
        await wheel.turn(LONGEST_MS + DEADLINE_STEP_MS);
        await wheel.settle();
        expect([wheel.waiting.size, wheel.deadlines.count, wheel.clock.timerCount]).toEqual([
          0, 0, 0,
        ]);
      },
    ),
    { numRuns: 300 },
  );
});

test('delays from none to the longest, begun anywhere in a step, end within the step before their time', async () => {
  const wheel = new Wheel();
  let handle = 0;
  for (let round = 0; round < 60; round++) {
    for (const delayMs of [
      0,
      1,
      24,
      25,
      26,
      49,
      50,
      100,
      1_000,
      25_000,
      LONGEST_MS - 1,
      LONGEST_MS,
    ])
      wheel.add(handle++, delayMs);
    await wheel.turn(1.7);
  }
  await wheel.pass(LONGEST_MS + DEADLINE_STEP_MS);
  expect(wheel.expired).toBe(handle);
});

test('one that is removed never expires; removing it again, or one that never waited, does nothing', async () => {
  const wheel = new Wheel();
  for (let handle = 0; handle < 100; handle++) wheel.add(handle, 1_000);
  for (let handle = 0; handle < 100; handle += 2) {
    wheel.remove(handle);
    wheel.remove(handle);
    wheel.remove(handle + 1_000);
  }
  expect(wheel.deadlines.count).toBe(50);
  await wheel.pass(2_000);
  expect(wheel.order.toSorted((a, b) => a - b)).toEqual(
    Array.from({ length: 50 }, (_, i) => 2 * i + 1),
  );
});

describe('many that are due at once', () => {
  test('are spread over turns of the loop, a slice of time each', async () => {
    const wheel = new Wheel();
    wheel.costMs = 0.1;
    for (let handle = 0; handle < 1_000; handle++) wheel.add(handle, 500);
    await wheel.turn(600);
    const first = wheel.expired;
    expect(first).toBeLessThanOrEqual(2 * (SWEEP_SLICE_MS / 0.1 + 1));
    let turns = 1;
    while (wheel.expired < 1_000) {
      await wheel.turn(0);
      turns++;
    }
    expect(turns).toBeGreaterThanOrEqual(1_000 / first);
    expect(turns).toBeLessThan(100);
  });

  test('may be removed while others of them expire, and new ones added', async () => {
    const wheel = new Wheel();
    wheel.costMs = 0.5;
    for (let handle = 0; handle < 100; handle++) wheel.add(handle, 500);
    wheel.onExpired = (handle) => {
      for (const other of [handle - 1, handle + 1, (handle * 7) % 100]) wheel.remove(other);
      if (handle < 100) wheel.add(handle + 1_000, 50);
    };
    await wheel.turn(600);
    await wheel.settle();
    wheel.onExpired = undefined;
    const again = wheel.order.length;
    await wheel.pass(100);
    await wheel.settle();
    expect(wheel.order.slice(again).every((handle) => handle >= 1_000)).toBe(true);
    expect(new Set(wheel.order).size).toBe(wheel.order.length);
    expect(wheel.deadlines.count).toBe(0);
  });

  test('leave one timer behind, however often their slice of time was over', async () => {
    const wheel = new Wheel();
    wheel.costMs = 0.1;
    let handle = 0;
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 100; i++) wheel.add(handle++, 100);
      for (let turn = 0; turn < 10; turn++) {
        await wheel.turn(DEADLINE_STEP_MS);
        wheel.add(handle++, LONGEST_MS);
      }
    }
    expect(wheel.clock.timerCount).toBe(1);
  });
});

test('what is due in a step that begins while others expire is not late for it', async () => {
  const wheel = new Wheel();
  wheel.costMs = 1;
  // The wheel began at the clock's start: a step ends at each multiple of its length.
  await wheel.turn(DEADLINE_STEP_MS / 2);
  wheel.add(1, 0);
  wheel.add(2, 1.6 * DEADLINE_STEP_MS);
  await wheel.turn(1.5 * DEADLINE_STEP_MS - 0.5);
  expect(wheel.order).toEqual([1]);
  await wheel.turn(1);
  expect(wheel.order).toEqual([1, 2]);
});

test('a pause of the whole process, longer than the longest time, makes everything expire, once, and the wheel goes on', async () => {
  const wheel = new Wheel();
  for (let handle = 0; handle < 1_000; handle++) wheel.add(handle, 1 + handle * 60);
  await wheel.turn(3 * LONGEST_MS);
  await wheel.settle();
  expect(wheel.expired).toBe(1_000);
  wheel.add(0, 500);
  await wheel.pass(450);
  expect(wheel.expired).toBe(1_000);
  await wheel.pass(50);
  expect(wheel.expired).toBe(1_001);
});

test('no timer runs while nothing waits, nor once it was stopped', async () => {
  const wheel = new Wheel();
  expect(wheel.clock.timerCount).toBe(0);
  wheel.add(7, 100);
  wheel.remove(7);
  await wheel.pass(50);
  expect(wheel.clock.timerCount).toBe(0);
  wheel.costMs = 1;
  for (let handle = 0; handle < 10; handle++) wheel.add(handle, 100);
  await wheel.turn(150);
  expect(wheel.deadlines.count, 'its slice of time was over').toBeGreaterThan(0);
  const { expired } = wheel;
  wheel.deadlines.stop();
  await wheel.clock.run(1_000);
  expect([wheel.expired, wheel.clock.timerCount]).toEqual([expired, 0]);
});
