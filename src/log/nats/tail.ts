/**
 * Every message of the stream, once and in order: a consumer that pushes, made again behind the
 * last message whenever one is missing, NATS is silent or the connection was lost. Messages that
 * the stream forgot before they came are told as lost: NATS skips them without a word. Holes above
 * the oldest message are normal, and no loss.
 */
import {
  AckPolicy,
  DeliverPolicy,
  ReplayPolicy,
  type ConsumerConfig,
  type JetStreamManager,
  type StreamInfo,
} from '@nats-io/jetstream';
import {
  createInbox,
  type Msg,
  type NatsConnection,
  type Subscription,
} from '@nats-io/transport-node';
import { pause, type Clock } from '../../clock.js';
import {
  NATS_BEHIND_MS_MAX,
  NATS_HEARTBEAT_MS,
  NATS_HEARTBEATS_MISSED_MAX,
  NATS_RECONNECT_MS,
  NATS_TAIL_BATCH_MAX,
  SWEEP_SLICE_MS,
} from '../../limits.js';
import { endConsumer } from './reading.js';
import { arrivedOf, type Arrived } from './record.js';
import { hasMajority, isStreamMissing } from './stream.js';

const NS_PER_MS = 1e6;

/** What the tail tells the log. */
interface TailOwner {
  /** Messages in order, in the turn in which they are looked at. */
  arrived(messages: readonly Arrived[]): void;
  /** What is above the last message and not above this id has gone before it came here. */
  lost(throughId: number): void;
  /** There is no such stream any more. Resolves when there is one again. */
  streamMissing(): Promise<void>;
  /**
   * The stream's last message has been older than what has come, for NATS_BEHIND_MS_MAX: it is
   * another one, or was put back.
   */
  streamIsBehind(): void;
  readonly isConnected: () => boolean;
}

type Waiting = Arrived & { readonly place: number };

const isMessage = (waiting: Waiting | string): waiting is Waiting => typeof waiting !== 'string';

export class Tail {
  readonly #nats: NatsConnection;
  readonly #manager: JetStreamManager;
  readonly #stream: string;
  readonly #clock: Clock;
  readonly #owner: TailOwner;
  /** Id of the last message that was handed over, or lost. */
  #lastId: number;
  /** What arrived and was not handed over; a string is the subject of an answer that is due. */
  #waiting: (Waiting | string)[] = [];
  #place = 0;
  #isLooking = false;
  #isScheduled = false;
  #subscription: Subscription | undefined;
  #consumer: string | undefined;
  /** Rises when the consumer is made again: what belongs to an older one is dropped. */
  #generation = 0;
  #isMade = false;
  /** When NATS said something last; later by what this loop was held. */
  #heardMs = 0;
  #cancelTimer: (() => void) | undefined;
  #isClosed = false;
  /**
   * The stream's oldest id, asked for when everything up to `throughId` had arrived: of the holes
   * below that it tells which were forgotten, and which were never anything else.
   */
  #holes = { oldestId: 0, throughId: 0 };
  /** Oldest id of the stream at the last look, when all of what is below it was missing here. */
  #suspected = 0;
  /** Id of the last message at the last look. */
  #lookedId = 0;
  /** Since when the stream ends before what has come; undefined when it does not. */
  #behindSinceMs: number | undefined;

  constructor(
    nats: NatsConnection,
    manager: JetStreamManager,
    stream: string,
    lastId: number,
    clock: Clock,
    owner: TailOwner,
  ) {
    this.#nats = nats;
    this.#manager = manager;
    this.#stream = stream;
    this.#lastId = lastId;
    this.#clock = clock;
    this.#owner = owner;
  }

  get lastId(): number {
    return this.#lastId;
  }

  /** Messages come, or would. */
  get isLive(): boolean {
    return this.#isMade;
  }

  /** The stream seems to end before what has come: ids that it gives now may be of other events. */
  get isAhead(): boolean {
    return this.#behindSinceMs !== undefined;
  }

  close(): void {
    this.#isClosed = true;
    this.#drop();
  }

  /** The connection is lost: whatever comes later is of another consumer. */
  pause(): void {
    this.#drop();
  }

