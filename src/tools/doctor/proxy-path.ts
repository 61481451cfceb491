/**
 * The path through whatever is in front of a server: asks for a channel there, and notes what
 * happens to a stream, to events, to polls, to a WebSocket, and to a page of the proxy's origin.
 */

import { randomBytes } from 'node:crypto';
import { ask } from './ask.js';
import {
  POLLED_DATA_BYTES,
  probeDirect,
  probePollLength,
  type CompressionSeen,
} from './compression-probe.js';
import { shakeHands, type Handshake } from './handshake.js';
import { probeOwnOrigin, type OwnOrigin } from './own-origin.js';
import {
  areElsewhere,
  isLateEvent,
  LATE_MS,
  ProbePublisher,
  type ProbeEvent,
} from './probe-publisher.js';
import { ProbeStream, type End, type Head } from './probe-stream.js';
import { bearerOf } from '../keys.js';

/** An answer, a first block or an event that takes longer counts as held back, ms. */
export const ANSWER_MS = 3_000;

/** Late events are tried again up to so many times; the fastest counts. */
const EVENTS_MAX = 3;

/** Polls until one has nothing, and the events that each of them takes. */
const POLLS_MAX = 5;
const POLLED_EVENTS_MAX = 1_000;

/** How long the rest of the server's first write may take after its first block, ms. */
const FOLLOWING_MS = 500;

/** What to ask, and for how long. */
export interface ProbeOptions {
  /** The URL of a channel. */
  readonly url: string;
  /** The URL of the same channel at the server itself; undefined where it was not given. */
  readonly directUrl?: string | undefined;
  readonly publishKey: string | undefined;
  /** A key or a token to read with. */
  readonly subscribeKey?: string | undefined;
  /** How long the stream stays without an event. */
  readonly idleMs: number;
  /** How long each answer, first block or event may take, ms. */
  readonly answerMs: number;
}

/** What was seen on the path; null is what could not be seen. */
export interface ProxyPath {
  readonly url: string;
  readonly head: Head | null;
  /** The body of an answer that is no stream. */
  readonly refusal: string;
  /** The first block of the stream. */
  readonly first: { readonly afterMs: number; readonly position: number | null } | null;
  /** The events that were published before the idle time. */
  readonly events: readonly ProbeEvent[];
  /** The one published after the idle time. */
  readonly lateEvent: ProbeEvent | null;
  /** Why no event could be published. */
  readonly publishRefusal: string | null;
  /** Whether a poll that had nothing before the events has them afterwards. */
  readonly pollIsFresh: boolean | null;
  /** What becomes of compression. */
  readonly compression: CompressionSeen;
  /** A WebSocket on the channel. */
  readonly webSocket: Handshake | null;
  /** A page of the URL's origin. */
  readonly ownOrigin: OwnOrigin | null;
  /** A second stream, with Last-Event-ID, opened beside the first. */
  readonly comeback: {
    /** The position that it asked to continue after. */
    readonly askedAfter: number;
    readonly opened: boolean;
    /** The position that it did continue after. */
    readonly position: number | null;
    readonly gap: boolean;
  } | null;
  /** The time without an event: how long it was to be, and how many blocks arrived in it. */
  readonly idle: { readonly askedMs: number; readonly blocks: number } | null;
  /** The end of the first stream, where it ended before the doctor closed it. */
  readonly end: End | null;
  /** The code with which the server ended it, where it gave one. */
  readonly endCode: string | null;
}

/** What a short-poll was answered. */
interface Polled {
  readonly since: number;
  readonly isEmpty: boolean;
  /** Where the next one goes on; undefined where the answer does not say. */
  readonly position: number | undefined;
}

/**
 * Probes the path, which takes the idle time and a few seconds. It does not reject: what goes wrong
 * on the path is in the result.
 */
export function probePath(options: ProbeOptions): Promise<ProxyPath> {
  return new Probe(options).go();
}

class Probe {
  readonly #options: ProbeOptions;
  readonly #url: URL;
  /** Headers of whoever reads. */
  readonly #reader: Readonly<Record<string, string>>;
  /** Prefix of the data of every event of this probe. */
  readonly #token = `holdline doctor ${randomBytes(8).toString('hex')}`;
  readonly #stream: ProbeStream;
  readonly #publisher: ProbePublisher;

