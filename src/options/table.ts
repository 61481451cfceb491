/**
 * The options of a server: one table with the flag, kind, default and help of each. The library's
 * types, the command line, the environment, the config file, `--help` and `--print-config` all
 * follow from it; a new option is a row here.
 */

import { ipRangeText, readIpRange } from '../ip.js';
import {
  ACCEPTS_PER_SECOND,
  BODY_BYTES_MAX,
  ID_MAX,
  RESERVED_FILES,
  SPARE_SOCKETS_MAX,
} from '../limits.js';
import {
  channelPolicies,
  claim,
  cookieName,
  jwksUrl,
  key,
  publicKeyPem,
  signingSecret,
  staticKeys,
  ticketSecrets,
} from './credentials.js';
import { logPlace, streamName, subjectPrefix } from './log-kinds.js';
import { choice, integer, list, size, textMatching, time, yesOrNo, type Kind } from './kinds.js';
import { basePath, fileMode, filePath, hostAndPort, socketPath } from './place-kinds.js';

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;
const TiB = 1024 * GiB;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Default of `--max-connections` where the file limit cannot be read. */
const CONNECTIONS_WITHOUT_FILE_LIMIT = 10_000;

/** Upper bound of `--max-connections`, whatever the file limit. */
export const CONNECTIONS_MAX = 1_000_000;

/** One option. */
export interface OptionRow {
  /** Name of the flag and key of the config file; the variable follows from it (sources.ts). */
  readonly flag: string;
  readonly kind: Kind<unknown>;
  /** A function where it depends on the file limit. */
  readonly default: unknown;
  /** The default in words, where the value does not say it. */
  readonly defaultMeans?: string;
  /** One line. */
  readonly help: string;
  /** The value must not be shown. It may also be in a file: `--FLAG-file FILE` (sources.ts). */
  readonly secret?: true;
  /** It may also be in a file. */
  readonly mayBeFile?: true;
  /** Text that is given is the path of a file with the value, unless it is PEM itself. */
  readonly isFile?: true;
}

const host = textMatching(
  'HOST',
  /^[^\s\p{Cc}]{1,255}$/u,
  'a host name or an address without spaces',
);

const origins = list(
  'ORIGIN',
  1000,
  'origins such as https://app.example (no path, no default port) or *',
  readOrigin,
);

const hostNames = list(
  'HOST',
  1000,
  'host names such as events.example, without scheme and port',
  readHostName,
);

const proxies = list('ADDRESS', 256, 'addresses or ranges such as 10.0.0.0/8, or unix', readProxy);

