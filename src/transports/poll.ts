/** Polls: answered at once when there is something, else when it comes or the wait is over. */
import type { PollPort, DeliveryMode } from '../core/ports.js';
import { NDJSON } from '../core/frame.js';
import type { Hub } from '../core/hub.js';
import type { Position } from '../core/position.js';
import type { Holder } from '../native/uws.js';
import type { Headers } from '../http/answer.js';
import type { Exchange } from '../http/exchange.js';

export interface PollRequest {
  readonly channels: readonly string[];
  readonly position: Position;
  /** 0: do not wait. */
  readonly waitMs: number;
  /** Events in the answer; 0 answers with one bare object instead of an array. */
  readonly limit: number;
}

const pollPort: PollPort<Exchange> = { kind: 'poll', answer: answerPoll };

/**
 * One way for each limit, since those who wait with the same one get the same bytes. Bounded by the
 * limits there are.
 */
const WAYS = new Map<number, DeliveryMode<Exchange>>();

function deliveryModeOf(limit: number): DeliveryMode<Exchange> {
  let mode = WAYS.get(limit);
  if (mode === undefined) {
    mode = { transport: 'poll', encoding: NDJSON, port: pollPort, limit };
    WAYS.set(limit, mode);
  }
  return mode;
}

function answerPoll(exchange: Exchange, body: Uint8Array | undefined, position: number): void {
  const told: Headers = [['Holdline-Position', String(position)]];
  if (body === undefined) exchange.answerNothing(told);
  else exchange.answer(200, 'application/json', body, told);
}

/**
 * Answers a poll in the cork that the caller's turn is, or holds it until an event comes or its
 * time is over. A HEAD never waits and does not count. It may wait as long as it likes
 * (native-notes/pending-answer.md). Throws what `checkPlace` throws, which is asked before it is
 * held, and what `Hub.wait` throws; nothing is written then.
 */
export function answerOrWait(
  hub: Pick<Hub<Exchange>, 'polls'>,
  holder: Pick<Holder<Exchange>, 'left'>,
  exchange: Exchange,
  { channels, position, limit, waitMs }: PollRequest,
  checkPlace: () => void,
): void {
  const polled = hub.polls.find(channels, position, limit);
  const { answer: found, start } = polled;
  if (found !== undefined || waitMs === 0 || exchange.isHead) {
    if (!exchange.isHead) hub.polls.answered(polled);
    answerPoll(exchange, found?.body, polled.position);
  } else {
    checkPlace();
    exchange.hold(hub.polls.wait(exchange, channels, deliveryModeOf(limit), start, waitMs), holder);
  }
}
