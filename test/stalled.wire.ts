/**
 * A thousand readers that take nothing while 40 MB of events are published: they cost a cursor
 * each, and the control line notices nothing.
 */
import { expect, onTestFinished, test } from 'vitest';
import { readPortTotals } from '../src/linux/sockets.js';
import { begunBefore } from './support/begun.js';
import { SseLine, withoutOutdated, type Block } from './support/line.js';
import { FaultProxy } from './support/proxy.js';
import { serverForTest, TestServer } from './support/server.js';
import { DEADLINE_MS } from './support/wire.js';

const STALLED_LINES = 1000;
const EVENT_DATA_BYTES = 1000;
const EVENTS_PER_BATCH = 400;
const BATCHES = 100;
const WARM_UP_ROUNDS = 6;
const LINES_AT_ONCE = 200;
const KIB = 1024;
const MIB = 1024 * KIB;
/** What one stalled line may cost the process; its kernel buffers are not the process's. */
const BYTES_PER_STALLED_LINE = 64 * KIB;
/** What the thread that reads the kernel's figures for the budget takes for a moment. */
const KERNEL_READING_BYTES = 32 * MIB;
/** What one stalled line may cost the kernel, without its reader's receive buffer. */
const KERNEL_BYTES_PER_STALLED_LINE = 256 * KIB;
/**
 * What the server may take in all, with the kernel memory of its sockets. With the kernel's default
 * buffers they would take 4 GB.
 */
const BUDGET_BYTES = 512 * MIB;
/** A thousand lines that catch up read half a gigabyte, in a process that parses all of it. */
const CATCH_UP_MS = 40_000;
/**
 * How much later the control line may get its events because of them: it is delayed by GRACE_MS
 * once, and other processes share the machine.
 */
const LATENCY_FACTOR = 4;
const LATENCY_ALLOWANCE_MS = 300;

const events = Array.from({ length: EVENTS_PER_BATCH }, (_, i) => ({
  data: `${i}:`.padEnd(EVENT_DATA_BYTES, 'x'),
}));

/**
 * Follows the ids of one line, and records where they start and where the next is not one more.
 */
class Ids {
  first = 0;
  last = 0;
  lastAtMs = 0;
  readonly jumps: { after: number; before: number }[] = [];
  take = (block: Block): void => {
    if (block.id === undefined || block.data === undefined) return;
    if (this.first === 0) this.first = block.id;
    else if (block.id !== this.last + 1) this.jumps.push({ after: this.last, before: block.id });
    this.last = block.id;
    this.lastAtMs = performance.now();
  };
}

/** A server with a line whose peer has vanished, and that has stalled. */
const vanishing = begunBefore(async (atEnd) => {
  const server = await TestServer.start();
  atEnd(() => server.kill());
  const proxy = await FaultProxy.start(server.port, atEnd);
  const vanished = await SseLine.open(proxy.port, '/feed', { keep: false });
  const control = await SseLine.open(server.port, '/feed', { keep: false });
  atEnd(() => (vanished.close(), control.close()));
  proxy.newest.silence();
  let last = 0;
  for (let i = 0; i < 20; i++)
    await control.waitForId((last = (await server.publishBatch('feed', events)).last));
  const { lines } = await server.stats();
  expect(lines).toMatchObject({ open: 2, stalled: 1 });
  return { server, control, last };
});

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.ceil(share * sorted.length) - 1]!;
}

