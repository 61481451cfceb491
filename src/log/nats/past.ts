/**
 * Reads of the stream's past: the messages of one subject behind an id, by a consumer that lives
 * for the read. The answer to its creation says how many messages there are, and where they begin.
 * A consumer of nats-server 2.9 that reads where others write may stop amid a pull, for as long as
 * nothing is written to its subject: another one goes on in its place.
 */
import {
  AckPolicy,
  DeliverPolicy,
  type ConsumerConfig,
  type ConsumerInfo,
  type JetStreamManager,
} from '@nats-io/jetstream';
import { createInbox, type NatsConnection } from '@nats-io/transport-node';
import type { Clock } from '../../clock.js';
import {
  NATS_PULL_MAX,
  NATS_PULL_MS,
  NATS_PULL_SILENT_MS,
  NATS_READ_MS_MAX,
} from '../../limits.js';
import { arrivedOf, type Arrived } from './record.js';

const NS_PER_MS = 1e6;

/** Statuses with which NATS ends a pull: nothing follows; the next one is above `max_bytes`. */
const NO_MESSAGES = 404;
const TOO_LARGE = 409;
/** None of NATS: nothing came any more. */
const STOPPED = -1;

/** What a pull has brought, and the status that ended it; 0 when all that was asked for came. */
interface Pulled {
  readonly found: readonly (Arrived & { readonly pending: number })[];
  readonly code: number;
}

/** Messages of one subject, a pull at a time. */
export interface Reading {
  /** Messages up to here are not kept any more; `after` if none is missing. */
  readonly startsAfter: number;
  /** Messages of the subject that follow. */
  readonly pending: number;
  /**
   * The next messages, at most so many, and about so many bytes; empty when there are no more.
   */
  next(count: number, bytes: number): Promise<readonly Arrived[]>;
  end(): void;
}

export class Past {
  readonly #nats: NatsConnection;
  readonly #manager: JetStreamManager;
  readonly #stream: string;
  readonly #clock: Clock;

  constructor(nats: NatsConnection, manager: JetStreamManager, stream: string, clock: Clock) {
    this.#nats = nats;
    this.#manager = manager;
    this.#stream = stream;
    this.#clock = clock;
  }

  /** Begins to read a subject behind an id. */
  read(subject: string, after: number): Promise<Reading> {
    return this.#begin(after, { filter_subject: subject });
  }

  async #begin(after: number, how: Partial<ConsumerConfig>): Promise<Reading> {
    const beganMs = this.#clock.nowMs();
    const info = await this.#consumerFrom(after + 1, how);
    // An answer takes as long as that one did, at least.
    const silentMs = NATS_PULL_SILENT_MS + 4 * (this.#clock.nowMs() - beganMs);
    let consumer = info.name;
    let pending = info.num_pending;
    let lastId = after;
    const pull = async (batch: number, bytes: number): Promise<Pulled> => {
      const untilMs = this.#clock.nowMs() + NATS_READ_MS_MAX;
      for (;;) {
        const pulled = await this.#pull(consumer, batch, bytes, silentMs);
        const last = pulled.found.at(-1);
        pending = last?.pending ?? 0;
        lastId = last?.id ?? lastId;
        if (pulled.code !== STOPPED) return pulled;
        // Whatever it may still send, the next one sends again.
        this.#end(consumer);
        const { name, num_pending: rest } = await this.#consumerFrom(lastId + 1, how);
        consumer = name;
        pending = rest;
        if (last !== undefined) return pulled;
        if (rest === 0) return { found: [], code: NO_MESSAGES };
        if (this.#clock.nowMs() >= untilMs) throw new Error('NATS does not answer a read');
      }
    };
    return {
      startsAfter: Math.max(after, info.delivered.stream_seq),
      pending,
      next: async (count, bytes) => {
        if (pending === 0) return [];
        const batch = Math.min(count, pending, NATS_PULL_MAX);
        let pulled = await pull(batch, bytes);
        // The next one alone is larger.
        if (pulled.found.length === 0 && pulled.code === TOO_LARGE) pulled = await pull(1, 0);
        if (pulled.found.length === 0) await this.#expectEnd(lastId, how, pulled.code);
        return pulled.found;
      },
      end: () => this.#end(consumer),
    };
  }

  /**
   * Nothing came. Rejects unless it is because nothing more is there. What the stream forgets
   * meanwhile may stay in the consumer's count (nats-server 2.9).
   */
  async #expectEnd(lastId: number, how: Partial<ConsumerConfig>, code: number): Promise<void> {
    if (code === NO_MESSAGES) return;
    const rest = await this.#consumerFrom(lastId + 1, how);
    this.#end(rest.name);
    if (rest.num_pending > 0) throw new Error(`NATS ended a read with status ${code}`);
  }