  constructor(options: ProbeOptions) {
    this.#options = options;
    this.#url = new URL(options.url);
    this.#reader = bearerOf(options.subscribeKey);
    this.#stream = new ProbeStream(this.#url, this.#reader, this.#token);
    this.#publisher = new ProbePublisher({ ...options, url: this.#url, token: this.#token });
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

    const before = await this.#pollToEnd();
    const events = await this.#publishEvents();
    // A poll cannot return what is at another server.
    const isToChange = before !== null && events.length > 0 && !areElsewhere(events);
    const after = isToChange ? await this.#poll(before.since) : null;
    const pollIsFresh = after === null ? null : !after.isEmpty;
    // Where neither the stream nor a publish was answered, nothing else will be.
    const isAnswered = stream.head !== undefined || events.length > 0;
    const isLate = events.length > 0 && events.every(isLateEvent);
    const isHeldBack = stream.firstAfterMs === undefined || isLate;
    const seen = {
      events,
      pollIsFresh,
      compression: await this.#watchCompression(isAnswered && isHeldBack),
      webSocket: isAnswered ? await this.#openWebSocket(events) : null,
      ownOrigin: isAnswered ? await this.#askAsPage() : null,
    };
    // A stream that is held back, or that has ended, shows nothing more.
    const isHeld = stream.firstAfterMs === undefined || events.at(-1)?.afterMs === null;
    if (isHeld || stream.end !== undefined) return this.#path(seen);

    const comeback = await this.#comeBack(events.at(-1)?.id ?? stream.position ?? 0);
    const idle = await this.#idle();
    const lateEvent =
      stream.end === undefined && events.length > 0
        ? ((await this.#publisher.publish(this.#stream)) ?? null)
        : null;
    return this.#path({ ...seen, comeback, idle, lateEvent });
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
      publishRefusal: this.#publisher.refusal,
      pollIsFresh: null,
      compression: {
        coding: this.#stream.coding ?? null,
        direct: null,
        pollHasLength: null,
        plainArrives: null,
      },
      webSocket: null,
      ownOrigin: null,
      comeback: null,
      idle: null,
      end: end ?? null,
      endCode: endCode ?? null,
      ...seen,
    };
  }

  async #publishEvents(): Promise<ProbeEvent[]> {
    const events: ProbeEvent[] = [];
    while (events.length < EVENTS_MAX) {
      const event = await this.#publisher.publish(this.#stream);
      if (event === undefined) break;
      events.push(event);
      // When one has not arrived in all that time, others will not either.
      if (event.afterMs === null || !isLateEvent(event)) break;
    }
    return events;
  }

  /** Asks the server itself, and what explains the difference. */
  async #watchCompression(isHeld: boolean): Promise<CompressionSeen> {
    const { directUrl, answerMs } = this.#options;
    const coding = this.#stream.coding ?? null;
    const direct =
      directUrl === undefined
        ? null
        : await probeDirect(new URL(directUrl), this.#reader, answerMs);
    const isUndone = coding === 'plain' && direct?.coding === 'shared';
    return {
      coding,
      direct,
      pollHasLength: isUndone ? await this.#pollsWithLength() : null,
      plainArrives: isHeld ? await this.#arrivesPlain() : null,
    };
  }

  /** See {@link CompressionSeen.pollHasLength}. */
  async #pollsWithLength(): Promise<boolean | null> {
    const event = await this.#publisher.publish(this.#stream, POLLED_DATA_BYTES);
    if (event === undefined) return null;
    return probePollLength(this.#url, this.#reader, event.id - 1, this.#options.answerMs);
  }

  /** See {@link CompressionSeen.plainArrives}. */
  async #arrivesPlain(): Promise<boolean | null> {
    const { answerMs } = this.#options;
    const coded = new ProbeStream(this.#url, this.#reader, this.#token);
    const identity = { ...this.#reader, 'Accept-Encoding': 'identity' };
    const plain = new ProbeStream(this.#url, identity, this.#token);
    await plain.waitFor(
      () => plain.end !== undefined || plain.firstAfterMs !== undefined,
      answerMs,
    );
    // One that is held back shows nothing when it opens.
    await coded.waitFor(
      () => coded.end !== undefined || coded.firstAfterMs !== undefined,
      FOLLOWING_MS,
    );
    const isOpen = plain.coding === 'plain' && plain.firstAfterMs !== undefined;
    const event = isOpen ? await this.#publisher.publish(plain) : undefined;
    const hasArrived = (): boolean => coded.seenAtMs(this.#publisher.newest) !== undefined;
    if (event !== undefined) await coded.waitFor(hasArrived, LATE_MS);
    plain.close();
    coded.close();
    return event === undefined ? null : !isLateEvent(event) && !hasArrived();
  }

  /**
   * A poll that had nothing, so that it must have another answer once something is published. Null
   * where there is none: others publish to the channel, too, and may do so all the time.
   */
  async #pollToEnd(): Promise<Polled | null> {
    let since = this.#stream.position;
    for (let polls = 0; polls < POLLS_MAX && since !== undefined; polls++) {
      const polled = await this.#poll(since);
      if (polled === null || polled.isEmpty) return polled;
      since = polled.position;
    }
    return null;
  }

  /** Asks for what follows a position, at once; null when the answer is not that of a poll. */
  async #poll(since: number): Promise<Polled | null> {
    const url = new URL(this.#url);
    url.search = `?since=${since}&wait=0&limit=${POLLED_EVENTS_MAX}`;
    const question = { method: 'GET', headers: { ...this.#reader, Accept: 'application/json' } };
    const answer = await ask(url, question, this.#options.answerMs);
    if (typeof answer === 'string' || (answer.status !== 200 && answer.status !== 204)) return null;
    const position = /^\d{1,16}$/.test(answer.position) ? Number(answer.position) : undefined;
    return { since, isEmpty: answer.status === 204, position };
  }

  #openWebSocket(events: readonly ProbeEvent[]): Promise<Handshake> {
    const { answerMs } = this.#options;
    // An event that did not reach the stream may be at another server.
    const waitsForMessage = events.some(({ afterMs }) => afterMs !== null);
    return shakeHands({ url: this.#url, reader: this.#reader, answerMs, waitsForMessage });
  }

  #askAsPage(): Promise<OwnOrigin | null> {
    const { publishKey, answerMs } = this.#options;
    return probeOwnOrigin({ url: this.#url, publishKey, answerMs });
  }

  /** Reconnects like a client that has everything before `newest`. */
  async #comeBack(newest: number): Promise<ProxyPath['comeback']> {
    if (newest < 1) return null;
    const askedAfter = newest - 1;
    const headers = { ...this.#reader, 'Last-Event-ID': String(askedAfter) };
    const stream = new ProbeStream(this.#url, headers, this.#token);
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
}