test(
  '1,000 stalled readers and one control line meet 40 MB of events within the memory budget',
  { timeout: 120_000 },
  async () => {
    const server = await serverForTest({ 'replay-bytes': '512KiB', 'memory-budget': BUDGET_BYTES });
    const seen = new Ids();
    const control = await SseLine.open(server.port, '/feed', { keep: false, onBlock: seen.take });
    onTestFinished(() => control.close());

    /**
     * 40 MB, each batch when the control line has the one before; the most memory on the way, and
     * how long the control line waited.
     */
    const publishAll = async (): Promise<{ mostBytes: number; p99Ms: number }> => {
      let mostBytes = 0;
      const latenciesMs: number[] = [];
      for (let i = 0; i < BATCHES; i++) {
        const sentAtMs = performance.now();
        await control.waitForId((await server.publishBatch('feed', events)).last);
        latenciesMs.push(seen.lastAtMs - sentAtMs);
        mostBytes = Math.max(mostBytes, server.rssBytes());
      }
      return { mostBytes, p99Ms: percentile(latenciesMs, 0.99) };
    };

    // Warm-up: the same 40 MB with the control line alone, until they take no more memory than
    // before, twice: the ring is full then, code is compiled and the heap has the size that this
    // publisher's bodies make. What the next 40 MB take more is the stalled lines', and nothing is
    // allowed for a ring.
    let warmBytes = 0;
    let aloneMs = 0;
    for (let round = 0, steadyRounds = 0; steadyRounds < 2 && round < WARM_UP_ROUNDS; round++) {
      const { mostBytes, p99Ms } = await publishAll();
      steadyRounds = mostBytes < warmBytes + MIB ? steadyRounds + 1 : 0;
      warmBytes = Math.max(warmBytes, mostBytes);
      aloneMs = p99Ms;
    }

    const joinedAfter = (await server.stats()).head;
    const ids = Array.from({ length: STALLED_LINES }, () => new Ids());
    const stalled: SseLine[] = [];
    onTestFinished(() => stalled.forEach((line) => line.close()));
    while (stalled.length < STALLED_LINES) {
      const next = ids.slice(stalled.length, stalled.length + LINES_AT_ONCE);
      const open = ({ take }: Ids): Promise<SseLine> =>
        SseLine.open(server.port, '/feed', { keep: false, onBlock: take });
      stalled.push(...(await Promise.all(next.map(open))));
    }
    for (const line of stalled) line.connection.pause();

    // A reader that takes nothing is closed after 8 to 12 s, so all of this must be over by then.
    const startedAtMs = performance.now();
    const { mostBytes, p99Ms } = await publishAll();
    const last = joinedAfter + BATCHES * EVENTS_PER_BATCH;
    const atEnd = await server.stats();
    const tookMs = performance.now() - startedAtMs;
    expect(atEnd.lines, 'every one of them has stalled and is still there').toMatchObject({
      open: STALLED_LINES + 1,
      stalled: STALLED_LINES,
    });
    const grownBytes = mostBytes - warmBytes;
    const kernelBytes = readPortTotals(server.port)?.sendQueueBytes ?? Number.NaN;
    console.log(
      `40 MB in ${tookMs.toFixed(0)} ms; warm ${(warmBytes / MIB).toFixed(1)} MiB; a stalled line takes at most ${(grownBytes / STALLED_LINES / KIB).toFixed(1)} KiB ` +
        `and ${(kernelBytes / STALLED_LINES / KIB).toFixed(1)} KiB in the kernel; the control line's p99 ${aloneMs.toFixed(1)} ms alone, ${p99Ms.toFixed(1)} ms beside them`,
    );
    expect(grownBytes).toBeLessThan(STALLED_LINES * BYTES_PER_STALLED_LINE + KERNEL_READING_BYTES);
    expect(kernelBytes).toBeLessThan(STALLED_LINES * KERNEL_BYTES_PER_STALLED_LINE);
    expect(atEnd.memory.budgetUsedBytes).toBeGreaterThan(0);
    expect(Math.max(mostBytes + kernelBytes, atEnd.memory.budgetUsedBytes!)).toBeLessThan(
      BUDGET_BYTES,
    );
    expect(p99Ms).toBeLessThan(LATENCY_FACTOR * aloneMs + LATENCY_ALLOWANCE_MS);

    // The control line has every event, from its first one on.
    expect({ gaps: control.gaps, jumps: seen.jumps, last: seen.last }).toEqual({
      gaps: [],
      jumps: [],
      last,
    });
    expect(control.eventCount).toBe(last);

    // Those that drain go on from the ring: with every event, or with one gap that says exactly
    // what is missing.
    for (const line of stalled) line.connection.resume();
    for (const line of stalled) await line.waitForId(last, CATCH_UP_MS);
    for (const [i, line] of stalled.entries()) {
      const one = ids[i]!;
      expect(one.first).toBe(joinedAfter + 1);
      expect(withoutOutdated(line.gaps), 'a gap is told where ids jump, and nowhere else').toEqual(
        one.jumps.map(({ after, before }) => ({ after, before })),
      );
    }
    const lossless = stalled.filter((line) => line.gaps.length === 0).length;
    expect(lossless, 'a ring of 512 KiB does not hold 40 MB').toBe(0);
    const { counters } = await server.stats();
    expect(counters).toMatchObject({
      gaps_slow_total: stalled.reduce((sum, line) => sum + line.gaps.length, 0),
      gaps_at_join_total: 0,
      lines_closed_total: 0,
      lines_closed_stalled_total: 0,
      refused: {},
    });

    // They are ordinary lines again.
    const live = await server.publish('feed', 'live');
    for (const line of [control, ...stalled]) await line.waitForId(live, CATCH_UP_MS);
  },
);