  /** All subjects' messages since a time, at most the newest so many, without their data. */
  async since(wallMs: number, countMax: number): Promise<Reading> {
    const { state } = await this.#manager.streams.info(this.#stream);
    const start = (await this.idBefore(wallMs)) ?? 0;
    const after = Math.max(start, state.first_seq - 1, state.last_seq - countMax);
    return this.#begin(after, { headers_only: true });
  }

  /** How many messages of a subject follow an id. */
  async count(subject: string, after: number): Promise<number> {
    const info = await this.#consumerFrom(after + 1, { filter_subject: subject });
    this.#end(info.name);
    return info.num_pending;
  }

  /** The id up to which the stream keeps nothing any more. */
  async forgottenThrough(): Promise<number> {
    const { state } = await this.#manager.streams.info(this.#stream);
    return state.first_seq - 1;
  }

  /**
   * The id of the last message that the stream took before a time; undefined if it keeps none.
   */
  async idBefore(wallMs: number): Promise<number | undefined> {
    const info = await this.#consumer({
      deliver_policy: DeliverPolicy.StartTime,
      opt_start_time: new Date(wallMs).toISOString(),
    });
    this.#end(info.name);
    const before = info.delivered.stream_seq;
    const { state } = await this.#manager.streams.info(this.#stream);
    return before < state.first_seq ? undefined : before;
  }

  #consumerFrom(firstId: number, how: Partial<ConsumerConfig>): Promise<ConsumerInfo> {
    return this.#consumer({
      ...how,
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: firstId,
    });
  }

  #consumer(how: Partial<ConsumerConfig>): Promise<ConsumerInfo> {
    return this.#manager.consumers.add(this.#stream, {
      ...how,
      ack_policy: AckPolicy.None,
      mem_storage: true,
      num_replicas: 1,
      inactive_threshold: NATS_READ_MS_MAX * NS_PER_MS,
    });
  }

  #end(consumer: string): void {
    this.#nats.publish(`$JS.API.CONSUMER.DELETE.${this.#stream}.${consumer}`);
  }

  /** Asks once, and waits while something comes; `bytes` 0: without that bound. */
  #pull(consumer: string, batch: number, bytes: number, silentMs: number): Promise<Pulled> {
    const inbox = createInbox();
    return new Promise((resolve) => {
      const found: (Arrived & { readonly pending: number })[] = [];
      let cancel = (): void => {};
      const over = (code: number): void => {
        cancel();
        subscription.unsubscribe();
        resolve({ found, code });
      };
      const watch = (before: number): void => {
        cancel = this.#clock.later(silentMs, () => {
          if (found.length === before) over(STOPPED);
          else watch(found.length);
        });
      };
      watch(0);
      const subscription = this.#nats.subscribe(inbox, {
        callback: (error, message) => {
          const arrived = error === null ? arrivedOf(message) : undefined;
          if (arrived === undefined) {
            over(message?.headers?.code ?? 0);
            return;
          }
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
    });
  }
}
