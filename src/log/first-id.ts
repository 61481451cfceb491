/** Where the ids of a new log begin. */

/** Ids a millisecond: a log that gave no more than this is followed by one with higher ids. */
const IDS_PER_MS = 1000;

/** The first id of a log that is made at that time, ms since 1970: ids rise over restarts. */
export function firstIdAt(wallMs: number): number {
  return wallMs * IDS_PER_MS;
}
