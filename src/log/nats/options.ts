/** What a log on NATS is made with. */
import type { Clock } from '../../clock.js';
import type { NewEvent } from '../../core/event.js';
import type { Retention } from '../../core/event-log.js';
import type { Counters } from '../../counters.js';

/** How to reach and enter NATS. No part of it is ever logged. */
export interface NatsAccess {
  /** Addresses of servers with commas between, such as `tls://a:4222,tls://b`. */
  readonly url: string;
  /** Reads the file of credentials: at each connect, since they may be replaced. */
  readonly readCreds?: (() => Uint8Array) | undefined;
  readonly token?: string | undefined;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  /** Certificates in PEM of those who may sign the servers'. With it TLS is required. */
  readonly tlsCa?: string | undefined;
}

/** The stream, as it is made where there is none. One that is there stays as it is. */
export interface StreamOptions {
  readonly stream: string;
  readonly prefix: string;
  readonly replicas: number;
  /** What the stream keeps; 0, here and below: no such bound. */
  readonly retention: Retention;
  /** The first id of a stream that is made; the time in ms × 1000 by default. */
  readonly firstId: number | undefined;
}

export interface NatsLogOptions extends NatsAccess, StreamOptions {
  readonly clock: Clock;
  readonly counters: Counters;
  /** Throws what a publish of the event would be refused for: other services publish as well. */
  readonly check: (event: NewEvent) => void;
  /** Gets what an operator should know: losses, refused records, a stream that is not as asked. */
  readonly report: (error: unknown) => void;
}
