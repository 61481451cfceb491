/** The connection to NATS: made within a bound of time, then kept up for ever. */
import {
  connect,
  credsAuthenticator,
  usernamePasswordAuthenticator,
  errors,
  tokenAuthenticator,
  type Authenticator,
  type NatsConnection,
} from '@nats-io/transport-node';
import { pause, type Clock } from '../../clock.js';
import { asError, HoldlineError } from '../../errors.js';
import {
  NATS_CONNECT_MS_MAX,
  NATS_OPEN_MS_MAX,
  NATS_PING_MS,
  NATS_RECONNECT_MS,
} from '../../limits.js';
import type { NatsAccess } from './options.js';

/** Told of the connection, in turns of their own. */
export interface ConnectionOwner {
  connectionLost(): void;
  connectionBack(): void;
}

export class Connection {
  readonly nats: NatsConnection;
  readonly #clock: Clock;
  #isUp = true;
  #downSinceMs = 0;
  #areCredentialsRefused = false;
  #isClosed = false;

  constructor(nats: NatsConnection, clock: Clock) {
    this.nats = nats;
    this.#clock = clock;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Why it is away, in words. */
  get problem(): string {
    return this.#areCredentialsRefused ? 'NATS refuses the credentials' : 'NATS cannot be reached';
  }

  /** How long it has been away, ms; 0 while it is up. */
  get downMs(): number {
    return this.#isUp ? 0 : this.#clock.nowMs() - this.#downSinceMs;
  }

  /** Tells the owner when it is lost, and when it is back. */
  async watch(owner: ConnectionOwner): Promise<void> {
    for await (const status of this.nats.status()) {
      if (this.#isClosed) return;
      if (status.type === 'error') {
        this.#areCredentialsRefused ||= isOfCredentials(status.error);
      } else if (status.type === 'disconnect' && this.#isUp) {
        this.#isUp = false;
        this.#downSinceMs = this.#clock.nowMs();
        owner.connectionLost();
      } else if (status.type === 'reconnect') {
        this.#isUp = true;
        this.#areCredentialsRefused = false;
        owner.connectionBack();
      }
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.nats.close();
  }
}

/**
 * Connects, and tries again while nobody answers, for NATS_OPEN_MS_MAX. Rejects with
 * HOLDLINE_BAD_LOG.
 */
export async function connectTo(access: NatsAccess, clock: Clock): Promise<Connection> {
  const options = connectionOptions(access);
  const untilMs = clock.nowMs() + NATS_OPEN_MS_MAX;
  for (;;) {
    try {
      return new Connection(await connect(options), clock);
    } catch (error) {
      const isHopeless =
        isOfCredentials(error) ||
        error instanceof errors.InvalidArgumentError ||
        isOfCertificate(error) ||
        clock.nowMs() >= untilMs;
      if (isHopeless) throw cannotConnect(error);
    }
    await pause(clock, NATS_RECONNECT_MS);
  }
}

/** NATS does not let this user in, or no more. It also says so of a client that was slow to ask. */
function isOfCredentials(error: unknown): boolean {
  return (
    error instanceof errors.UserAuthenticationExpiredError ||
    (error instanceof errors.AuthorizationError && !/timeout/i.test(error.message))
  );
}

/** A certificate that Node does not accept, mostly as the cause of another error. */
function isOfCertificate(error: unknown): boolean {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 4; depth++) {
    const { code = '' } = cause as { readonly code?: unknown };
    if (/CERT|VERIFY|ISSUER|ERR_TLS/.test(String(code))) return true;
    ({ cause } = cause);
  }
  return false;
}

function cannotConnect(error: unknown): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_BAD_LOG',
    isOfCredentials(error)
      ? 'NATS refuses the credentials (--nats-creds, --nats-token, --nats-user, --nats-password)'
      : `NATS cannot be reached: ${asError(error).message}`,
  );
}

/**
 * Signs in with the file as it is at that moment: credentials that end are replaced while a server
 * runs. While the file is away or half written, the last ones that could be read count. Throws
 * HOLDLINE_BAD_LOG for a file that has none.
 */
function authenticatorOf(readCreds: () => Uint8Array): Authenticator {
  let last: Authenticator | undefined;
  const read = (nonce?: string): ReturnType<Authenticator> => {
    const latest = credsAuthenticator(readCreds());
    const signed = latest(nonce);
    last = latest;
    return signed;
  };
  try {
    read('any');
  } catch {
    // What it says of them may quote them.
    throw new HoldlineError(
      'HOLDLINE_BAD_LOG',
      'the file of --nats-creds has no credentials in it: a user JWT and its seed, as nsc writes them',
    );
  }
  return (nonce) => {
    try {
      return read(nonce);
    } catch {
      return last?.(nonce);
    }
  };
}

function connectionOptions(access: NatsAccess): Parameters<typeof connect>[0] {
  const servers: string[] = [];
  let { user, password } = access;
  let isTls = access.tlsCa !== undefined;
  for (const text of access.url.split(',')) {
    const url = new URL(/^[a-z]+:\/\//.test(text) ? text : `nats://${text}`);
    if (url.username !== '') user ??= decodeURIComponent(url.username);
    if (url.password !== '') password ??= decodeURIComponent(url.password);
    isTls ||= url.protocol === 'tls:';
    servers.push(url.host);
  }
  const { readCreds, token } = access;
  const authenticator: Authenticator[] = [];
  if (readCreds !== undefined) authenticator.push(authenticatorOf(readCreds));
  if (token !== undefined) authenticator.push(tokenAuthenticator(token));
  if (user !== undefined) authenticator.push(usernamePasswordAuthenticator(user, password));
  return {
    servers,
    name: 'holdline',
    noEcho: false,
    timeout: NATS_CONNECT_MS_MAX,
    maxReconnectAttempts: -1,
    reconnectTimeWait: NATS_RECONNECT_MS,
    ignoreAuthErrorAbort: true,
    pingInterval: NATS_PING_MS,
    maxPingOut: 2,
    ...(isTls ? { tls: access.tlsCa === undefined ? {} : { ca: access.tlsCa } } : {}),
    ...(authenticator.length > 0 ? { authenticator } : {}),
  };
}
