/** Whether a round measured the client rather than the server. */

/** A process that used more of a core than this had no time to spare. */
const BUSY_SHARE = 0.9;

/**
 * The client was measured where it was late by more than this, and by more than this share of the
 * reported latency.
 */
const LATE_MS = 20;
const LATE_SHARE = 0.2;

/**
 * A herd that takes longer to leave, as a share of its way back, comes back as slowly as it left.
 */
const LEAVING_SHARE = 0.5;

/** How busy and how late the client was while events were published. */
export interface ClientState {
  /** The latency that is reported, its 99th percentile. */
  readonly latencyP99Ms: number;
  /**
   * How late the publisher got to its events, and the clients to what had come; the 99th percentile
   * of each.
   */
  readonly leftLateP99Ms: number;
  readonly readLateP99Ms: number;
  /** Share of a core, of the busiest client process and of the one that publishes. */
  readonly clientBusyShare: number;
  readonly publisherBusyShare: number;
  /** Time that a herd took to leave ÷ time until it was back; 0 without a herd. */
  readonly herdLeftShare: number;
}

/** Why the client was measured, a sentence each; empty when the server was. */
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
      ? [`1 % of the events were sent ${leftLateP99Ms.toFixed(1)} ms late or later`]
      : []),
    ...(herdLeftShare > LEAVING_SHARE
      ? [
          `closing the connections of the herd took ${percent(herdLeftShare)} of the time until all were open again; --processes spreads the clients over more`,
        ]
      : []),
    ...(isLate(readLateP99Ms)
      ? [
          `for 1 % of the time clients were ${readLateP99Ms.toFixed(1)} ms late or later in reading what had arrived`,
        ]
      : []),
  ];
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
