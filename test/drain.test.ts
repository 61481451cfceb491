/** The slope of a drain, on a clock of its own. */
import { describe, expect, it } from 'vitest';
import { Drain, type DrainParts } from '../src/server/drain.js';
import {
  DRAIN_ENDS_PER_SECOND_MIN,
  DRAIN_LINGER_MS_MAX,
  DRAIN_SLOPE_SHARE,
} from '../src/limits.js';

/** A server with so many lines, of which some never take what they are owed. */
function serverWith({
  lines,
  stuck = 0,
  settlesAtMs = 0,
}: Record<string, number> & { lines: number }) {
  let nowMs = 0;
  let open = lines;
  const log: { readonly what: string; readonly atMs: number }[] = [];
  const left: { readonly atMs: number; readonly lines: number }[] = [];
  const note = (what: string) => (): void => void log.push({ what, atMs: nowMs });
  const retries: number[] = [];
  let onPause: (() => void) | undefined;
  const parts: DrainParts = {
    clock: { nowMs: () => nowMs },
    async pause(ms) {
      nowMs += ms;
      onPause?.();
    },
    hub: {
      get lines() {
        return { open };
      },
      lastId: 7,
      get isSettled() {
        return nowMs >= settlesAtMs;
      },
      endSome(count, _code, _through, retryMs) {
        retries.push(retryMs());
        open = Math.max(stuck, open - count);
        left.push({ atMs: nowMs, lines: open });
        return open;
      },
    },
    retryMs: 3000,
    refuseLines: note('no more lines'),
    refuseAll: note('no more publishes'),
    openSockets: () => open,
    closeAll: async () => note('closed')(),
  };
  return {
    drain: new Drain(parts),
    log,
    left,
    retries,
    whenPaused: (then: (nowMs: number) => void) => (onPause = () => then(nowMs)),
  };
}

const atOf = (log: readonly { what: string; atMs: number }[], what: string): number =>
  log.find((entry) => entry.what === what)!.atMs;

describe('a drain', () => {
  it('ends 15,000 lines evenly over its slope, and publishes are accepted until then', async () => {
    const { drain, log, left, retries } = serverWith({ lines: 15_000 });
    await drain.end(10_000);
    expect(Math.min(...retries)).toBeGreaterThanOrEqual(3000);
    expect(Math.max(...retries)).toBeLessThanOrEqual(6000);
    expect(new Set(retries).size).toBeGreaterThan(100);
    const slopeMs = 10_000 * DRAIN_SLOPE_SHARE;
    for (const { atMs, lines } of left.filter((entry) => entry.atMs <= slopeMs))
      expect(Math.abs(lines - 15_000 * (1 - atMs / slopeMs))).toBeLessThanOrEqual(150);
    expect(log.map(({ what }) => what)).toEqual(['no more lines', 'no more publishes', 'closed']);
    expect([atOf(log, 'no more lines'), atOf(log, 'no more publishes')]).toEqual([0, slopeMs]);
  });

  it.each([
    [0, 0],
    [1, 10],
    [DRAIN_ENDS_PER_SECOND_MIN, 1000],
    [1_000_000, 8000],
  ])('of %d lines takes about %d ms of ten seconds', async (lines, ms) => {
    const { drain, log } = serverWith({ lines });
    await drain.end(10_000);
    const tookMs = atOf(log, 'no more publishes');
    expect(tookMs).toBeGreaterThanOrEqual(ms - 10);
    expect(tookMs).toBeLessThanOrEqual(ms + 10);
  });

  it('waits for lines that are stuck until the time is over, and no longer', async () => {
    const { drain, log, left } = serverWith({ lines: 100, stuck: 3 });
    await drain.end(5000);
    expect(left.at(-1)!.lines).toBe(3);
    expect(atOf(log, 'closed')).toBe(5000);
  });

  it('waits for what was accepted', async () => {
    const { drain, log } = serverWith({ lines: 0, settlesAtMs: 700 });
    await drain.end(5000);
    expect(atOf(log, 'closed')).toBeGreaterThanOrEqual(700);
    expect(atOf(log, 'closed')).toBeLessThanOrEqual(700 + DRAIN_LINGER_MS_MAX);
  });

  it('is hurried by another call, and never put off by one', async () => {
    const { drain, log, left, whenPaused } = serverWith({ lines: 15_000, stuck: 1 });
    whenPaused((nowMs) => {
      if (nowMs === 1000) void drain.end(60_000);
      if (nowMs === 2000) void drain.end(1000);
    });
    const first = drain.end(10_000);
    expect(drain.end(Infinity)).toBe(first);
    await first;
    const before = left.findLast(({ atMs }) => atMs < 2000)!.lines;
    expect(Math.abs(before - 11_250)).toBeLessThanOrEqual(150);
    expect(left.find(({ atMs }) => atMs >= 2800)!.lines).toBe(1);
    expect(atOf(log, 'closed')).toBe(3000);
  });

  it('without time closes at once', async () => {
    const { drain, log } = serverWith({ lines: 50, stuck: 50, settlesAtMs: 99 });
    await drain.end(0);
    expect(log.map(({ atMs }) => atMs)).toEqual([0, 0, 0]);
  });
});
