/**
 * The figures of a running server, as `/-/stats` and `server.stats()` give them. Part of the public
 * types: it imports nothing whose types need those of Node.
 */
import type { Counters } from '../counters.js';
import type { SocketReport } from '../native/socket-report.js';

/** What `/-/stats` answers. */
export interface Stats {
  readonly version: string;
  /** The loaded build of uWebSockets.js, as npm names it; null before the server listens. */
  readonly build: string | null;
  readonly uptimeMs: number;
  readonly draining: boolean;
  /** Id of the newest event that entered a ring. */
  readonly head: number;
  /** Positions at or below it may have lost events that nobody remembers. */
  readonly floor: number;
  /** Held connections, waiting polls included. */
  readonly lines: {
    readonly open: number;
    readonly stalled: number;
    /** Behind their rings, and given what the log keeps. */
    readonly reading: number;
    readonly cap: number;
    readonly byTransport: {
      readonly sse: number;
      readonly ndjson: number;
      readonly websocket: number;
      readonly poll: number;
      /** `channel.subscribe` of the program itself. */
      readonly library: number;
    };
  };
  /** Open sockets, and the socket options that the kernel accepted. */
  readonly sockets: { readonly open: number; readonly cap: number } & SocketReport;
  /** Streams of `/-/watch` that are open. */
  readonly watchers: number;
  /** Where events are kept. */
  readonly log: {
    readonly kind: 'memory' | 'lmdb' | 'nats';
    /** False while it takes no events: publishes are refused with 503, and lines are held. */
    readonly up: boolean;
    /** Why it is not up; null when it is. */
    readonly problem: string | null;
    /** What it keeps, and the bytes that takes; null in memory, where rings are all there is. */
    readonly events: number | null;
    readonly bytes: number | null;
  };
  readonly channels: { readonly known: number; readonly rings: number; readonly ringBytes: number };
  readonly queue: {
    readonly events: number;
    readonly bytes: number;
    readonly waitingPublishers: number;
    readonly waitingBytes: number;
  };
  readonly memory: {
    readonly rssBytes: number;
    readonly heapUsedBytes: number;
    readonly externalBytes: number;
    /** `--memory-budget`, and what counted against it at the last check; null without one. */
    readonly budgetBytes: number | null;
    readonly budgetUsedBytes: number | null;
  };
  /** Since the start. */
  readonly loopDelay: { readonly p50Ms: number; readonly p99Ms: number; readonly maxMs: number };
  readonly counters: Readonly<Counters>;
}
