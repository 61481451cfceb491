/**
 * The options of the library, so that an editor shows what they mean. Written from options/table.ts
 * by scripts/write-options.ts; not to be edited.
 */
import type { Settings } from './table.js';

/** What a program may set; what it does not set has its default. */
export interface Options {
  /**
   * Address to listen on; 0.0.0.0 or :: for all addresses.
   *
   * A host name or an address without spaces. On the command line `--host`.
   *
   * @default '127.0.0.1'
   */
  readonly host?: Settings['host'];
  /**
   * Port to listen on; 0 picks a free one.
   *
   * An integer from 0 to 65535. On the command line `--port`.
   *
   * @default 8080
   */
  readonly port?: Settings['port'];
  /**
   * Listen on this unix socket, and on no port, for a proxy on the same machine.
   *
   * A path of 1 to 107 bytes. On the command line `--unix-socket`.
   *
   * @default none, so that --host and --port count
   */
  readonly unixSocket?: Settings['unixSocket'];
  /**
   * File mode of the unix socket: who may write to it may connect.
   *
   * An integer from 0 to 0o777. On the command line `--unix-socket-mode`.
   *
   * @default 432 (660)
   */
  readonly unixSocketMode?: Settings['unixSocketMode'];
  /**
   * Answer operations (stats, metrics, …) over plain HTTP on a port of their own only.
   *
   * A host and a port from 0 to 65535, such as 127.0.0.1:9090 or [::1]:9090. On the command line
   * `--ops-listen`.
   *
   * @default none, so that operations are on the main port
   */
  readonly opsListen?: Settings['opsListen'];
  /**
   * Path below which everything is served; what is outside of it is 404.
   *
   * / or a path of up to 128 characters such as /events, of A–Z a–z 0–9 . _ ~ - without a leading
   * or trailing dot in a segment, and not /-. On the command line `--base-path`.
   *
   * @default ''
   */
  readonly basePath?: Settings['basePath'];
  /**
   * PEM file with the certificate and its chain: serve HTTPS; read again on SIGHUP.
   *
   * A path of 1 to 4096 characters. On the command line `--tls-cert`.
   *
   * @default none, so that plain HTTP is served
   */
  readonly tlsCert?: Settings['tlsCert'];
  /**
   * PEM file with the private key of --tls-cert, without a passphrase.
   *
   * A path of 1 to 4096 characters. On the command line `--tls-key`.
   *
   * @default none
   */
  readonly tlsKey?: Settings['tlsKey'];
  /**
   * Events that a channel keeps for clients that come back.
   *
   * An integer from 0 to 1000000. On the command line `--replay-events`.
   *
   * @default 1024
   */
  readonly replayEvents?: Settings['replayEvents'];
  /**
   * Bytes that a channel keeps for clients that come back.
   *
   * An integer from 0 to 1073741824, in bytes. On the command line `--replay-bytes`.
   *
   * @default 1048576 (1MiB)
   */
  readonly replayBytes?: Settings['replayBytes'];
  /**
   * Bytes that all channels keep; above it the least recently published one is emptied.
   *
   * An integer from 1048576 to 68719476736, in bytes. On the command line `--replay-total`.
   *
   * @default 268435456 (256MiB)
   */
  readonly replayTotalBytes?: Settings['replayTotalBytes'];
  /**
   * Largest event as it is sent; a larger one is refused with 413.
   *
   * An integer from 256 to 1048576, in bytes. On the command line `--max-event-bytes`.
   *
   * @default 65536 (64KiB)
   */
  readonly maxEventBytes?: Settings['maxEventBytes'];
  /**
   * Time a line may be silent before it gets a heartbeat.
   *
   * An integer from 100 to 600000, in milliseconds. On the command line `--heartbeat`.
   *
   * @default 15000 (15s)
   */
  readonly heartbeatMs?: Settings['heartbeatMs'];
  /**
   * Shortest wait before a client reconnects; it grows with the number of lines.
   *
   * An integer from 0 to 3600000, in milliseconds. On the command line `--retry`.
   *
   * @default 3000 (3s)
   */
  readonly retryMs?: Settings['retryMs'];
  /**
   * Time to collect events before they are sent: less CPU, more latency; 0 sends at once.
   *
   * An integer from 0 to 10000, in milliseconds. On the command line `--flush-interval`.
   *
   * @default 0 (0ms)
   */
  readonly flushIntervalMs?: Settings['flushIntervalMs'];
  /**
   * Shared: lines on one channel and polls that take gzip get it, made once for all of them.
   *
   * One of off, shared. On the command line `--compress`.
   *
   * @default 'off'
   */
  readonly compress?: Settings['compress'];
  /**
   * Leave no-transform out of event streams, for a proxy that is to compress them.
   *
   * True or false. On the command line `--allow-transform`.
   *
   * @default false
   */
  readonly allowTransform?: Settings['allowTransform'];
  /**
   * What a slow line gets: a gap notice and the rest, only the newest event, or its end.
   *
   * One of gap, latest, close. On the command line `--slow`.
   *
   * @default 'gap'
   */
  readonly slow?: Settings['slow'];
  /**
   * Id of the first event of a log that is new; for examples and tests.
   *
   * An integer from 1 to 9007199254740991. On the command line `--first-id`.
   *
   * @default from the clock, so that ids do not go back over a restart
   */
  readonly firstId?: Settings['firstId'];
  /**
   * Where events are kept: memory, lmdb:DIR on this disk, or nats://HOST:PORT for several servers.
   *
   * Memory, lmdb:DIRECTORY, or nats://HOST:PORT of up to 16 servers with commas (tls:// for TLS),
   * without user and path. On the command line `--log`.
   *
   * @default 'memory'
   */
  readonly log?: Settings['log'];
  /**
   * Lmdb: answer a publish when the disk has it, or before: a power loss may take the last.
   *
   * One of sync, async. On the command line `--durability`.
   *
   * @default 'sync'
   */
  readonly durability?: Settings['durability'];
  /**
   * Events that the log keeps; above it the oldest go; 0: no bound by number.
   *
   * An integer from 0 to 1000000000000. On the command line `--log-events`.
   *
   * @default 0
   */
  readonly logEvents?: Settings['logEvents'];
  /**
   * Bytes that the log keeps; above it the oldest events go; 0: no bound by size.
   *
   * 0 or an integer from 1048576 to 70368744177664, in bytes. On the command line `--log-bytes`.
   *
   * @default 8589934592 (8GiB)
   */
  readonly logBytes?: Settings['logBytes'];
  /**
   * Age at which events leave the log; 0: no bound by age.
   *
   * 0 or an integer from 60000 to 316224000000, in milliseconds. On the command line `--log-age`.
   *
   * @default 0 (0ms)
   */
  readonly logAgeMs?: Settings['logAgeMs'];
  /**
   * Lmdb: a file that is given back when the disk is full, so that old events can go.
   *
   * 0 or an integer from 1048576 to 1073741824, in bytes. On the command line `--log-ballast`.
   *
   * @default 16777216 (16MiB)
   */
  readonly logBallastBytes?: Settings['logBallastBytes'];
  /**
   * Nats: name of the stream; it is made if it is not there.
   *
   * 1 to 64 characters of A–Z a–z 0–9 _ -. On the command line `--nats-stream`.
   *
   * @default 'HOLDLINE'
   */
  readonly natsStream?: Settings['natsStream'];
  /**
   * Nats: what the subject of each channel begins with.
   *
   * 1 to 64 characters of A–Z a–z 0–9 _ - in tokens between dots, such as holdline or acme.events,
   * not beginning with _. On the command line `--nats-prefix`.
   *
   * @default 'holdline'
   */
  readonly natsPrefix?: Settings['natsPrefix'];
  /**
   * Nats: servers that keep each event, for a stream that is made.
   *
   * An integer from 1 to 5. On the command line `--nats-replicas`.
   *
   * @default 1
   */
  readonly natsReplicas?: Settings['natsReplicas'];
  /**
   * Nats: file with credentials, as nsc writes it.
   *
   * A path of 1 to 4096 characters. On the command line `--nats-creds`.
   *
   * @default none
   */
  readonly natsCreds?: Settings['natsCreds'];
  /**
   * Nats: user name; needs --nats-password.
   *
   * 1 to 255 characters that can be shown, without spaces. On the command line `--nats-user`.
   *
   * @default none
   */
  readonly natsUser?: Settings['natsUser'];
  /**
   * Nats: password of that user.
   *
   * 1 to 255 characters that can be shown, without spaces. On the command line `--nats-password`.
   *
   * @default none
   */
  readonly natsPassword?: Settings['natsPassword'];
  /**
   * Nats: token to sign in with.
   *
   * 1 to 255 characters that can be shown, without spaces. On the command line `--nats-token`.
   *
   * @default none
   */
  readonly natsToken?: Settings['natsToken'];
  /**
   * Nats: PEM file with the authorities that its certificate is checked with.
   *
   * A path of 1 to 4096 characters. On the command line `--nats-tls-ca`.
   *
   * @default the authorities that Node knows
   */
  readonly natsTlsCa?: Settings['natsTlsCa'];
  /**
   * Key that publishers send as Authorization: Bearer.
   *
   * 1 to 1024 visible ASCII characters without spaces. On the command line `--publish-key`.
   *
   * @default none, so that nobody may publish
   */
  readonly publishKey?: Settings['publishKey'];
  /**
   * Keys by their SHA-256, each with what it may do; mostly in a file (--keys-file).
   *
   * An array of up to 64 objects with the members name, sha256, subscribe, publish, delete, watch,
   * ops, user. On the command line `--keys`.
   *
   * @default []
   */
  readonly keys?: Settings['keys'];
  /**
   * Secret that JSON Web Tokens are signed with (HS256).
   *
   * 32 to 1024 visible ASCII characters without spaces; openssl rand -base64 48 makes one. On the
   * command line `--jwt-secret`.
   *
   * @default none
   */
  readonly jwtSecret?: Settings['jwtSecret'];
  /**
   * Key that JSON Web Tokens are checked with (RS256, ES256 or EdDSA, by its type).
   *
   * A file with a public key or a certificate in PEM (-----BEGIN PUBLIC KEY-----). On the command
   * line `--jwt-public-key`.
   *
   * @default none
   */
  readonly jwtPublicKey?: Settings['jwtPublicKey'];
  /**
   * URL of the keys that JSON Web Tokens are checked with; they may rotate.
   *
   * An https URL of a JWKS without user and fragment; http only for localhost, 127.0.0.1 and [::1].
   * On the command line `--jwt-jwks`.
   *
   * @default none
   */
  readonly jwtJwks?: Settings['jwtJwks'];
  /**
   * Aud that tokens must have; needed with --jwt-jwks.
   *
   * 1 to 255 characters that can be shown. On the command line `--jwt-audience`.
   *
   * @default none
   */
  readonly jwtAudience?: Settings['jwtAudience'];
  /**
   * Iss that tokens must have; needed with --jwt-jwks.
   *
   * 1 to 255 characters that can be shown. On the command line `--jwt-issuer`.
   *
   * @default none
   */
  readonly jwtIssuer?: Settings['jwtIssuer'];
  /**
   * Longest time from iat to exp of a token; revocations are kept as long.
   *
   * An integer from 60000 to 2678400000, in milliseconds. On the command line `--jwt-max-lifetime`.
   *
   * @default 86400000 (24h)
   */
  readonly jwtMaxLifetimeMs?: Settings['jwtMaxLifetimeMs'];
  /**
   * Cookie in which readers may send their token or key; it does not publish.
   *
   * The name of a cookie, 1 to 64 characters of a token. On the command line `--auth-cookie`.
   *
   * @default none
   */
  readonly authCookie?: Settings['authCookie'];
  /**
   * Secret that tickets are signed with, the same on every node; a second one is accepted.
   *
   * An array of up to 2 secrets, the new one first, each of 32 to 1024 visible ASCII characters
   * without commas. On the command line `--ticket-secret`.
   *
   * @default []
   */
  readonly ticketSecret?: Settings['ticketSecret'];
  /**
   * Let everyone read, also where there are tokens, tickets or keys that read.
   *
   * True or false. On the command line `--open-subscribe`.
   *
   * @default false
   */
  readonly openSubscribe?: Settings['openSubscribe'];
  /**
   * What holds for channels by pattern; the first match counts; mostly --policies-file.
   *
   * An array of up to 256 objects with the members channels, read, replayEvents, replayBytes,
   * replayAge, keepEvents, keepBytes, keepAge, slow. On the command line `--policies`.
   *
   * @default []
   */
  readonly policies?: Settings['policies'];
  /**
   * Let everyone who reaches the port publish.
   *
   * True or false. On the command line `--open-publish`.
   *
   * @default false
   */
  readonly openPublish?: Settings['openPublish'];
  /**
   * Serve a page at /-/demo that shows the server at work.
   *
   * True or false. On the command line `--demo`.
   *
   * @default false
   */
  readonly demo?: Settings['demo'];
  /**
   * Key for the pages under /-/.
   *
   * 1 to 1024 visible ASCII characters without spaces. On the command line `--ops-key`.
   *
   * @default made and logged at start
   */
  readonly opsKey?: Settings['opsKey'];
  /**
   * Connections held at once; the next one is told to come back.
   *
   * An integer from 1 to 1000000. On the command line `--max-connections`.
   *
   * @default the file limit less 164
   */
  readonly maxConnections?: Settings['maxConnections'];
  /**
   * Lines and waiting polls of one address (IPv6: of one /64); 0: no limit. Not for loopback.
   *
   * An integer from 0 to 1000000. On the command line `--max-lines-per-address`.
   *
   * @default 1000
   */
  readonly maxLinesPerAddress?: Settings['maxLinesPerAddress'];
  /**
   * Lines and waiting polls of one user; 0: no limit.
   *
   * An integer from 0 to 1000000. On the command line `--max-lines-per-user`.
   *
   * @default 1000
   */
  readonly maxLinesPerUser?: Settings['maxLinesPerUser'];
  /**
   * Polls that wait at once; the next one is told to come back.
   *
   * An integer from 0 to 1000000. On the command line `--max-waiting-polls`.
   *
   * @default 0, as many as --max-connections
   */
  readonly maxWaitingPolls?: Settings['maxWaitingPolls'];
  /**
   * Lines opened in a second; the next one is told to come back; 0: no limit.
   *
   * An integer from 0 to 1000000. On the command line `--accept-rate`.
   *
   * @default 10000
   */
  readonly acceptRate?: Settings['acceptRate'];
  /**
   * Events a second that one key, or without keys one address, may publish; 0: no limit.
   *
   * An integer from 0 to 10000000. On the command line `--publish-rate`.
   *
   * @default 0
   */
  readonly publishRate?: Settings['publishRate'];
  /**
   * Proxies that are believed when they say whose request it is; unix: all on a unix socket.
   *
   * An array of up to 256 addresses or ranges such as 10.0.0.0/8, or unix. On the command line
   * `--trusted-proxies`.
   *
   * @default []
   */
  readonly trustedProxies?: Settings['trustedProxies'];
  /**
   * The one field that is read from trusted proxies; PROXY protocol v2 is read without it.
   *
   * One of x-forwarded-for, forwarded. On the command line `--forwarded-header`.
   *
   * @default 'x-forwarded-for'
   */
  readonly forwardedHeader?: Settings['forwardedHeader'];
  /**
   * Largest head of a request; a larger one is refused with 431.
   *
   * An integer from 4096 to 65536, in bytes. On the command line `--max-header-bytes`.
   *
   * @default 16384 (16KiB)
   */
  readonly maxHeaderBytes?: Settings['maxHeaderBytes'];
  /**
   * Memory of processes and sockets above which no line is opened; open lines stay.
   *
   * An integer from 67108864 to 1099511627776, in bytes. On the command line `--memory-budget`.
   *
   * @default none
   */
  readonly memoryBudgetBytes?: Settings['memoryBudgetBytes'];
  /**
   * What the kernel buffers for a client before its line stalls; 0: up to 4 MB.
   *
   * 0 or an integer from 4096 to 67108864, in bytes. On the command line `--socket-send-buffer`.
   *
   * @default 65536 (64KiB)
   */
  readonly socketSendBufferBytes?: Settings['socketSendBufferBytes'];
  /**
   * What the kernel buffers from a client, and one turn reads; 0: the kernel decides.
   *
   * 0 or an integer from 4096 to 67108864, in bytes. On the command line `--socket-receive-buffer`.
   *
   * @default 65536 (64KiB)
   */
  readonly socketReceiveBufferBytes?: Settings['socketReceiveBufferBytes'];
  /**
   * Unsent bytes that the kernel takes, within its send buffer; 0: the kernel decides.
   *
   * 0 or an integer from 4096 to 67108864, in bytes. On the command line `--notsent-lowat`.
   *
   * @default 0 (0B)
   */
  readonly notsentLowatBytes?: Settings['notsentLowatBytes'];
  /**
   * A vanished peer is dropped within this, one whose window stays shut within a third; 0: 15 min.
   *
   * 0 or an integer from 4000 to 3600000, in milliseconds. On the command line
   * `--dead-peer-timeout`.
   *
   * @default 60000 (1min)
   */
  readonly deadPeerTimeoutMs?: Settings['deadPeerTimeoutMs'];
  /**
   * Age at which a line is ended so that it comes back elsewhere, less up to a fifth; 0: never.
   *
   * 0 or an integer from 1000 to 2592000000, in milliseconds. On the command line `--max-age`.
   *
   * @default 3600000 (1h)
   */
  readonly maxAgeMs?: Settings['maxAgeMs'];
  /**
   * Longest time of an orderly shutdown.
   *
   * An integer from 0 to 600000, in milliseconds. On the command line `--drain`.
   *
   * @default 10000 (10s)
   */
  readonly drainMs?: Settings['drainMs'];
  /**
   * Origins whose pages may listen, publish and send cookies; *: every page may listen.
   *
   * An array of up to 1000 origins such as https://app.example (no path, no default port) or *. On
   * the command line `--allow-origin`.
   *
   * @default none; * with --demo and --open-publish on a loopback address
   */
  readonly allowOrigin?: Settings['allowOrigin'];
  /**
   * Host names that are served when there is no publish key, beside localhost.
   *
   * An array of up to 1000 host names such as events.example, without scheme and port. On the
   * command line `--allowed-hosts`.
   *
   * @default []
   */
  readonly allowedHosts?: Settings['allowedHosts'];
  /**
   * WebSocket subprotocols that are agreed to; of those offered the first allowed one.
   *
   * An array of up to 16 names of WebSocket subprotocols such as bearer, 1 to 64 characters of a
   * token. On the command line `--subprotocols`.
   *
   * @default ['holdline']
   */
  readonly subprotocols?: Settings['subprotocols'];
}