  /**
   * Makes the consumer, behind the last message; goes on trying until then. Rejects with what NATS
   * has said last.
   */
  async restart(untilMs = Infinity): Promise<void> {
    this.#drop();
    const generation = this.#generation;
    while (!this.#isClosed && generation === this.#generation && this.#owner.isConnected()) {
      try {
        await this.#make(generation);
        return;
      } catch (error) {
        if (generation !== this.#generation) return;
        if (this.#clock.nowMs() > untilMs) throw error;
        if (isStreamMissing(error)) await this.#owner.streamMissing().catch(() => {});
      }
      await pause(this.#clock, NATS_RECONNECT_MS);
    }
  }

  /**
   * Compares with what is known of the stream now: its oldest id and its last one. When everything
   * above the last message has gone, no message comes that would tell it.
   */
  compare(firstId: number, lastId: number): void {
    const isBehind = this.#isMade && this.#waiting.length === 0 && firstId > this.#lastId + 1;
    if (isBehind && this.#suspected === this.#lastId && lastId >= firstId - 1)
      this.#lost(firstId - 1);
    this.#suspected = isBehind ? this.#lastId : 0;
    // What came meanwhile may be newer than the answer; what had come at the last look is not.
    if (this.#isMade && lastId < this.#lookedId) void this.restart();
    this.#lookedId = this.#lastId;
  }

  #drop(): void {
    this.#generation++;
    this.#isMade = false;
    this.#place = 0;
    this.#waiting = [];
    this.#holes = { oldestId: 0, throughId: 0 };
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
    const consumer = this.#consumer;
    this.#consumer = undefined;
    if (consumer !== undefined && this.#owner.isConnected())
      endConsumer(this.#nats, this.#stream, consumer);
  }

  async #make(generation: number): Promise<void> {
    const inbox = createInbox();
    this.#subscription?.unsubscribe();
    this.#waiting = [];
    this.#place = 0;
    this.#subscription = this.#nats.subscribe(inbox, {
      callback: (error, message) => {
        if (error === null && generation === this.#generation) this.#take(message);
      },
    });
    const after = this.#lastId;
    const info = await this.#manager.consumers.add(this.#stream, consumerFrom(after + 1, inbox));
    if (generation !== this.#generation) return;
    this.#consumer = info.name;
    const startsAfter = info.delivered.stream_seq;
    const stream = await this.#manager.streams.info(this.#stream);
    if (generation !== this.#generation) return;
    const { state } = stream;
    this.#checkEnd(stream, after);
    if (startsAfter !== after) {
      const first = this.#firstWaiting();
      const lostThrough = Math.min(startsAfter, state.first_seq - 1, (first ?? Infinity) - 1);
      if (lostThrough > after) this.#lost(lostThrough);
    }
    this.#isMade = true;
    this.#heardMs = this.#clock.nowMs();
    this.#watch(generation);
    this.#handOver();
  }

  /** Throws when the stream ends before what has come. */
  #checkEnd(stream: StreamInfo, after: number): void {
    if (stream.state.last_seq >= after) {
      this.#behindSinceMs = undefined;
      return;
    }
    const nowMs = this.#clock.nowMs();
    this.#behindSinceMs ??= nowMs;
    // A leader that is none any more does not know what its successor has taken; a new one is a
    // while behind what followers have handed out.
    if (hasMajority(stream) && nowMs - this.#behindSinceMs >= NATS_BEHIND_MS_MAX)
      this.#owner.streamIsBehind();
    throw new Error('the stream is behind');
  }

  #firstWaiting(): number | undefined {
    return this.#waiting.find(isMessage)?.id;
  }

  #lastWaiting(): number {
    return this.#waiting.findLast(isMessage)?.id ?? 0;
  }

  /** NATS sends something at least every NATS_HEARTBEAT_MS. */
  #watch(generation: number): void {
    const dueMs = this.#clock.nowMs() + NATS_HEARTBEAT_MS;
    this.#cancelTimer = this.#clock.later(NATS_HEARTBEAT_MS, () => {
      if (generation !== this.#generation) return;
      const nowMs = this.#clock.nowMs();
      // What came while the loop was held is read after this.
      this.#heardMs += Math.max(0, nowMs - dueMs);
      const quietMs = nowMs - this.#heardMs;
      if (quietMs > NATS_HEARTBEATS_MISSED_MAX * NATS_HEARTBEAT_MS) void this.restart();
      else this.#watch(generation);
    });
  }

  #take(message: Msg): void {
    this.#heardMs = this.#clock.nowMs();
    if (message.data.length === 0 && message.headers?.code === 100) {
      this.#heartbeat(message);
      return;
    }
    const arrived = arrivedOf(message);
    if (arrived === undefined) return;
    if (arrived.place !== this.#place + 1) {
      this.#missed();
      return;
    }
    this.#place = arrived.place;
    this.#waiting.push(arrived);
    this.#schedule();
  }

  /**
   * A heartbeat says how far the consumer has come; another message with this status asks for an
   * answer when what came before it has been looked at, so that NATS sends no more than fits here.
   */
  #heartbeat(message: Msg): void {
    const answerTo = message.reply ?? '';
    const stalled = message.headers?.get('Nats-Consumer-Stalled') ?? '';
    for (const subject of [answerTo, stalled]) if (subject !== '') this.#waiting.push(subject);
    const place = Number(message.headers?.get('Nats-Last-Consumer') ?? 0);
    if (place > this.#place) this.#missed();
    else if (this.#waiting.length > 0) this.#schedule();
  }

  /** Hands over what came before the one that is missing, and asks for the rest again. */
  #missed(): void {
    this.#generation++;
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
    if (this.#isMade && !this.#isLooking) this.#handOver(Infinity);
    void this.restart();
  }

  #schedule(): void {
    if (this.#isScheduled || !this.#isMade || this.#isLooking) return;
    this.#isScheduled = true;
    this.#clock.soon(() => {
      this.#isScheduled = false;
      this.#handOver();
    });
  }

