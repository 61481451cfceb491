/**
 * Answers to polls: the events after a position, as JSON. They are made from the channels' records,
 * so polls need no frames. All who ask from one position get the same bytes.
 */
import { POLL_BODY_BYTES_MAX } from '../limits.js';
import { Merge, type ChannelSet } from './channel-set.js';
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
  const parts: Buffer[] = limit === 0 ? [] : [Buffer.from('[')];
  let lastId = cursor;
  let bytes = parts.length;
  let events = 0;
  const add = (part: Buffer): void => {
    parts.push(part);
    bytes += part.length;
  };
  const merge = new Merge(set, cursor);
  while (events < Math.max(1, limit) && merge.next()) {
    const event = merge.channel.eventAt(merge.seq);
    if (event === undefined) continue;
    let frame = NDJSON.encode(event);
    if (events > 0 && bytes + frame.length > bytesMax) break;
    if (events === 0 && gap !== undefined) {
      const ends = { after: gap.after, before: gapBefore(set, cursor, gap) };
      add(Buffer.from(`{"gap":${JSON.stringify(ends)},`));
      frame = frame.subarray(1);
    }
    const part = Buffer.from(frame);
    // The line feed at the end of a frame becomes the comma between objects.
    part[part.length - 1] = COMMA;
    add(part);
    lastId = event.id;
    events++;
  }
  // Nothing follows the last object: its comma becomes the bracket, or goes.
  const body = Buffer.concat(parts, limit === 0 ? bytes - 1 : bytes);
  if (limit > 0) body[body.length - 1] = CLOSE_BRACKET;
  return { body, lastId, events };
}
