/**
 * Settings from options: checks the values, fills in the defaults, and checks what one option or
 * the machine allows another.
 */

import { HoldlineError } from '../errors.js';
import { RESERVED_FILES, SPARE_SOCKETS_MAX } from '../limits.js';
import { readFileLimit } from '../linux/file-limit.js';
import { checkLog } from './log-settings.js';
import type { Options } from './options.js';
import { authorityOf, isLoopback } from './place-kinds.js';
import { badOption, unknownOption } from './refusals.js';
import {
  CONNECTIONS_MAX,
  connectionsOf,
  connectionsUnder,
  OPTIONS,
  type OptionRow,
  type SettingName,
  type Settings,
} from './table.js';

/** An accepted value, or undefined for the default, and the name of the option at its source. */
export interface Given {
  readonly value: unknown;
  /** `--port`, `HOLDLINE_PORT`, `port`. */
  readonly name: string;
}

/** Settings from the options of the library's caller. Throws HOLDLINE_BAD_OPTION. */
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
 * Settings from what was given and defaults for the rest; `fileLimit` is that of each of so many
 * processes. Throws HOLDLINE_BAD_OPTION.
 */
export function settle(
  givenFor: (setting: SettingName) => Given,
  fileLimit: number | undefined,
  processes = 1,
): Settings {
  const values: Record<string, unknown> = {};
  const names = {} as Record<SettingName, string>;
  for (const setting of Object.keys(OPTIONS) as SettingName[]) {
    const given = givenFor(setting);
    const row: OptionRow = OPTIONS[setting];
    values[setting] =
      given.value ??
      (row.default === connectionsUnder ? connectionsUnder(fileLimit, processes) : row.default);
    names[setting] = given.name;
  }
  const settings = values as unknown as Settings;
  if (givenFor('allowOrigin').value === undefined && isDemoOfThisMachine(settings))
    values['allowOrigin'] = ['*'];
  checkRelations(settings, names, fileLimit, processes);
  checkPlaces(settings, names);
  checkLog(settings, names);
  return Object.freeze(settings);
}

/** True where tokens are accepted. */
export function takesTokens({ jwtSecret, jwtPublicKey, jwtJwks }: Settings): boolean {
  return jwtSecret !== undefined || jwtPublicKey !== undefined || jwtJwks !== undefined;
}

/** The settings that may say who reads. */
export type SubscribeRules = Pick<
  Settings,
  'jwtJwks' | 'jwtPublicKey' | 'jwtSecret' | 'keys' | 'policies' | 'ticketSecret'
>;

/** True if anything says who may read: then a channel is closed unless something opens it. */
export function hasSubscribeRule(settings: SubscribeRules): boolean {
  const { jwtSecret, jwtPublicKey, jwtJwks, ticketSecret, keys, policies } = settings;
  return (
    (jwtSecret ?? jwtPublicKey ?? jwtJwks) !== undefined ||
    ticketSecret.length > 0 ||
    keys.some(({ subscribe }) => subscribe !== undefined && subscribe.length > 0) ||
    policies.some(({ read }) => read === 'token')
  );
}

/** True if nobody may publish over the network, whatever is shown. */
export function isPublishingOff(settings: Settings): boolean {
  const { openPublish, publishKey, jwtSecret, jwtPublicKey, jwtJwks, keys } = settings;
  const key = publishKey ?? jwtSecret ?? jwtPublicKey ?? jwtJwks;
  return !openPublish && key === undefined && keys.every(({ publish = [] }) => publish.length < 1);
}

/**
 * True for a server to try things with, as `npm start` runs it: what people publish to it is theirs
 * to see, so that an example works when it is pasted into a page of another port, or into a file.
 * Every page may listen then, also one of a website that is visited meanwhile; none may publish
 * (http/origins.ts). Not where other Host names are served, since then others reach it, too.
 */
export function isDemoOfThisMachine({ demo, openPublish, host, allowedHosts }: Settings): boolean {
  return demo && openPublish && isLoopback(host) && allowedHosts.length === 0;
}

