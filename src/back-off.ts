/** Back-off: how long to wait before what has failed is tried again. */

/** Pause, ms, after so many failures in a row before this one: doubled each time, to the longest. */
export function backOffMs(failures: number, firstMs: number, longestMs: number): number {
  return Math.min(longestMs, firstMs * 2 ** failures);
}
