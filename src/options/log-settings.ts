/** What the options of the log allow one another, and what an operator should know about them. */
import { HoldlineError } from '../errors.js';
import { placeOf } from './log-kinds.js';
import { isLoopback } from './place-kinds.js';
import { OPTIONS, type OptionRow, type SettingName, type Settings } from './table.js';

const LMDB_ONLY = ['durability', 'logBallastBytes'] as const;
const NATS_ONLY = [
  'natsStream',
  'natsPrefix',
  'natsReplicas',
  'natsCreds',
  'natsUser',
  'natsPassword',
  'natsToken',
  'natsTlsCa',
] as const;
/** Each is a way to sign in at NATS. */
const WAYS_IN = ['natsCreds', 'natsToken', 'natsUser'] as const;
/** What a log keeps at most. */
export const RETENTION = ['logEvents', 'logBytes', 'logAgeMs'] as const;

/** How NATS is entered. */
type Access = 'natsPassword' | (typeof WAYS_IN)[number];

/** Throws HOLDLINE_BAD_OPTION for options of the log that exclude or need one another. */
export function checkLog(
  settings: Pick<Settings, Access>,
  names: Readonly<Record<Access, string>>,
): void {
  const { natsUser, natsPassword } = settings;
  if ((natsUser === undefined) !== (natsPassword === undefined)) {
    const [given, missing] =
      natsUser === undefined
        ? [names.natsPassword, names.natsUser]
        : [names.natsUser, names.natsPassword];
    throw new HoldlineError('HOLDLINE_BAD_OPTION', `${given} needs ${missing}`);
  }
  const [one, other] = WAYS_IN.filter((name) => settings[name] !== undefined);
  if (one !== undefined && other !== undefined) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `${names[one]} and ${names[other]} exclude each other: a server signs in once`,
    );
  }
}

/** Warnings about the options of the log, one sentence each. */
export function logCautions(settings: Settings): string[] {
  const place = placeOf(settings.log);
  const { kind } = place;
  const withoutEffect = [
    ...(kind === 'memory' ? RETENTION : []),
    ...(kind === 'lmdb' ? [] : LMDB_ONLY),
    ...(kind === 'nats' ? [] : NATS_ONLY),
  ].filter((name) => settings[name] !== OPTIONS[name].default);
  const wanted = (name: SettingName): string =>
    LMDB_ONLY.some((one) => one === name)
      ? 'an lmdb log'
      : NATS_ONLY.some((one) => one === name)
        ? 'a nats log'
        : 'a log that keeps events';
  const keeps = settings.policies.some(
    ({ keepEvents, keepBytes, keepAge }) => (keepEvents ?? keepBytes ?? keepAge) !== undefined,
  );
  const isUnbounded = RETENTION.every((name) => settings[name] === 0);
  return [
    ...withoutEffect.map(
      (name) =>
        `--${(OPTIONS[name] as OptionRow).flag} has no effect without ${wanted(name)}: --log`,
    ),
    ...(keeps && kind !== 'lmdb'
      ? [
          'keepEvents, keepBytes and keepAge of --policies have no effect without an lmdb log: --log',
        ]
      : []),
    ...(kind !== 'memory' && isUnbounded
      ? ['the log grows until its disk is full: --log-events, --log-bytes and --log-age are all 0']
      : []),
    ...(kind === 'lmdb' && settings.durability === 'async'
      ? ['a power loss may take the events that were acknowledged last (--durability async)']
      : []),
    ...(place.kind === 'nats' && place.servers.some(isReadableOnTheWay)
      ? ['events and credentials travel to NATS readable: name its servers with tls://']
      : []),
  ];
}

/** True for a server of NATS on another machine, to which nothing is encrypted. */
function isReadableOnTheWay(server: string): boolean {
  return (
    server.startsWith('nats://') && !isLoopback(new URL(server).hostname.replace(/^\[|\]$/g, ''))
  );
}
