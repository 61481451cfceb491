/** Back-off: how long to wait before what has failed is tried again. */

/** The pause, ms: the first one, doubled for each failure before this one, up to the longest. */
export function backOffMs(failures: number, firstMs: number, longestMs: number): number {
  return Math.min(longestMs, firstMs * 2 ** failures);
}
