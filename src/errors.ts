/**
 * Every way Holdline says no: one table of refusals (HTTP) and one of ends (a held line), each with
 * its code and what the client may do next. A refusal is data; a new one is a row here and a row in
 * the tests.
 */

/**
 * What a code means on the wire: `status` is the HTTP status, `temporary` says that the same
 * request may succeed later.
 */
interface Refusal {
  readonly status: number;
  readonly temporary: boolean;
}

const permanent = (status: number): Refusal => ({ status, temporary: false });
const temporary = (status: number): Refusal => ({ status, temporary: true });

/**
 * Error codes by name. `temporary` ones answer a request for an event stream with 200, `retry:` and
 * the end of the stream, because an EventSource gives up for good on anything but 200 (HTML
 * Standard, 9.2.3 "announce the connection"; native-notes/eventsource-clients.md).
 */
export const REFUSALS = {
  HOLDLINE_BAD_CHANNEL: permanent(400),
  /**
   * The borders of the request are not certain: whoever stands in front may see others. The
   * connection is closed.
   */
  HOLDLINE_BAD_FRAMING: permanent(400),
  HOLDLINE_BAD_POSITION: permanent(400),
  HOLDLINE_BAD_QUERY: permanent(400),
  HOLDLINE_BAD_EVENT_TYPE: permanent(400),
  HOLDLINE_BAD_JSON: permanent(400),
  HOLDLINE_BAD_BATCH: permanent(400),
  HOLDLINE_BAD_MESSAGE: permanent(400),
  HOLDLINE_BAD_IDEMPOTENCY_KEY: permanent(400),
  HOLDLINE_NOT_UTF8: permanent(400),
  HOLDLINE_UNAUTHORIZED: permanent(401),
  HOLDLINE_CROSS_SITE: permanent(403),
  HOLDLINE_BAD_HOST: permanent(403),
  HOLDLINE_FORBIDDEN: permanent(403),
  HOLDLINE_NOT_FOUND: permanent(404),
  HOLDLINE_METHOD_NOT_ALLOWED: permanent(405),
  HOLDLINE_BODY_TIMEOUT: permanent(408),
  HOLDLINE_TOO_LARGE: permanent(413),
  HOLDLINE_UNSUPPORTED_ENCODING: permanent(415),
  HOLDLINE_IDEMPOTENCY_MISMATCH: permanent(422),
  HOLDLINE_BAD_HANDSHAKE: permanent(426),
  /** The address has sent many wrong keys; one that is right is served at once. */
  HOLDLINE_TOO_MANY_KEYS: temporary(429),
  HOLDLINE_INTERNAL: permanent(500),
  /**
   * The channel's accepted events are not yet out and the publishers' admission queue is full, or
   * this one waited too long in it.
   */
  HOLDLINE_PUBLISH_BUSY: temporary(503),
  HOLDLINE_DRAINING: temporary(503),
  HOLDLINE_LINES_FULL: temporary(503),
  /** The process and its sockets take what --memory-budget allows. */
  HOLDLINE_MEMORY_FULL: temporary(503),
  HOLDLINE_CHANNELS_FULL: temporary(503),
} as const satisfies Record<string, Refusal>;

/** A literal code of {@link REFUSALS}. */
export type RefusalCode = keyof typeof REFUSALS;

/** Codes of mistakes made before a server runs; they never reach the wire. */
export type StartCode = 'HOLDLINE_BAD_OPTION' | 'HOLDLINE_NATIVE' | 'HOLDLINE_LISTEN';

/**
 * The one error base of the package. `code` is literal; `message` says what was given and what
 * would work.
 */
export class HoldlineError extends Error {
  readonly code: RefusalCode | StartCode;

  /**
   * A refusal is made without its stack, which takes ten times as long as all the rest: a client
   * can ask for thousands in one turn of the loop. Where a program is told of one, {@link
   * withStack} says where it called.
   */
  constructor(code: RefusalCode | StartCode, message: string, options?: ErrorOptions) {
    const { stackTraceLimit } = Error;
    if (code in REFUSALS) Error.stackTraceLimit = 0;
    super(message, options);
    Error.stackTraceLimit = stackTraceLimit;
    this.name = 'HoldlineError';
    this.code = code;
  }
}

/** What was thrown, as an error: programs may throw anything. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** What was thrown, with the stack of who asks: refusals are made without one. */
export function withStack(thrown: unknown): Error {
  const error = asError(thrown);
  if (error instanceof HoldlineError) Error.captureStackTrace(error, withStack);
  return error;
}

/** HTTP status of an error's code; start-up codes and anything foreign are 500. */
export function statusOf(error: unknown): number {
  return error instanceof HoldlineError && error.code in REFUSALS
    ? REFUSALS[error.code as RefusalCode].status
    : 500;
}

/** True when the same request may succeed later, see {@link REFUSALS}. */
export function isTemporary(error: unknown): boolean {
  return (
    error instanceof HoldlineError &&
    error.code in REFUSALS &&
    REFUSALS[error.code as RefusalCode].temporary
  );
}

/**
 * Why the server ends a line: the `code` of the in-band end event, whether the client may come
 * back, and the close code of a WebSocket (RFC 6455, 7.4.1, and IANA's registry for 1012 and 1013).
 */
export const ENDS = {
  draining: { reconnect: true, closeCode: 1012 },
  slow: { reconnect: true, closeCode: 1013 },
  deleted: { reconnect: false, closeCode: 1000 },
} as const;

/** A literal code of {@link ENDS}. */
export type EndCode = keyof typeof ENDS;

/**
 * Close codes of a WebSocket beside those of {@link ENDS}: what a client sent or did. 1001 is what
 * a browser sends when its page goes; it is echoed by uWebSockets.
 */
export const CLOSE_CODES = {
  /** A binary message, or one that is not JSON. */
  policy: 1008,
  tooLarge: 1009,
  /** It publishes and does not read the answers. */
  tryAgainLater: 1013,
} as const;
