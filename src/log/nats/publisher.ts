/**
 * Publishes messages to the stream, and waits until it has taken them. Those of a lane stay in
 * order. Few of each lane are on their way at once, lanes take turns, and the rest waits here: NATS
 * takes one after another, so a message stands behind little of what other lanes have. When the
 * connection comes back, all that were on their way are sent again in their order: their ids let
 * the stream keep each once. A batch that NATS does not answer is given up.
 */
import {
  createInbox,
  type Msg,
  type NatsConnection,
  type Subscription,
} from '@nats-io/transport-node';
import type { Clock } from '../../clock.js';
import { AppendWindow } from '../../core/append-window.js';
import { asError, HoldlineError } from '../../errors.js';
import {
  NATS_ACK_MS_MAX,
  NATS_IN_FLIGHT_BYTES_MAX,
  NATS_IN_FLIGHT_MAX,
  NATS_MESSAGE_OVERHEAD_BYTES,
  NATS_SILENT_MS_MAX,
} from '../../limits.js';
import { Lane } from './lane.js';
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
  readonly lane: Lane<Item>;
  readonly index: number;
  readonly message: OutgoingMessage;
  readonly bytes: number;
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
  /** By name: those with messages that wait or are on their way. */
  readonly #lanes = new Map<string, Lane<Item>>();
  /** Those that may send next, in turn. */
  readonly #ready = new Set<Lane<Item>>();
  readonly #window = new AppendWindow();
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
    return this.#lanes.size === 0;
  }

  /**
   * Resolves when the stream has all messages, each after those of its lane that were published
   * before. Rejects with HOLDLINE_LOG_UNAVAILABLE when it is known that the stream has none of
   * them, or only the first so many, and else with HOLDLINE_OUTCOME_UNKNOWN. `before` entries of
   * the request went before these.
   */
  publish(
    messages: readonly OutgoingMessage[],
    laneName: string,
    before = 0,
  ): Promise<readonly Ack[]> {
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
      const lane = this.#lane(laneName);
      for (const [index, message] of messages.entries()) {
        const bytes = message.data.length + NATS_MESSAGE_OVERHEAD_BYTES;
        lane.push({ batch, lane, index, message, bytes, sinceMs });
      }
      this.#ready.add(lane);
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

  #lane(name: string): Lane<Item> {
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = new Lane(name, isLive);
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  /** One message of each lane in turn, as far as there is room. */
  #send(): void {
    for (const lane of this.#ready) {
      if (
        this.#inFlight.size >= NATS_IN_FLIGHT_MAX ||
        this.#inFlightBytes >= NATS_IN_FLIGHT_BYTES_MAX ||
        !this.#owner.isConnected()
      )
        return;
      this.#ready.delete(lane);
      const { first } = lane;
      if (first === undefined) {
        this.#forgetIfDone(lane);
      } else if (this.#window.hasRoom(lane.inFlightBytes, first.bytes)) {
        lane.shift();
        this.#ready.add(lane);
        this.#begin(first);
      }
    }
  }

  /** Call it when nothing of the lane waits. */
  #forgetIfDone(lane: Lane<Item>): void {
    if (lane.inFlightBytes > 0) return;
    this.#lanes.delete(lane.name);
    this.#ready.delete(lane);
  }

  #begin(item: Item): void {
    const { batch, lane, bytes } = item;
    const token = ++this.#lastToken;
    item.sinceMs = this.#clock.nowMs();
    this.#inFlight.set(token, item);
    this.#inFlightBytes += bytes;
    lane.inFlightBytes += bytes;
    batch.inFlight++;
    this.#write(token, item);
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
    const nowMs = this.#clock.nowMs();
    this.#lastAnswerMs = nowMs;
    const ack = readAnswer(answer);
    if (ack === NOBODY) this.#owner.nobody(NOBODY);
    if (typeof ack === 'string') {
      this.#failed(item, ack);
    } else {
      const { lane, bytes, sinceMs } = item;
      this.#window.committed(bytes, sinceMs, nowMs, lane.first !== undefined);
      this.#acked(item, ack);
    }
    this.#send();
  }

  #landed(token: number): Item | undefined {
    const item = this.#inFlight.get(token);
    if (item === undefined) return undefined;
    const { batch, lane, bytes } = item;
    this.#inFlight.delete(token);
    this.#inFlightBytes -= bytes;
    lane.inFlightBytes -= bytes;
    batch.inFlight--;
    if (lane.first === undefined) this.#forgetIfDone(lane);
    else this.#ready.add(lane);
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
    this.#send();
  }

  #oldest(): Item | undefined {
    for (const item of this.#inFlight.values()) return item;
    let oldest: Item | undefined;
    for (const { first } of this.#lanes.values())
      if (first !== undefined && (oldest === undefined || first.sinceMs < oldest.sinceMs))
        oldest = first;
    return oldest;
  }

  #giveUp(problem: string): void {
    for (const { batch } of this.#inFlight.values())
      this.#reject(batch, 'HOLDLINE_OUTCOME_UNKNOWN', problem);
    for (const lane of this.#lanes.values()) {
      for (const { batch } of lane.takeAll())
        this.#reject(batch, 'HOLDLINE_LOG_UNAVAILABLE', problem);
      this.#forgetIfDone(lane);
    }
    this.#forgetOver();
  }

  #forgetOver(): void {
    for (const [token, { batch }] of this.#inFlight) if (batch.isOver) this.#landed(token);
  }
}

/** What waits of a batch that fails is not sent. */
function isLive({ batch }: Item): boolean {
  return !batch.isOver && batch.problem === undefined;
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
