/**
 * The options: one table of every setting with its flag, kind, range, default and help, from which
 * the library's types and checks, the command line, the environment, the config file, `--help` and
 * `--print-config` all follow. A new option is a row here.
 */

import { BODY_BYTES_MAX, ID_MAX, RESERVED_FILES, SPARE_SOCKETS_MAX } from '../limits.js';
import { choice, integer, list, size, textMatching, time, yesOrNo, type Kind } from './kinds.js';

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;
const TiB = 1024 * GiB;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Connections when the file limit cannot be read. */
const CONNECTIONS_WITHOUT_FILE_LIMIT = 10_000;

/** The most connections that may be asked for, whatever the file limit. */
export const CONNECTIONS_MAX = 1_000_000;

/** What one option is. */
export interface OptionRow {
  /**
   * Name as a flag and in the config file; as a variable it is HOLDLINE_ and the same in capitals
   * with underscores.
   */
  readonly flag: string;
  readonly kind: Kind<unknown>;
  /** The value when nobody gives one; a function where it depends on the file limit. */
  readonly default: unknown;
  /** What the default is, in words, where the value does not say it. */
  readonly defaultMeans?: string;
  /** One line. */
  readonly help: string;
  /** True when the value must not be shown. */
  readonly secret?: true;
}

/**
 * Visible ASCII, as an Authorization header can carry it: a key with a space or an umlaut could be
 * set but never be sent.
 */
const secret = textMatching(
  'KEY',
  /^[\x21-\x7e]{1,1024}$/,
  '1 to 1024 visible ASCII characters without spaces',
);

const host = textMatching(
  'HOST',
  /^[^\s\p{Cc}]{1,255}$/u,
  'a host name or an address without spaces',
);

const origins = list(
  'ORIGIN',
  1000,
  'origins such as https://app.example (a port only if it is not the usual one, no path) or *',
  readOrigin,
);

const hostNames = list(
  'HOST',
  1000,
  'host names such as events.example, without scheme and port',
  readHostName,
);

/** Settings by their name in the library, in the order of the help. */
export const OPTIONS = {
  host: {
    flag: 'host',
    kind: host,
    default: '127.0.0.1',
    help: 'address to listen on; 0.0.0.0 or :: for all',
  },
  port: {
    flag: 'port',
    kind: integer(0, 65_535),
    default: 8080,
    help: 'port to listen on; 0 picks a free one',
  },
  replayEvents: {
    flag: 'replay-events',
    kind: integer(0, 1_000_000),
    default: 1024,
    help: 'events a channel keeps for those who come back',
  },
  replayBytes: {
    flag: 'replay-bytes',
    kind: size(0, GiB),
    default: MiB,
    help: 'bytes a channel keeps for those who come back',
  },
  replayTotalBytes: {
    flag: 'replay-total',
    kind: size(MiB, 64 * GiB),
    default: 256 * MiB,
    help: 'bytes that all channels keep together; past it the least recently published one lets go',
  },
  maxEventBytes: {
    flag: 'max-event-bytes',
    kind: size(256, MiB),
    default: 64 * KiB,
    help: 'largest event, encoded as it goes out; a larger one is refused with 413',
  },
  heartbeatMs: {
    flag: 'heartbeat',
    kind: time(100, 10 * MINUTE),
    default: 15 * SECOND,
    help: 'how long a line may be silent before it gets a keepalive',
  },
  retryMs: {
    flag: 'retry',
    kind: time(0, HOUR),
    default: 3 * SECOND,
    help: 'shortest wait before a client reconnects; the server widens it with the number of lines',
  },
  flushIntervalMs: {
    flag: 'flush-interval',
    kind: time(0, 10 * SECOND),
    default: 0,
    help: 'collect events this long before they go out: less CPU, more latency; 0 sends at once',
  },
  slow: {
    flag: 'slow',
    kind: choice('POLICY', ['gap', 'latest', 'close']),
    default: 'gap',
    help: 'what a line that fell behind gets: a gap and the rest, the newest event only, or its end',
  },
  firstId: {
    flag: 'first-id',
    kind: integer(1, ID_MAX),
    default: undefined,
    defaultMeans: 'from the clock, so that ids do not go back over a restart',
    help: 'id of the first event; for examples and tests',
  },
  publishKey: {
    flag: 'publish-key',
    kind: secret,
    default: undefined,
    defaultMeans: 'none, so that nobody may publish',
    help: 'key that publishers send as Authorization: Bearer',
    secret: true,
  },
  openPublish: {
    flag: 'open-publish',
    kind: yesOrNo(),
    default: false,
    help: 'let anyone publish who reaches the port',
  },
  demo: {
    flag: 'demo',
    kind: yesOrNo(),
    default: false,
    help: 'serve a page at /-/demo that shows the server at work',
  },
  opsKey: {
    flag: 'ops-key',
    kind: secret,
    default: undefined,
    defaultMeans: 'made and logged at start',
    help: 'key for what is under /-/',
    secret: true,
  },
  maxConnections: {
    flag: 'max-connections',
    kind: integer(1, CONNECTIONS_MAX),
    default: connectionsUnder,
    defaultMeans: `the file limit less ${RESERVED_FILES + SPARE_SOCKETS_MAX}`,
    help: 'connections held at once; the next is told to come back',
  },
  memoryBudgetBytes: {
    flag: 'memory-budget',
    kind: size(64 * MiB, TiB),
    default: undefined,
    defaultMeans: 'none',
    help: 'memory of process and sockets past which no line is opened; those that are open stay',
  },
  socketSendBufferBytes: {
    flag: 'socket-send-buffer',
    kind: size(4 * KiB, 64 * MiB, { orZero: true }),
    default: 64 * KiB,
    help: 'what the kernel holds for a reader that does not read, then it is stalled; 0: up to 4 MB',
  },
  // It bounds a turn of the loop. native-notes/repeated-reads.md
  socketReceiveBufferBytes: {
    flag: 'socket-receive-buffer',
    kind: size(4 * KiB, 64 * MiB, { orZero: true }),
    default: 64 * KiB,
    help: 'what the kernel holds of what a client sent, and one turn reads; 0: the kernel decides',
  },
  notsentLowatBytes: {
    flag: 'notsent-lowat',
    kind: size(4 * KiB, 64 * MiB, { orZero: true }),
    default: 0,
    help: 'what the kernel holds that it has not sent yet, within its buffer; 0: the kernel decides',
  },
  deadPeerTimeoutMs: {
    flag: 'dead-peer-timeout',
    kind: time(4 * SECOND, HOUR, { orZero: true }),
    default: MINUTE,
    help: 'a vanished peer is gone within this, a reader that takes nothing in a third of it; 0: 15 minutes',
  },
  drainMs: {
    flag: 'drain',
    kind: time(0, 10 * MINUTE),
    default: 10 * SECOND,
    help: 'how long an orderly end may take',
  },
  allowOrigin: {
    flag: 'allow-origin',
    kind: origins,
    default: [],
    help: 'origins whose pages may subscribe and publish; * for all',
  },
  allowedHosts: {
    flag: 'allowed-hosts',
    kind: hostNames,
    default: [],
    help: 'names in the Host header that are served without keys, beside localhost',
  },
} as const satisfies Record<string, OptionRow>;

