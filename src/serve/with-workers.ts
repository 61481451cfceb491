/** `holdline serve --workers N`: several processes, and this one, which supervises them. */
import process from 'node:process';
import { makeCounters } from '../counters.js';
import { asError } from '../errors.js';
import { workersOf, type CommandLine } from '../options/command-line.js';
import type { Settings } from '../options/table.js';
import { EXIT_DONE, EXIT_FAILED } from '../terminal.js';
import { startWorkers, WorkerFailed } from '../workers/start.js';
import { sayListening } from './announcement.js';
import { endInOrder, signals } from './ending.js';
import { openLog } from './program-log.js';
import { reloadingWorkers } from './reloading.js';

/** Supervises N processes of this command until a signal ends it. */
export async function serveWithWorkers(
  args: readonly string[],
  commandLine: CommandLine,
  settings: Settings,
  madeKey: string | undefined,
  parse: (readFile: (path: string) => string) => CommandLine,
): Promise<number> {
  const counters = makeCounters();
  const { log, closeLog } = openLog(commandLine, counters);
  const count = workersOf(commandLine.workers);
  let reload = (): void => log.warn('not reloaded: the server does not listen yet');
  // From here on, since process 1 of a container would hear no signal without a handler.
  const { signalled, onNext } = signals(() => reload());
  process.on('uncaughtException', (error) => {
    log.fatal(error, 'internal error; the server ends');
    process.exit(EXIT_FAILED);
  });
  const starting = startWorkers({
    args: ['serve', ...args],
    settings,
    count,
    env: process.env,
    counters,
    say: (level, words, facts) => log[level](facts, words),
  });
  const started = await Promise.race([starting, signalled]).catch(async (error: unknown) => {
    if (!(error instanceof WorkerFailed)) throw error;
    // It has said why.
    await closeLog();
    return process.exit(error.exitCode ?? EXIT_FAILED);
  });
  if (typeof started === 'string') {
    starting.catch(() => {});
    log.info({ signal: started }, 'ended before it listened');
    await closeLog();
    // Workers that have started end with this process.
    return EXIT_DONE;
  }
  const { supervisor, facts, close } = started;
  reload = reloadingWorkers(started, settings, parse, log);
  sayListening(log, settings, madeKey, { ...facts, workers: count });

  const ended = await Promise.race([signalled, supervisor.failed]).catch((error: unknown) => {
    log.fatal(asError(error).message);
    return undefined;
  });
  await endInOrder(ended, {
    log,
    closeLog,
    onNext,
    drainMs: ended === undefined ? 0 : settings.drainMs,
    drain: (drainMs) => supervisor.drain(drainMs),
    kill: () => supervisor.kill(),
  });
  await close();
  onNext(() => {});
  log.info('closed');
  await closeLog();
  return ended === undefined ? EXIT_FAILED : EXIT_DONE;
}
