/** `holdline serve --workers N`: several processes, and this one, which supervises them. */
import process from 'node:process';
import { makeCounters } from '../counters.js';
import { asError } from '../errors.js';
import { workersOf, type CommandLine } from '../options/command-line.js';
import type { Settings } from '../options/table.js';
import { EXIT_DONE, EXIT_FAILED } from '../terminal.js';
import { openWorkers, WorkerFailed } from '../workers/start.js';
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
  const opening = openWorkers({
    args: ['serve', ...args],
    settings,
    count,
    env: process.env,
    counters,
    say: (level, words, facts) => log[level](facts, words),
  });
  const workers = await Promise.race([opening, signalled]);
  if (typeof workers === 'string') {
    opening.catch(() => {});
    log.info({ signal: workers }, 'ended before it listened');
    await closeLog();
    return EXIT_DONE;
  }
  const { supervisor, close } = workers;
  const serving = supervisor.start().then((facts) => {
    reload = reloadingWorkers(workers, settings, parse, log);
    sayListening(log, settings, madeKey, { ...facts, workers: count });
    return supervisor.failed;
  });
  let exitCode = EXIT_DONE;
  // The first of them serve while others start: all that follows is for them, too.
  const signal = await Promise.race([signalled, serving]).catch((error: unknown) => {
    if (error instanceof WorkerFailed) {
      // It has said why.
      exitCode = error.exitCode ?? EXIT_FAILED;
    } else {
      exitCode = EXIT_FAILED;
      log.fatal(asError(error).message);
    }
    return undefined;
  });
  await endInOrder(signal, {
    log,
    closeLog,
    onNext,
    drainMs: signal === undefined ? 0 : settings.drainMs,
    drain: (drainMs) => supervisor.drain(drainMs),
    kill: () => supervisor.kill(),
  });
  await close();
  onNext(() => {});
  log.info('closed');
  await closeLog();
  return exitCode;
}
