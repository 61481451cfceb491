/**
 * The mix of a run: how many of its clients read slowly, read nothing, or come and go, and which
 * ones.
 */

/** How clients are served. */
export const CLIENT_KINDS = ['sse', 'ndjson', 'ws', 'long-poll', 'short-poll'] as const;
export type ClientKind = (typeof CLIENT_KINDS)[number];

/**
 * How a client behaves: it reads all that comes, little at a time, or nothing once it has
 * subscribed.
 */
export type Role = 'normal' | 'slow' | 'stalled';

/** Shares are of all clients, 0 to 1. */
export interface Mix {
  /** Those who read nothing. */
  readonly stalledShare: number;
  /** Those who read slowly. */
  readonly slowShare: number;
  /** What each of them takes. */
  readonly slowBytesPerSecond: number;
  /**
   * Those of the others who drop their connection in a minute and come back where they left off.
   */
  readonly reconnectsPerMinute: number;
}

/** Clients that read what comes. */
export const NO_MIX: Mix = {
  stalledShare: 0,
  slowShare: 0,
  slowBytesPerSecond: 0,
  reconnectsPerMinute: 0,
};

/** Shares are decimal fractions that binary ones miss by a little. */
const ROUNDING = 1e-9;

/**
 * Of the first `count`, those who are in a share of all: evenly spread, rounded up, so that a small
 * share is at least one.
 */
export function countIn(share: number, count: number): number {
  return Math.max(0, Math.ceil(share * count - ROUNDING));
}

/** True when the one at this index is in the share. */
export function isIn(share: number, index: number): boolean {
  return countIn(share, index + 1) > countIn(share, index);
}

/** What a client is, by its row. */
export function roleOf({ stalledShare, slowShare }: Mix, row: number): Role {
  if (isIn(stalledShare, row)) return 'stalled';
  // Its index among those who are not stalled, of whom the slow ones are a larger share.
  const index = row - countIn(stalledShare, row);
  return isIn(slowShare / (1 - stalledShare), index) ? 'slow' : 'normal';
}
