/** What became of the socket options that were wanted. */

/** What the listening socket has, read back; without what was not wanted or could not be set. */
export interface SocketOptions {
  /** SO_SNDBUF as the kernel counts it: twice the size set, which includes its bookkeeping. */
  readonly sendBufferBytes?: number;
  /** SO_RCVBUF, counted in the same way. */
  readonly receiveBufferBytes?: number;
  /** TCP_NOTSENT_LOWAT. */
  readonly notsentLowatBytes?: number;
  /** TCP_USER_TIMEOUT. */
  readonly userTimeoutMs?: number;
  /** TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT. */
  readonly keepaliveIdleSeconds?: number;
  readonly keepaliveIntervalSeconds?: number;
  readonly keepaliveProbes?: number;
}

/** The outcome. */
export interface SocketReport {
  readonly options: SocketOptions;
  /** One sentence for each option that is not as it was wanted. */
  readonly problems: readonly string[];
}
