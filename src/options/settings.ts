/**
 * Settings from options: checks the values, fills in the defaults, and checks what one option or
 * the machine allows another.
 */

import { HoldlineError } from '../errors.js';
import { RESERVED_FILES, SPARE_SOCKETS_MAX } from '../limits.js';
import { readFileLimit } from '../linux/file-limit.js';
import { badOption, unknownOption } from './refusals.js';
import {
  CONNECTIONS_MAX,
  connectionsUnder,
  OPTIONS,
  type OptionRow,
  type Options,
  type SettingName,
  type Settings,
} from './table.js';

/**
 * What was given for an option: an accepted value, or undefined for its default, and the option's
 * name where it is given.
 */
export interface Given {
  readonly value: unknown;
  /** `--port`, `HOLDLINE_PORT`, `port`. */
  readonly name: string;
}

/**
 * Checks the options of a library's caller and fills in the defaults. Throws HOLDLINE_BAD_OPTION.
 */
export function resolveOptions(
  options: Options = {},
  fileLimit: number | undefined = readFileLimit(),
): Settings {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw badOption('options', options, 'an object with settings by name');
  }
  const known = Object.keys(OPTIONS);
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(OPTIONS, name))
      throw unknownOption(name, known, `the settings are ${known.join(', ')}`);
  }
  return settle((setting) => {
    const given: unknown = options[setting];
    if (given === undefined) return { value: undefined, name: setting };
    const row: OptionRow = OPTIONS[setting];
    const value = row.kind.read(given);
    if (value === undefined) throw badOption(setting, given, row.kind.acceptedValue, row.secret);
    return { value, name: setting };
  }, fileLimit);
}

/**
 * Settings from what was given and the defaults for the rest, with the relations between them
 * checked.
 */
export function settle(
  givenFor: (setting: SettingName) => Given,
  fileLimit: number | undefined,
): Settings {
  const values: Record<string, unknown> = {};
  const names = {} as Record<SettingName, string>;
  for (const setting of Object.keys(OPTIONS) as SettingName[]) {
    const given = givenFor(setting);
    const row: OptionRow = OPTIONS[setting];
    values[setting] =
      given.value ?? (row.default === connectionsUnder ? connectionsUnder(fileLimit) : row.default);
    names[setting] = given.name;
  }
  const settings = Object.freeze(values) as unknown as Settings;
  checkRelations(settings, names, fileLimit);
  return settings;
}

/** Bounds that one option sets to another, or the machine to an option. */
function checkRelations(
  settings: Settings,
  names: Record<SettingName, string>,
  fileLimit: number | undefined,
): void {
  const carried =
    fileLimit === undefined ? CONNECTIONS_MAX : fileLimit - RESERVED_FILES - SPARE_SOCKETS_MAX;
  if (settings.maxConnections > carried) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `${names.maxConnections}: ${settings.maxConnections} is more than the file limit of ${fileLimit} carries, which is ${Math.max(carried, 0)} ` +
        `(${RESERVED_FILES} files are kept for the process, ${SPARE_SOCKETS_MAX} for clients that are told to come back): ` +
        'raise the file limit (ulimit -n, LimitNOFILE=) or ask for fewer',
    );
  }
  if (settings.publishKey !== undefined && settings.openPublish) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `${names.publishKey} and ${names.openPublish}: who may publish is either whoever has the key or everyone; give one of them`,
    );
  }
  if (settings.replayBytes > settings.replayTotalBytes) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `${names.replayBytes}: ${OPTIONS.replayBytes.kind.toText(settings.replayBytes)} for one channel is more than the ` +
        `${OPTIONS.replayTotalBytes.kind.toText(settings.replayTotalBytes)} that all channels keep together (${names.replayTotalBytes}): raise that or ask for less`,
    );
  }
}
