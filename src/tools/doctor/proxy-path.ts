/**
 * Asks for a channel through whatever stands in front of a server, and notes what becomes of a
 * stream, events and polls on the way.
 */

import { randomBytes } from 'node:crypto';
import { ProbeStream, send, type End, type Head } from './probe-stream.js';

/**
 * How long an answer, a first block or an event may take before it counts as held back, ms, unless
 * a test says otherwise.
 */
export const ANSWER_MS = 3_000;

/**
 * An event that comes this long after its publish was answered is late, ms; then another one is
 * tried.
 */
export const LATE_MS = 100;

/**
 * Events that are published before the idle time: the quickest counts, since one may meet a busy
 * moment.
 */
const EVENTS = 3;

/** How long what follows a first block may take, which left the server in the same write, ms. */
const FOLLOWING_MS = 500;

/** What to ask, and for how long. */
export interface ProbeOptions {
  /** A channel. */
  readonly url: string;
  readonly publishKey: string | undefined;
  /** How long the stream is left without an event. */
  readonly idleMs: number;
  /** How long each answer, first block or event may take, ms. */
  readonly answerMs: number;
}

/** An event that was published, and what became of it. */
export interface ProbeEvent {
  readonly id: number;
  /** Lines on the channel where it was published. */
  readonly subscribers: number;
  /**
   * From the answer to its publish until it came on the stream, ms; 0 where it was the first to
   * come, null where it did not come.
   */
  readonly afterMs: number | null;
}

/** What was seen on the way through; null is what could not be seen. */
export interface ProxyPath {
  readonly url: string;
  readonly head: Head | null;
  /** Body of an answer that is no stream. */
  readonly refusal: string;
  /** First block of the stream. */
  readonly first: { readonly afterMs: number; readonly position: number | null } | null;
  /** Events published while the stream was young. */
  readonly events: readonly ProbeEvent[];
  /** The one published after the idle time. */
  readonly lateEvent: ProbeEvent | null;
  /** Why nothing could be published. */
  readonly publishRefusal: string | null;
  /** Whether the same poll was answered differently before the events and after them. */
  readonly pollIsFresh: boolean | null;
  /** A second stream, with Last-Event-ID, while the first was open. */
  readonly comeback: {
    /** What it asked to be continued after. */
    readonly askedAfter: number;
    readonly opened: boolean;
    /** Where it was continued. */
    readonly position: number | null;
    readonly gap: boolean;
  } | null;
  /** The time without an event: what was asked for, and blocks that came in it. */
  readonly idle: { readonly askedMs: number; readonly blocks: number } | null;
  /** The end of the first stream, if it came before it was closed here. */
  readonly end: End | null;
  /** Why the server ended it, where it said so. */
  readonly endCode: string | null;
}

/**
 * Looks at the way. Takes the idle time and a few seconds; what goes wrong on the way is in what it
 * returns.
 */
export function probePath(options: ProbeOptions): Promise<ProxyPath> {
  return new Probe(options).go();
}

/** An answer to a request that is no stream. */
interface Answer {
  readonly status: number;
  /** The header Holdline-Position, empty where there is none. */
  readonly position: string;
  readonly text: string;
  /** When it was complete, ms of `performance.now()`. */
  readonly atMs: number;
}

class Probe {
  readonly #options: ProbeOptions;
  readonly #url: URL;
  /** Begins the data of every event of this probe. */
  readonly #token = `holdline doctor ${randomBytes(8).toString('hex')}`;
  readonly #stream: ProbeStream;
  #published = 0;
  #publishRefusal: string | null = null;

  constructor(options: ProbeOptions) {
    this.#options = options;
    this.#url = new URL(options.url);
    this.#stream = new ProbeStream(this.#url, {}, this.#token);
  }

  async go(): Promise<ProxyPath> {
    const stream = this.#stream;
    const { answerMs } = this.#options;
    await stream.waitFor(
      () => stream.end !== undefined || stream.firstAfterMs !== undefined,
      answerMs,
    );
    const isRefused = stream.head !== undefined && stream.head.status !== 200;
    if (isRefused || stream.end !== undefined) return this.#path({});

    const before = await this.#poll();
    const events = await this.#publishEvents();
    const after = before === null || events.length === 0 ? null : await this.#poll();
    const pollIsFresh = after === null ? null : after !== before;
    // Nothing more can be seen on a stream on which nothing comes, or that is over.
    const isHeld = stream.firstAfterMs === undefined || events.at(-1)?.afterMs === null;
    if (isHeld || stream.end !== undefined) return this.#path({ events, pollIsFresh });

    const comeback = await this.#comeBack(events.at(-1)?.id ?? stream.position ?? 0);
    const idle = await this.#idle();
    const lateEvent =
      stream.end === undefined && events.length > 0 ? ((await this.#publish()) ?? null) : null;
    return this.#path({ events, pollIsFresh, comeback, idle, lateEvent });
  }

  #path(seen: Partial<ProxyPath>): ProxyPath {
    const { head, refusal, firstAfterMs, position, end, endCode } = this.#stream;
    this.#stream.close();
    return {
      url: this.#options.url,
      head: head ?? null,
      refusal,
      first:
        firstAfterMs === undefined ? null : { afterMs: firstAfterMs, position: position ?? null },
      events: [],
      lateEvent: null,
      publishRefusal: this.#publishRefusal,
      pollIsFresh: null,
      comeback: null,
      idle: null,
      end: end ?? null,
      endCode: endCode ?? null,
      ...seen,
    };
  }

  async #publishEvents(): Promise<ProbeEvent[]> {
    const events: ProbeEvent[] = [];
    while (events.length < EVENTS) {
      const event = await this.#publish();
      if (event === undefined) break;
      events.push(event);
      // Where the first does not come in all that time, the others will not.
      if (event.afterMs === null || event.afterMs <= LATE_MS) break;
    }
    return events;
  }

