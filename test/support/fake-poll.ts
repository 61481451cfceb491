/** Polls without sockets: what they were answered, and when. */
import type { PollPort, DeliveryMode } from '../../src/core/ports.js';
import { NDJSON } from '../../src/core/frame.js';

/** What a poll was answered. */
export interface FakeAnswer {
  /** The very bytes; undefined for 204. */
  readonly body: Uint8Array | undefined;
  readonly position: number;
}

export class FakePoll {
  readonly name: string;
  answer: FakeAnswer | undefined;
  /** Its client went away. */
  closed = false;
  /** Called when it is answered. */
  onAnswer: ((answer: FakeAnswer) => void) | undefined;

  constructor(name: string) {
    this.name = name;
  }

  /** The body as text; undefined for 204, or before an answer. */
  get text(): string | undefined {
    const body = this.answer?.body;
    return body === undefined ? undefined : Buffer.from(body).toString();
  }
}

/** Answers fake polls, each once. */
const pollPort: PollPort<FakePoll> = {
  kind: 'poll',
  answer(poll, body, position) {
    if (poll.answer !== undefined) throw new Error(`${poll.name}: answered twice`);
    if (poll.closed) throw new Error(`${poll.name}: answered, and its client is gone`);
    poll.answer = { body, position };
    poll.onAnswer?.(poll.answer);
  },
};

/** The delivery mode of polls of up to `limit` events; 0 answers with one bare object. */
export function fakePollMode(limit: number): DeliveryMode<FakePoll> {
  return { transport: 'poll', encoding: NDJSON, port: pollPort, limit };
}
