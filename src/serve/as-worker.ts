/** One of the processes of `holdline serve --workers N`. */
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { makeCounters } from '../counters.js';
import type { CommandLine } from '../options/command-line.js';
import { authorityOf, splitHostAndPort } from '../options/place-kinds.js';
import type { Settings } from '../options/table.js';
import { EXIT_DONE, EXIT_FAILED } from '../terminal.js';
import { hooksOf, openLog } from './program-log.js';
import { reloading } from './reloading.js';

/** Serves until its supervisor ends it, or is gone. */
export async function serveAsWorker(
  commandLine: CommandLine,
  parse: (readFile: (path: string) => string) => CommandLine,
): Promise<number> {
  setFlagsFromString('--semi-space-growth-factor=1');
  const counters = makeCounters();
  const { log: plainLog, closeLog } = openLog(commandLine, counters);
  const { Parent } = await import('../workers/parent.js');
  const parent = await Parent.connect((reason) => {
    plainLog.fatal({ reason }, 'the worker has lost its supervisor and ends');
    process.exit(EXIT_FAILED);
  });
  const { opsKey, place } = parent.welcome;
  const log = plainLog.child({ worker: place });
  const settings: Settings = {
    ...commandLine.settings,
    opsKey,
    ...placesOfWorker(commandLine, parent),
  };
  const { createWorkerServer } = await import('../server/server.js');
  const server = createWorkerServer({ ...settings, ...hooksOf(log, counters) }, counters, parent);
  parent.onReload = await reloading(server, settings, opsKey, parse, log);
  const end = new Promise<void>((resolve, reject) => {
    const close = (drainMs: number): void => {
      server.close({ drainMs }).then(resolve, reject);
    };
    parent.onDrain = close;
    // A signal to all of a group, or of a terminal, is for the supervisor, which passes it on.
    process.on('SIGINT', () => {});
    process.on('SIGHUP', () => {});
    // To this process alone it is the wish that another one takes its place.
    process.on('SIGTERM', () => {
      parent.leaves();
      close(settings.drainMs);
    });
  });
  const address = await server.listen();
  process.on('uncaughtException', (error) => {
    log.fatal(error, 'internal error; the worker ends');
    process.exit(EXIT_FAILED);
  });
  const { build, sockets } = server.stats();
  parent.listens({ address, build, problems: sockets.problems });
  await end;
  await closeLog();
  return EXIT_DONE;
}

/** Where a worker listens: where its supervisor says. */
function placesOfWorker(
  { settings }: CommandLine,
  {
    welcome: { port, opsPort },
  }: { readonly welcome: { readonly port: number; readonly opsPort: number | undefined } },
): Partial<Settings> {
  const { opsListen } = settings;
  const ops = opsListen === undefined ? undefined : splitHostAndPort(opsListen);
  return {
    port,
    ...(ops !== undefined &&
      opsPort !== undefined && { opsListen: authorityOf(ops.host, opsPort) }),
  };
}
