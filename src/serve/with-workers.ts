/** `holdline serve --workers N`: several processes, and this one, which supervises them. */
import process from 'node:process';
import { makeCounters } from '../counters.js';
import { asError } from '../errors.js';
import { workersOf, type CommandLine } from '../options/command-line.js';
import type { RunningSettings } from '../options/reload.js';
import { EXIT_DONE, EXIT_FAILED } from '../terminal.js';
import { openWorkers, WorkerFailed } from '../workers/start.js';
import { sayListening } from './announcement.js';
import { endInOrder, signals } from './ending.js';
import type { MadeOpsKey } from './ops-key.js';
import { openLog } from './program-log.js';
import { reloading } from './reloading.js';

/** Supervises N processes of this command until a signal ends it. */
export async function serveWithWorkers(
  commandLine: CommandLine,
  settings: RunningSettings,
  madeKey: MadeOpsKey,
  parse: (readFile: (path: string) => string) => CommandLine,
): Promise<number> {
  const counters = makeCounters();
  const { log, closeLog } = openLog(commandLine, counters);
  const count = workersOf(commandLine.workers);
  let reload = (): unknown => log.warn('not reloaded: the server does not listen yet');
  // From here on, since process 1 of a container would hear no signal without a handler.
  const { signalled, onNext } = signals(() => void reload());
  process.on('uncaughtException', (error) => {
    log.fatal(error, 'internal error; the server ends');
    process.exit(EXIT_FAILED);
  });
  const opening = openWorkers({
    settings,
    logLevel: commandLine.logLevel,
    logFormat: commandLine.logFormat,
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
  const { supervisor, use, close } = workers;
  const serving = supervisor.start().then((facts) => {
    reload = reloading({ commandLine, settings, madeKey, parse, log, use });
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