test('a reader that stalls and drains within what is kept misses nothing and is told no gap', async () => {
  const server = await serverForTest({ 'replay-bytes': '32MiB', 'replay-events': 100_000 });
  const lines = await Promise.all(
    Array.from({ length: 20 }, () => SseLine.open(server.port, '/feed', { keep: false })),
  );
  onTestFinished(() => lines.forEach((line) => line.close()));
  for (const line of lines) line.connection.pause();
  let last = 0;
  for (let i = 0; i < 16; i++) last = (await server.publishBatch('feed', events)).last;
  await server.statsUntil('all have stalled', (stats) => stats.lines.stalled === lines.length);
  for (const line of lines) line.connection.resume();
  for (const line of lines) {
    await line.waitForId(last, 2 * DEADLINE_MS);
    expect([line.eventCount, line.gaps.length]).toEqual([16 * EVENTS_PER_BATCH, 0]);
  }
  const { counters } = await server.stats();
  expect(counters.gaps_total).toBe(0);
  expect(counters.lines_resumed_total).toBeGreaterThanOrEqual(lines.length);
});

test('a reader slower than the feed is told each gap where its ids jump, and nowhere else', async () => {
  const server = await serverForTest();
  const proxy = await FaultProxy.start(server.port);
  // About 3 MB/s, far less than is published.
  Object.assign(proxy.faults, { pieceBytes: 64 * 1024, delayMs: 20 });
  const ids = new Ids();
  const slow = await SseLine.open(proxy.port, '/feed', { keep: false, onBlock: ids.take });
  const control = await SseLine.open(server.port, '/feed', { keep: false });
  onTestFinished(() => (slow.close(), control.close()));
  let last = 0;
  for (let i = 0; i < 30; i++) {
    last = (await server.publishBatch('feed', events)).last;
    await control.waitForId(last);
  }
  proxy.newest.faults.delayMs = 0;
  await slow.waitForId(last, 2 * DEADLINE_MS);
  expect(slow.gaps.length).toBeGreaterThan(0);
  expect(withoutOutdated(slow.gaps)).toEqual(ids.jumps);
  expect([control.eventCount, control.gaps.length]).toEqual([30 * EVENTS_PER_BATCH, 0]);
  const { counters } = await server.stats();
  expect(counters).toMatchObject({
    gaps_total: slow.gaps.length,
    gaps_slow_total: slow.gaps.length,
  });
});

test('a peer that vanished without closing is given up about ten seconds after it stalled, and counted', async () => {
  const { value, leftMs } = vanishing();
  const { server, control, last } = value;
  await server.statsUntil('it is given up', (stats) => stats.lines.open === 1, leftMs(20_000));
  const { counters } = await server.stats();
  expect(counters).toMatchObject({
    lines_closed_total: 1,
    lines_closed_stalled_total: 1,
    lines_ended_total: 0,
  });
  await control.waitForId(last);
  expect([control.eventCount, control.gaps.length]).toEqual([20 * EVENTS_PER_BATCH, 0]);
});

test.each([
  ['latest', undefined],
  ['close', 'slow'],
] as const)(
  '--slow %s: a lapped line is treated so, is counted, and the control line notices nothing',
  async (slow, endCode) => {
    const server = await serverForTest({ slow });
    const control = await SseLine.open(server.port, '/feed', { keep: false });
    const ids = new Ids();
    const reader = await SseLine.open(server.port, '/feed', { keep: false, onBlock: ids.take });
    onTestFinished(() => (control.close(), reader.close()));
    reader.connection.pause();
    let last = 0;
    for (let i = 0; i < 20; i++)
      await control.waitForId((last = (await server.publishBatch('feed', events)).last));
    // Where its socket has taken bytes amid the batches, it has been lapped before.
    const { slow_latest_total: before } = (await server.stats()).counters;
    reader.connection.resume();
    if (endCode) {
      await reader.waitForEnd(2 * DEADLINE_MS);
      expect([reader.endCode, reader.complete]).toEqual([endCode, true]);
      expect((await server.stats()).counters).toMatchObject({
        slow_closed_total: 1,
        lines_ended_total: 1,
      });
    } else {
      await server.statsUntil('it has drained', (stats) => stats.lines.stalled === 0);
      const live = await server.publish('feed', 'live');
      await reader.waitForId(live, 2 * DEADLINE_MS);
      expect((await server.stats()).counters).toMatchObject({ slow_latest_total: before + 1 });
      expect(
        ids.jumps.slice(before).map((jump) => jump.before),
        'it goes on with the newest event',
      ).toEqual([last]);
      expect(reader.gaps, 'and is told what it has missed').toEqual(ids.jumps);
    }
    await control.waitForId((await server.stats()).head);
    expect([control.eventCount, control.gaps.length, control.closed]).toEqual([
      control.lastId,
      0,
      false,
    ]);
  },
);
