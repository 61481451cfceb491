/**
 * Publishes messages to the stream in order, and waits until it has taken them. Some are on their
 * way at once, the rest waits here. When the connection comes back, all that were on their way are
 * sent again in their order: their ids let the stream keep each once. A batch that NATS does not
 * answer is given up.
 */
import {
  createInbox,
  type Msg,
  type NatsConnection,
  type Subscription,
} from '@nats-io/transport-node';
import type { Clock } from '../../clock.js';
import { asError, HoldlineError } from '../../errors.js';
import {
  NATS_ACK_MS_MAX,
  NATS_IN_FLIGHT_BYTES_MAX,
  NATS_IN_FLIGHT_MAX,
  NATS_SILENT_MS_MAX,
} from '../../limits.js';
import type { OutgoingMessage } from './record.js';

/** The stream has a message. */
export interface Ack {
  readonly id: number;
  /** It had it before, under the same message id. */
  readonly isRepeat: boolean;
}

/** What the publisher asks of the log. */
interface PublisherOwner {
  readonly isConnected: () => boolean;
  /** Messages are on their way, and NATS has not answered any for NATS_SILENT_MS_MAX. */
  readonly silent: () => void;
  /** NATS says that nobody keeps the stream now: it is deleted, or has no leader. */
  readonly nobody: (problem: string) => void;
}

interface Batch {
  readonly acks: Ack[];
  readonly resolve: (acks: readonly Ack[]) => void;
  readonly reject: (error: HoldlineError) => void;
  readonly count: number;
  /** Entries of the same request that the stream has had before. */
  readonly before: number;
  acked: number;
  inFlight: number;
  /** Why it fails, once what is on its way has been answered. */
  problem: string | undefined;
  isOver: boolean;
}

interface Item {
  readonly batch: Batch;
  readonly index: number;
  readonly message: OutgoingMessage;
  /** When it was handed to the publisher, and then when it was sent first. */
  sinceMs: number;
}

const CHECK_MS = 100;
const NOBODY = 'NATS has no such stream now';

export class Publisher {
  readonly #nats: NatsConnection;
  readonly #clock: Clock;
  readonly #owner: PublisherOwner;
  readonly #inbox: string;
  readonly #answers: Subscription;
  #queue: Item[] = [];
  #next = 0;
  /** By the last token of the subject for its answer, in the order in which they were sent. */
  readonly #inFlight = new Map<number, Item>();
  #inFlightBytes = 0;
  #lastToken = 0;
  #lastAnswerMs = 0;
  /** Until then the loop was held: what NATS has answered meanwhile may not have been read. */
  #heldUntilMs = 0;
  #cancelCheck: (() => void) | undefined;