/** Name of a setting in the library. */
export type SettingName = keyof typeof OPTIONS;

type ValueOf<Row extends OptionRow> =
  | (Row['kind'] extends Kind<infer Value> ? Value : never)
  | Extract<Row['default'], undefined>;

/** Every setting, resolved: what a server runs with. */
export type Settings = { readonly [Name in SettingName]: ValueOf<(typeof OPTIONS)[Name]> };

/** What a caller of the library may give; the rest has its default. */
export type Options = Partial<Settings>;

/**
 * The connections that a file limit carries, with files left for the process and for clients that
 * are told to come back.
 */
export function connectionsUnder(fileLimit: number | undefined): number {
  if (fileLimit === undefined) return CONNECTIONS_WITHOUT_FILE_LIMIT;
  // At least 1, so that a file limit below that is refused by the relation and not by the option's
  // range.
  return Math.max(1, Math.min(fileLimit - RESERVED_FILES - SPARE_SOCKETS_MAX, CONNECTIONS_MAX));
}

/**
 * An origin as browsers send it. Where URL knows the scheme it says how: small letters, punycode,
 * no usual port, no path.
 */
function readOrigin(item: string): string | undefined {
  if (item === '*') return item;
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@*]{1,255}$/.test(item) || !URL.canParse(item))
    return undefined;
  const origin = new URL(item).origin;
  // Schemes of apps and extensions (capacitor://localhost) have the origin "null" in URL but send
  // themselves as it stands.
  return origin === item || (origin === 'null' && !item.startsWith('file:')) ? item : undefined;
}

/**
 * A host name, an IPv4 address or an IPv6 address in brackets, in small letters, since the case of
 * a Host header means nothing.
 */
function readHostName(item: string): string | undefined {
  const name = item.toLowerCase();
  return /^(?:\[[0-9a-f:.]{2,45}\]|[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?)$/.test(name)
    ? name
    : undefined;
}

function assertRelation(holds: boolean, relation: string): void {
  if (!holds) throw new Error(`options/table.ts: ${relation} does not hold`);
}
for (const [setting, row] of Object.entries<OptionRow>(OPTIONS)) {
  const isOwnValue = row.default !== undefined && row.default !== connectionsUnder;
  assertRelation(
    !isOwnValue || row.kind.read(row.default) !== undefined,
    `the default of ${setting} is in its range`,
  );
}
const { maxEventBytes, replayTotalBytes, replayBytes } = OPTIONS;
assertRelation(
  maxEventBytes.kind.read(BODY_BYTES_MAX + 1) === undefined,
  'the largest event fits a request body',
);
assertRelation(
  maxEventBytes.kind.read(replayTotalBytes.default + 1) === undefined,
  'the largest event fits the rings',
);
assertRelation(replayBytes.default <= replayTotalBytes.default, 'the default ring fits all rings');
assertRelation(
  connectionsUnder(undefined) <= CONNECTIONS_MAX,
  'the connections without a file limit are in range',
);
