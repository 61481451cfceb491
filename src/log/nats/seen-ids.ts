/**
 * What channels have lost to the retention of the stream, which tells only its oldest id over all
 * of them: told from the messages that this server has seen since it was started. Of each channel
 * its newest id is known, and its longest spans without a message.
 *
 *   of a channel   newest   id of its last message
 *                  spans    from, to, from, to …   messages `from` and `to`, and none between
 *
 * A span that is not known any more, or a channel that is not, can only cause a false gap.
 */
import { NATS_SEEN_CHANNELS_MAX, NATS_SEEN_SPANS_MAX } from '../../limits.js';

interface Seen {
  newest: number;
  readonly spans: number[];
}

export class SeenIds {
  /** The one that was seen least recently first. */
  readonly #byChannel = new Map<string, Seen>();
  /** Channels without a record have no message above it, up to the last that was seen. */
  #othersThrough: number;
  /** The one that was seen last. */
  #latest: Seen | undefined;
  /** What the stream had forgotten when it was asked last. */
  #forgottenThrough = 0;

  /** All messages above this id will be seen. */
  constructor(after: number) {
    this.#othersThrough = after;
  }

  /** Of all messages up to this id some were not seen. */
  missed(throughId: number): void {
    this.#byChannel.clear();
    this.#latest = undefined;
    this.#othersThrough = throughId;
  }

  /** A message of the channel, a deletion among them; ids rise. */
  seen(channel: string, id: number): void {
    const known = this.#byChannel.get(channel);
    if (known === undefined) {
      const spans = id > this.#othersThrough + 1 ? [this.#othersThrough, id] : [];
      this.#latest = { newest: id, spans };
      this.#byChannel.set(channel, this.#latest);
      if (this.#byChannel.size > NATS_SEEN_CHANNELS_MAX) this.#dropOldest();
      return;
    }
    if (known !== this.#latest) {
      this.#byChannel.delete(channel);
      this.#byChannel.set(channel, known);
      this.#latest = known;
    }
    // A span of one id says nothing.
    if (id > known.newest + 1) this.#addSpan(known.spans, known.newest, id);
    known.newest = id;
  }

  /**
   * Highest id of the channel that may be lost when the stream has forgotten all that is up to
   * `forgottenThrough`, which this server has seen.
   */
  lostThrough(channel: string, forgottenThrough: number): number {
    this.#forgottenThrough = Math.max(this.#forgottenThrough, forgottenThrough);
    const known = this.#byChannel.get(channel);
    if (known === undefined) return Math.min(forgottenThrough, this.#othersThrough);
    if (forgottenThrough >= known.newest) return known.newest;
    const { spans } = known;
    for (let i = 0; i < spans.length; i += 2) {
      const from = spans[i] as number;
      if (from <= forgottenThrough && forgottenThrough < (spans[i + 1] as number)) return from;
    }
    return forgottenThrough;
  }

  /** In the place of one that is below what the stream has, or else of the shortest. */
  #addSpan(spans: number[], from: number, to: number): void {
    if (spans.length < 2 * NATS_SEEN_SPANS_MAX) {
      spans.push(from, to);
      return;
    }
    let place = -1;
    let shortest = to - from;
    for (let i = 0; i < spans.length; i += 2) {
      const end = spans[i + 1] as number;
      const length = end <= this.#forgottenThrough ? 0 : end - (spans[i] as number);
      if (length >= shortest) continue;
      shortest = length;
      place = i;
    }
    if (place >= 0) spans.splice(place, 2, from, to);
  }

  #dropOldest(): void {
    for (const [channel, { newest }] of this.#byChannel) {
      this.#byChannel.delete(channel);
      this.#othersThrough = Math.max(this.#othersThrough, newest);
      return;
    }
  }
}
