/**
 * Blocks of `--compress shared` as the server makes them, from sample events: how small they are,
 * and how long the compressor takes.
 */

import { SYSTEM_CLOCK } from '../../clock.js';
import { Compressor, DICTIONARY_BYTES_MAX } from '../../core/compressor.js';
import { SSE } from '../../core/frame.js';
import { makeCounters } from '../../counters.js';
import { COMPRESS_SLICE_BYTES_MAX } from '../../limits.js';
import type { Sample } from './sample-events.js';

/** Blocks of one size. */
export interface Blocks {
  /** Plain bytes of a block, on average. */
  readonly plainBytes: number;
  /** Bytes that it became. */
  readonly bytes: number;
  /** Processor time that it took: the median. */
  readonly us: number;
}

/** Events in a block: one where the core has time, up to what a block may have. */
const EVENTS_A_BLOCK = [1, 4, 16, 64, 256];

/** Blocks of each size that are made. They are at different places of the sample. */
const BLOCKS_EACH = 60;

/** Blocks that are made before, in which zlib's code and tables come into the caches. */
const WARM_UP_BLOCKS = 20;

/** An id is by default the time in µs. */
const FIRST_ID = 1_790_000_000_000_000;
const ID_STEP = 37;

/** Makes blocks of each size that fits, rising. Each refers back to the events before it. */
export function makeBlocks({ events }: Sample): Blocks[] {
  const compressor = new Compressor(SYSTEM_CLOCK, makeCounters());
  const frames = events.map((data, nth) =>
    Buffer.from(
      SSE.encode({
        id: FIRST_ID + nth * ID_STEP,
        channel: 'sample',
        type: undefined,
        data: Buffer.from(data),
        json: false,
      }),
    ),
  );
  const all = Buffer.concat(frames);
  const ends: number[] = [];
  for (const { length } of frames) ends.push((ends.at(-1) ?? 0) + length);
  const before = (nth: number): number => (nth === 0 ? 0 : ends[nth - 1]!);
  /** So many events from one on; what is before them is their dictionary. */
  const make = (from: number, count: number): { plain: number; bytes: number; us: number } => {
    const begin = before(from);
    const plain = all.subarray(begin, ends[from + count - 1]);
    const dictionary = all.subarray(Math.max(0, begin - DICTIONARY_BYTES_MAX), begin);
    const beganMs = performance.now();
    const { length } = compressor.deflate(plain, dictionary);
    return { plain: plain.length, bytes: length, us: (performance.now() - beganMs) * 1000 };
  };
  const half = Math.floor(frames.length / 2);
  const filling = ends.findIndex((end) => end >= DICTIONARY_BYTES_MAX);
  // Behind what fills a dictionary, as far as the sample reaches.
  const first = filling < 0 ? half : Math.min(half, filling + 1);
  const fitting = EVENTS_A_BLOCK.filter(
    (count) =>
      count === 1 ||
      (count <= frames.length - first &&
        (count * all.length) / frames.length <= COMPRESS_SLICE_BYTES_MAX),
  );
  for (let nth = 0; nth < WARM_UP_BLOCKS; nth++) make(first, 1);
  return fitting.map((count) => {
    const places = frames.length - first - count + 1;
    const made = Array.from({ length: BLOCKS_EACH }, (_, nth) =>
      make(first + Math.floor((nth * places) / BLOCKS_EACH), count),
    );
    const mean = (of: (one: (typeof made)[number]) => number): number =>
      made.reduce((sum, one) => sum + of(one), 0) / made.length;
    return {
      plainBytes: mean(({ plain }) => plain),
      bytes: mean(({ bytes }) => bytes),
      us: made.map(({ us }) => us).toSorted((one, other) => one - other)[BLOCKS_EACH >> 1]!,
    };
  });
}