  /** Publishes an event and waits for it; undefined when it was not taken. */
  async #publish(): Promise<ProbeEvent | undefined> {
    const { publishKey } = this.#options;
    const data = `${this.#token} ${++this.#published}`;
    const url = new URL(this.#url);
    url.searchParams.set('event', 'holdline-doctor');
    const authorization: Record<string, string> =
      publishKey === undefined ? {} : { Authorization: `Bearer ${publishKey}` };
    const answer = await this.#ask(
      url,
      'POST',
      { 'Content-Type': 'text/plain', ...authorization },
      data,
    );
    const receipt =
      typeof answer === 'string' || answer.status !== 200 ? undefined : receiptIn(answer.text);
    if (receipt === undefined || typeof answer === 'string') {
      this.#publishRefusal =
        typeof answer === 'string'
          ? answer
          : `${answer.status} ${answer.text.trim().slice(0, 300)}`;
      return undefined;
    }
    const stream = this.#stream;
    await stream.waitFor(
      () => stream.seenAtMs(data) !== undefined || stream.end !== undefined,
      this.#options.answerMs,
    );
    const seenAtMs = stream.seenAtMs(data);
    return {
      ...receipt,
      afterMs: seenAtMs === undefined ? null : Math.max(0, seenAtMs - answer.atMs),
    };
  }

  /**
   * What the same short-poll is answered each time, as one text; null when it is not answered as a
   * poll is.
   */
  async #poll(): Promise<string | null> {
    const { position } = this.#stream;
    if (position === undefined) return null;
    const url = new URL(this.#url);
    url.search = `?since=${position}&wait=0`;
    const answer = await this.#ask(url, 'GET', { Accept: 'application/json' });
    if (typeof answer === 'string' || (answer.status !== 200 && answer.status !== 204)) return null;
    return `${answer.status} ${answer.position} ${answer.text}`;
  }

  /** Asks for what came after the event before `newest`, as a client does that comes back. */
  async #comeBack(newest: number): Promise<ProxyPath['comeback']> {
    if (newest < 1) return null;
    const askedAfter = newest - 1;
    const stream = new ProbeStream(this.#url, { 'Last-Event-ID': String(askedAfter) }, this.#token);
    await stream.waitFor(
      () => stream.firstAfterMs !== undefined || stream.end !== undefined,
      this.#options.answerMs,
    );
    if (stream.position !== undefined && stream.position > askedAfter)
      await stream.waitFor(() => stream.gap, FOLLOWING_MS);
    const { position, gap, firstAfterMs } = stream;
    stream.close();
    return { askedAfter, opened: firstAfterMs !== undefined, position: position ?? null, gap };
  }

  async #idle(): Promise<ProxyPath['idle']> {
    const { idleMs } = this.#options;
    const stream = this.#stream;
    const before = stream.blocks;
    await stream.waitFor(() => stream.end !== undefined, idleMs);
    return { askedMs: idleMs, blocks: stream.blocks - before };
  }

  /** One request, and its answer or why there is none. */
  async #ask(
    url: URL,
    method: string,
    headers: Readonly<Record<string, string>>,
    body = '',
  ): Promise<Answer | string> {
    const { answerMs } = this.#options;
    const request = send(url, { method, headers, signal: AbortSignal.timeout(answerMs) });
    return new Promise((resolve) => {
      request.on('error', (error) =>
        resolve(error.name === 'AbortError' ? `no answer within ${answerMs} ms` : error.message),
      );
      request.on('response', (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (piece: string) => (text += piece));
        response.on('end', () => {
          const position = String(response.headers['holdline-position'] ?? '');
          resolve({ status: response.statusCode!, position, text, atMs: performance.now() });
        });
        response.on('error', (error) => resolve(error.message));
      });
      request.end(body);
    });
  }
}

/** What a server answers to a publish; undefined when it is something else. */
function receiptIn(text: string): Pick<ProbeEvent, 'id' | 'subscribers'> | undefined {
  try {
    const { id, subscribers } = JSON.parse(text) as { id?: unknown; subscribers?: unknown };
    return typeof id === 'number' && typeof subscribers === 'number'
      ? { id, subscribers }
      : undefined;
  } catch {
    return undefined;
  }
}