  constructor(nats: NatsConnection, clock: Clock, owner: PublisherOwner) {
    this.#nats = nats;
    this.#clock = clock;
    this.#owner = owner;
    this.#inbox = createInbox();
    this.#answers = nats.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        if (error === null) this.#answered(message);
      },
    });
  }

  /** No message waits or is on its way. */
  get isIdle(): boolean {
    return this.#inFlight.size === 0 && this.#next === this.#queue.length;
  }

  /**
   * Resolves when the stream has all messages; they are handed over in this turn. Rejects with
   * HOLDLINE_LOG_UNAVAILABLE when it is known that it has none of them, or only the first so many,
   * and else with HOLDLINE_OUTCOME_UNKNOWN. `before` entries of the request went before these.
   */
  publish(messages: readonly OutgoingMessage[], before = 0): Promise<readonly Ack[]> {
    return new Promise((resolve, reject) => {
      const batch: Batch = {
        acks: [],
        resolve,
        reject,
        count: messages.length,
        before,
        acked: 0,
        inFlight: 0,
        problem: undefined,
        isOver: false,
      };
      const sinceMs = this.#clock.nowMs();
      for (const [index, message] of messages.entries())
        this.#queue.push({ batch, index, message, sinceMs });
      this.#send();
      this.#check();
    });
  }

  /** The connection is back: what was on its way may be lost, and is sent again. */
  resend(): void {
    this.#lastAnswerMs = this.#clock.nowMs();
    for (const [token, item] of this.#inFlight) this.#write(token, item);
    this.#send();
  }

  /** Gives up what waits; resolves at once. */
  close(): void {
    this.#cancelCheck?.();
    this.#answers.unsubscribe();
    this.#giveUp('the server ends');
  }

  #send(): void {
    while (
      this.#next < this.#queue.length &&
      this.#inFlight.size < NATS_IN_FLIGHT_MAX &&
      this.#inFlightBytes < NATS_IN_FLIGHT_BYTES_MAX &&
      this.#owner.isConnected()
    ) {
      const item = this.#queue[this.#next++] as Item;
      const { batch } = item;
      if (batch.isOver || batch.problem !== undefined) continue;
      const token = ++this.#lastToken;
      item.sinceMs = this.#clock.nowMs();
      this.#inFlight.set(token, item);
      this.#inFlightBytes += item.message.data.length;
      batch.inFlight++;
      this.#write(token, item);
    }
    if (this.#next === this.#queue.length || this.#next > 10_000) {
      this.#queue = this.#queue.slice(this.#next);
      this.#next = 0;
    }
  }

  #write(token: number, { message }: Item): void {
    try {
      this.#nats.publish(message.subject, message.data, {
        headers: message.headers,
        reply: `${this.#inbox}.${token}`,
      });
    } catch (error) {
      // Nothing was sent: it is too large for NATS, or the connection has been closed.
      const item = this.#landed(token);
      if (item !== undefined) this.#failed(item, asError(error).message);
    }
  }

  #answered(answer: Msg): void {
    const item = this.#landed(Number(answer.subject.slice(this.#inbox.length + 1)));
    if (item === undefined) return;
    this.#lastAnswerMs = this.#clock.nowMs();
    const ack = readAnswer(answer);
    if (ack === NOBODY) this.#owner.nobody(NOBODY);
    if (typeof ack === 'string') this.#failed(item, ack);
    else this.#acked(item, ack);
    this.#send();
  }

  #landed(token: number): Item | undefined {
    const item = this.#inFlight.get(token);
    if (item === undefined) return undefined;
    this.#inFlight.delete(token);
    this.#inFlightBytes -= item.message.data.length;
    item.batch.inFlight--;
    return item;
  }

  #acked({ batch, index }: Item, ack: Ack): void {
    batch.acks[index] = ack;
    batch.acked++;
    if (batch.isOver) return;
    if (batch.acked === batch.count) {
      batch.isOver = true;
      batch.resolve(batch.acks);
    } else {
      this.#settle(batch);
    }
  }

  #failed({ batch }: Item, problem: string): void {
    batch.problem ??= problem;
    this.#settle(batch);
  }

  /** A batch that fails is answered when nothing of it is on its way: it can say what is kept. */
  #settle(batch: Batch): void {
    const { problem } = batch;
    if (problem === undefined || batch.inFlight > 0 || batch.isOver) return;
    this.#reject(batch, 'HOLDLINE_LOG_UNAVAILABLE', problem);
  }

  #reject(
    batch: Batch,
    code: 'HOLDLINE_LOG_UNAVAILABLE' | 'HOLDLINE_OUTCOME_UNKNOWN',
    problem: string,
  ): void {
    if (batch.isOver) return;
    batch.isOver = true;
    const acked = batch.before + batch.acked;
    const count = batch.before + batch.count;
    const isKnown = code === 'HOLDLINE_LOG_UNAVAILABLE';
    const published =
      acked === 0 && isKnown
        ? 'nothing was published'
        : `${acked} of ${count} events were published${isKnown ? '' : ', and of the others it is not known'}`;
    const advice =
      acked === 0 && isKnown
        ? 'try again after Retry-After'
        : 'the same request with the same Idempotency-Key publishes what is missing';
    batch.reject(new HoldlineError(code, `${problem}; ${published}; ${advice}`));
  }

  /** Looks again and again whether NATS still answers, while something waits. */
  #check(): void {
    if (this.#cancelCheck !== undefined) return;
    const dueMs = this.#clock.nowMs() + CHECK_MS;
    this.#cancelCheck = this.#clock.later(CHECK_MS, () => {
      this.#cancelCheck = undefined;
      const nowMs = this.#clock.nowMs();
      if (nowMs - dueMs > CHECK_MS) this.#heldUntilMs = nowMs;
      this.#giveUpSilent(nowMs);
      if (!this.isIdle) this.#check();
    });
  }

  #giveUpSilent(nowMs: number): void {
    const oldest = this.#oldest();
    if (oldest === undefined) return;
    const quietMs = nowMs - Math.max(this.#lastAnswerMs, oldest.sinceMs, this.#heldUntilMs);
    if (quietMs >= NATS_SILENT_MS_MAX) {
      this.#giveUp('NATS does not answer');
      this.#owner.silent();
      return;
    }
    // One of many that was lost on its way: while leaders change.
    for (const item of this.#inFlight.values()) {
      if (nowMs - item.sinceMs < NATS_ACK_MS_MAX) break;
      this.#reject(item.batch, 'HOLDLINE_OUTCOME_UNKNOWN', 'NATS did not answer');
    }
    this.#forgetOver();
  }

  #oldest(): Item | undefined {
    for (const item of this.#inFlight.values()) return item;
    return this.#queue[this.#next];
  }

  #giveUp(problem: string): void {
    for (const { batch } of this.#inFlight.values())
      this.#reject(batch, 'HOLDLINE_OUTCOME_UNKNOWN', problem);
    for (const { batch } of this.#queue.slice(this.#next))
      this.#reject(batch, 'HOLDLINE_LOG_UNAVAILABLE', problem);
    this.#queue = [];
    this.#next = 0;
    this.#forgetOver();
  }

  #forgetOver(): void {
    for (const [token, { batch }] of this.#inFlight) if (batch.isOver) this.#landed(token);
  }
}

/** What the stream said to a message: that it has it, or why it does not. */
function readAnswer(answer: Msg): Ack | string {
  if (answer.headers?.code === 503) return NOBODY;
  try {
    const { seq, duplicate, error } = answer.json<{
      readonly seq?: number;
      readonly duplicate?: boolean;
      readonly error?: { readonly description?: string };
    }>();
    if (error !== undefined) return `NATS refuses it (${error.description ?? 'without a reason'})`;
    if (seq !== undefined) return { id: seq, isRepeat: duplicate === true };
  } catch {
    // Said below.
  }
  return 'NATS answered what is no answer';
}