const subprotocols = list(
  'NAME',
  16,
  'names of WebSocket subprotocols such as bearer, 1 to 64 characters of a token',
  (item) => (/^[\w!#$%&'*+.^`|~-]{1,64}$/.test(item) ? item : undefined),
);

const natsText = textMatching(
  'TEXT',
  /^[^\s\p{C}]{1,255}$/u,
  '1 to 255 characters that can be shown, without spaces',
);

/** Settings by their name in the library, in the order of the help. */
export const OPTIONS = {
  host: {
    flag: 'host',
    kind: host,
    default: '127.0.0.1',
    help: 'address to listen on; 0.0.0.0 or :: for all addresses',
  },
  port: {
    flag: 'port',
    kind: integer(0, 65_535),
    default: 8080,
    help: 'port to listen on; 0 picks a free one',
  },
  unixSocket: {
    flag: 'unix-socket',
    kind: socketPath(),
    default: undefined,
    defaultMeans: 'none, so that --host and --port count',
    help: 'listen on this unix socket, and on no port, for a proxy on the same machine',
  },
  unixSocketMode: {
    flag: 'unix-socket-mode',
    kind: fileMode(),
    default: 0o660,
    help: 'file mode of the unix socket: who may write to it may connect',
  },
  opsListen: {
    flag: 'ops-listen',
    kind: hostAndPort(),
    default: undefined,
    defaultMeans: 'none, so that operations are on the main port',
    help: 'answer operations (stats, metrics, …) over plain HTTP on a port of their own only',
  },
  basePath: {
    flag: 'base-path',
    kind: basePath(),
    default: '',
    help: 'path below which everything is served; what is outside of it is 404',
  },
  tlsCert: {
    flag: 'tls-cert',
    kind: filePath(),
    default: undefined,
    defaultMeans: 'none, so that plain HTTP is served',
    help: 'PEM file with the certificate and its chain: serve HTTPS; read again on SIGHUP',
  },
  tlsKey: {
    flag: 'tls-key',
    kind: filePath(),
    default: undefined,
    help: 'PEM file with the private key of --tls-cert, without a passphrase',
  },
  replayEvents: {
    flag: 'replay-events',
    kind: integer(0, 1_000_000),
    default: 1024,
    help: 'events that a channel keeps for clients that come back',
  },
  replayBytes: {
    flag: 'replay-bytes',
    kind: size(0, GiB),
    default: MiB,
    help: 'bytes that a channel keeps for clients that come back',
  },
  replayTotalBytes: {
    flag: 'replay-total',
    kind: size(MiB, 64 * GiB),
    default: 256 * MiB,
    help: 'bytes that all channels keep; above it the least recently published one is emptied',
  },
  maxEventBytes: {
    flag: 'max-event-bytes',
    kind: size(256, MiB),
    default: 64 * KiB,
    help: 'largest event as it is sent; a larger one is refused with 413',
  },
  heartbeatMs: {
    flag: 'heartbeat',
    kind: time(100, 10 * MINUTE),
    default: 15 * SECOND,
    help: 'time a line may be silent before it gets a heartbeat',
  },
  retryMs: {
    flag: 'retry',
    kind: time(0, HOUR),
    default: 3 * SECOND,
    help: 'shortest wait before a client reconnects; it grows with the number of lines',
  },
  flushIntervalMs: {
    flag: 'flush-interval',
    kind: time(0, 10 * SECOND),
    default: 0,
    help: 'time to collect events before they are sent: less CPU, more latency; 0 sends at once',
  },
  compress: {
    flag: 'compress',
    kind: choice('CODING', ['off', 'shared']),
    default: 'off',
    help: 'shared: lines on one channel and polls that take gzip get it, made once for all of them',
  },
  allowTransform: {
    flag: 'allow-transform',
    kind: yesOrNo(),
    default: false,
    help: 'leave no-transform out of event streams, for a proxy that is to compress them',
  },
  slow: {
    flag: 'slow',
    kind: choice('POLICY', ['gap', 'latest', 'close']),
    default: 'gap',
    help: 'what a slow line gets: a gap notice and the rest, only the newest event, or its end',
  },
  firstId: {
    flag: 'first-id',
    kind: integer(1, ID_MAX),
    default: undefined,
    defaultMeans: 'from the clock, so that ids do not go back over a restart',
    help: 'id of the first event of a log that is new; for examples and tests',
  },
  log: {
    flag: 'log',
    kind: logPlace(),
    default: 'memory',
    help: 'where events are kept: memory, lmdb:DIR on this disk, or nats://HOST:PORT for several servers',
  },
  durability: {
    flag: 'durability',
    kind: choice('WHEN', ['sync', 'async']),
    default: 'sync',
    help: 'lmdb: answer a publish when the disk has it, or before: a power loss may take the last',
  },
  logEvents: {
    flag: 'log-events',
    kind: integer(0, 1_000_000_000_000),
    default: 0,
    help: 'events that the log keeps; above it the oldest go; 0: no bound by number',
  },
  logBytes: {
    flag: 'log-bytes',
    kind: size(MiB, 64 * TiB, { orZero: true }),
    default: 8 * GiB,
    help: 'bytes that the log keeps; above it the oldest events go; 0: no bound by size',
  },
  logAgeMs: {
    flag: 'log-age',
    kind: time(MINUTE, 3660 * DAY, { orZero: true }),
    default: 0,
    help: 'age at which events leave the log; 0: no bound by age',
  },
  logBallastBytes: {
    flag: 'log-ballast',
    kind: size(MiB, GiB, { orZero: true }),
    default: 16 * MiB,
    help: 'lmdb: a file that is given back when the disk is full, so that old events can go',
  },
  natsStream: {
    flag: 'nats-stream',
    kind: streamName(),
    default: 'HOLDLINE',
    help: 'nats: name of the stream; it is made if it is not there',
  },
  natsPrefix: {
    flag: 'nats-prefix',
    kind: subjectPrefix(),
    default: 'holdline',
    help: 'nats: what the subject of each channel begins with',
  },
  natsReplicas: {
    flag: 'nats-replicas',
    kind: integer(1, 5),
    default: 1,
    help: 'nats: servers that keep each event, for a stream that is made',
  },
  natsCreds: {
    flag: 'nats-creds',
    kind: filePath(),
    default: undefined,
    help: 'nats: file with credentials, as nsc writes it',
  },
  natsUser: {
    flag: 'nats-user',
    kind: natsText,
    default: undefined,
    help: 'nats: user name; needs --nats-password',
  },
  natsPassword: {
    flag: 'nats-password',
    kind: natsText,
    default: undefined,
    help: 'nats: password of that user',
    secret: true,
  },
  natsToken: {
    flag: 'nats-token',
    kind: natsText,
    default: undefined,
    help: 'nats: token to sign in with',
    secret: true,
  },
  natsTlsCa: {
    flag: 'nats-tls-ca',
    kind: filePath(),
    default: undefined,
    defaultMeans: 'the authorities that Node knows',
    help: 'nats: PEM file with the authorities that its certificate is checked with',
  },
  publishKey: {
    flag: 'publish-key',
    kind: key,
    default: undefined,
    defaultMeans: 'none, so that nobody may publish',
    help: 'key that publishers send as Authorization: Bearer',
    secret: true,
  },
  keys: {
    flag: 'keys',
    kind: staticKeys,
    default: [],
    help: 'keys by their SHA-256, each with what it may do; mostly in a file (--keys-file)',
    secret: true,
  },
  jwtSecret: {
    flag: 'jwt-secret',
    kind: signingSecret,
    default: undefined,
    help: 'secret that JSON Web Tokens are signed with (HS256)',
    secret: true,
  },
  jwtPublicKey: {
    flag: 'jwt-public-key',
    kind: publicKeyPem,
    default: undefined,
    help: 'key that JSON Web Tokens are checked with (RS256, ES256 or EdDSA, by its type)',
    isFile: true,
  },
  jwtJwks: {
    flag: 'jwt-jwks',
    kind: jwksUrl,
    default: undefined,
    help: 'URL of the keys that JSON Web Tokens are checked with; they may rotate',
  },
  jwtAudience: {
    flag: 'jwt-audience',
    kind: claim,
    default: undefined,
    help: 'aud that tokens must have; needed with --jwt-jwks',
  },
  jwtIssuer: {
    flag: 'jwt-issuer',
    kind: claim,
    default: undefined,
    help: 'iss that tokens must have; needed with --jwt-jwks',
  },
  jwtMaxLifetimeMs: {
    flag: 'jwt-max-lifetime',
    kind: time(MINUTE, 31 * 24 * HOUR),
    default: 24 * HOUR,
    help: 'longest time from iat to exp of a token; revocations are kept as long',
  },
  authCookie: {
    flag: 'auth-cookie',
    kind: cookieName,
    default: undefined,
    help: 'cookie in which readers may send their token or key; it does not publish',
  },
  ticketSecret: {
    flag: 'ticket-secret',
    kind: ticketSecrets,
    default: [],
    help: 'secret that tickets are signed with, the same on every node; a second one is accepted',
    secret: true,
  },
  openSubscribe: {
    flag: 'open-subscribe',
    kind: yesOrNo(),
    default: false,
    help: 'let everyone read, also where there are tokens, tickets or keys that read',
  },
  policies: {
    flag: 'policies',
    kind: channelPolicies,
    default: [],
    help: 'what holds for channels by pattern; the first match counts; mostly --policies-file',
    mayBeFile: true,
  },
  openPublish: {
    flag: 'open-publish',
    kind: yesOrNo(),
    default: false,
    help: 'let everyone who reaches the port publish',
  },
  demo: {
    flag: 'demo',
    kind: yesOrNo(),
    default: false,
    help: 'serve a page at /-/demo that shows the server at work',
  },
  opsKey: {
    flag: 'ops-key',
    kind: key,
    default: undefined,
    defaultMeans: 'made and logged at start',
    help: 'key for the pages under /-/',
    secret: true,
  },
  maxConnections: {
    flag: 'max-connections',
    kind: integer(1, CONNECTIONS_MAX),
    default: connectionsUnder,
    defaultMeans: `the file limit less ${RESERVED_FILES + SPARE_SOCKETS_MAX}`,
    help: 'connections held at once; the next one is told to come back',
  },
  maxLinesPerAddress: {
    flag: 'max-lines-per-address',
    kind: integer(0, CONNECTIONS_MAX),
    default: 1000,
    help: 'lines and waiting polls of one address (IPv6: of one /64); 0: no limit. Not for loopback',
  },
  maxLinesPerUser: {
    flag: 'max-lines-per-user',
    kind: integer(0, CONNECTIONS_MAX),
    default: 1000,
    help: 'lines and waiting polls of one user; 0: no limit',
  },
  maxWaitingPolls: {
    flag: 'max-waiting-polls',
    kind: integer(0, CONNECTIONS_MAX),
    default: 0,
    defaultMeans: '0, as many as --max-connections',
    help: 'polls that wait at once; the next one is told to come back',
  },
  acceptRate: {
    flag: 'accept-rate',
    kind: integer(0, CONNECTIONS_MAX),
    default: ACCEPTS_PER_SECOND,
    help: 'lines opened in a second; the next one is told to come back; 0: no limit',
  },
  publishRate: {
    flag: 'publish-rate',
    kind: integer(0, 10_000_000),
    default: 0,
    help: 'events a second that one key, or without keys one address, may publish; 0: no limit',
  },
  trustedProxies: {
    flag: 'trusted-proxies',
    kind: proxies,
    default: [],
    help: 'proxies that are believed when they say whose request it is; unix: all on a unix socket',
  },
  forwardedHeader: {
    flag: 'forwarded-header',
    kind: choice('NAME', ['x-forwarded-for', 'forwarded']),
    default: 'x-forwarded-for',
    help: 'the one field that is read from trusted proxies; PROXY protocol v2 is read without it',
  },
  maxHeaderBytes: {
    flag: 'max-header-bytes',
    kind: size(4 * KiB, 64 * KiB),
    default: 16 * KiB,
    help: 'largest head of a request; a larger one is refused with 431',
  },
  memoryBudgetBytes: {
    flag: 'memory-budget',
    kind: size(64 * MiB, TiB),
    default: undefined,
    defaultMeans: 'none',
    help: 'memory of processes and sockets above which no line is opened; open lines stay',
  },
  socketSendBufferBytes: {
    flag: 'socket-send-buffer',
    kind: size(4 * KiB, 64 * MiB, { orZero: true }),
    default: 64 * KiB,
    help: 'what the kernel buffers for a client before its line stalls; 0: up to 4 MB',
  },
  // It bounds a turn of the loop. native-notes/repeated-reads.md
  socketReceiveBufferBytes: {
    flag: 'socket-receive-buffer',
    kind: size(4 * KiB, 64 * MiB, { orZero: true }),
    default: 64 * KiB,
    help: 'what the kernel buffers from a client, and one turn reads; 0: the kernel decides',
  },
  notsentLowatBytes: {
    flag: 'notsent-lowat',
    kind: size(4 * KiB, 64 * MiB, { orZero: true }),
    default: 0,
    help: 'unsent bytes that the kernel takes, within its send buffer; 0: the kernel decides',
  },
  deadPeerTimeoutMs: {
    flag: 'dead-peer-timeout',
    kind: time(4 * SECOND, HOUR, { orZero: true }),
    default: MINUTE,
    help: 'a vanished peer is dropped within this, one whose window stays shut within a third; 0: 15 min',
  },
  maxAgeMs: {
    flag: 'max-age',
    kind: time(SECOND, 30 * 24 * HOUR, { orZero: true }),
    default: HOUR,
    help: 'age at which a line is ended so that it comes back elsewhere, less up to a fifth; 0: never',
  },
  drainMs: {
    flag: 'drain',
    kind: time(0, 10 * MINUTE),
    default: 10 * SECOND,
    help: 'longest time of an orderly shutdown',
  },
  allowOrigin: {
    flag: 'allow-origin',
    kind: origins,
    // The demo's is in settings.ts.
    default: [],
    defaultMeans: 'none; * with --demo and --open-publish on a loopback address',
    help: 'origins whose pages may listen, publish and send cookies; *: every page may listen',
  },
  allowedHosts: {
    flag: 'allowed-hosts',
    kind: hostNames,
    default: [],
    help: 'Host names that are served when there is no publish key, beside localhost',
  },
  subprotocols: {
    flag: 'subprotocols',
    kind: subprotocols,
    default: ['holdline'],
    help: 'WebSocket subprotocols that are agreed to; of those offered the first allowed one',
  },
} as const satisfies Record<string, OptionRow>;

/** Name of a setting in the library. */
export type SettingName = keyof typeof OPTIONS;

type ValueOf<Row extends OptionRow> =
  | (Row['kind'] extends Kind<infer Value> ? Value : never)
  | Extract<Row['default'], undefined>;

/** Every setting, resolved: what a server runs with. */
export type Settings = { readonly [Name in SettingName]: ValueOf<(typeof OPTIONS)[Name]> };

/** The default of `--max-connections`: the file limit of each process less what it keeps free. */
export function connectionsUnder(fileLimit: number | undefined, processes = 1): number {
  if (fileLimit === undefined) return CONNECTIONS_WITHOUT_FILE_LIMIT;
  // At least 1, so that a low file limit is refused by the relation and not by the option's range.
  return Math.max(1, Math.min(connectionsOf(fileLimit, processes), CONNECTIONS_MAX));
}

/** What so many processes carry together; below 0 where each keeps more files than it may have. */
export function connectionsOf(fileLimit: number, processes: number): number {
  return (fileLimit - RESERVED_FILES - SPARE_SOCKETS_MAX) * processes;
}

/** An origin as browsers send it: lower case, punycode, no default port, no path. */
function readOrigin(item: string): string | undefined {
  if (item === '*') return item;
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@*]{1,255}$/.test(item) || !URL.canParse(item))
    return undefined;
  const origin = new URL(item).origin;
  // URL gives schemes of apps and extensions (capacitor://localhost) the origin "null"; they send
  // themselves unchanged.
  return origin === item || (origin === 'null' && !item.startsWith('file:')) ? item : undefined;
}

/** A host name, an IPv4 address or an IPv6 address in brackets, in lower case. */
function readHostName(item: string): string | undefined {
  const name = item.toLowerCase();
  return /^(?:\[[0-9a-f:.]{2,45}\]|[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?)$/.test(name)
    ? name
    : undefined;
}

/** An address, a range in its shortest form, or the word for unix sockets. */
function readProxy(item: string): string | undefined {
  if (item === 'unix') return item;
  const range = readIpRange(item);
  return range === undefined ? undefined : ipRangeText(range);
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
