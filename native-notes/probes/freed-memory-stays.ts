// Resident memory after buffers of a ring's size are freed: the first time, when the allocator has
// learnt their size, and after malloc_trim().
import { extname } from 'node:path';
import { loadAllocator } from '../../src/native/allocator.js';
import { NotHere, main, runScript } from './support.js';
import type { ProbeResult, Row } from './support.js';

// Compiled or not, as this file is.
const allocatorModule = new URL(
  `../../src/native/allocator${extname(import.meta.url)}`,
  import.meta.url,
).href;

const script = `
  const { loadAllocator } = await import(${JSON.stringify(allocatorModule)});
  const allocator = await loadAllocator();
  const MB = 1e6;
  const rss = () => Math.round(process.memoryUsage.rss() / MB);
  const rows = [];
  const living = [];
  const settle = () => new Promise((resolve) => { gc(); gc(); setTimeout(resolve, 200); });
  const fill = () => Array.from({ length: 200 }, () => Buffer.allocUnsafeSlow(1024 * 1024).fill(1));
  for (const [when, larger] of [['the first time', false], ['after a block of 4 MiB was freed', true]]) {
    if (larger) { Buffer.allocUnsafeSlow(4 * 1024 * 1024).fill(1); await settle(); }
    const before = rss();
    let buffers = fill();
    const full = rss();
    // As in a server, something lives on behind them: memory at the end of the heap is given back
    // by itself.
    living.push(Buffer.allocUnsafeSlow(1024 * 1024).fill(1));
    buffers = undefined;
    await settle();
    const freed = rss();
    const startMs = performance.now();
    allocator.trim();
    rows.push({ when, before, full, freed, trimmed: rss(), trimMs: Math.round(performance.now() - startMs) });
  }
  console.log(JSON.stringify(rows));
`;

interface Reading {
  readonly when: string;
  readonly before: number;
  readonly full: number;
  readonly freed: number;
  readonly trimmed: number;
  readonly trimMs: number;
}

export async function probe(): Promise<ProbeResult> {
  if ((await loadAllocator()) === undefined)
    throw new NotHere('glibc and koffi, to call malloc_trim()');
  const { stdout, stderr } = await runScript(script, {}, [...process.execArgv, '--expose-gc']);
  if (!stdout.startsWith('[')) throw new Error(stderr);
  const readings = JSON.parse(stdout) as Reading[];
  const kept = readings.at(-1)!;
  return {
    claim:
      'glibc keeps freed buffers of a megabyte resident once a larger one was freed and something lives behind them; malloc_trim(0) gives them back, in about 0.1 ms a megabyte.',
    holds: kept.freed - kept.before > 150 && kept.trimmed - kept.before < 20,
    rows: readings.map(({ when, before, full, freed, trimmed, trimMs }): Row => ({
      '200 buffers of 1 MiB': when,
      'RSS before, MB': before,
      filled: full,
      freed: freed,
      'after malloc_trim(0)': trimmed,
      'that took, ms': trimMs,
    })),
  };
}

await main(import.meta.url, probe);
