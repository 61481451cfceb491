/** Held refusals: how long, how many, and when they must go early. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { makeCounters } from '../src/counters.js';
import { HoldlineError, type RefusalCode } from '../src/errors.js';
import type { Exchange } from '../src/http/exchange.js';
import { HeldRefusals } from '../src/http/held-refusals.js';
import { HELD_REFUSAL_MS_MAX, HELD_REFUSALS_MAX } from '../src/limits.js';

const SOCKETS_MAX = 100;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

class FakeExchange {
  readonly refused: string[] = [];
  closes = false;
  holder: { left(handle: number, exchange: Exchange): void } | undefined;
  hold(_handle: number, holder: { left(handle: number, exchange: Exchange): void }): void {
    this.holder = holder;
  }
  closeAfter(): void {
    this.closes = true;
  }
  refuse({ code }: HoldlineError): void {
    this.refused.push(code);
  }
  leave(): void {
    this.holder?.left(0, this as unknown as Exchange);
  }
}

function setUp() {
  const counters = makeCounters();
  const refusals = new HeldRefusals(counters, SOCKETS_MAX);
  const refuse = (delayMs: number, code: RefusalCode = 'HOLDLINE_LINES_FULL'): FakeExchange => {
    const exchange = new FakeExchange();
    refusals.hold(exchange as unknown as Exchange, new HoldlineError(code, 'no'), delayMs);
    return exchange;
  };
  return { counters, refusals, refuse };
}

test('a refusal is given after the delay, and not before', () => {
  const { counters, refuse } = setUp();
  const exchange = refuse(3_000);
  vi.advanceTimersByTime(2_999);
  expect(exchange.refused).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(exchange.refused).toEqual(['HOLDLINE_LINES_FULL']);
  expect(exchange.closes, 'its connection may be used again').toBe(false);
  expect([counters.refusals_held_total, counters.refusals_released_total]).toEqual([1, 0]);
});

test('a delay of an hour is cut to the bound', () => {
  const { refuse } = setUp();
  const exchange = refuse(3_600_000);
  vi.advanceTimersByTime(HELD_REFUSAL_MS_MAX);
  expect(exchange.refused).toHaveLength(1);
});

test('beyond the bound a refusal is given at once, until a held one has gone or left', () => {
  const { counters, refuse } = setUp();
  const held = Array.from({ length: HELD_REFUSALS_MAX }, () => refuse(3_000));
  expect(refuse(3_000).refused).toHaveLength(1);
  held[0]!.leave();
  expect(refuse(3_000).refused).toHaveLength(0);
  expect(refuse(3_000).refused).toHaveLength(1);
  vi.advanceTimersByTime(3_000);
  expect(held[0]!.refused, 'a client that left is not answered').toEqual([]);
  expect(held.slice(1).every(({ refused }) => refused.length === 1)).toBe(true);
  expect(refuse(3_000).refused).toHaveLength(0);
  expect(counters.refusals_held_total).toBe(HELD_REFUSALS_MAX + 2);
});

describe('held refusals go first', () => {
  test('when few sockets can still be accepted: they are answered and closed, and none is held', () => {
    const { counters, refusals, refuse } = setUp();
    const exchange = refuse(3_000);
    counters.sockets_opened_total = SOCKETS_MAX - HELD_REFUSALS_MAX;
    refusals.accepted();
    vi.runAllTicks();
    expect(exchange.refused, 'there is room for as many as are held').toEqual([]);
    counters.sockets_opened_total++;
    refusals.accepted();
    expect(exchange.refused, 'not within the accept').toEqual([]);
    vi.advanceTimersByTime(0);
    expect([exchange.refused.length, exchange.closes]).toEqual([1, true]);
    expect(counters.refusals_released_total).toBe(1);
    expect(refuse(3_000).refused).toHaveLength(1);
    counters.sockets_closed_total++;
    expect(refuse(3_000).refused).toHaveLength(0);
    vi.advanceTimersByTime(3_000);
    expect(exchange.refused, 'once').toHaveLength(1);
  });

  test.each<RefusalCode>(['HOLDLINE_MEMORY_FULL', 'HOLDLINE_DRAINING'])('when it is %s', (code) => {
    const { refuse } = setUp();
    const exchange = refuse(3_000);
    expect(refuse(3_000, code).refused).toEqual([code]);
    expect([exchange.refused.length, exchange.closes]).toEqual([1, true]);
  });
});
