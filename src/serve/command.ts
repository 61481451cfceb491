/**
 * `holdline serve`: reads its configuration, and runs a server in this process, or in several,
 * until a signal ends it.
 */
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { makeCounters } from '../counters.js';
import { DRAIN_PROGRESS_MS } from '../limits.js';
import { readFileLimit } from '../linux/file-limit.js';
import { readAnyFile } from '../linux/files.js';
import {
  configTable,
  parseCommandLine,
  workersOf,
  type CommandLine,
} from '../options/command-line.js';
import type { RunningSettings } from '../options/reload.js';
import { complain, EXIT_DONE, EXIT_FAILED } from '../terminal.js';
import { isWorkerProcess } from '../worker-variable.js';
import { sayListening } from './announcement.js';
import { endInOrder, signals } from './ending.js';
import { MadeOpsKey } from './ops-key.js';
import { hooksOf, openLog } from './program-log.js';
import { reloadCertificate, reloading } from './reloading.js';

/** `holdline serve`: listens until a signal ends it. */
export async function serve(args: readonly string[]): Promise<number> {
  const { env } = process;
  if (isWorkerProcess(env)) return (await import('./as-worker.js')).serveAsWorker();
  const parse = (readFile: (path: string) => string): CommandLine =>
    parseCommandLine(args, { env, fileLimit: readFileLimit(), readFile });
  const commandLine = parse(readAnyFile);
  for (const warning of commandLine.warnings) complain(`warning: ${warning}`);
  if (commandLine.printConfig) {
    process.stdout.write(configTable(commandLine.entries));
    return EXIT_DONE;
  }

  // What a line keeps on V8's heap is small and lives long, so a young generation that grows with
  // the number of accepts (to 16 MB and more) only costs memory, about 280 B a line.
  setFlagsFromString('--semi-space-growth-factor=1');

  const madeKey = new MadeOpsKey();
  const settings = madeKey.addTo(commandLine.settings);
  if (workersOf(commandLine.workers) > 1) {
    const { serveWithWorkers } = await import('./with-workers.js');
    return serveWithWorkers(commandLine, settings, madeKey, parse);
  }
  const counters = makeCounters();
  const { log, closeLog } = openLog(commandLine, counters);
  const { createCountingServer, reloadServer } = await import('../server/server.js');
  const server = createCountingServer({ ...settings, ...hooksOf(log, counters) }, counters);
  let reload = (): unknown => log.warn('not reloaded: the server does not listen yet');
  // From here on, since the log may take its time to open, and process 1 of a container would hear
  // no signal without a handler.
  const { signalled, onNext } = signals(() => void reload());
  if (settings.log !== 'memory') log.info({ log: settings.log }, 'opening the log');
  const listening = server.listen();
  const address = await Promise.race([listening, signalled]);
  if (typeof address === 'string') {
    listening.catch(() => {});
    log.info({ signal: address }, 'ended before it listened');
    onNext(() => void closeLog().then(() => process.exit(EXIT_FAILED)));
    await server.close({ drainMs: 0 });
    await closeLog();
    return EXIT_DONE;
  }

  process.on('uncaughtException', (error) => {
    log.fatal(error, 'internal error; the server ends');
    process.exit(EXIT_FAILED);
  });
  const use = (next: RunningSettings): void => {
    reloadServer(server, next);
    void reloadCertificate(server, next, log);
  };
  reload = reloading({ commandLine, settings, madeKey, parse, log, use });
  const { build, sockets } = server.stats();
  sayListening(log, settings, madeKey, { address, build, problems: sockets.problems });

  const signal = await signalled;
  const progress = setInterval(() => {
    const { open } = server.stats().lines;
    log.info({ lines: open }, 'draining');
  }, DRAIN_PROGRESS_MS);
  await endInOrder(signal, {
    log,
    closeLog,
    onNext,
    drainMs: settings.drainMs,
    drain: (drainMs) => server.close({ drainMs }),
  });
  clearInterval(progress);
  onNext(() => {});
  log.info('closed');
  await closeLog();
  return EXIT_DONE;
}
