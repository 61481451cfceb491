/**
 * Refusals: each is counted, by its code and by how it was answered, and told to whoever logs them.
 * What is told may be kept: it has no header, no query, and nothing else that the client chose but
 * its path.
 */
import type { Transport } from '../core/transport.js';
import type { Counters } from '../counters.js';
import type { HoldlineError } from '../errors.js';

/** A request or a message that was refused, as `onRefusal` gets it. */
export interface RefusalInfo {
  /** Such as `HOLDLINE_UNAUTHORIZED`; a name of docs/use.md. */
  readonly code: string;
  /** The sentence that the client got. What the client had sent stands there as "…". */
  readonly reason: string;
  /** The method of the request; MESSAGE for a message over an open WebSocket. */
  readonly method: string;
  /** How the client asked for its channels; `http` where that was not read, and for publishes. */
  readonly transport: Transport | 'http';
  /** `unix` over a unix socket; undefined for a client that is gone. */
  readonly remoteAddress: string | undefined;
}

/** Who was refused; `address` is read only where somebody wants it. */
export interface Refusable {
  readonly method: string;
  readonly transport: RefusalInfo['transport'];
  /** In full; empty where there is none. */
  readonly address: string;
}

/** The counter of each way of being refused. */
type RefusalCounter =
  | 'refused_total'
  | 'refused_temporary_total'
  | 'refused_ended_total'
  | 'messages_refused_total';

export class Refusals {
  readonly #counters: Counters;
  readonly #tell: ((refusal: RefusalInfo) => void) | undefined;

  /** `tell` is called while the request is refused, so it must only take note. */
  constructor(counters: Counters, tell?: (refusal: RefusalInfo) => void) {
    this.#counters = counters;
    this.#tell = tell;
  }

  /** Counts a refusal, and tells of it. */
  note(counter: RefusalCounter, error: HoldlineError, from: Refusable): void {
    const { code } = error;
    const { refused } = this.#counters;
    refused[code] = (refused[code] ?? 0) + 1;
    this.#counters[counter]++;
    this.#tell?.({
      code,
      reason: reasonOf(error),
      method: from.method.slice(0, METHOD_CHARS_MAX),
      transport: from.transport,
      remoteAddress: from.address === '' ? undefined : from.address,
    });
  }
}

/** Longer than any method that is registered. */
const METHOD_CHARS_MAX = 32;

/** Text in quotation marks: sentences show what a client sent as JSON. */
const QUOTED = /"(?:[^"\\]|\\.)*"/g;

/** Words of our own that sentences quote. */
const OWN_WORDS: ReadonlySet<string> = new Set(
  ['publish', 'ref', 'data', 'event', 'channel', 'channels', 'seconds', 'user'].map(
    (word) => `"${word}"`,
  ),
);

/** Codes whose sentences quote a header field that is no secret, and says what is wrong. */
const QUOTING_CODES: ReadonlySet<string> = new Set([
  'HOLDLINE_BAD_HOST',
  'HOLDLINE_UNSUPPORTED_ENCODING',
  'HOLDLINE_UNSUPPORTED_MEDIA_TYPE',
]);

/** The sentence of a refusal, without what the client had sent. */
export function reasonOf({ code, message }: HoldlineError): string {
  if (QUOTING_CODES.has(code)) return message;
  return message.replaceAll(QUOTED, (text) => (OWN_WORDS.has(text) ? text : '"…"'));
}