/** Bounds that one option, or the machine, sets to another. Throws HOLDLINE_BAD_OPTION. */
export function checkRelations(
  settings: Settings,
  names: Record<SettingName, string>,
  fileLimit: number | undefined,
  processes = 1,
): void {
  const carried = fileLimit === undefined ? CONNECTIONS_MAX : connectionsOf(fileLimit, processes);
  if (settings.maxConnections > carried) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `${names.maxConnections} must be at most ${Math.max(carried, 0)} ` +
        `(got ${settings.maxConnections}): of the file limit of ${fileLimit}` +
        (processes === 1 ? ' ' : ` of each of ${processes} workers `) +
        `${RESERVED_FILES} files are kept for the process and ${SPARE_SOCKETS_MAX} for clients ` +
        'that are told to come back; raise it with ulimit -n or LimitNOFILE=',
    );
  }
  if (settings.publishKey !== undefined && settings.openPublish) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `${names.publishKey} and ${names.openPublish} exclude each other: ` +
        'either clients with the key may publish or everyone',
    );
  }
  checkCredentials(settings, names);
  checkPolicies(settings, names);
  if (settings.replayBytes > settings.replayTotalBytes) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `${names.replayBytes} of one channel must be at most ${names.replayTotalBytes} of all ` +
        `(got ${OPTIONS.replayBytes.kind.toText(settings.replayBytes)} and ` +
        `${OPTIONS.replayTotalBytes.kind.toText(settings.replayTotalBytes)})`,
    );
  }
}

/**
 * What the options that say where to listen allow one another. A value that is the default counts
 * as not given, since the command line gives the library all settings.
 */
function checkPlaces(settings: Settings, names: Record<SettingName, string>): void {
  const { unixSocket, tlsCert, tlsKey, host, port, opsListen } = settings;
  const isSamePort = opsListen === authorityOf(host, port) && port !== 0;
  if (isSamePort && unixSocket === undefined) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `${names.opsListen} must be another address than that of ${names.host} and ${names.port} (got ${opsListen})`,
    );
  }
  const isGiven = (setting: SettingName): boolean => settings[setting] !== OPTIONS[setting].default;
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    const [given, missing] =
      tlsKey === undefined ? [names.tlsCert, names.tlsKey] : [names.tlsKey, names.tlsCert];
    throw new HoldlineError('HOLDLINE_BAD_OPTION', `${given} needs ${missing}`);
  }
  if (unixSocket === undefined) {
    if (isGiven('unixSocketMode')) {
      const problem = `${names.unixSocketMode} needs ${names.unixSocket}`;
      throw new HoldlineError('HOLDLINE_BAD_OPTION', problem);
    }
    return;
  }
  const other = (['host', 'port', 'tlsCert'] as const).find(isGiven);
  if (other !== undefined) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `${names.unixSocket} and ${names[other]} exclude each other: ` +
        'a unix socket takes the place of address and port, and TLS is left to the proxy',
    );
  }
}

/** Bounds of what a policy gives its channels. */
function checkPolicies(settings: Settings, names: Record<SettingName, string>): void {
  const { policies, replayTotalBytes } = settings;
  for (const { channels, replayBytes = 0 } of policies) {
    if (replayBytes <= replayTotalBytes) continue;
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `${names.policies}: replayBytes of "${channels}" must be at most ${names.replayTotalBytes} of all ` +
        `(got ${OPTIONS.replayBytes.kind.toText(replayBytes)} and ` +
        `${OPTIONS.replayTotalBytes.kind.toText(replayTotalBytes)})`,
    );
  }
}

/** Bounds among the options of credentials. */
function checkCredentials(settings: Settings, names: Record<SettingName, string>): void {
  const refuse = (words: string): HoldlineError => new HoldlineError('HOLDLINE_BAD_OPTION', words);
  const sources = (['jwtSecret', 'jwtPublicKey', 'jwtJwks'] as const).filter(
    (name) => settings[name] !== undefined,
  );
  if (sources.length > 1) {
    throw refuse(
      `${sources.map((name) => names[name]).join(' and ')} exclude each other: ` +
        'tokens are checked with one secret, one public key or the keys of one URL',
    );
  }
  for (const name of ['jwtAudience', 'jwtIssuer'] as const) {
    if (settings.jwtJwks !== undefined && settings[name] === undefined) {
      throw refuse(
        `${names.jwtJwks} needs ${names[name]}: the keys of an issuer sign tokens for others, too`,
      );
    }
    if (settings[name] !== undefined && sources.length === 0) {
      throw refuse(
        `${names[name]} needs ${names.jwtSecret}, ${names.jwtPublicKey} or ${names.jwtJwks}`,
      );
    }
  }
  if (settings.authCookie !== undefined && !takesTokens(settings) && settings.keys.length === 0) {
    throw refuse(`${names.authCookie} needs tokens or ${names.keys} that the cookie could hold`);
  }
  if (hasSubscribeRule(settings) && !hasSubscribeRule({ ...settings, policies: [] })) {
    throw refuse(
      `${names.policies}: nobody could read where read is "token": ` +
        `it needs tokens, ${names.ticketSecret}, or ${names.keys} with subscribe`,
    );
  }
}
