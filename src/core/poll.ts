/**
 * Answers to polls: the events after a position, as JSON. They are made from the channels' records,
 * so polls need no frames. All who ask from one position get the same bytes.
 */
import { POLL_BODY_BYTES_MAX } from '../limits.js';
import { Merge, type ChannelSet } from './channel-set.js';
import type { LoggedEvent } from './event.js';
import type { HistoryPage } from './event-log.js';
import { NDJSON } from './frame.js';

/** A gap to report with the first event. */
export interface OwedGap {
  /** The client's position; null when it is no id of this log. */
  readonly after: number | null;
  /** Events up to here may be lost. */
  readonly through: number;
}

/**
 * The first id after a gap, or null. On several channels the gap ends after everything lost, though
 * some channels may hold older events.
 */
export function gapBefore(set: ChannelSet, cursor: number, { through }: OwedGap): number | null {
  return set.firstIdAfter(Math.max(cursor, through, set.lostThrough)) ?? null;
}

export interface PollAnswer {
  /** An array; one bare object for `limit` 0. */
  readonly body: Uint8Array;
  /** Id of the last event in the body: the position to go on from. */
  readonly lastId: number;
  readonly events: number;
}

/** Makes answers, and keeps the last one for others who ask for the same. */
export class PollAnswers {
  #channel: unknown;
  #version = -1;
  #firstId = 0;
  #limit = 0;
  #answer: PollAnswer | undefined;
  /**
   * Most bytes of an answer with several events now, up to POLL_BODY_BYTES_MAX. Set by
   * server/server.ts, which knows how many bytes of answers are unread.
   */
  bodyBytesMax: () => number = () => POLL_BODY_BYTES_MAX;

  /**
   * What follows `cursor`: one event for `limit` 0, otherwise an array of up to `limit` events and
   * `bodyBytesMax()` bytes. Undefined when nothing follows.
   */
  find(
    set: ChannelSet,
    cursor: number,
    limit: number,
    gap: OwedGap | undefined,
  ): PollAnswer | undefined {
    const firstId = set.firstIdAfter(cursor);
    if (firstId === undefined) return undefined;
    if (gap !== undefined || set.channels.length > 1)
      return makeAnswer(set, cursor, limit, gap, this.bodyBytesMax());
    const channel = set.channels[0];
    if (
      channel !== this.#channel ||
      set.version !== this.#version ||
      firstId !== this.#firstId ||
      limit !== this.#limit
    ) {
      this.#answer = makeAnswer(set, cursor, limit, undefined, this.bodyBytesMax());
      this.#channel = channel;
      this.#version = set.version;
      this.#firstId = firstId;
      this.#limit = limit;
    }
    return this.#answer;
  }

  /**
   * The same of a page that was read from the log; undefined for an empty one. On several channels
   * the gap may end in a later page: then it ends with the first id that is not lost.
   */
  ofPage({ events }: HistoryPage, limit: number, gap: OwedGap | undefined): PollAnswer | undefined {
    if (events.length === 0) return undefined;
    const body = new Body(limit, this.bodyBytesMax());
    if (gap !== undefined) {
      const { after, through } = gap;
      const before = events.find(({ id }) => id > through)?.id ?? through + 1;
      body.gap = { after, before };
    }
    for (const event of events) if (!body.add(event)) break;
    return body.end();
  }
}

const COMMA = 0x2c;
const CLOSE_BRACKET = 0x5d;

function makeAnswer(
  set: ChannelSet,
  cursor: number,
  limit: number,
  gap: OwedGap | undefined,
  bytesMax: number,
): PollAnswer {
  const body = new Body(limit, bytesMax);
  if (gap !== undefined) body.gap = { after: gap.after, before: gapBefore(set, cursor, gap) };
  const merge = new Merge(set, cursor);
  while (merge.next()) {
    const event = merge.channel.eventAt(merge.seq);
    if (event !== undefined && !body.add(event)) break;
  }
  return body.end();
}

/** The body of an answer that is being made. */
class Body {
  /** Reported with the first event. */
  gap: { readonly after: number | null; readonly before: number | null } | undefined;

  readonly #limit: number;
  readonly #bytesMax: number;
  readonly #parts: Buffer[];
  #bytes: number;
  #events = 0;
  #lastId = 0;

  constructor(limit: number, bytesMax: number) {
    this.#limit = limit;
    this.#bytesMax = bytesMax;
    this.#parts = limit === 0 ? [] : [Buffer.from('[')];
    this.#bytes = this.#parts.length;
  }

  /** Takes an event, the first one whatever its size. False when no more fit. */
  add(event: LoggedEvent): boolean {
    let frame = NDJSON.encode(event);
    if (this.#events > 0 && this.#bytes + frame.length > this.#bytesMax) return false;
    if (this.#events === 0 && this.gap !== undefined) {
      this.#push(Buffer.from(`{"gap":${JSON.stringify(this.gap)},`));
      frame = frame.subarray(1);
    }
    const part = Buffer.from(frame);
    // The line feed at the end of a frame becomes the comma between objects.
    part[part.length - 1] = COMMA;
    this.#push(part);
    this.#lastId = event.id;
    return ++this.#events < this.#limit;
  }

  /** What was taken, at least one event. */
  end(): PollAnswer {
    const isArray = this.#limit > 0;
    // Nothing follows the last object: its comma becomes the bracket, or goes.
    const body = Buffer.concat(this.#parts, isArray ? this.#bytes : this.#bytes - 1);
    if (isArray) body[body.length - 1] = CLOSE_BRACKET;
    return { body, lastId: this.#lastId, events: this.#events };
  }

  #push(part: Buffer): void {
    this.#parts.push(part);
    this.#bytes += part.length;
  }
}
