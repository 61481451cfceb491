/** What supervisor and workers say to each other, as types. */
import type { ChannelOrder, ListPlace } from '../core/channel-listing.js';
import type { CommandLine } from '../options/command-line.js';
import type { RunningSettings } from '../options/reload.js';
import type { LogFacts } from './worker-log.js';

/** What a worker is told when it begins. */
export interface Welcome {
  readonly place: number;
  readonly spawn: number;
  /** Workers in all. */
  readonly count: number;
  readonly log: LogFacts;
  /** What it may use of what all share, by name. */
  readonly shares: Readonly<Record<string, number>>;
  /** Lines that one process can hold. */
  readonly linesMax: number;
  readonly port: number;
  /** Undefined without an address of operations. */
  readonly opsPort: number | undefined;
  /** Memory of the supervisor and the other workers, as they told it last. */
  readonly elsewhereBytes: number;
  /** What all run with, as it was read last. */
  readonly settings: RunningSettings;
  readonly logLevel: CommandLine['logLevel'];
  readonly logFormat: CommandLine['logFormat'];
}

/** What one of all workers answered. */
export interface WorkerAnswer {
  /** 1 … N, and which of all that were ever started. */
  readonly place: number;
  readonly spawn: number;
  readonly pid: number | null;
  /** True when it did not answer in time. */
  readonly isSilent: boolean;
  readonly answer?: unknown;
  readonly problem?: string;
}

/** What the supervisor says of itself and of all. */
export interface WorkersReport {
  /** Wanted, and how many of them serve. */
  readonly workers: number;
  readonly serving: number;
  readonly restarts: number;
  readonly supervisorPid: number;
  readonly supervisorRssBytes: number;
  readonly supervisorCpuSeconds: number;
  /** What the log, which is here, has counted: of `/-/stats`, and of `/-/metrics`. */
  readonly own: GoneReport;
  /** What workers had counted that have ended, or have not answered, as it was shown last. */
  readonly gone: GoneReport;
}

/** Counters of workers that do not tell them: a sum over workers never falls. */
export interface GoneReport {
  /** Of `/-/stats`. */
  readonly counters: object | undefined;
  /** Counters and histograms of `/-/metrics`. */
  readonly metrics: string | undefined;
}

/** What a worker answers that is asked for a list of channels. */
export interface NamedChannels {
  readonly names: readonly string[];
  /** The place of the last of them; null when no other stands behind it there. */
  readonly end: ListPlace | null;
}

/** What every worker may be asked. */
export type Question =
  | {
      readonly page: string;
      readonly query: string;
      readonly rest: string;
      readonly draining: boolean;
      /** Of `/-/metrics`: the channels to tell of. */
      readonly channels?: readonly string[];
    }
  | {
      readonly disconnect: unknown;
      readonly code: 'disconnected' | 'revoked';
      /** Of a user: what was issued until then is refused from now on. */
      readonly notBeforeMs?: number | undefined;
    }
  | {
      readonly list: ChannelOrder;
      readonly count: number;
      readonly after: ListPlace | undefined;
    }
  | { readonly channels: readonly string[] };
