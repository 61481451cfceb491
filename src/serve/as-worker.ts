/** One of the processes of `holdline serve --workers N`. */
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { makeCounters } from '../counters.js';
import { authorityOf, splitHostAndPort } from '../options/place-kinds.js';
import type { Settings } from '../options/table.js';
import { EXIT_DONE, EXIT_FAILED } from '../terminal.js';
import { hooksOf, openLog } from './program-log.js';
import { reloadCertificate } from './reloading.js';

/**
 * Serves until its supervisor ends it, or is gone. It reads no configuration: one that has changed
 * or has a mistake in it meanwhile would make it differ from the others. Its supervisor says what
 * it runs with.
 */
export async function serveAsWorker(): Promise<number> {
  setFlagsFromString('--semi-space-growth-factor=1');
  const { Parent } = await import('../workers/parent.js');
  let sayGone = (_reason: string): void => {};
  const parent = await Parent.connect((reason) => {
    sayGone(reason);
    process.exit(EXIT_FAILED);
  });
  const { welcome } = parent;
  const counters = makeCounters();
  const { log: plainLog, closeLog } = openLog(welcome, counters);
  const log = plainLog.child({ worker: welcome.place });
  sayGone = (reason) => log.fatal({ reason }, 'the worker has lost its supervisor and ends');
  const { createWorkerServer, reloadServer } = await import('../server/server.js');
  const { settings } = parent;
  const options = { ...settings, ...placesOfWorker(settings, welcome), ...hooksOf(log, counters) };
  const server = createWorkerServer(options, counters, parent);
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
  const reload = (): void => {
    reloadServer(server, parent.settings);
    void reloadCertificate(server, parent.settings, log);
  };
  parent.onReload = reload;
  // The configuration may have been read again while it began to listen.
  if (parent.settings !== settings) reload();
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
  { opsListen }: Settings,
  { port, opsPort }: { readonly port: number; readonly opsPort?: number | undefined },
): Partial<Settings> {
  const ops = opsListen === undefined ? undefined : splitHostAndPort(opsListen);
  return {
    port,
    ...(ops !== undefined &&
      opsPort !== undefined && { opsListen: authorityOf(ops.host, opsPort) }),
  };
}
