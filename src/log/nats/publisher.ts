/**
 * Publishes messages to the stream, and waits until it has taken them. Those of a lane stay in
 * order. Few of each lane are on their way at once, lanes take turns, and the rest waits here: NATS
 * takes one after another, so a message stands behind little of what other lanes have. When the
 * connection comes back, all that were on their way are sent again in their order: their ids let
 * the stream keep each once. A batch that NATS does not answer is given up.
 */
import {
  createInbox,
  errors,
  type Msg,
  type NatsConnection,
  type Subscription,
} from '@nats-io/transport-node';
import type { Clock } from '../../clock.js';
import { AppendWindow } from '../../core/append-window.js';
import { asError } from '../../errors.js';
import {
  NATS_ACK_MS_MAX,
  NATS_IN_FLIGHT_BYTES_MAX,
  NATS_IN_FLIGHT_MAX,
  NATS_MESSAGE_OVERHEAD_BYTES,
  NATS_SILENT_MS_MAX,
} from '../../limits.js';
import { type Ack, Batch, type FailureCode } from './batch.js';
import { Lane } from './lane.js';
import type { OutgoingMessage } from './record.js';

/** What the publisher asks of the log. */
interface PublisherOwner {
  readonly isConnected: () => boolean;
  /** Messages are on their way, and NATS has not answered any for NATS_SILENT_MS_MAX. */
  readonly silent: () => void;
  /** NATS says that nobody keeps the stream now: it is deleted, or has no leader. */
  readonly nobody: (problem: string) => void;
}

interface Item {
  readonly batch: Batch;
  readonly lane: Lane<Item>;
  readonly index: number;
  readonly message: OutgoingMessage;
  readonly bytes: number;
  /** When it was handed to the publisher, and then when it was sent first. */
  sinceMs: number;
  isResent: boolean;
}

const CHECK_MS = 100;
const NOBODY = 'NATS has no such stream now';
/** nats-server: a message with this id is on its way to the other servers of its cluster. */
const IN_PROCESS = 10_158;

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
      const batch = new Batch(messages.length, before, resolve, reject);
      const sinceMs = this.#clock.nowMs();
      const lane = this.#lane(laneName);
      for (const [index, message] of messages.entries()) {
        const bytes = message.data.length + NATS_MESSAGE_OVERHEAD_BYTES;
        lane.push({ batch, lane, index, message, bytes, sinceMs, isResent: false });
      }
      this.#ready.add(lane);
      this.#send();
      this.#check();
    });
  }

  /** The connection is back: what was on its way may be lost, and is sent again. */
  resend(): void {
    this.#lastAnswerMs = this.#clock.nowMs();
    for (const [token, item] of this.#inFlight) {
      item.isResent = true;
      this.#write(token, item);
    }
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
      lane = new Lane(name, ({ batch }) => batch.isLive);
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
      // Nothing was sent: the connection has been closed, or it is too large for NATS, which is the
      // only argument that it refuses here.
      const isTooLarge = error instanceof errors.InvalidArgumentError;
      const problem = isTooLarge
        ? `NATS takes at most ${this.#nats.info?.max_payload} bytes of an event and its headers (max_payload)`
        : asError(error).message;
      this.#failed(token, problem, isTooLarge ? 'HOLDLINE_TOO_LARGE' : 'HOLDLINE_LOG_UNAVAILABLE');
    }
  }

  /** The stream does not have it, unless it got what was sent before. */
  #failed(token: number, problem: string, code: FailureCode): void {
    const item = this.#landed(token);
    item?.batch.failed(problem, item.isResent ? 'HOLDLINE_OUTCOME_UNKNOWN' : code);
  }

  /** It is not known yet whether the stream has it: NATS is asked again, for NATS_ACK_MS_MAX. */
  #askAgain(token: number, item: Item): void {
    item.isResent = true;
    this.#clock.later(CHECK_MS, () => {
      if (this.#inFlight.get(token) === item && this.#owner.isConnected()) this.#write(token, item);
    });
  }

  #answered(answer: Msg): void {
    const token = Number(answer.subject.slice(this.#inbox.length + 1));
    const item = this.#inFlight.get(token);
    if (item === undefined) return;
    const nowMs = this.#clock.nowMs();
    this.#lastAnswerMs = nowMs;
    const ack = readAnswer(answer, item.isResent);
    if (ack === NOBODY) this.#owner.nobody(NOBODY);
    // What was sent before the leader went may be with those that follow it.
    if (ack === undefined || (ack === NOBODY && item.isResent)) {
      this.#askAgain(token, item);
    } else if (typeof ack === 'string') {
      this.#failed(token, ack, 'HOLDLINE_LOG_UNAVAILABLE');
    } else {
      this.#landed(token);
      const { batch, index, lane, bytes, sinceMs } = item;
      this.#window.committed(bytes, sinceMs, nowMs, lane.first !== undefined);
      batch.acked(index, ack);
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
      if (nowMs - Math.max(item.sinceMs, this.#heldUntilMs) < NATS_ACK_MS_MAX) break;
      item.batch.giveUp('HOLDLINE_OUTCOME_UNKNOWN', 'NATS did not answer');
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
      batch.giveUp('HOLDLINE_OUTCOME_UNKNOWN', problem);
    for (const lane of this.#lanes.values()) {
      for (const { batch } of lane.takeAll()) batch.giveUp('HOLDLINE_LOG_UNAVAILABLE', problem);
      this.#forgetIfDone(lane);
    }
    this.#forgetOver();
  }

  #forgetOver(): void {
    for (const [token, { batch }] of this.#inFlight) if (batch.isOver) this.#landed(token);
  }
}

/**
 * What the stream said to a message: that it has it, or why it does not; undefined when it has seen
 * its id and does not know yet. Before it had words for that (2.10) it gave such a message no id.
 */
function readAnswer(answer: Msg, isResent: boolean): Ack | string | undefined {
  if (answer.headers?.code === 503) return NOBODY;
  try {
    const { seq, duplicate, error } = answer.json<{
      readonly seq?: number;
      readonly duplicate?: boolean;
      readonly error?: { readonly description?: string; readonly err_code?: number };
    }>();
    if (error?.err_code === IN_PROCESS || (seq === 0 && duplicate === true)) return undefined;
    if (error !== undefined) return `NATS refuses it (${error.description ?? 'without a reason'})`;
    if (seq !== undefined) return { id: seq, isRepeat: duplicate === true, isResent };
  } catch {
    // Said below.
  }
  return 'NATS answered what is no answer';
}
