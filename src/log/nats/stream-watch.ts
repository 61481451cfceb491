/**
 * The state of the stream as it was seen last: looked at now and then, often while NATS is silent,
 * and at once for who wants to know its newest id.
 */
import type { JetStreamManager, StreamInfo } from '@nats-io/jetstream';
import type { Clock } from '../../clock.js';
import { NATS_LOOK_MS } from '../../limits.js';
import { hasMajority, isStreamMissing, NO_MAJORITY, PEER_SILENT_MS } from './stream.js';
import { unavailable } from './unavailable.js';

/** Time between two looks while NATS is silent, or did not answer the last one, ms. */
const SILENT_LOOK_MS = 250;

/** Looks in a row that fail before publishes are refused at once: one may meet a new leader. */
const FAILED_LOOKS_MAX = 2;

export const SILENT = 'NATS does not answer';

export interface WatchOwner {
  readonly isConnected: () => boolean;
  /** Oldest and newest id of the stream at a look. */
  looked(firstId: number, lastId: number): void;
}

export class StreamWatch {
  readonly #manager: JetStreamManager;
  readonly #stream: string;
  readonly #clock: Clock;
  readonly #owner: WatchOwner;
  #state: StreamInfo['state'];
  #problem = '';
  /** When a problem was found last. */
  #foundMs = 0;
  #failedLooks = 0;
  #newest: Promise<number> | undefined;
  #nextNewest: Promise<number> | undefined;
  #cancelLook: (() => void) | undefined;
  #isClosed = false;

  constructor(manager: JetStreamManager, info: StreamInfo, clock: Clock, owner: WatchOwner) {
    this.#manager = manager;
    this.#stream = info.config.name;
    this.#clock = clock;
    this.#owner = owner;
    this.#state = info.state;
  }

  get state(): StreamInfo['state'] {
    return this.#state;
  }

  /**
   * NATS says nothing to messages, or cannot keep any: true until it has answered a question, and
   * has a majority.
   */
  get isSilent(): boolean {
    return this.#problem !== '';
  }

  /** Why it is silent, in words. */
  get problem(): string {
    return this.#problem;
  }

  /** Looks after a while, and so on. */
  lookLater(): void {
    this.#cancelLook?.();
    if (this.#isClosed) return;
    const isSoon = this.isSilent || this.#failedLooks > 0;
    this.#cancelLook = this.#clock.later(isSoon ? SILENT_LOOK_MS : NATS_LOOK_MS, () => {
      void this.#look();
    });
  }

  /** Messages are not answered, or nobody takes them. */
  failed(problem: string): void {
    if (this.isSilent) return;
    this.#problem = problem;
    this.#foundMs = this.#clock.nowMs();
    void this.#look();
  }

  /** The connection is back. */
  back(): void {
    this.#problem = '';
    this.#failedLooks = 0;
    void this.#look();
  }

  /**
   * The id that the stream gave last, asked for once for all who ask meanwhile. Rejects where NATS
   * does not know it: others may have elected another leader than the one that answers.
   */
  newest(): Promise<number> {
    // An answer that is under way may be older than the position that is asked for.
    this.#nextNewest ??= (this.#newest ?? Promise.resolve(0))
      .catch(() => 0)
      .then(() => {
        const newest = this.#askNewest();
        this.#newest = newest;
        this.#nextNewest = undefined;
        return newest;
      });
    return this.#nextNewest;
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelLook?.();
  }

  async #askNewest(): Promise<number> {
    let info: StreamInfo;
    try {
      info = await this.#manager.streams.info(this.#stream);
    } catch (error) {
      throw unavailable(error);
    }
    if (!hasMajority(info)) throw unavailable(NO_MAJORITY);
    return info.state.last_seq;
  }

  async #look(): Promise<void> {
    if (this.#isClosed) return;
    this.#cancelLook?.();
    if (this.#owner.isConnected()) {
      try {
        const info = await this.#manager.streams.info(this.#stream);
        const { state } = info;
        this.#state = state;
        this.#failedLooks = 0;
        // Those that were heard before a problem was found do not tell that it is over.
        const sinceFoundMs = this.#clock.nowMs() - this.#foundMs;
        const withinMs = this.isSilent ? Math.min(sinceFoundMs, PEER_SILENT_MS) : PEER_SILENT_MS;
        this.#problem = hasMajority(info, withinMs) ? '' : this.#problem || NO_MAJORITY;
        this.#owner.looked(state.first_seq, state.last_seq);
      } catch (error) {
        // The tail finds out that there is no such stream, and makes it again.
        if (!isStreamMissing(error) && ++this.#failedLooks >= FAILED_LOOKS_MAX)
          this.#problem ||= SILENT;
      }
    }
    this.lookLater();
  }
}
