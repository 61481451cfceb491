/** The doctor's events: published one after the other through the proxy, their arrival timed. */

import { printable } from '../../log-text.js';
import { ask } from './ask.js';
import type { ProbeStream } from './probe-stream.js';
import { bearerOf } from '../keys.js';

/** An event that arrives later than this after its publish was answered is late, ms. */
export const LATE_MS = 100;

/** An event that was published, and when it arrived. */
export interface ProbeEvent {
  readonly id: number;
  /** Lines on the channel at the server that took it. */
  readonly subscribers: number;
  /**
   * From the answer to its publish until it arrived on the stream, ms: 0 where it arrived before
   * the answer, null where it did not arrive.
   */
  readonly afterMs: number | null;
}

/** How to publish. */
export interface ProbePublisherOptions {
  /** The URL of a channel. */
  readonly url: URL;
  readonly publishKey: string | undefined;
  /** How long each answer, and each event on its stream, may take, ms. */
  readonly answerMs: number;
  /** What the data of every event begins with. */
  readonly token: string;
}

/** Publishes the events of one probe. */
export class ProbePublisher {
  /** Why the last event that was refused was. */
  refusal: string | null = null;
  readonly #options: ProbePublisherOptions;
  #published = 0;

  constructor(options: ProbePublisherOptions) {
    this.#options = options;
  }

  /** Data of the newest event, without its padding. */
  get newest(): string {
    return `${this.#options.token} ${this.#published}`;
  }

  /**
   * Publishes an event, of so many bytes more than it needs, and waits for it on a stream;
   * undefined when it was not accepted.
   */
  async publish(stream: ProbeStream, paddingBytes = 0): Promise<ProbeEvent | undefined> {
    const { publishKey, answerMs } = this.#options;
    this.#published++;
    const data = `${this.newest}${'x'.repeat(paddingBytes)}`;
    const url = new URL(this.#options.url);
    url.searchParams.set('event', 'holdline-doctor');
    const headers = { 'Content-Type': 'text/plain', ...bearerOf(publishKey) };
    const answer = await ask(url, { method: 'POST', headers, body: data }, answerMs);
    const receipt =
      typeof answer === 'string' || answer.status !== 200 ? undefined : receiptIn(answer.text);
    if (receipt === undefined || typeof answer === 'string') {
      this.refusal =
        typeof answer === 'string'
          ? answer
          : `${answer.status} ${printable(answer.text.trim().slice(0, 300))}`;
      return undefined;
    }
    await stream.waitFor(
      () => stream.seenAtMs(data) !== undefined || stream.end !== undefined,
      answerMs,
    );
    const seenAtMs = stream.seenAtMs(data);
    return {
      ...receipt,
      afterMs: seenAtMs === undefined ? null : Math.max(0, seenAtMs - answer.atMs),
    };
  }
}

/** True for an event that did not arrive in time. */
export function isLateEvent({ afterMs }: ProbeEvent): boolean {
  return afterMs === null || afterMs > LATE_MS;
}

/** True for an event that did not arrive. */
export function isLost({ afterMs }: ProbeEvent): boolean {
  return afterMs === null;
}

/** True when the events went to a server that does not have the stream. */
export function areElsewhere(events: readonly ProbeEvent[]): boolean {
  return events.length > 0 && events.every((event) => isLost(event) && event.subscribers === 0);
}

/** The receipt in the answer to a publish; undefined when it is something else. */
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
