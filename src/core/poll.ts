/**
 * Answers to polls: events after a position as JSON text. Made from the channels' records, so that
 * polls alone keep no frames; all who ask from one position get the same bytes.
 */
import { POLL_BODY_BYTES_MAX } from '../limits.js';
import { Merge, type ChannelSet, type Member } from './channel-set.js';
import { NDJSON, scratch } from './frame.js';

/** A gap to be told with the first event. */
export interface OwedGap {
  /** The client's position, null where that is no id of ours. */
  readonly after: number | null;
  /** Events up to here may be lost. */
  readonly through: number;
}

/**
 * The first id that follows a gap, or null: on several channels some may hold events from before
 * what others have lost.
 */
export function gapBefore(set: Polled, cursor: number, { through }: OwedGap): number | null {
  return set.firstIdAfter(Math.max(cursor, through, set.lostThrough)) ?? null;
}

export interface PollAnswer {
  /** One object, or an array where a limit was given. */
  readonly body: Uint8Array;
  /** Id of the last event in the body: the position to go on with. */
  readonly lastId: number;
  readonly events: number;
}

type Polled = ChannelSet<Member>;

/** Makes answers, and keeps the last one for those who ask for the same. */
export class PollAnswers {
  #channel: unknown;
  #version = -1;
  #firstId = 0;
  #limit = 0;
  #answer: PollAnswer | undefined;
  /**
   * Bytes that an answer with several events may have now, at most POLL_BODY_BYTES_MAX; set by who
   * knows what is not read.
   */
  bodyBytesMax: () => number = () => POLL_BODY_BYTES_MAX;

  /**
   * What follows `cursor`: one event for `limit` 0, else an array of up to `limit` events and
   * `bodyBytesMax()`; undefined when nothing follows.
   */
  find(
    set: Polled,
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

const OPEN_BRACKET = Buffer.from('[');
const COMMA = Buffer.from(',');
const CLOSE_BRACKET = Buffer.from(']');

function makeAnswer(
  set: Polled,
  cursor: number,
  limit: number,
  gap: OwedGap | undefined,
  bytesMax: number,
): PollAnswer {
  const parts: Buffer[] = limit === 0 ? [] : [OPEN_BRACKET];
  let lastId = cursor;
  let bytes = 2;
  let events = 0;
  const merge = new Merge(set, cursor);
  while (events < Math.max(1, limit) && merge.next()) {
    const event = merge.channel.eventAt(merge.seq);
    if (event === undefined) continue;
    const length = NDJSON.encode(event) - 1;
    if (events > 0) {
      if (bytes + 1 + length > bytesMax) break;
      parts.push(COMMA);
      bytes++;
    }
    let object = scratch.subarray(0, length);
    if (events === 0 && gap !== undefined) {
      const told = { after: gap.after, before: gapBefore(set, cursor, gap) };
      const member = Buffer.from(`{"gap":${JSON.stringify(told)},`);
      parts.push(member);
      bytes += member.length;
      object = object.subarray(1);
    }
    parts.push(Buffer.from(object));
    bytes += object.length;
    lastId = event.id;
    events++;
  }
  if (limit > 0) parts.push(CLOSE_BRACKET);
  return { body: Buffer.concat(parts), lastId, events };
}
