/**
 * What SIGHUP does: the configuration is read again, and the server runs on with it, in one process
 * or in several.
 */
import type { Logger } from 'pino';
import { asError } from '../errors.js';
import { readRegularFile } from '../linux/files.js';
import { cautions } from '../options/cautions.js';
import type { CommandLine } from '../options/command-line.js';
import { reloadSettings, type RunningSettings } from '../options/reload.js';
import type { Settings } from '../options/table.js';
import type { Server } from '../server/api.js';
import type { MadeOpsKey } from './ops-key.js';

export interface ReloadParts {
  /** What the server runs with now. */
  readonly settings: RunningSettings;
  readonly madeKey: MadeOpsKey;
  readonly parse: (readFile: (path: string) => string) => CommandLine;
  readonly log: Logger;
  /**
   * Lets the server run with other settings; resolves when it does. Throws for those that cannot be
   * used, and then nothing has changed.
   */
  readonly use: (settings: RunningSettings) => void | Promise<void>;
}

/** What reads the configuration again, and lets the server run with it. Never rejects. */
export function reloading({
  settings,
  madeKey,
  parse,
  log,
  use,
}: ReloadParts): () => Promise<void> {
  let running = settings;
  return async () => {
    const before = running;
    try {
      const read = madeKey.addTo(parse(readRegularFile).settings);
      const { settings: next, changed, ignored } = reloadSettings(before, read);
      const used = use(next);
      // At once, since the next signal may come before all processes run with it.
      running = next;
      await used;
      log.info({ changed }, 'reloaded');
      madeKey.sayIfUsed(log, next);
      const known = cautions(before);
      for (const caution of cautions(next)) if (!known.includes(caution)) log.warn(caution);
      if (ignored.length > 0) log.warn(`changed, and needs a restart: ${ignored.join(', ')}`);
    } catch (error) {
      log.error(`not reloaded, what was read before counts on: ${asError(error).message}`);
    }
  };
}

/**
 * Reads the files of the certificate again. Apart from the rest: where a certificate is bad, a key
 * that is to go is gone all the same.
 */
export async function reloadCertificate(
  server: Pick<Server, 'changeCertificate'>,
  { tlsCert, tlsKey }: Settings,
  log: Pick<Logger, 'error'>,
): Promise<void> {
  if (tlsCert === undefined || tlsKey === undefined) return;
  try {
    await server.changeCertificate({ tlsCert, tlsKey });
  } catch (error) {
    log.error(`certificate not reloaded, the one before is served on: ${asError(error).message}`);
  }
}
