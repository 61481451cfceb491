/** The log of `holdline serve`, on stdout, and what the library tells it. */
import process from 'node:process';
import { destination, pino, type DestinationStream, type Logger } from 'pino';
import type { Counters } from '../counters.js';
import { FAULT_LOG_MS } from '../limits.js';
import { logText, mayColour } from '../log-text.js';
import type { CommandLine } from '../options/command-line.js';
import type { Hooks } from '../server/api.js';
import { throttle } from '../throttle.js';
import { refusalLog } from '../refusal-log.js';

/**
 * Log that stdout has not taken; above it entries are dropped, and counted: the server never waits.
 */
const LOG_BACKLOG_BYTES_MAX = 1024 * 1024;

/** Time the end waits for the log to be written, in case nobody reads stdout. */
const LOG_CLOSE_MS_MAX = 1000;

/**
 * The log on stdout, written in the background, so that a slow reader delays no event. Text for a
 * person at a terminal, else JSON.
 */
export function openLog(
  { logLevel, logFormat }: Pick<CommandLine, 'logLevel' | 'logFormat'>,
  counters: Pick<Counters, 'server_log_dropped_total'>,
): { log: Logger; closeLog: () => Promise<void> } {
  const stdout = destination({ dest: 1, sync: false, maxLength: LOG_BACKLOG_BYTES_MAX });
  outliveStdout(stdout);
  stdout.on('drop', () => counters.server_log_dropped_total++);
  const isText = logFormat === 'text' || (logFormat === 'auto' && process.stdout.isTTY);
  const colour = mayColour(process.stdout, process.env);
  const asText: DestinationStream & { flushSync(): void } = {
    write: (line) => void stdout.write(logText(line, { colour })),
    // pino calls it before a fatal entry ends the process.
    flushSync: () => stdout.flushSync(),
  };
  const log = pino(
    { level: logLevel, timestamp: pino.stdTimeFunctions.isoTime },
    isText ? asText : stdout,
  );
  // pino would write the rest in its exit handler, but a write in progress may then come after it.
  const closeLog = (): Promise<void> =>
    new Promise((resolve) => {
      stdout.once('close', () => resolve());
      stdout.once('error', () => resolve());
      setTimeout(resolve, LOG_CLOSE_MS_MAX);
      // A signal or an error from now on would write to a closed stream, which throws.
      log.level = 'silent';
      stdout.end();
    });
  return { log, closeLog };
}

/**
 * Lets the server go on where stdout takes nothing: its terminal is gone, or its disk is full.
 * What was not written is tried again with the next entry, and dropped above the bound. Without a
 * listener the error would end the server, and `flushSync`, which pino calls for a fatal entry and
 * at exit, tries for ever.
 */
function outliveStdout(stdout: ReturnType<typeof destination>): void {
  let isFailing = false;
  stdout.on('error', () => (isFailing = true));
  stdout.on('write', () => (isFailing = false));
  const flushSync = stdout.flushSync.bind(stdout);
  stdout.flushSync = () => {
    if (!isFailing) flushSync();
  };
}

/** What the library tells this program. */
export function hooksOf(
  log: Logger,
  counters: Pick<Counters, 'server_log_suppressed_total'>,
): Pick<Hooks, 'onError' | 'onRefusal' | 'onWarning'> {
  return {
    onError: throttle<unknown>(
      FAULT_LOG_MS,
      (err, suppressed) =>
        log.error(
          { err, ...(suppressed === 0 ? {} : { suppressed }) },
          'internal error; the server goes on',
        ),
      counters,
    ),
    onWarning: (words) => log.warn(words),
    onRefusal: refusalLog(log, counters),
  };
}
