/**
 * Reads of the stream's past: the messages of one subject behind an id, by a consumer that lives
 * for the read. The answer to its creation says how many messages its server has, and where they
 * begin.
 */
import {
  AckPolicy,
  DeliverPolicy,
  type ConsumerConfig,
  type ConsumerInfo,
  type JetStreamManager,
} from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import type { Clock } from '../../clock.js';
import { NATS_READ_MS_MAX } from '../../limits.js';
import { KeptReadings } from './kept-readings.js';
import { endConsumer, Reading } from './reading.js';

const NS_PER_MS = 1e6;

export class Past {
  readonly #nats: NatsConnection;
  readonly #manager: JetStreamManager;
  readonly #stream: string;
  readonly #clock: Clock;
  readonly #kept: KeptReadings;

  constructor(nats: NatsConnection, manager: JetStreamManager, stream: string, clock: Clock) {
    this.#nats = nats;
    this.#manager = manager;
    this.#stream = stream;
    this.#clock = clock;
    this.#kept = new KeptReadings(clock);
  }

  /**
   * Reads a subject behind an id, at least through another: begins, or goes on where a reading was
   * left. To be left or ended.
   */
  async read(subject: string, after: number, through: number): Promise<Reading> {
    const kept = this.#kept.take(subject, after);
    kept?.goOn(through);
    return kept ?? this.#begin(after, through, { filter_subject: subject });
  }

  /** Leaves a reading of a subject; everything up to `end` was used, or nothing if undefined. */
  leave(subject: string, reading: Reading, end: number | undefined): void {
    if (end === reading.lastId && reading.mayGoOn) this.#kept.keep(subject, reading);
    else reading.end();
  }

  /** Ends what was left, and keeps no more. */
  close(): void {
    this.#kept.close();
  }

  async #begin(after: number, through: number, how: Partial<ConsumerConfig>): Promise<Reading> {
    const beganMs = this.#clock.nowMs();
    const make = (firstId: number): Promise<ConsumerInfo> => this.#consumerFrom(firstId, how);
    const first = await make(after + 1);
    const tookMs = this.#clock.nowMs() - beganMs;
    return new Reading(this.#nats, this.#stream, this.#clock, {
      make,
      first,
      after,
      through,
      follows: (id, end) => this.#follows(how.filter_subject, id, end),
      tookMs,
    });
  }

  /**
   * Whether the stream has a message of the subject between two ids, as its leader says; of all
   * subjects it is not asked.
   */
  async #follows(subject: string | undefined, id: number, through: number): Promise<boolean> {
    if (subject === undefined || id >= through) return false;
    const next = { seq: id + 1, next_by_subj: subject };
    const found = await this.#manager.streams.getMessage(this.#stream, next);
    return found !== null && found.seq <= through;
  }

  /**
   * All subjects' messages since a time, at most the newest so many, without their data; those that
   * its server has.
   */
  async since(wallMs: number, countMax: number): Promise<Reading> {
    const { state } = await this.#manager.streams.info(this.#stream);
    const start = (await this.idBefore(wallMs)) ?? 0;
    const after = Math.max(start, state.first_seq - 1, state.last_seq - countMax);
    return this.#begin(after, state.last_seq, { headers_only: true });
  }

  /** How many messages of a subject follow an id, at the server that was asked. */
  async count(subject: string, after: number): Promise<number> {
    const info = await this.#consumerFrom(after + 1, { filter_subject: subject });
    endConsumer(this.#nats, this.#stream, info.name);
    return info.num_pending;
  }

  /** The id up to which the stream keeps nothing any more, and the one that it gave last. */
  async bounds(): Promise<{ readonly forgottenThrough: number; readonly newestId: number }> {
    const { state } = await this.#manager.streams.info(this.#stream);
    return { forgottenThrough: state.first_seq - 1, newestId: state.last_seq };
  }

  /**
   * The id of the last message that the stream took before a time; undefined if it keeps none.
   */
  async idBefore(wallMs: number): Promise<number | undefined> {
    const info = await this.#consumer({
      deliver_policy: DeliverPolicy.StartTime,
      opt_start_time: new Date(wallMs).toISOString(),
    });
    endConsumer(this.#nats, this.#stream, info.name);
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
}
