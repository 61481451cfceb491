/** A server that keeps its events, as simulated clients see it; and what they share. */
import type { Hub } from '../../src/core/hub.js';
import type { Position } from '../../src/core/position.js';
import { asError, type HoldlineError } from '../../src/errors.js';
import type { Diary } from './diary.js';
import type { Held } from './fake-hub.js';
import type { fakeModes } from './fake-port.js';
import type { Lost } from './follower.js';
import { positionOf, type Asked, type Model } from './model.js';
import type { Random } from './random.js';

export interface KeepingServer {
  readonly hub: Hub<Held>;
  readonly modes: ReturnType<typeof fakeModes>;
  /** What it and its log have lost. */
  readonly lost: Lost;
  /** False once its process is dead: nothing that it did not say is ever said. */
  readonly isAlive: boolean;
  /** Runs what comes to the process: at once, or when it no longer hangs; never in a dead one. */
  run(task: () => void): void;
  /** Whether it takes one more line. */
  hasPlace(): boolean;
}

export interface ClientParts {
  readonly random: Random;
  readonly model: Model;
  readonly diary: Diary;
  readonly channels: readonly string[];
  /** A server that takes requests now; undefined when none does. */
  readonly serverNow: () => KeepingServer | undefined;
}

/** What a client asks for that has no position. */
export function newAsked(random: Random, lastId: number): Asked {
  switch (random.below(6)) {
    case 0:
      return { kind: 'oldest' };
    case 1:
      return { kind: 'last', count: random.pick([1, 3, 50, 2000]) };
    case 2:
      return random.chance(0.5) ? { kind: 'foreign' } : { kind: 'ahead', id: lastId + 1000 };
    case 3:
      return lastId < 10 ? { kind: 'live' } : { kind: 'after', id: random.between(1, lastId) };
    default:
      return { kind: 'live' };
  }
}

/** What a client asks for that comes back. */
export function askedAfter(position: number): Asked {
  return position === 0 ? { kind: 'oldest' } : { kind: 'after', id: position };
}

export function newChannels(random: Random, channels: readonly string[]): readonly string[] {
  return random.some(channels, random.chance(0.6) ? 1 : random.between(1, 3));
}

/** A client that may wait for an answer; `asking` is the number of its request, 0 without one. */
export interface Asking {
  asking: number;
}

/** Numbers the requests of clients, so that an answer to one that went away counts for nothing. */
export class Requests {
  readonly #diary: Diary;
  #last = 0;

  constructor(diary: Diary) {
    this.#diary = diary;
  }

  begin(client: Asking): number {
    return (client.asking = ++this.#last);
  }

  /** What the client starts at; undefined when it was refused, or went away meanwhile. */
  async ready(
    { hub }: KeepingServer,
    channels: readonly string[],
    asked: Asked,
    client: Asking,
  ): Promise<Position | undefined> {
    const position = positionOf(asked);
    const ready = hub.ready(channels, position);
    if (ready === undefined) return position;
    const request = this.begin(client);
    try {
      const found = await ready;
      return client.asking === request ? found : undefined;
    } catch (error) {
      this.checkUnavailable(error);
      return undefined;
    } finally {
      if (client.asking === request) client.asking = 0;
    }
  }

  checkUnavailable(error: unknown): void {
    const { code } = asError(error) as HoldlineError;
    if (code !== 'HOLDLINE_LOG_UNAVAILABLE') this.#diary.failed(asError(error));
  }
}
