/**
 * Errors: a table of the refusals of requests and a table of the ends of lines, each with its code
 * and what the client may do next. A new refusal is a row here and a row in the tests.
 */

/** The HTTP status of a code, and whether the same request may succeed later. */
interface Refusal {
  readonly status: number;
  readonly temporary: boolean;
}

const permanent = (status: number): Refusal => ({ status, temporary: false });
const temporary = (status: number): Refusal => ({ status, temporary: true });

/**
 * Refusals by code. A temporary one answers an EventSource with 200, `retry:` and the end of the
 * stream, because it gives up for good on anything but 200 (HTML Standard, 9.2.3 "announce the
 * connection"; native-notes/eventsource-clients.md). Clients built on fetch get the status
 * (http/client-kind.ts).
 */
export const REFUSALS = {
  HOLDLINE_BAD_CHANNEL: permanent(400),
  /** It is not certain where the request ends, and a proxy may see another end: closes. */
  HOLDLINE_BAD_FRAMING: permanent(400),
  /** A header field that may have one value has two. */
  HOLDLINE_BAD_HEADER: permanent(400),
  HOLDLINE_BAD_POSITION: permanent(400),
  HOLDLINE_BAD_QUERY: permanent(400),
  HOLDLINE_BAD_EVENT_TYPE: permanent(400),
  HOLDLINE_BAD_JSON: permanent(400),
  HOLDLINE_BAD_BATCH: permanent(400),
  HOLDLINE_BAD_MESSAGE: permanent(400),
  HOLDLINE_BAD_TICKET: permanent(400),
  HOLDLINE_BAD_IDEMPOTENCY_KEY: permanent(400),
  HOLDLINE_NOT_UTF8: permanent(400),
  HOLDLINE_UNAUTHORIZED: permanent(401),
  HOLDLINE_CROSS_SITE: permanent(403),
  HOLDLINE_BAD_HOST: permanent(403),
  HOLDLINE_FORBIDDEN: permanent(403),
  /** The credential was issued before its user was revoked. */
  HOLDLINE_REVOKED: permanent(403),
  HOLDLINE_NOT_FOUND: permanent(404),
  HOLDLINE_METHOD_NOT_ALLOWED: permanent(405),
  HOLDLINE_BODY_TIMEOUT: permanent(408),
  HOLDLINE_TOO_LARGE: permanent(413),
  HOLDLINE_UNSUPPORTED_ENCODING: permanent(415),
  HOLDLINE_UNSUPPORTED_MEDIA_TYPE: permanent(415),
  HOLDLINE_IDEMPOTENCY_MISMATCH: permanent(422),
  HOLDLINE_BAD_HANDSHAKE: permanent(426),
  /** The address has sent many wrong keys; a right one is still served at once. */
  HOLDLINE_TOO_MANY_KEYS: temporary(429),
  /** The client's address, or its user, has as many lines as one may have. */
  HOLDLINE_TOO_MANY_LINES: temporary(429),
  /** The credential has published more than `--publish-rate`. */
  HOLDLINE_RATE: temporary(429),
  HOLDLINE_INTERNAL: permanent(500),
  /** The channel has no room, and the admission queue is full or this publish waited too long. */
  HOLDLINE_PUBLISH_BUSY: temporary(503),
  HOLDLINE_DRAINING: temporary(503),
  HOLDLINE_LINES_FULL: temporary(503),
  /** More lines were opened in a second than `--accept-rate`. */
  HOLDLINE_ACCEPT_RATE: temporary(503),
  HOLDLINE_POLLS_FULL: temporary(503),
  /** The process and its sockets take all that --memory-budget allows. */
  HOLDLINE_MEMORY_FULL: temporary(503),
  HOLDLINE_CHANNELS_FULL: temporary(503),
  /** As many clients watch the counts of subscribers as may. */
  HOLDLINE_WATCHERS_FULL: temporary(503),
  /** A token's key is not among those held, and its JWKS URL cannot be fetched now. */
  HOLDLINE_TOKEN_KEYS_UNAVAILABLE: temporary(503),
  /** Nobody is forgotten for a new revocation. */
  HOLDLINE_REVOCATIONS_FULL: temporary(503),
  /** The log takes no events now, or what it keeps cannot be read. Nothing was published. */
  HOLDLINE_LOG_UNAVAILABLE: temporary(503),
  /** The log did not say whether it has the events: the same Idempotency-Key finds out. */
  HOLDLINE_OUTCOME_UNKNOWN: temporary(504),
} as const satisfies Record<string, Refusal>;

/** A literal code of {@link REFUSALS}. */
export type RefusalCode = keyof typeof REFUSALS;

/** Codes that only the embedding program and the command line get, and no client. */
export type StartCode =
  | 'HOLDLINE_BAD_ARGUMENT'
  | 'HOLDLINE_BAD_OPTION'
  | 'HOLDLINE_NATIVE'
  | 'HOLDLINE_LISTEN'
  | 'HOLDLINE_BAD_LOG'
  | 'HOLDLINE_NO_LIBRARY';

/**
 * The one error class of the package. `code` is one of the literal codes of {@link REFUSALS} and
 * {@link StartCode}; `message` is a sentence that says what must be and what was given.
 */
