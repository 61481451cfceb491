/**
 * Messages of the past, a pull at a time. A consumer of nats-server 2.9 that reads where others
 * write may stop amid a pull, until something is written to its own subject: it is left, and
 * another one goes on behind the last message. A consumer lives at one of the servers that keep the
 * stream. That one may be behind the others, and has nothing more where they have: so the leader is
 * asked whether it is the end.
 */
import type { ConsumerInfo } from '@nats-io/jetstream';
import { createInbox, type NatsConnection } from '@nats-io/transport-node';
import { giveUpAfter, pause, type Clock } from '../../clock.js';
import {
  NATS_BEHIND_MS,
  NATS_PULL_MAX,
  NATS_PULL_MS,
  NATS_PULL_SILENT_MS,
  NATS_PULL_SILENT_TIMES,
  NATS_READ_MS_MAX,
} from '../../limits.js';
import { arrivedOf, type Arrived } from './record.js';

const NS_PER_MS = 1e6;

/** Statuses with which NATS ends a pull: nothing follows; the next one is above `max_bytes`. */
const NO_MESSAGES = 404;
const TOO_LARGE = 409;
/** Nobody answers for the consumer: it lived at a server that has gone, or its time was over. */
const NOBODY = 503;
/** None of NATS: nothing came any more, or not what comes next. */
const STOPPED = -1;

type Found = NonNullable<ReturnType<typeof arrivedOf>>;

/** What a pull has brought, and the status that ended it; 0 when all that was asked for came. */
interface Pulled {
  readonly found: readonly Found[];
  readonly code: number;
}

/** How a reading begins. */
interface Beginning {
  /** Makes a consumer of the messages from an id on. */
  readonly make: (firstId: number) => Promise<ConsumerInfo>;
  readonly first: ConsumerInfo;
  readonly after: number;
  /** What is asked for: at least the messages up to here. */
  readonly through: number;
  /** Whether the stream has another of them between two ids: the leader's word. */
  readonly follows: (id: number, through: number) => Promise<boolean>;
  /** How long it took to make the first. */
  readonly tookMs: number;
}

export class Reading {
  /** Messages up to here are not kept any more; the id behind which it reads if none is missing. */
  startsAfter: number;
  /** The last message that it has handed out, or where it begins. */
  lastId: number;
  readonly #nats: NatsConnection;
  readonly #stream: string;
  readonly #clock: Clock;
  readonly #make: (firstId: number) => Promise<ConsumerInfo>;
  readonly #follows: Beginning['follows'];
  #through: number;
  /** Undefined when the last one was left. */
  #consumer: string | undefined;
  /** Messages that it has handed out. */
  #place = 0;
  /** Messages of the subject that follow. */
  #pending: number;
  #silentMs: number;

  constructor(
    nats: NatsConnection,
    stream: string,
    clock: Clock,
    { make, first, after, through, follows, tookMs }: Beginning,
  ) {
    this.#nats = nats;
    this.#stream = stream;
    this.#clock = clock;
    this.#make = make;
    this.#follows = follows;
    this.#consumer = first.name;
    this.#pending = first.num_pending;
    this.#through = through;
    this.lastId = after;
    this.#silentMs = NATS_PULL_SILENT_MS + NATS_PULL_SILENT_TIMES * tookMs;
    this.startsAfter = Math.max(after, first.delivered.stream_seq);
  }

  /**
   * The next messages, at most so many, and about so many bytes (0: without that bound); empty when
   * there are no more. Rejects when NATS does not answer.
   */
  async next(count: number, bytes: number): Promise<readonly Arrived[]> {
    const untilMs = this.#clock.nowMs() + NATS_READ_MS_MAX;
    let [most, bytesMax] = [count, bytes];
    for (;;) {
      const consumer = this.#consumer ?? (await this.#another());
      if (this.#pending === 0) {
        if (!(await this.#follows(this.lastId, this.#through))) return [];
        this.#leave();
        await pause(this.#clock, NATS_BEHIND_MS);
      } else {
        const batch = Math.min(most, this.#pending, NATS_PULL_MAX);
        const { found, code } = await this.#pull(consumer, batch, bytesMax);
        const last = found.at(-1);
        this.#pending = last?.pending ?? this.#pending;
        this.lastId = last?.id ?? this.lastId;
        if (code === STOPPED || code === NOBODY) this.#leave();
        if (last !== undefined) return found;
        if (code === NO_MESSAGES) this.#pending = 0;
        else if (code === TOO_LARGE) [most, bytesMax] = [1, 0];
        else if (code === STOPPED) this.#silentMs *= 2;
        else if (code !== NOBODY) await this.#expectEnd(code);
      }
      if (this.#clock.nowMs() >= untilMs) throw new Error('NATS does not answer a read');
    }
  }

  end(): void {
    this.#leave();
  }

  /** True when it has more to hand out than was taken. */
  get mayGoOn(): boolean {
    return this.#consumer !== undefined && this.#pending > 0;
  }

  /** Goes on behind its last message, as if it began there. */
  goOn(through: number): void {
    this.startsAfter = this.lastId;
    this.#through = through;
  }

  /** Whatever it may still send, the next one sends again. */
  #leave(): void {
    if (this.#consumer !== undefined) endConsumer(this.#nats, this.#stream, this.#consumer);
    this.#consumer = undefined;
  }

  async #another(): Promise<string> {
    const info = await this.#make(this.lastId + 1);
    this.#consumer = info.name;
    this.#place = 0;
    this.#pending = info.num_pending;
    return info.name;
  }

  /**
   * Nothing came. Rejects unless it is because nothing more is there: what the stream forgets
   * meanwhile may stay in the consumer's count (nats-server 2.9).
   */
  async #expectEnd(code: number): Promise<void> {
    this.#leave();
    await this.#another();
    if (this.#pending > 0) throw new Error(`NATS ended a read with status ${code}`);
  }

  /** Asks once, and waits while something comes. */
  #pull(consumer: string, batch: number, bytes: number): Promise<Pulled> {
    const inbox = createInbox();
    return new Promise((resolve) => {
      const found: Found[] = [];
      let isOver = false;
      let cancel = (): void => {};
      const over = (code: number): void => {
        isOver = true;
        cancel();
        subscription.unsubscribe();
        resolve({ found, code });
      };
      const watch = (before: number): void => {
        cancel = giveUpAfter(this.#clock, this.#silentMs, () => {
          if (found.length === before) over(STOPPED);
          else watch(found.length);
        });
      };
      const subscription = this.#nats.subscribe(inbox, {
        callback: (error, message) => {
          if (isOver) return;
          const arrived = error === null ? arrivedOf(message) : undefined;
          if (arrived === undefined) {
            over(message?.headers?.code ?? 0);
            return;
          }
          if (arrived.place !== this.#place + 1) {
            over(STOPPED);
            return;
          }
          this.#place = arrived.place;
          found.push(arrived);
          if (found.length === batch) over(0);
        },
      });
      const asked = {
        batch,
        no_wait: true,
        // Without it NATS waits for ever for messages that it has counted and then forgotten.
        expires: NATS_PULL_MS * NS_PER_MS,
        ...(bytes > 0 ? { max_bytes: bytes } : {}),
      };
      this.#nats.publish(
        `$JS.API.CONSUMER.MSG.NEXT.${this.#stream}.${consumer}`,
        JSON.stringify(asked),
        { reply: inbox },
      );
      watch(0);
    });
  }
}

export function endConsumer(nats: NatsConnection, stream: string, consumer: string): void {
  nats.publish(`$JS.API.CONSUMER.DELETE.${stream}.${consumer}`);
}
