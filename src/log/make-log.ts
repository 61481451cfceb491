/** The log that the settings ask for, made but not opened. */
import { readFileSync } from 'node:fs';
import type { Clock } from '../clock.js';
import type { NewEvent } from '../core/event.js';
import type { EventLog, KeepRules, Retention } from '../core/event-log.js';
import type { Counters } from '../counters.js';
import { asError, HoldlineError } from '../errors.js';
import { placeOf } from '../options/log-kinds.js';
import type { Settings } from '../options/table.js';
import { LateLog } from './late-log.js';
import { checkLibraries, LMDB_LIBRARIES, NATS_LIBRARIES } from '../libraries.js';
import type { LmdbLogOptions } from './lmdb/lmdb-log.js';
import { MemoryLog } from './memory-log.js';
import type { NatsLogOptions } from './nats/options.js';

/** What a log asks of the server that it belongs to. */
export interface LogOwner {
  readonly report: (error: unknown) => void;
  /** Throws what a publish of the event would be refused for. */
  readonly check: (event: NewEvent) => void;
}

/** What is the same for every log that keeps events. */
type Common = Pick<LmdbLogOptions & NatsLogOptions, 'clock' | 'counters' | 'firstId' | 'report'>;

/**
 * Makes the log. Its library is loaded when it is opened, which rejects with HOLDLINE_NO_LIBRARY
 * where that is not installed.
 */
export function makeLog(
  settings: Settings,
  clock: Clock,
  counters: Counters,
  { report = ignore, check = ignore }: Partial<LogOwner> = {},
): EventLog {
  const place = placeOf(settings.log);
  if (place.kind === 'memory') return new MemoryLog(clock, counters, settings.firstId);
  const common: Common = { firstId: settings.firstId, clock, counters, report };
  const load =
    place.kind === 'lmdb'
      ? () => lmdbLog(settings, place.directory, common)
      : () => natsLog(settings, place.servers, { ...common, check });
  return new LateLog(load, clock, counters);
}

/** What a log with the settings keeps. */
export function keepRulesOf(settings: Settings): KeepRules {
  return { retention: retentionOf(settings), policies: settings.policies };
}

export function retentionOf({
  logEvents,
  logBytes,
  logAgeMs,
}: Pick<Settings, 'logEvents' | 'logBytes' | 'logAgeMs'>): Retention {
  return { events: logEvents, bytes: logBytes, ageMs: logAgeMs };
}

async function lmdbLog(settings: Settings, directory: string, common: Common): Promise<EventLog> {
  checkLibraries('--log lmdb:', LMDB_LIBRARIES);
  const { LmdbLog } = await import('./lmdb/lmdb-log.js');
  const { durability, logBallastBytes: ballastBytes } = settings;
  return new LmdbLog({
    ...common,
    directory,
    durability,
    rules: keepRulesOf(settings),
    ballastBytes,
  });
}

async function natsLog(
  settings: Settings,
  servers: readonly string[],
  common: Common & Pick<LogOwner, 'check'>,
): Promise<EventLog> {
  const options = natsOptions(settings, servers);
  checkLibraries('--log nats:', NATS_LIBRARIES);
  const { NatsLog } = await import('./nats/nats-log.js');
  return new NatsLog({ ...common, ...options, retention: retentionOf(settings) });
}

/** Where NATS is and how it is entered. Throws HOLDLINE_BAD_OPTION for a file that is not there. */
export function natsOptions(
  settings: Pick<
    Settings,
    | 'natsCreds'
    | 'natsPassword'
    | 'natsPrefix'
    | 'natsReplicas'
    | 'natsStream'
    | 'natsTlsCa'
    | 'natsToken'
    | 'natsUser'
  >,
  servers: readonly string[],
): Omit<NatsLogOptions, keyof Common | 'check' | 'retention'> {
  const { natsCreds, natsTlsCa } = settings;
  const readCreds =
    natsCreds === undefined ? undefined : () => readFileOf('--nats-creds', natsCreds);
  // One that is not there is found at the start.
  readCreds?.();
  const tlsCa = natsTlsCa === undefined ? undefined : readFileOf('--nats-tls-ca', natsTlsCa);
  return {
    url: servers.join(','),
    stream: settings.natsStream,
    prefix: settings.natsPrefix,
    replicas: settings.natsReplicas,
    readCreds,
    token: settings.natsToken,
    user: settings.natsUser,
    password: settings.natsPassword,
    tlsCa: tlsCa?.toString(),
  };
}

function ignore(): void {}

/** The file of an option. Throws HOLDLINE_BAD_OPTION when it cannot be read. */
function readFileOf(name: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `${name}: "${path}" cannot be read (${asError(error).message})`,
    );
  }
}