export class HoldlineError extends Error {
  readonly code: RefusalCode | StartCode;
  /** When the client may try again, where that is known; else Retry-After is a random time. */
  readonly retryAfterSeconds: number | undefined;

  /**
   * A refusal is made without a stack, which takes ten times as long as all the rest: a client can
   * cause thousands in one turn of the loop. {@link withStack} adds one for the embedding program.
   */
  constructor(
    code: RefusalCode | StartCode,
    message: string,
    options?: ErrorOptions & { readonly retryAfterSeconds?: number },
  ) {
    const { stackTraceLimit } = Error;
    if (code in REFUSALS) Error.stackTraceLimit = 0;
    super(message, options);
    Error.stackTraceLimit = stackTraceLimit;
    this.name = 'HoldlineError';
    this.code = code;
    this.retryAfterSeconds = options?.retryAfterSeconds;
  }
}

/** All that a client is told of a fault. */
export function internalError(): HoldlineError {
  return new HoldlineError('HOLDLINE_INTERNAL', 'internal error; see the server log');
}

/** What was thrown, as an Error: programs may throw anything, also what has no text. */
export function asError(thrown: unknown): Error {
  try {
    return thrown instanceof Error ? thrown : new Error(String(thrown));
  } catch {
    return new Error('something without a text was thrown');
  }
}

/**
 * What was thrown, as a HoldlineError with the stack of the caller: the library throws no other.
 */
export function withStack(thrown: unknown): HoldlineError {
  const cause = asError(thrown);
  if (cause instanceof HoldlineError) {
    Error.captureStackTrace(cause, withStack);
    return cause;
  }
  return new HoldlineError('HOLDLINE_INTERNAL', `internal error: ${messageOf(cause)}`, { cause });
}

/** What an error says, whatever a program has made of it. */
export function messageOf(error: Error): string {
  try {
    const message: unknown = error.message;
    return String(message);
  } catch {
    return 'an error whose message cannot be read';
  }
}

/** Does what a program asks for; throws, or rejects, with HoldlineErrors only. */
export function withOwnErrors<Result>(act: () => Result): Result {
  try {
    const result = act();
    return result instanceof Promise ? (result.catch(rethrow) as Result) : result;
  } catch (error) {
    return rethrow(error);
  }
}

function rethrow(error: unknown): never {
  throw withStack(error);
}

/** HTTP status of an error's code; start-up codes and anything foreign are 500. */
export function statusOf(error: unknown): number {
  return error instanceof HoldlineError && error.code in REFUSALS
    ? REFUSALS[error.code as RefusalCode].status
    : 500;
}

/** True if the same request may succeed later, see {@link REFUSALS}. */
export function isTemporary(error: unknown): boolean {
  return (
    error instanceof HoldlineError &&
    error.code in REFUSALS &&
    REFUSALS[error.code as RefusalCode].temporary
  );
}

/**
 * Why the server ends a line: the `code` of the in-band end event, whether the client may come
 * back, and the close code of a WebSocket (RFC 6455, 7.4.1, and IANA's registry for 1012, 1013,
 * 3000 "unauthorized" and 3003 "forbidden").
 */
export const ENDS = {
  draining: { reconnect: true, closeCode: 1012 },
  slow: { reconnect: true, closeCode: 1013 },
  deleted: { reconnect: false, closeCode: 1000 },
  /** The credential has expired: the client may come back with a new one. */
  expired: { reconnect: true, closeCode: 3000 },
  /** The ticket has expired: its URL would only get 401, which ends an EventSource for good. */
  'ticket-expired': { reconnect: false, closeCode: 3000 },
  /** The line is as old as --max-age allows: the client comes back, maybe to another process. */
  aged: { reconnect: true, closeCode: 1012 },
  /** The user's credentials were revoked: to come back would get 403. */
  revoked: { reconnect: false, closeCode: 3003 },
  /** An operator or the embedding program ended it. */
  disconnected: { reconnect: true, closeCode: 1012 },
} as const;

/** A literal code of {@link ENDS}. */
export type EndCode = keyof typeof ENDS;

/** Nobody knows whether what failed was done. */
export function isOutcomeUnknown(error: unknown): boolean {
  return error instanceof HoldlineError && error.code === 'HOLDLINE_OUTCOME_UNKNOWN';
}

/**
 * Why a line closed: the server ended it for an {@link EndCode}, or `client`: its client or the
 * network closed it; `stalled`: the same while it took no bytes, mostly the server's own timeout
 * for such readers; `refused`: the server closed a WebSocket for its messages, its pings or its
 * unread answers; `answered`: a waiting poll got its answer.
 */
export type CloseReason = EndCode | 'client' | 'stalled' | 'refused' | 'answered';

/** Why a line closed that is no poll. */
export type LineCloseReason = Exclude<CloseReason, 'answered'>;

export const CLOSE_REASONS: readonly CloseReason[] = [
  ...(Object.keys(ENDS) as EndCode[]),
  'client',
  'stalled',
  'refused',
  'answered',
];

/**
 * Close codes of a WebSocket for what its client sent or did. Beside these, uWebSockets echoes the
 * 1001 of a browser whose page goes.
 */
export const CLOSE_CODES = {
  /** A binary message, or one that is not JSON. */
  policy: 1008,
  tooLarge: 1009,
  /** Its answers are not read, or its channels have no room. */
  tryAgainLater: 1013,
} as const;
