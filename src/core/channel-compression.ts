/** What compression does for the lines of one channel. */
import type { Channel } from './channel.js';
import type { Group } from './group.js';

/** Bytes of events that compressed lines of a channel were given, before and after. */
export interface GivenBytes {
  plainBytes: number;
  bytes: number;
}

/** Of the lines that are given gzip blocks. */
export interface ChannelCompression extends Readonly<GivenBytes> {
  /** Those that are open. */
  readonly lines: number;
  /** plainBytes ÷ bytes, two decimals; null before there were some. */
  readonly ratio: number | null;
}

/** Null where no line was ever compressed. What lines were given stays when they have left. */
export function compressionOf({ given, groups }: Channel<Group>): ChannelCompression | null {
  if (given === undefined) return null;
  let lines = 0;
  for (const { compressed, table } of groups) if (compressed !== undefined) lines += table.count;
  return withRatio({ lines, ...given });
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
