/**
 * What the settings of shared compression cost and give (core/compressor.ts): prints a table by
 * windowBits, level, memLevel and events a block, for market ticks of about 200 bytes as event
 * streams frame them, with the framing of chunks. `npx tsx scripts/compression-settings.ts`; on a
 * quiet machine, seconds.
 */
import { performance } from 'node:perf_hooks';
import { constants, deflateRawSync } from 'node:zlib';
import { ticks } from '../test/support/ticks.js';

const EVENTS = 2_000;
const SETTINGS: readonly (readonly [windowBits: number, level: number, memLevel: number])[] = [
  [12, 6, 8],
  [13, 1, 8],
  [13, 4, 8],
  [13, 6, 6],
  [13, 6, 7],
  [13, 6, 8],
  [14, 6, 7],
  [15, 6, 8],
];
/** Bytes that a chunk of so many bytes takes on the wire. */
const chunked = (bytes: number): number => bytes + 4 + bytes.toString(16).length;

const next = ticks(1);
const frames = Array.from({ length: EVENTS }, (_, i) =>
  Buffer.from(`id: ${1_790_000_000_000_000 + i * 37}\ndata: ${next()}\n\n`),
);
const all = Buffer.concat(frames);
console.log('window level mem | events a block: ratio, µs a block');
for (const [windowBits, level, memLevel] of SETTINGS) {
  const cells: string[] = [];
  for (const batch of [1, 6, 20, 100, 280]) {
    let plainBytes = 0;
    let wireBytes = 0;
    let at = 0;
    let tookMs = 0;
    let blocks = 0;
    for (let i = 0; i < EVENTS; i += batch) {
      let end = at;
      for (const frame of frames.slice(i, i + batch)) end += frame.length;
      const dictionary = all.subarray(Math.max(0, at - (2 ** windowBits - 262)), at);
      const beganMs = performance.now();
      const block = deflateRawSync(all.subarray(at, end), {
        windowBits,
        level,
        memLevel,
        chunkSize: Math.max(1024, end - at),
        finishFlush: constants.Z_SYNC_FLUSH,
        ...(dictionary.length > 0 && { dictionary }),
      });
      tookMs += performance.now() - beganMs;
      blocks++;
      plainBytes += chunked(end - at);
      wireBytes += chunked(block.length);
      at = end;
    }
    const ratio = (plainBytes / wireBytes).toFixed(2);
    const micros = ((tookMs * 1000) / blocks).toFixed(0);
    cells.push(`${batch}: ${ratio} ${micros}µs`);
  }
  console.log(`${windowBits} ${level} ${memLevel} | ${cells.join(' | ')}`);
}
