// What a large buffer that nobody keeps does: V8 collects in full; and when Node counts what it has
// freed. In a process of its own, whose heap holds a million objects.
import { main, runScript } from './support.js';
import type { ProbeResult } from './support.js';

const script = `
  import { constants, monitorEventLoopDelay, PerformanceObserver } from 'node:perf_hooks';
  const MiB = 2 ** 20;
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const out = {};
  let full = 0;
  let any = 0;
  new PerformanceObserver((list) => {
    for (const { detail, duration } of list.getEntries()) {
      if (detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR && full++ === 0) out.finalMs = duration;
      if (detail.kind === constants.NODE_PERFORMANCE_GC_MINOR) any++;
    }
  }).observe({ entryTypes: ['gc'] });
  const objects = Array.from({ length: 1_000_000 }, (_, at) => ({ at, name: 'x' + at }));
  let dead = [];
  for (let i = 0; i < 60; i++) dead.push(Buffer.alloc(MiB, 1));
  gc();
  await pause(100);
  dead = undefined;
  full = 0;
  await pause(1_500);
  Object.assign(out, { idle: full, bytesBefore: process.memoryUsage().external, rssBefore: process.memoryUsage.rss() });
  const delay = monitorEventLoopDelay({ resolution: 2 });
  delay.enable();
  const began = performance.now();
  Buffer.allocUnsafeSlow(65 * MiB);
  out.rssAsked = process.memoryUsage.rss();
  while (full === 0 && performance.now() - began < 5_000) await pause(2);
  out.asked = full;
  out.endedMs = performance.now() - began;
  await pause(300);
  delay.disable();
  out.stopMs = delay.max / 1e6;
  out.countedAfter = process.memoryUsage().external;
  out.rssAfter = process.memoryUsage.rss();
  any = 0;
  let garbage;
  for (let i = 0; any === 0 && i < 200; i++) {
    for (let j = 0; j < 100_000; j++) garbage = { j };
    await pause(1);
  }
  out.countedNext = process.memoryUsage().external;
  const forced = performance.now();
  gc();
  out.forcedMs = performance.now() - forced;
  console.log(JSON.stringify({ ...out, kept: objects.length + Number(garbage === undefined) }));
`;

interface Seen {
  readonly idle: number;
  readonly asked: number;
  readonly endedMs: number;
  readonly stopMs: number;
  readonly finalMs: number;
  readonly forcedMs: number;
  readonly bytesBefore: number;
  readonly countedAfter: number;
  readonly countedNext: number;
  readonly rssBefore: number;
  readonly rssAsked: number;
  readonly rssAfter: number;
}

const inMiB = (bytes: number): number => Math.round(bytes / 2 ** 20);

export async function probe(): Promise<ProbeResult> {
  const { stdout, stderr } = await runScript(script, {}, ['--expose-gc']);
  const line = stdout.split('\n').find((text) => text.startsWith('{'));
  if (line === undefined) throw new Error(`the child told nothing: ${stderr}`);
  const seen = JSON.parse(line) as Seen;
  return {
    claim:
      'A buffer of 65 MiB that is dropped at once makes V8 run a full collection within a second, and costs no memory; Node counts the buffers that a collection freed until the next one, of either kind, begins.',
    holds:
      seen.idle === 0 &&
      seen.asked > 0 &&
      inMiB(seen.rssAsked - seen.rssBefore) < 4 &&
      inMiB(seen.rssBefore - seen.rssAfter) > 40 &&
      inMiB(seen.countedAfter) > 100 &&
      inMiB(seen.countedNext) < 20,
    rows: [
      {
        case: 'full collections in 1.5 s, with 60 MiB of buffers that nobody has',
        seen: seen.idle,
      },
      { case: 'full collections after asking', seen: seen.asked },
      { case: 'asked → ended, ms', seen: Math.round(seen.endedMs) },
      { case: 'its last step, ms', seen: Math.round(seen.finalMs) },
      { case: 'longest stop of the loop meanwhile, ms', seen: Math.round(seen.stopMs) },
      { case: 'a collection forced by gc(), ms', seen: Math.round(seen.forcedMs) },
      {
        case: 'resident memory that the asking takes, MiB',
        seen: inMiB(seen.rssAsked - seen.rssBefore),
      },
      { case: 'resident memory that was freed, MiB', seen: inMiB(seen.rssBefore - seen.rssAfter) },
      { case: 'buffers that Node counts before, MiB', seen: inMiB(seen.bytesBefore) },
      { case: '… after the collection', seen: inMiB(seen.countedAfter) },
      { case: '… after the next one, of the young generation', seen: inMiB(seen.countedNext) },
    ],
  };
}

await main(import.meta.url, probe);
