/**
 * Readers with receive buffers of 16 KiB, so that each event of 60 KB makes each of them refuse
 * bytes for a moment, beside one that stalls on purpose. The channel keeps nothing for replay:
 * whoever is not in grace then is lapped by the next event.
 */
import { expect, test } from 'vitest';
import { GRACE_MS } from '../src/limits.js';
import { hasCompiler, startReading, type Read } from './support/stalling-readers.js';
import { serverForTest } from './support/server.js';

const LINES = 20;
const EVENT_BYTES = 60_000;
const PUBLISHERS = 4;
/** Between two events of a publisher, so that two busy cores are no reason to be slow. */
const PAUSE_MS = 40;
const RUN_MS = 3_000;
/**
 * A machine that others keep busy makes readers stall that mean to read: each way of stalling is
 * tried twice at the most.
 */
const TRIES = 2;

async function run(stallers: number, reconnects: boolean): Promise<Read & { events: number }> {
  const server = await serverForTest({ 'replay-bytes': 0, 'replay-events': 0 });
  const stop = await startReading({
    port: server.port,
    path: '/c',
    lines: LINES,
    receiveBytes: 16 * 1024,
    stallers,
    stallMs: 2 * GRACE_MS,
    readMs: 2 * GRACE_MS,
    reconnects,
  });
  const data = 'x'.repeat(EVENT_BYTES);
  const untilMs = performance.now() + RUN_MS;
  let events = 0;
  const publish = async (): Promise<void> => {
    while (performance.now() < untilMs) {
      await server.publish('c', data);
      events++;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  };
  await Promise.all(Array.from({ length: PUBLISHERS }, publish));
  const read = await stop();
  server.kill();
  return { ...read, events };
}

test.runIf(hasCompiler).each([
  ['stalls 200 ms and reads 200 ms', false],
  ['comes back on a new connection whenever it has stalled', true],
])(
  '19 readers that always read lose nothing beside one that %s',
  { timeout: 60_000 },
  async (_, reconnects) => {
    const gaps: number[] = [];
    for (let tries = 0; tries < TRIES && gaps.at(-1) !== 0; tries++) {
      const read = await run(1, reconnects);
      expect(read.bytes, 'each has been sent about what was published').toBeGreaterThan(
        0.5 * read.events * EVENT_BYTES * (LINES - 1),
      );
      expect(read.stallerBytes, 'the other one has not').toBeLessThan(
        0.9 * read.events * EVENT_BYTES,
      );
      gaps.push(read.gaps);
      console.log(
        `${read.events} events in ${RUN_MS} ms; gaps on the 19: ${read.gaps}, on the other one: ${read.stallerGaps}`,
      );
    }
    expect(gaps.at(-1), `gaps in each try: ${gaps.join(', ')}`).toBe(0);
  },
);
