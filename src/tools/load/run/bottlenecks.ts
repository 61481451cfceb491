/** Whether a round tells more about the client than about the server. */

/** A process that used more of a core had no time to spare. */
const BUSY_SHARE = 0.9;

/**
 * What is late by more than this, and by more than this share of the latency that is reported, is
 * what was measured.
 */
const LATE_MS = 20;
const LATE_SHARE = 0.2;

/** A herd that takes longer to leave comes back as slowly as it left. */
const LEAVING_SHARE = 0.5;

/** How the client was, while events were published. */
export interface ClientState {
  /** The latency that is reported, its 99th percentile. */
  readonly latencyP99Ms: number;
  /**
   * How late the loop of the publisher got to its events, and the loops of the clients to what had
   * come, each the 99th percentile.
   */
  readonly leftLateP99Ms: number;
  readonly readLateP99Ms: number;
  /** Share of a core, of the busiest client process and of the one that publishes. */
  readonly clientBusyShare: number;
  readonly publisherBusyShare: number;
  /** How much of the time until a herd was back its clients took to leave; 0 without one. */
  readonly herdLeftShare: number;
}

/** Why the client was what was measured, a sentence each; empty when it was not. */
export function bottlenecksIn(state: ClientState): string[] {
  const {
    latencyP99Ms,
    leftLateP99Ms,
    readLateP99Ms,
    clientBusyShare,
    publisherBusyShare,
    herdLeftShare,
  } = state;
  const isLate = (lateMs: number): boolean =>
    lateMs > LATE_MS && lateMs > LATE_SHARE * latencyP99Ms;
  return [
    ...(clientBusyShare > BUSY_SHARE
      ? [
          `a client process used ${percent(clientBusyShare)} of a core; --processes spreads the clients over more, --check reads less`,
        ]
      : []),
    ...(publisherBusyShare > BUSY_SHARE
      ? [`the process that publishes used ${percent(publisherBusyShare)} of a core`]
      : []),
    ...(isLate(leftLateP99Ms)
      ? [`1 % of the events left ${leftLateP99Ms.toFixed(1)} ms late or more`]
      : []),
    ...(herdLeftShare > LEAVING_SHARE
      ? [
          `of the time until the herd was back its clients took ${percent(herdLeftShare)} to leave; --processes spreads them over more`,
        ]
      : []),
    ...(isLate(readLateP99Ms)
      ? [
          `1 % of the time the clients were ${readLateP99Ms.toFixed(1)} ms late or more to read what had come`,
        ]
      : []),
  ];
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
