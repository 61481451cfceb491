/** What a server of several processes begins with: its log, its port and its supervisor. */
import { spawn } from 'node:child_process';
import { Tokens } from '../auth/tokens.js';
import { SYSTEM_CLOCK } from '../clock.js';
import type { EventLog, History } from '../core/event-log.js';
import type { LoggedEntry } from '../core/event.js';
import type { Counters } from '../counters.js';
import { asError, HoldlineError } from '../errors.js';
import { SHARED_PORT_TRIES_MAX } from '../limits.js';
import { readFileLimit } from '../linux/file-limit.js';
import { closeLog } from '../log/close-log.js';
import { keepRulesOf, makeLog } from '../log/make-log.js';
import { MemoryLog } from '../log/memory-log.js';
import { freePort, portFailure } from '../native/listen-failure.js';
import { placeOf } from '../options/log-kinds.js';
import { splitHostAndPort } from '../options/place-kinds.js';
import type { RunningSettings } from '../options/reload.js';
import { connectionsUnder, type Settings } from '../options/table.js';
import { workerEnvironment, type Environment } from '../worker-variable.js';
import { RingHistory } from './ring-history.js';
import { Pool } from './shares.js';
import { Supervisor, type SupervisorParts } from './supervisor.js';
import type { Welcome } from './talk.js';
import type { WorkerProcess } from './worker-process.js';
import { WorkerFailed } from './worker-processes.js';

export { WorkerFailed };

/** A day; nothing is done then. */
const STAYING_MS = 86_400_000;

export interface WorkersParts {
  readonly settings: RunningSettings;
  readonly logLevel: Welcome['logLevel'];
  readonly logFormat: Welcome['logFormat'];
  readonly count: number;
  /** Of this process, and with a sign for each worker. */
  readonly env: Environment;
  /** Of this process: what its log counts, and the log on stdout. */
  readonly counters: Counters;
  readonly say: SupervisorParts['say'];
}

export interface Workers {
  /** Its workers are not started yet. */
  readonly supervisor: Supervisor;
  /**
   * Lets all workers run with these settings; resolves when those that answer do. Throws
   * HOLDLINE_BAD_OPTION for a key that cannot be used, and then nothing has changed.
   */
  use(this: void, settings: RunningSettings): Promise<void>;
  /** Ends the log, when all workers have ended. */
  close(this: void): Promise<void>;
}

/**
 * Resolves when the log is open. Rejects with HOLDLINE_BAD_OPTION, HOLDLINE_LISTEN or
 * HOLDLINE_BAD_LOG.
 */
export async function openWorkers({
  settings,
  logLevel,
  logFormat,
  count,
  env,
  counters,
  say,
}: WorkersParts): Promise<Workers> {
  if (settings.unixSocket !== undefined) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      '--workers and --unix-socket exclude each other: the system spreads the connections of a port over processes, and not those of a unix socket',
    );
  }
  const { opsListen } = settings;
  const ops = opsListen === undefined ? undefined : splitHostAndPort(opsListen);
  const port = await portOf(settings);
  const opsPort = ops === undefined ? undefined : await portOf(ops);
  const { log, history, keep, keepTo } = await openLog(settings, counters, (error) =>
    say('error', asError(error).message, {}),
  );
  // The system spreads connections as it likes: one worker may get all.
  const linesMax = Math.min(connectionsUnder(readFileLimit()), settings.maxConnections);
  const supervisor = new Supervisor({
    log,
    history,
    counters,
    ...(keep !== undefined && { keep }),
    count,
    start: () =>
      spawn(process.execPath, [...process.execArgv, process.argv[1] as string, 'serve'], {
        stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
        env: workerEnvironment(env),
      }),
    welcome: { port, opsPort, linesMax, settings, logLevel, logFormat },
    pools: {
      lines: new Pool<WorkerProcess>(settings.maxConnections, linesMax),
      polls: new Pool<WorkerProcess>(settings.maxWaitingPolls),
    },
    say,
  });
  // Timers of a clock keep no process alive, and for a moment there may be no worker.
  const staying = setInterval(() => {}, STAYING_MS);
  const close = async (): Promise<void> => {
    clearInterval(staying);
    supervisor.stop();
    await closeLog(log);
  };
  const use = (next: RunningSettings): Promise<void> => {
    // Each worker makes its own: what one would refuse is refused before any is told.
    Tokens.of(next);
    keepTo(next);
    return supervisor.reload(next);
  };
  return { supervisor, use, close };
}

/** The log, open, and where its past is read. */
async function openLog(
  settings: Settings,
  counters: Counters,
  report: (error: unknown) => void,
): Promise<{
  readonly log: EventLog;
  readonly history: History;
  readonly keep?: (entries: readonly LoggedEntry[]) => void;
  /** What is kept from now on. */
  readonly keepTo: (settings: Settings) => void;
}> {
  // Over NATS each worker has a log of its own. What they tell each other beside it stays here.
  const isTheirs = placeOf(settings.log).kind === 'nats';
  const log = isTheirs
    ? new MemoryLog(SYSTEM_CLOCK, counters, settings.firstId)
    : makeLog(settings, SYSTEM_CLOCK, counters, { report });
  await log.open();
  if (log.history !== undefined)
    return { log, history: log.history, keepTo: (next) => log.keepTo?.(keepRulesOf(next)) };
  const rings = new RingHistory(
    {
      replay: { events: settings.replayEvents, bytes: settings.replayBytes },
      replayTotalBytes: settings.replayTotalBytes,
      policies: settings.policies,
    },
    log.floor(),
  );
  return {
    log,
    history: rings,
    keep: (entries) => rings.take(entries),
    keepTo: ({ policies }) => rings.usePolicies(policies),
  };
}

/**
 * The port that is wanted, if nobody has it: a port that processes share is silently shared with
 * others, too, so the system is asked first for the port alone.
 */
async function portOf({ host, port }: { readonly host: string; readonly port: number }) {
  for (let tries = 1; ; tries++) {
    const wanted = port === 0 ? await freePort(host) : port;
    const failure = await portFailure(host, wanted);
    if (failure === undefined) return wanted;
    if (port !== 0 || tries === SHARED_PORT_TRIES_MAX) throw failure;
  }
}
