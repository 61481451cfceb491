/**
 * What SIGHUP does: the configuration is read again, and the server runs on with it, in one process
 * or in several.
 */
import { asError } from '../errors.js';
import type { Logger } from 'pino';
import { readRegularFile } from '../linux/files.js';
import { cautions } from '../options/cautions.js';
import type { CommandLine } from '../options/command-line.js';
import { reloadSettings } from '../options/reload.js';
import type { Settings } from '../options/table.js';
import type { Server } from '../server/api.js';
import type { Workers } from '../workers/start.js';

/** Reads the configuration again, and lets the server run with it. */
export async function reloading(
  server: Server,
  settings: Settings,
  madeKey: string | undefined,
  parse: (readFile: (path: string) => string) => CommandLine,
  log: Logger,
): Promise<() => void> {
  const { reloadServer } = await import('../server/server.js');
  let running = settings;
  return () => {
    try {
      const read = parse(readRegularFile).settings;
      const next = reloadSettings(running, { ...read, opsKey: read.opsKey ?? madeKey });
      reloadServer(server, next.settings);
      log.info({ changed: next.changed }, 'reloaded');
      const known = cautions(running);
      for (const caution of cautions(next.settings))
        if (!known.includes(caution)) log.warn(caution);
      running = next.settings;
      void reloadCertificate(server, running, log);
      if (next.ignored.length > 0)
        log.warn(`changed, and needs a restart: ${next.ignored.join(', ')}`);
    } catch (error) {
      sayNotReloaded(error, log);
    }
  };
}

/**
 * The same for the process that supervises others: the log is its own, and each of them reads the
 * rest, unless there is a mistake in it.
 */
export function reloadingWorkers(
  { supervisor, usePolicies }: Pick<Workers, 'supervisor' | 'usePolicies'>,
  settings: Settings,
  parse: (readFile: (path: string) => string) => CommandLine,
  log: Logger,
): () => void {
  return () => {
    try {
      const read = parse(readRegularFile).settings;
      usePolicies(reloadSettings(settings, read).settings.policies);
      supervisor.reload();
    } catch (error) {
      sayNotReloaded(error, log);
    }
  };
}

function sayNotReloaded(error: unknown, log: Logger): void {
  log.error(`not reloaded, what was read before counts on: ${asError(error).message}`);
}

/**
 * Reads the files of the certificate again. Apart from the rest: where a certificate is bad, a key
 * that is to go is gone all the same.
 */
async function reloadCertificate(
  server: Server,
  { tlsCert, tlsKey }: Settings,
  log: Logger,
): Promise<void> {
  if (tlsCert === undefined || tlsKey === undefined) return;
  try {
    await server.changeCertificate({ tlsCert, tlsKey });
  } catch (error) {
    log.error(`certificate not reloaded, the one before is served on: ${asError(error).message}`);
  }
}
