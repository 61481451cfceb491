/** Clients that poll servers that keep their events, one answer after another. */
import type { Polled } from '../../src/core/waiting-polls.js';
import { NOBODY } from '../../src/core/owners.js';
import { FakePoll, fakePollMode } from './fake-poll.js';
import { Follower } from './follower.js';
import {
  askedAfter,
  newAsked,
  newChannels,
  Requests,
  type Asking,
  type ClientParts,
  type KeepingServer,
} from './keeping-server.js';
import { shownObject, type Asked } from './model.js';

interface Client extends Asking {
  channels: readonly string[];
  limit: number;
  follower: Follower | undefined;
  waiting:
    | { readonly server: KeepingServer; readonly poll: FakePoll; readonly handle: number }
    | undefined;
}

export class KeepingPolls {
  readonly #parts: ClientParts;
  readonly #requests: Requests;
  readonly #clients: Client[];
  #made = 0;

  constructor(parts: ClientParts, count: number) {
    this.#parts = parts;
    this.#requests = new Requests(parts.diary);
    this.#clients = Array.from({ length: count }, () => this.#newClient());
  }

  ask(): void {
    if (this.#clients.length === 0) return;
    const { random, model } = this.#parts;
    const client = random.pick(this.#clients);
    if (client.waiting !== undefined || client.asking > 0) return;
    const waitMs = random.pick([0, 200, 2000]);
    if (client.follower === undefined || random.chance(0.05)) {
      Object.assign(client, this.#newClient());
      void this.#poll(client, newAsked(random, model.lastId), waitMs);
    } else {
      void this.#pollOn(client, waitMs);
    }
  }

  leave(): void {
    if (this.#clients.length > 0) this.#hangUp(this.#parts.random.pick(this.#clients));
  }

  /** The server's process has died. */
  died(server: KeepingServer): void {
    for (const client of this.#clients) {
      client.asking = 0;
      if (client.waiting?.server === server) this.#hangUp(client);
    }
  }

  /** Polls that wait on the server. */
  waitingOn(server: KeepingServer): number {
    return this.#clients.filter(({ waiting }) => waiting?.server === server).length;
  }

  get isAsking(): boolean {
    return this.#clients.some(({ asking }) => asking > 0);
  }

  /**
   * At rest, clients that poll on are given everything. `turn` passes the time of one; `isHeld`
   * says whether a channel has an event above an id that is kept.
   */
  async checkRest(
    turn: () => Promise<void>,
    turnsMax: number,
    newestOf: (channel: string) => number,
  ): Promise<void> {
    for (const client of this.#clients) {
      this.#hangUp(client);
      const { follower } = client;
      if (follower !== undefined) await this.#pollAll(client, turn, turnsMax, newestOf);
    }
  }

  async #pollAll(
    client: Client,
    turn: () => Promise<void>,
    turnsMax: number,
    newestOf: (channel: string) => number,
  ): Promise<void> {
    const { diary, model } = this.#parts;
    client.limit = 1000;
    for (let turns = 0, events = -1; events !== client.follower!.events;) {
      events = client.follower!.events;
      let isOver = false;
      void this.#pollOn(client, 0).finally(() => (isOver = true));
      while (!isOver && turns++ < turnsMax) await turn();
      diary.throwFault();
    }
    const { channels } = client;
    const follower = client.follower as Follower;
    const { position } = follower;
    diary.attempt(`polls on ${channels.join()}`, () => {
      // One that is owed a gap is told with the next event.
      if (position >= model.lastId) {
        follower.settle(model.lastId);
        return;
      }
      for (const channel of channels) {
        const newest = newestOf(channel);
        if (newest > position)
          throw new Error(`polls end at ${position}, and ${newest} of ${channel} is kept`);
      }
    });
  }

  #newClient(): Client {
    const { random, channels } = this.#parts;
    return {
      channels: newChannels(random, channels),
      limit: random.pick([0, 1, 50, 1000]),
      follower: undefined,
      waiting: undefined,
      asking: 0,
    };
  }

  #hangUp(client: Client): void {
    client.asking = 0;
    const { waiting } = client;
    if (waiting === undefined) return;
    client.waiting = undefined;
    const { server, poll, handle } = waiting;
    poll.closed = true;
    server.run(() => server.hub.left(handle, poll));
  }

  #pollOn(client: Client, waitMs: number): Promise<void> {
    return this.#poll(client, askedAfter(client.follower?.position ?? 0), waitMs);
  }

  async #poll(client: Client, asked: Asked, waitMs: number): Promise<void> {
    const { diary, serverNow } = this.#parts;
    const server = serverNow();
    if (server === undefined) return;
    const { channels, limit } = client;
    diary.note(`poll on ${channels.join()} ${JSON.stringify(asked)}`);
    const position = await this.#requests.ready(server, channels, asked, client);
    if (position === undefined || !server.isAlive) return;
    let request = 0;
    const use = (polled: Polled): void => {
      if (!server.isAlive || (request > 0 && client.asking !== request)) return;
      const whose = `a poll on ${channels.join()}`;
      diary.attempt(whose, () => this.#polled(client, server, asked, polled, waitMs));
    };
    try {
      const looking = server.hub.polls.look(channels, position, limit, use);
      if (looking === undefined) return;
      request = this.#requests.begin(client);
      await looking;
    } catch (error) {
      this.#requests.checkUnavailable(error);
    } finally {
      if (client.asking === request) client.asking = 0;
    }
  }

  #polled(
    client: Client,
    server: KeepingServer,
    asked: Asked,
    polled: Polled,
    waitMs: number,
  ): void {
    const { model, diary } = this.#parts;
    const { channels, limit } = client;
    const { answer, start } = polled;
    const goesOn = asked.kind === 'after' && client.follower?.position === asked.id;
    if (!goesOn) {
      client.follower = new Follower(model, server.lost, channels, asked);
      client.follower.start(start.continuesAfter);
    }
    const { polls } = server.hub;
    const owesGap = start.gap !== undefined;
    if (answer !== undefined || waitMs === 0) {
      polls.answered(polled);
      this.#take(client, server, answer?.body, polled.position, owesGap);
      return;
    }
    const poll = new FakePoll(`poll ${this.#made++}`);
    const handle = polls.wait(poll, channels, fakePollMode(limit), start, waitMs, NOBODY);
    client.waiting = { server, poll, handle };
    poll.onAnswer = ({ body, position }) => {
      client.waiting = undefined;
      diary.attempt(poll.name, () => this.#take(client, server, body, position, owesGap));
    };
  }

  #take(
    client: Client,
    server: KeepingServer,
    body: Uint8Array | undefined,
    position: number,
    owesGap: boolean,
  ): void {
    const follower = client.follower as Follower;
    if (body === undefined) {
      if (!owesGap) {
        follower.moveTo(position);
        return;
      }
      // A gap that could not be told is found again from there.
      const asked = askedAfter(position);
      client.follower = new Follower(this.#parts.model, server.lost, client.channels, asked);
      client.follower.start(position);
      return;
    }
    const given = [JSON.parse(Buffer.from(body).toString()) as object].flat() as {
      id: number;
      gap?: { after: number | null; before: number | null };
    }[];
    for (const { gap, ...object } of given) {
      if (gap !== undefined) follower.gap(gap);
      const { channel, event } = follower.event(object.id);
      if (JSON.stringify(object) !== shownObject(channel, event))
        throw new Error(`the object of ${object.id} is not what was published`);
    }
    if (position !== follower.position)
      throw new Error(`the answer ends at ${follower.position} and tells ${position}`);
  }
}
