/** What compression does for the lines of one channel. */
import type { Group } from './group.js';

/** Of the lines that are given gzip blocks. */
export interface ChannelCompression {
  readonly lines: number;
  /** Bytes of events that such lines were given, before and after, since there were none. */
  readonly plainBytes: number;
  readonly bytes: number;
  /** plainBytes ÷ bytes, two decimals; null before there were some. */
  readonly ratio: number | null;
}

/** Over the groups of a channel; null where no line is compressed. */
export function compressionOf(groups: readonly Group[]): ChannelCompression | null {
  let sum: Omit<ChannelCompression, 'ratio'> | undefined;
  for (const { compressed, table } of groups) {
    if (compressed === undefined) continue;
    sum = {
      lines: (sum?.lines ?? 0) + table.count,
      plainBytes: (sum?.plainBytes ?? 0) + compressed.givenPlainBytes,
      bytes: (sum?.bytes ?? 0) + compressed.givenBytes,
    };
  }
  return sum === undefined ? null : withRatio(sum);
}

/** A sum with its ratio, which does not add up. */
export function withRatio({
  lines,
  plainBytes,
  bytes,
}: Omit<ChannelCompression, 'ratio'>): ChannelCompression {
  const ratio = bytes === 0 ? null : Math.round((100 * plainBytes) / bytes) / 100;
  return { lines, plainBytes, bytes, ratio };
}
