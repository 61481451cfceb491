/** An event stream as a proxy passes it on: what arrives when, and how it ends. */

import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { constants, createBrotliDecompress, createUnzip } from 'node:zlib';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { send } from './ask.js';

/** Characters that are kept of an answer that is no stream, and of a row of text without an end. */
const KEPT_CHARACTERS_MAX = 64 * 1024;

/** Comments, ids and retry times, which Holdline also sends in blocks without data. */
const ROW_WITHOUT_DATA = /^(?::|id\b|retry\b).*$/gm;

/**
 * How a stream's bytes are coded: not at all, by a Holdline (`shared` by all lines), or by
 * something else, such as a proxy (`added`).
 */
export type Coding = 'plain' | 'shared' | 'added';

/**
 * How a Holdline's gzip stream begins (core/gzip.ts): a header of no name, time or system, and a
 * stored block that is not the last. A compressor writes so few bytes of text in a block with
 * Huffman codes, which is shorter.
 */
const SHARED_HEAD = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 0]);

/** What answered, before any of the body. */
export interface Head {
  readonly status: number;
  /** 1.0 or 1.1. */
  readonly httpVersion: string;
  /** By name in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Since the request, ms. */
  readonly afterMs: number;
}

/** How a stream ended. */
export interface End {
  /** Since the request, and since the last bytes that arrived, ms. */
  readonly afterMs: number;
  readonly silentMs: number;
  /** `ended` in order, `cut` without an end, or the reason why it never opened. */
  readonly how: string;
}

/** One text for each header, also for those that may be repeated. */
function headersOf({ headers }: IncomingMessage): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}

/** One request for an event stream, read until it is closed. */
export class ProbeStream {
  head: Head | undefined;
  end: End | undefined;
  /** When the first block was complete, ms since the request. */
  firstAfterMs: number | undefined;
  /** The position that the first block gives; undefined where it gives none. */
  position: number | undefined;
  /** True once the server has announced a gap. */
  gap = false;
  /** The code with which the server ended the stream, where it gave one. */
  endCode: string | undefined;
  /** Blocks so far, heartbeats included. */
  blocks = 0;
  /** Text of an answer that is no stream. */
  refusal = '';
  /** How the stream is coded; undefined until that is known. */
  coding: Coding | undefined;
  readonly #prefix: string;
  /** When data with the prefix arrived, by that data; ms of `performance.now()`. */
  readonly #seenAtMs = new Map<string, number>();
  readonly #startedMs = performance.now();
  readonly #request: ClientRequest;
  readonly #parser = createParser({ onEvent: (block) => this.#readBlock(block) });
  readonly #waiters = new Set<() => void>();
  #lastMs = this.#startedMs;
  #rest = '';

  /** Sends the request. Data that begins with `prefix` is noted with its time of arrival. */
  constructor(url: URL, headers: Readonly<Record<string, string>>, prefix: string) {
    this.#prefix = prefix;
    this.#request = send(url, {
      headers: { Accept: 'text/event-stream', 'Accept-Encoding': 'gzip, deflate, br', ...headers },
    });
    this.#request.on('response', (response) => this.#open(response));
    this.#request.on('error', (error) => this.#finish(error.message));
    this.#request.end();
  }

  /** When this data arrived, ms of `performance.now()`. */
  seenAtMs(data: string): number | undefined {
    return this.#seenAtMs.get(data);
  }

  /** Waits until a condition holds or the time is up. */
  async waitFor(condition: () => boolean, timeoutMs: number): Promise<void> {
    if (condition()) return;
    await new Promise<void>((resolve) => {
      const finish = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(check);
        resolve();
      };
      const check = (): void => {
        if (condition()) finish();
      };
      const timer = setTimeout(finish, timeoutMs);
      this.#waiters.add(check);
    });
  }

  close(): void {
    this.#request.destroy();
  }

  #changed(): void {
    for (const check of this.#waiters) check();
  }

  #open(response: IncomingMessage): void {
    this.head = {
      status: response.statusCode!,
      httpVersion: response.httpVersion,
      headers: headersOf(response),
      afterMs: performance.now() - this.#startedMs,
    };
    this.#watchCoding(response);
    const body = decoded(response);
    body.setEncoding('utf8');
    body.on('data', (text: string) => this.#read(text));
    body.on('end', () => this.#finish('ended'));
    body.on('error', () => this.#finish('cut'));
    response.on('error', () => this.#finish('cut'));
    this.#changed();
  }

  /** Notes the coding: of gzip by the first bytes, which are passed on untouched. */
  #watchCoding(response: IncomingMessage): void {
    const encoding = response.headers['content-encoding'] ?? 'identity';
    if (encoding !== 'gzip') {
      this.coding = encoding === 'identity' ? 'plain' : 'added';
      return;
    }
    let begin = Buffer.alloc(0);
    const read = (bytes: Buffer): void => {
      begin = Buffer.concat([begin, bytes]).subarray(0, SHARED_HEAD.length);
      if (begin.length < SHARED_HEAD.length) return;
      response.off('data', read);
      this.coding = begin.equals(SHARED_HEAD) ? 'shared' : 'added';
      this.#changed();
    };
    response.on('data', read);
  }

  #read(text: string): void {
    this.#lastMs = performance.now();
    if (this.head?.status !== 200) {
      this.refusal = (this.refusal + text).slice(0, KEPT_CHARACTERS_MAX);
      return;
    }
    const rows = this.#rest + text;
    const end = rows.lastIndexOf('\n') + 1;
    this.#rest = rows.slice(end, end + KEPT_CHARACTERS_MAX);
    // The parser drops a block without data, as EventSource does. Here preludes and heartbeats
    // count, so their blocks are given an empty row of data.
    this.#parser.feed(rows.slice(0, end).replaceAll(ROW_WITHOUT_DATA, '$&\ndata'));
    this.#changed();
  }

  #readBlock({ id = '', event, data: rows }: EventSourceMessage): void {
    if (this.blocks++ === 0) {
      this.firstAfterMs = this.#lastMs - this.#startedMs;
      this.position = /^\d{1,16}$/.test(id) ? Number(id) : undefined;
    }
    const data = rows.trimStart();
    if (event === 'gap') this.gap = true;
    if (event === 'end') this.endCode = /"code":"(\w+)"/.exec(data)?.[1];
    if (data.startsWith(this.#prefix)) this.#seenAtMs.set(data, this.#lastMs);
  }

  #finish(how: string): void {
    const now = performance.now();
    this.end ??= { afterMs: now - this.#startedMs, silentMs: now - this.#lastMs, how };
    this.#changed();
  }
}

/** The body without its compression. */
function decoded(response: IncomingMessage): Readable {
  const encoding = response.headers['content-encoding'];
  // A Holdline's streams have no trailer (docs/compression.md).
  if (encoding === 'gzip' || encoding === 'deflate')
    return response.pipe(createUnzip({ finishFlush: constants.Z_SYNC_FLUSH }));
  return encoding === 'br' ? response.pipe(createBrotliDecompress()) : response;
}
