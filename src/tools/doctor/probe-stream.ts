/** An event stream as a proxy passes it on: what came when, and how it ended. */

import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import type { Readable } from 'node:stream';
import { createBrotliDecompress, createUnzip } from 'node:zlib';

/** Characters that are kept of an answer that is no stream, and of a block that does not end. */
const KEPT_CHARACTERS = 64 * 1024;

/** What answered, before any of the body. */
export interface Head {
  readonly status: number;
  /** 1.0 or 1.1. */
  readonly httpVersion: string;
  /** By name in small letters. */
  readonly headers: Readonly<Record<string, string>>;
  /** Since it was asked for, ms. */
  readonly afterMs: number;
}

/** How a stream came to its end. */
export interface End {
  /** Since it was asked for, and since the last bytes of it, ms. */
  readonly afterMs: number;
  readonly silentMs: number;
  /** `ended` in order, `cut` without an end, or never opened: why. */
  readonly how: string;
}

/**
 * The fields of a block of an event stream, the last one where a name is repeated. HTML Standard,
 * 9.2.6.
 */
function fieldsOf(block: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const line of block.split('\n')) {
    const [, name, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (name !== undefined) fields.set(name, value ?? '');
  }
  return fields;
}

/**
 * Sends a request on a connection of its own, so that nothing depends on what became of another;
 * not with `Connection: close`, which a proxy may heed.
 */
export function send(url: URL, options: http.RequestOptions): http.ClientRequest {
  const isSecure = url.protocol === 'https:';
  const agent = isSecure
    ? new https.Agent({ keepAlive: true })
    : new http.Agent({ keepAlive: true });
  const request = (isSecure ? https : http).request(url, { ...options, agent });
  return request.once('close', () => agent.destroy());
}

/** The fields of a head that may come several times as one text each. */
function headersOf({ headers }: IncomingMessage): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}

/** One request for an event stream, read until it is closed. */
export class ProbeStream {
  head: Head | undefined;
  end: End | undefined;
  /** When the first block was complete, ms since it was asked for. */
  firstAfterMs: number | undefined;
  /** The position that the first block tells; undefined where it tells none. */
  position: number | undefined;
  /** True when the server has told of a gap. */
  gap = false;
  /** Code of the server's own end, where it says one. */
  endCode: string | undefined;
  /** Blocks so far, comments among them. */
  blocks = 0;
  /** Text of an answer that is no stream. */
  refusal = '';
  readonly #watchedFor: string;
  /**
   * When data came that begins with what is watched for, by that data; ms of `performance.now()`.
   */
  readonly #seenAtMs = new Map<string, number>();
  readonly #startedMs = performance.now();
  readonly #request: http.ClientRequest;
  readonly #waiters = new Set<() => void>();
  #lastMs = this.#startedMs;
  #text = '';

  /** Asks for it; data that begins with `watchedFor` is kept. */
  constructor(url: URL, headers: Readonly<Record<string, string>>, watchedFor: string) {
    this.#watchedFor = watchedFor;
    this.#request = send(url, {
      headers: { Accept: 'text/event-stream', 'Accept-Encoding': 'gzip, deflate, br', ...headers },
    });
    this.#request.on('response', (response) => this.#open(response));
    this.#request.on('error', (error) => this.#finish(error.message));
    this.#request.end();
  }

  /** When this data came, ms of `performance.now()`. */
  seenAtMs(data: string): number | undefined {
    return this.#seenAtMs.get(data);
  }

  /** Waits for a condition, at the most so long; whether it came. */
  async waitFor(condition: () => boolean, deadlineMs: number): Promise<boolean> {
    if (condition()) return true;
    return new Promise((resolve) => {
      const finish = (came: boolean): void => {
        clearTimeout(timer);
        this.#waiters.delete(look);
        resolve(came);
      };
      const look = (): void => {
        if (condition()) finish(true);
      };
      const timer = setTimeout(() => finish(false), deadlineMs);
      this.#waiters.add(look);
    });
  }

  close(): void {
    this.#request.destroy();
  }

  #changed(): void {
    for (const look of this.#waiters) look();
  }

  #open(response: IncomingMessage): void {
    this.head = {
      status: response.statusCode!,
      httpVersion: response.httpVersion,
      headers: headersOf(response),
      afterMs: performance.now() - this.#startedMs,
    };
    const body = decoded(response);
    body.setEncoding('utf8');
    body.on('data', (text: string) => this.#read(text));
    body.on('end', () => this.#finish('ended'));
    body.on('error', () => this.#finish('cut'));
    response.on('error', () => this.#finish('cut'));
    this.#changed();
  }

  #read(text: string): void {
    this.#lastMs = performance.now();
    if (this.head?.status !== 200) {
      this.refusal = (this.refusal + text).slice(0, KEPT_CHARACTERS);
      return;
    }
    const blocks = (this.#text + text).replaceAll('\r\n', '\n').split('\n\n');
    this.#text = blocks.pop()!.slice(0, KEPT_CHARACTERS);
    for (const block of blocks) this.#readBlock(fieldsOf(block));
    this.#changed();
  }

  #readBlock(fields: ReadonlyMap<string, string>): void {
    if (this.blocks++ === 0) {
      const id = fields.get('id') ?? '';
      this.firstAfterMs = this.#lastMs - this.#startedMs;
      this.position = /^\d{1,16}$/.test(id) ? Number(id) : undefined;
    }
    const type = fields.get('event');
    const data = fields.get('data');
    if (type === 'gap') this.gap = true;
    if (type === 'end') this.endCode = /"code":"(\w+)"/.exec(data ?? '')?.[1];
    if (data?.startsWith(this.#watchedFor)) this.#seenAtMs.set(data, this.#lastMs);
  }

  #finish(how: string): void {
    const now = performance.now();
    this.end ??= { afterMs: now - this.#startedMs, silentMs: now - this.#lastMs, how };
    this.#changed();
  }
}

/** The body without the compression that something on the way has put on it. */
function decoded(response: IncomingMessage): Readable {
  const encoding = response.headers['content-encoding'];
  if (encoding === 'gzip' || encoding === 'deflate') return response.pipe(createUnzip());
  return encoding === 'br' ? response.pipe(createBrotliDecompress()) : response;
}
