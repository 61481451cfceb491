/** What `--compress shared` changes in the costs: bytes on the wire, and the compressor's time. */

import { CORK_SHARE } from '../../core/compressed-slices.js';
import { COMPRESS_SLICE_BYTES_MAX, CORK_WRITE_BYTES_MAX } from '../../limits.js';
import type { Blocks } from './blocks.js';
import { fitLinear } from './least-squares.js';

/** The compression of one kind of events on one machine. */
export interface Compression {
  /** Sizes of blocks, rising by plain bytes. */
  readonly sizes: readonly Pick<Blocks, 'plainBytes' | 'bytes'>[];
  /** Processor time of a block, and of each of its plain bytes, µs. */
  readonly blockUs: number;
  readonly plainByteUs: number;
}

/** Sizes as the sample has them; times as they were measured on the machine. */
export function compressionOf(
  sizes: readonly Pick<Blocks, 'plainBytes' | 'bytes'>[],
  times: readonly Pick<Blocks, 'plainBytes' | 'us'>[],
): Compression {
  const few = times.length < 2;
  const { slope, intercept } = few
    ? { slope: 0, intercept: times[0]?.us ?? 0 }
    : fitLinear(times.map(({ plainBytes, us }) => ({ x: plainBytes, y: us })));
  const least = Math.min(...times.map(({ us }) => us));
  return {
    sizes: [...sizes].toSorted((one, other) => one.plainBytes - other.plainBytes),
    // A line through few points may meet the axis anywhere.
    blockUs: Math.min(least, Math.max(0, intercept)),
    plainByteUs: Math.max(0, slope),
  };
}

/** How many times smaller a block of plain bytes becomes; between sizes by their logarithm. */
export function ratioOf({ sizes }: Compression, plainBytes: number): number {
  const ratio = (at: number): number => sizes[at]!.plainBytes / Math.max(1, sizes[at]!.bytes);
  const above = sizes.findIndex((one) => one.plainBytes >= plainBytes);
  // A block that does not become smaller is stored.
  if (above <= 0) return Math.max(1, ratio(above === 0 ? 0 : sizes.length - 1));
  const low = Math.log(sizes[above - 1]!.plainBytes);
  const share = (Math.log(plainBytes) - low) / (Math.log(sizes[above]!.plainBytes) - low);
  return Math.max(1, ratio(above - 1) + share * (ratio(above) - ratio(above - 1)));
}

/** Processor time to make a block of so many plain bytes, µs. */
export function blockUsOf({ blockUs, plainByteUs }: Compression, plainBytes: number): number {
  return blockUs + plainByteUs * plainBytes;
}

/** The most plain bytes of a block of several events: what fills a cork; at most a slice. */
export function plainBytesMax(compression: Compression): number {
  const most = ratioOf(compression, COMPRESS_SLICE_BYTES_MAX);
  return Math.min(COMPRESS_SLICE_BYTES_MAX, CORK_SHARE * CORK_WRITE_BYTES_MAX * most);
}
