/** Settings that a running server takes over when its configuration is read again. */

import { placeOf } from './log-kinds.js';
import { RETENTION } from './log-settings.js';
import { checkRelations, isDemoOfThisMachine } from './settings.js';
import { OPTIONS, type OptionRow, type SettingName, type Settings } from './table.js';

/** Credentials, what they are needed for, and certificates. Nearly all others need a start. */
const RELOADED = [
  'publishKey',
  'openPublish',
  'keys',
  'jwtSecret',
  'jwtPublicKey',
  'jwtJwks',
  'jwtAudience',
  'jwtIssuer',
  'authCookie',
  'ticketSecret',
  'openSubscribe',
  // Who may read and what a log keeps, at once; what a ring holds, for channels that are made from
  // now on.
  'policies',
  'opsKey',
  'allowedHosts',
  // The files, whose contents are read again in any case. TLS neither begins nor ends.
  'tlsCert',
  'tlsKey',
] as const satisfies readonly SettingName[];

const FLAGS = Object.fromEntries(
  Object.entries<OptionRow>(OPTIONS).map(([name, { flag }]) => [name, `--${flag}`]),
) as Record<SettingName, string>;

/** What a server runs with: an ops key is given, or made. */
export type RunningSettings = Settings & { readonly opsKey: string };

/** What comes of settings that were read again. */
export interface Reloaded<Some extends Settings> {
  /** What the server runs with from now on. */
  readonly settings: Some;
  /** Flags of the options that have changed. */
  readonly changed: readonly string[];
  /** Those of options that have changed and need a restart. */
  readonly ignored: readonly string[];
}

/**
 * Takes from `read` what may change while a server runs with `running`. Throws HOLDLINE_BAD_OPTION
 * where that does not go with what may not.
 */
export function reloadSettings<Some extends Settings>(running: Some, read: Some): Reloaded<Some> {
  const settings: Record<string, unknown> = { ...running };
  const changed: string[] = [];
  const ignored: string[] = [];
  const isOnDisk = placeOf(running.log).kind === 'lmdb';
  for (const [name, row] of Object.entries<OptionRow>(OPTIONS)) {
    const setting = name as SettingName;
    const isTaken =
      (RELOADED.some((one) => one === setting) ||
        // A stream of NATS has bounds of its own.
        (isOnDisk && RETENTION.some((one) => one === setting)) ||
        // The demo lets every page listen while others do not reach it, and no longer.
        (setting === 'allowOrigin' &&
          isDemoOfThisMachine(running) &&
          !isDemoOfThisMachine(read))) &&
      (!(setting === 'tlsCert' || setting === 'tlsKey') || hasTls(running) === hasTls(read));
    if (JSON.stringify(read[setting]) === JSON.stringify(running[setting])) continue;
    (isTaken ? changed : ignored).push(`--${row.flag}`);
    if (isTaken) settings[setting] = read[setting];
  }
  const taken = Object.freeze(settings) as unknown as Some;
  // The file limit was asked when it began.
  checkRelations(taken, FLAGS, undefined);
  return { settings: taken, changed, ignored };
}

function hasTls({ tlsCert }: Settings): boolean {
  return tlsCert !== undefined;
}