  /** In batches, for a slice of time; the rest in the next turn. */
  #handOver(sliceMs = SWEEP_SLICE_MS): void {
    if (!this.#isMade || this.#isLooking) return;
    const untilMs = this.#clock.nowMs() + sliceMs;
    let at = 0;
    do {
      const batch: Arrived[] = [];
      for (; at < this.#waiting.length && batch.length < NATS_TAIL_BATCH_MAX; at++) {
        const next = this.#waiting[at] as Waiting | string;
        if (typeof next === 'string') {
          this.#nats.publish(next);
          continue;
        }
        if (next.id <= this.#lastId) continue;
        if (next.id !== this.#lastId + 1) break;
        this.#lastId = next.id;
        batch.push(next);
      }
      if (batch.length > 0) this.#owner.arrived(batch);
      const next = this.#waiting[at];
      if (next !== undefined && isMessage(next) && next.id > this.#lastId + 1) {
        if (next.id > this.#holes.throughId) {
          this.#waiting.splice(0, at);
          void this.#lookAtHoles();
          return;
        }
        this.#passHole(next.id);
      }
    } while (at < this.#waiting.length && this.#clock.nowMs() < untilMs);
    this.#waiting.splice(0, at);
    if (this.#waiting.length > 0) this.#schedule();
  }

  /**
   * There is no message right behind the last one: was one forgotten, or never there? One look
   * answers for all holes between messages that are here already: a stream may have thousands.
   */
  async #lookAtHoles(): Promise<void> {
    const generation = this.#generation;
    const throughId = this.#lastWaiting();
    this.#isLooking = true;
    try {
      const { state } = await this.#manager.streams.info(this.#stream);
      if (generation === this.#generation) this.#holes = { oldestId: state.first_seq, throughId };
    } catch {
      if (generation === this.#generation) void this.restart();
    } finally {
      this.#isLooking = false;
      this.#handOver();
    }
  }

  /** What is missing before message `nextId` was forgotten up to the oldest, or was never there. */
  #passHole(nextId: number): void {
    const lostThrough = Math.min(this.#holes.oldestId, nextId) - 1;
    if (lostThrough > this.#lastId) this.#lost(lostThrough);
    this.#lastId = nextId - 1;
  }

  #lost(throughId: number): void {
    this.#lastId = throughId;
    this.#owner.lost(throughId);
  }
}

function consumerFrom(firstId: number, inbox: string): ConsumerConfig {
  return {
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: firstId,
    deliver_subject: inbox,
    ack_policy: AckPolicy.None,
    replay_policy: ReplayPolicy.Instant,
    max_deliver: 1,
    flow_control: true,
    idle_heartbeat: NATS_HEARTBEAT_MS * NS_PER_MS,
    mem_storage: true,
    num_replicas: 1,
  };
}
