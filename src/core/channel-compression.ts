/** What compression does for the lines of one channel. */

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

/** What is asked of a channel (core/channel.ts) and its groups. */
interface CompressedChannel {
  readonly given: GivenBytes | undefined;
  readonly groups: readonly {
    readonly compressed: object | undefined;
    readonly table: { readonly count: number };
  }[];
}

/** Null where no line was ever compressed. What lines were given stays when they have left. */
export function compressionOf({ given, groups }: CompressedChannel): ChannelCompression | null {
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
