/**
 * The clients of a run: what kind they are, and which of them read slowly, not at all, or leave.
 */

/** How clients are served. */
export const CLIENT_KINDS = ['sse', 'ndjson', 'ws', 'long-poll', 'short-poll'] as const;
export type ClientKind = (typeof CLIENT_KINDS)[number];

/**
 * How a client behaves: it reads everything that comes, little at a time, or nothing once it has
 * subscribed.
 */
export type Role = 'normal' | 'slow' | 'stalled';

/** Shares are of all clients, 0 to 1. */
export interface Mix {
  /** Clients that read nothing. */
  readonly stalledShare: number;
  /** Clients that read slowly. */
  readonly slowShare: number;
  /** What each of them reads. */
  readonly slowBytesPerSecond: number;
  /**
   * Of the others, those that drop their connection in a minute and come back where they left off.
   */
  readonly reconnectsPerMinute: number;
}

/** All clients read normally, and stay. */
export const NO_MIX: Mix = {
  stalledShare: 0,
  slowShare: 0,
  slowBytesPerSecond: 0,
  reconnectsPerMinute: 0,
};

/** Binary fractions miss decimal ones by a little. */
const ROUNDING = 1e-9;

/**
 * How many of the first `count` are in a share of all: evenly spread and rounded up, so that a
 * small share is at least one.
 */
export function countIn(share: number, count: number): number {
  return Math.max(0, Math.ceil(share * count - ROUNDING));
}

/** True when the one at this index is in the share. */
export function isIn(share: number, index: number): boolean {
  return countIn(share, index + 1) > countIn(share, index);
}

/** How many of so many clients read normally; none where shares are all of them. */
export function normalIn({ stalledShare, slowShare }: Mix, clients: number): number {
  if (stalledShare + slowShare >= 1) return 0;
  const others = clients - countIn(stalledShare, clients);
  return others - countIn(slowShare / (1 - stalledShare), others);
}

/** How the client of a row behaves. */
export function roleOf({ stalledShare, slowShare }: Mix, row: number): Role {
  if (isIn(stalledShare, row)) return 'stalled';
  // Its index among the clients that are not stalled; the slow ones are a larger share of those.
  const index = row - countIn(stalledShare, row);
  return isIn(slowShare / (1 - stalledShare), index) ? 'slow' : 'normal';
}
