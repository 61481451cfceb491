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
  /** What the server began with, and what it runs with now. */
  readonly commandLine: CommandLine;
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
  commandLine,
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
      const parsed = parse(readRegularFile);
      const read = madeKey.addTo(parsed.settings);
      const { settings: next, changed, ignored } = reloadSettings(before, read);
      const used = use(next);
      // At once, since the next signal may come before all processes run with it.
      running = next;
      await used;
      log.info({ changed }, 'reloaded');
      madeKey.sayIfUsed(log, next);
      const known = cautions(before);
      for (const caution of cautions(next)) if (!known.includes(caution)) log.warn(caution);
      const waiting = [...givenOf(ignored, commandLine, parsed), ...ofProcess(commandLine, parsed)];
      if (waiting.length > 0) log.warn(`changed, and needs a restart: ${waiting.join(', ')}`);
    } catch (error) {
      log.error(`not reloaded, what was read before counts on: ${asError(error).message}`);
    }
  };
}

/** Those of the flags that were given: a default may depend on another option. */
function givenOf(flags: readonly string[], ...lines: readonly CommandLine[]): readonly string[] {
  const given = new Set(
    lines.flatMap(({ entries }) =>
      entries.filter(({ source }) => source !== 'default').map(({ name }) => `--${name}`),
    ),
  );
  return flags.filter((flag) => given.has(flag));
}

/** Flags of options that are no settings of the server and have changed since it began. */
function ofProcess(began: CommandLine, read: CommandLine): readonly string[] {
  const flags: string[] = [];
  if (read.workers !== began.workers) flags.push('--workers');
  if (read.logLevel !== began.logLevel) flags.push('--log-level');
  if (read.logFormat !== began.logFormat) flags.push('--log-format');
  return flags;
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
