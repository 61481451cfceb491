/**
 * The state of the stream as it was seen last: looked at now and then, often while NATS is silent,
 * and at once for who wants to know its newest id.
 */
import type { JetStreamManager, StreamInfo } from '@nats-io/jetstream';
import type { Clock } from '../../clock.js';
import { NATS_LOOK_MS } from '../../limits.js';
import { unavailable } from './unavailable.js';

/** Time between two looks while NATS is silent, ms. */
const SILENT_LOOK_MS = 250;

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
  #isSilent = false;
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

  /** NATS takes messages and says nothing: true until it has answered a question. */
  get isSilent(): boolean {
    return this.#isSilent;
  }

  /** Looks after a while, and so on. */
  lookLater(): void {
    this.#cancelLook?.();
    if (this.#isClosed) return;
    this.#cancelLook = this.#clock.later(this.#isSilent ? SILENT_LOOK_MS : NATS_LOOK_MS, () => {
      void this.#look();
    });
  }

  becameSilent(): void {
    if (this.#isSilent) return;
    this.#isSilent = true;
    void this.#look();
  }

  /** The connection is back. */
  back(): void {
    this.#isSilent = false;
    void this.#look();
  }

  /** The id that the stream gave last, asked for once for all who ask meanwhile. */
  newest(): Promise<number> {
    // An answer that is under way may be older than the position that is asked for.
    this.#nextNewest ??= (this.#newest ?? Promise.resolve(0))
      .catch(() => 0)
      .then(() => {
        const newest = this.#manager.streams.info(this.#stream).then(
          ({ state }) => state.last_seq,
          (error: unknown) => {
            throw unavailable(error);
          },
        );
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

  async #look(): Promise<void> {
    if (this.#isClosed) return;
    this.#cancelLook?.();
    if (this.#owner.isConnected()) {
      try {
        const { state } = await this.#manager.streams.info(this.#stream);
        this.#state = state;
        this.#isSilent = false;
        this.#owner.looked(state.first_seq, state.last_seq);
      } catch {
        // NATS is away, or has no such stream: the tail finds out, and tries again.
      }
    }
    this.lookLater();
  }
}
