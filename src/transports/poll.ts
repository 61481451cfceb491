/** Polls: answered at once when there is something, else when it comes or the wait is over. */
import type { PollPort, Way } from '../core/feed.js';
import { NDJSON } from '../core/frame.js';
import type { Hub } from '../core/hub.js';
import type { Position } from '../core/position.js';
import type { Holder, HttpResponse } from '../native/uws.js';
import { writeAnswer, writeNothing, type Headers } from './answer.js';

export interface PollRequest {
  readonly channels: readonly string[];
  readonly position: Position;
  /** 0: do not wait. */
  readonly waitMs: number;
  /** Events in the answer; 0: one, that is no array. */
  readonly limit: number;
  readonly headers: Headers;
}

/** A poll as the hub holds it. */
export class WaitingPoll {
  readonly response: HttpResponse;
  readonly headers: Headers;

  constructor(response: HttpResponse, headers: Headers) {
    this.response = response;
    this.headers = headers;
  }
}

const pollPort: PollPort<WaitingPoll> = {
  kind: 'poll',
  answer({ response, headers }, body, position) {
    response.cork(() => writePoll(response, headers, body, position, false));
  },
};

/** One way for each limit, since those who wait with the same one get the same bytes. Bounded by the limits there are. */
const WAYS = new Map<number, Way<WaitingPoll>>();

function wayOf(limit: number): Way<WaitingPoll> {
  let way = WAYS.get(limit);
  if (way === undefined) {
    way = { transport: 'poll', dialect: NDJSON, port: pollPort, limit };
    WAYS.set(limit, way);
  }
  return way;
}

/** Writes the answer, where the response is corked. */
function writePoll(
  response: HttpResponse,
  headers: Headers,
  body: Uint8Array | undefined,
  position: number,
  isHead: boolean,
): void {
  const withPosition: Headers = [...headers, ['Holdline-Position', String(position)]];
  if (body === undefined) writeNothing(response, withPosition);
  else writeAnswer(response, 200, 'application/json', body, withPosition, isHead);
}

/**
 * Answers a poll in the cork that the caller's turn is, or holds it until an event comes or its time is over. A HEAD never waits
 * and does not count. It may wait as long as it likes (native-notes/pending-answer.md). Throws what `checkPlace` throws, which is asked before it is held, and what `Hub.wait` throws; nothing is
 * written then.
 */
export function answerOrWait(
  hub: Pick<Hub<WaitingPoll>, 'answered' | 'poll' | 'wait'>,
  holder: Pick<Holder<WaitingPoll>, 'left'>,
  response: HttpResponse,
  request: PollRequest,
  isHead: boolean,
  checkPlace: () => void,
): void {
  const { channels, headers, limit, waitMs } = request;
  const polled = hub.poll(channels, request.position, limit);
  const { answer: found, start } = polled;
  if (found !== undefined || waitMs === 0 || isHead) {
    if (!isHead) hub.answered(polled);
    writePoll(response, headers, found?.body, polled.position, isHead);
  } else {
    checkPlace();
    const poll = new WaitingPoll(response, headers);
    const handle = hub.wait(poll, channels, wayOf(limit), start, waitMs);
    response.onAborted(() => holder.left(handle, poll));
  }
}
