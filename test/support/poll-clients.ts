/**
 * The simulator's clients that poll: each asks, is answered, and asks again from the position that
 * it was told, waiting or not. What they are answered is checked against the model, and so is when,
 * and what the hub knows of those who wait.
 */
import type { Group } from '../../src/core/group.js';
import { HEALTHY } from '../../src/core/line-table.js';
import type { Owner } from '../../src/core/owners.js';
import {
  DEADLINE_STEP_MS,
  POLL_BODY_BYTES_MAX,
  POLL_EVENTS_MAX,
  POLL_WAIT_JITTER,
} from '../../src/limits.js';
import { FakePoll, fakePollMode } from './fake-poll.js';
import { Connection, positionOf, shownObject, type Asked } from './model.js';
import type { Meant } from './line-clients.js';
import { attempt, type World } from './world.js';

/** A poll that waits. */
interface Waiting {
  readonly poll: FakePoll;
  readonly handle: number;
  readonly sinceMs: number;
  readonly waitMs: number;
  readonly owesGap: boolean;
  readonly owner: Owner;
  /** It is to be ended whatever it is owed. */
  isDisconnected: boolean;
  /** The row's cursor at the last check. */
  cursor: number;
  /** The step after the last one at whose end it was owed nothing. */
  sinceStep: number;
  /** It was left behind once, for what waited on another of its channels. */
  mayBeLapped: boolean;
  /** Id of its only channel's deletion, and turns since. */
  overAt: number | undefined;
  overTurns: number;
}

/** An event's object in an answer. */
interface Given {
  readonly id: number;
  readonly gap?: { readonly after: number | null; readonly before: number | null };
}

/** What a body says; `shown` is an object less its gap, as `JSON.stringify` writes it. */
interface Body {
  readonly isArray: boolean;
  readonly objects: readonly {
    readonly id: number;
    readonly gap: Given['gap'];
    readonly shown: string;
  }[];
}

interface PollClient {
  channels: readonly string[];
  /** What follows each other from one position on; undefined: it asks anew. */
  connection: Connection | undefined;
  waiting: Waiting | undefined;
  nextMs: number;
  limit: number;
  /** The next event must bring a gap. */
  owesGap: boolean;
}

const WAITS_MS = [0, 0, 50, 500, 500, 5_000, 25_000, 60_000];
const LIMITS = [0, 0, 0, 1, 3, 50, POLL_EVENTS_MAX];
/**
 * Turns in which all polls of a deleted channel are answered: the lines that are ended in one are
 * more than half of all there are.
 */
const DELETED_TURNS = 3;

export class PollClients {
  answered = 0;
  empty = 0;
  waited = 0;
  gaps = 0;

  readonly #world: World;
  readonly #clients: PollClient[];
  /** The server may answer any poll now. */
  #endsSome = false;
  #polls = 0;
  readonly #bodies = new WeakMap<Uint8Array, Body>();

  constructor(world: World) {
    this.#world = world;
    this.#clients = Array.from({ length: world.setting.polls }, () => this.#newClient());
  }

  /** Polls that wait now. */
  get waitingCount(): number {
    return this.#clients.filter(({ waiting }) => waiting !== undefined).length;
  }

  /** Whose the waiting polls are. */
  *owners(): Iterable<Owner> {
    for (const { waiting } of this.#clients) if (waiting !== undefined) yield waiting.owner;
  }

  /** Waiting polls that are to be ended. */
  disconnected(isMeant: Meant): number {
    let count = 0;
    for (const { waiting, channels } of this.#clients) {
      if (waiting === undefined) continue;
      const { owner, handle, overAt } = waiting;
      if (!isMeant({ owner, handle, channels, isOver: overAt !== undefined })) continue;
      waiting.isDisconnected = true;
      count++;
    }
    return count;
  }

  /** Polls that wait now for a channel, maybe among others. */
  countOn(channel: string): number {
    return this.#clients.filter(
      ({ waiting, channels }) => waiting !== undefined && channels.includes(channel),
    ).length;
  }

  /** Groups that polls wait on, those of deleted channels left out. */
  *groups(): Iterable<Group> {
    for (const { waiting } of this.#clients) {
      if (waiting === undefined || waiting.overAt !== undefined) continue;
      yield this.#world.hub.lines.groupOf(waiting.handle, waiting.poll) as Group;
    }
  }

  /** Clients whose pause is over ask. */
  ask(): void {
    const { random, clock } = this.#world;
    for (const client of this.#clients) {
      if (client.waiting === undefined && client.nextMs <= clock.nowMs())
        this.#ask(client, random.pick(WAITS_MS));
    }
  }

  /**
   * Some of the clients that wait go away, each with this probability; all of them for good when it
   * is 1.
   */
  leave(probability: number): void {
    for (const client of this.#clients) {
      const { waiting } = client;
      if (waiting === undefined || !this.#world.random.chance(probability)) continue;
      this.#world.note(`${waiting.poll.name} goes away`);
      client.waiting = undefined;
      // It got no answer: only the position that it asked from tells what it is owed.
      if (waiting.owesGap) client.connection = undefined;
      waiting.poll.closed = true;
      this.#world.hub.left(waiting.handle, waiting.poll);
      // A callback that comes late finds nothing, also when the handle is used again.
      if (probability < 1 && this.#world.random.chance(0.2)) this.#ask(client, 5_000);
      this.#world.hub.left(waiting.handle, waiting.poll);
    }
  }

  /** Runs what may end polls for the server's own reasons. */
  whileEnding(end: () => void): void {
    this.#endsSome = true;
    end();
    this.#endsSome = false;
  }

  /**
   * A deletion enters: healthy ones have been answered with what came before, those on the channel
   * alone are over.
   */
  deleted(channel: string, id: number, newestId: number): void {
    for (const { channels, waiting } of this.#clients) {
      if (waiting === undefined || waiting.overAt !== undefined || !channels.includes(channel))
        continue;
      if (
        this.#cursorOf(waiting) < newestId &&
        !this.#world.wasHeldBack(channels, waiting.sinceStep)
      )
        throw new Error(`${waiting.poll.name}: owed something at the deletion of ${channel}`);
      if (channels.length === 1) waiting.overAt = id;
    }
  }

  /** After each turn: the hub's rows of waiting polls. */
  check(): void {
    const { longestTurnMs } = this.#world;
    for (const { channels, waiting } of this.#clients) {
      if (waiting === undefined) continue;
      const { hub, clock } = this.#world;
      const { poll, handle, sinceMs, waitMs, overAt } = waiting;
      const group = hub.lines.groupOf(handle, poll);
      if (group === undefined) throw new Error(`${poll.name}: waits and has no row`);
      if (group.table.states[hub.lines.rowOf(handle)] !== HEALTHY)
        throw new Error(`${poll.name}: waits in another state than healthy`);
      const cursor = this.#cursorOf(waiting);
      if (cursor < waiting.cursor)
        throw new Error(`${poll.name}: the cursor went back from ${waiting.cursor} to ${cursor}`);
      // What it was owed was gone before it was looked at: it waits on at the head, and owes a gap.
      if (cursor > waiting.cursor && this.#world.wasHeldBack(channels, waiting.sinceStep))
        waiting.mayBeLapped = true;
      waiting.cursor = cursor;
      if (cursor >= group.set.newestId) waiting.sinceStep = this.#world.step + 1;
      if (
        overAt === undefined &&
        cursor < group.set.lostThrough &&
        !this.#world.wasHeldBack(channels, waiting.sinceStep)
      )
        throw new Error(`${poll.name}: waits at ${cursor} and is lapped`);
      if (overAt !== undefined && waiting.overTurns++ > DELETED_TURNS)
        throw new Error(`${poll.name}: waits though its channel was deleted`);
      const waitedMs = clock.nowMs() - sinceMs;
      if (waitedMs > Math.max(waitMs, DEADLINE_STEP_MS) + 2 * longestTurnMs + 1)
        throw new Error(`${poll.name}: has waited for ${waitedMs} ms, ${waitMs} were asked for`);
    }
  }

  /** At rest no waiting poll is owed anything, and clients that ask on are given the rest. */
  checkRest(): void {
    const { hub } = this.#world;
    for (const client of this.#clients) {
      if (client.waiting === undefined && client.connection !== undefined) {
        client.limit = POLL_EVENTS_MAX;
        const { empty } = this;
        while (empty === this.empty) this.#ask(client, 0, true);
      }
      const { waiting, connection } = client;
      if (waiting?.owesGap ?? client.owesGap) continue;
      attempt(waiting?.poll.name ?? `polls on ${client.channels.join()}`, () =>
        connection?.settle(hub.lastId),
      );
    }
  }

  #newClient(): PollClient {
    const { random } = this.#world;
    return {
      channels: this.#world.newChannels(),
      connection: undefined,
      waiting: undefined,
      nextMs: 0,
      limit: random.pick(LIMITS),
      owesGap: false,
    };
  }

  #cursorOf({ handle, poll }: Waiting): number {
    const { lines } = this.#world.hub;
    return lines.groupOf(handle, poll)?.table.cursors[lines.rowOf(handle)] as number;
  }

  /** By channel: everything up to here is gone. */
  #lost(channels: readonly string[]): Map<string, number> {
    return new Map(channels.map((name) => [name, this.#world.lostOn(name)]));
  }

  /** One poll, as transports/poll.ts answers it. */
  #ask(client: PollClient, waitMs: number, goesOn = false): void {
    const { random, hub, clock, model, floor } = this.#world;
    const position = client.connection?.position ?? -1;
    let asked: Asked;
    // Position 0, where a log that starts at id 1 begins, asks for whatever is held.
    if (position > 0 && (goesOn || random.chance(0.97))) asked = { kind: 'after', id: position };
    else if (position === 0 && goesOn) asked = { kind: 'oldest' };
    else {
      Object.assign(client, this.#newClient());
      asked = this.#world.newAsked();
    }
    const { channels, limit } = client;
    const name = `poll ${this.#polls++}`;
    this.#world.note(
      `${name} on ${channels.join()} ${JSON.stringify(asked)}, limit ${limit}, waits ${waitMs} ms`,
    );
    const head = this.#world.through(channels);
    let lost = this.#lost(channels);
    const polled = hub.polls.find(channels, positionOf(asked), limit);
    const { answer, start, position: told } = polled;
    attempt(name, () => {
      const owes = (): boolean => isOwedGap(asked, Math.max(floor, ...lost.values()), model.lastId);
      const owesGap = start.gap !== undefined;
      // Time passes from look to look: an event may have grown too old between the two.
      if (owesGap !== owes()) lost = this.#lost(channels);
      if (owesGap !== owes()) throw new Error(`is${owesGap ? ' not' : ''} to be told a gap`);
      if (client.connection === undefined || asked.kind !== 'after') {
        client.connection = new Connection(model, channels, asked, { head, floor, lost });
        client.connection.start(start.continuesAfter);
      }
      const asks = {
        owesGap,
        overAt: undefined,
        sinceStep: Infinity,
        mayBeLapped: false,
        isDisconnected: false,
      };
      if (answer !== undefined || waitMs === 0) {
        hub.polls.answered(polled);
        if (answer === undefined) this.#takeNothing(client, asks, told);
        else this.#take(client, asks, answer.body, answer.lastId);
      } else {
        const owner = this.#world.newOwner();
        this.#wait(client, name, { owesGap, waitMs, owner }, (poll) =>
          hub.polls.wait(poll, channels, fakePollMode(limit), start, waitMs, owner),
        );
      }
    });
    const pauseMs = random.chance(0.7)
      ? 0
      : random.chance(0.9)
        ? random.below(50)
        : random.below(3000);
    client.nextMs = clock.nowMs() + pauseMs;
  }

  #wait(
    client: PollClient,
    name: string,
    asked: Pick<Waiting, 'owesGap' | 'waitMs' | 'owner'>,
    hold: (poll: FakePoll) => number,
  ): void {
    const poll = new FakePoll(name);
    const sinceMs = this.#world.clock.nowMs();
    const handle = hold(poll);
    const sinceStep = this.#world.step;
    const waiting: Waiting = {
      ...asked,
      poll,
      handle,
      sinceMs,
      sinceStep,
      cursor: 0,
      mayBeLapped: false,
      overAt: undefined,
      overTurns: 0,
      isDisconnected: false,
    };
    waiting.cursor = this.#cursorOf(waiting);
    client.waiting = waiting;
    this.waited++;
    poll.onAnswer = ({ body, position }) => {
      client.waiting = undefined;
      // An exception would go through the hub.
      this.#world.catchFault(() => {
        attempt(name, () => {
          if (body !== undefined) {
            this.#take(client, waiting, body, position);
            return;
          }
          const waitedMs = this.#world.clock.nowMs() - sinceMs;
          const leastMs =
            waiting.waitMs - Math.max(waiting.waitMs * POLL_WAIT_JITTER, DEADLINE_STEP_MS) - 0.1;
          const isEnded =
            waiting.isDisconnected || waiting.owner.endsAtMs <= this.#world.clock.wallMs();
          waiting.isDisconnected = isEnded;
          const isOver = waiting.overAt !== undefined || isEnded;
          if (waitedMs < leastMs && !this.#endsSome && !isOver)
            throw new Error(
              `answered empty after ${waitedMs} ms, ${waiting.waitMs} were asked for`,
            );
          this.#takeNothing(client, waiting, position);
        });
      });
    };
  }

  /**
   * An answer without events: going on from its position misses nothing, and a gap that is owed
   * stays owed.
   */
  #takeNothing(
    client: PollClient,
    asked: Pick<Waiting, 'owesGap' | 'overAt' | 'sinceStep' | 'mayBeLapped' | 'isDisconnected'>,
    position: number,
  ): void {
    const { overAt, sinceStep, isDisconnected } = asked;
    const { channels } = client;
    const { model, floor } = this.#world;
    this.empty++;
    const connection = client.connection as Connection;
    // One that is behind on a channel for what waits on another may have been lapped: it is to meet
    // that as a gap.
    const expected = Math.max(connection.position, overAt ?? this.#world.through(client.channels));
    const lost = this.#lost(client.channels);
    const lostThrough = Math.max(floor, ...lost.values());
    // One that is ended before it was answered with what came asks again from where it was. Its
    // channel keeps nothing for it any more: that may be gone by now.
    const isBehind = isDisconnected && position < expected && position >= lostThrough;
    const mayBeLapped =
      asked.mayBeLapped || isDisconnected || this.#world.wasHeldBack(channels, sinceStep);
    const isLapped = position !== expected && !isBehind && mayBeLapped;
    if (isLapped && !asked.owesGap && position < connection.position)
      throw new Error(`an empty answer tells ${position}, before ${connection.position}`);
    const owesGap = asked.owesGap || isLapped;
    client.owesGap = owesGap;
    if (!owesGap) {
      // If events after a deletion are gone before the waiting polls are answered, the client must
      // find a gap there.
      const mayBeBehind = overAt !== undefined || isBehind;
      if (position !== expected && (!mayBeBehind || position > expected))
        throw new Error(`an empty answer tells ${position}, not ${expected}`);
      connection.moveTo(position);
      return;
    }
    const next: Asked = position === 0 ? { kind: 'oldest' } : { kind: 'after', id: position };
    // A log that starts at 1 and has lost no more than its first event has no position to tell it
    // with.
    if (lostThrough > 1 && !isOwedGap(next, lostThrough, model.lastId))
      throw new Error(`an empty answer tells ${position}, from which the gap is none any more`);
    client.connection = new Connection(model, client.channels, next, {
      head: this.#world.through(client.channels),
      floor,
      lost,
    });
    client.connection.start(position);
  }

  #take(
    client: PollClient,
    {
      owesGap,
      overAt,
      sinceStep,
      mayBeLapped: wasLapped,
    }: Pick<Waiting, 'owesGap' | 'overAt' | 'sinceStep' | 'mayBeLapped'>,
    body: Uint8Array,
    position: number,
  ): void {
    const { channels, limit } = client;
    const mayBeLapped =
      wasLapped || overAt !== undefined || this.#world.wasHeldBack(channels, sinceStep);
    const connection = client.connection as Connection;
    this.answered++;
    client.owesGap = false;
    const { isArray, objects } = this.#read(body);
    if (isArray !== limit > 0)
      throw new Error('an array where one event was asked for, or the other way round');
    if (objects.length === 0 || objects.length > Math.max(1, limit))
      throw new Error(`${objects.length} events, the limit is ${limit}`);
    if (objects.length > 1 && body.length > POLL_BODY_BYTES_MAX)
      throw new Error(`a body of ${body.length} bytes`);
    for (const [i, { id, gap, shown }] of objects.entries()) {
      // A waiting poll loses nothing, unless its channel was deleted twice before it was answered,
      // or it was behind on one channel because of another one's queue.
      if ((gap !== undefined) !== (owesGap && i === 0) && !(mayBeLapped && i === 0))
        throw new Error(`a gap that is none, or none that is one: ${JSON.stringify(gap)}`);
      if (gap !== undefined) {
        this.gaps++;
        connection.gapIsWritten(this.#world.through(channels));
        connection.gap(gap);
      }
      const { channel, event } = connection.event(id);
      if (shown !== shownObject(channel, event))
        throw new Error(`the object of ${id} is not what was published`);
    }
    if (position !== connection.position)
      throw new Error(`the answer ends at ${connection.position} and tells ${position}`);
    if (objects.length < limit && body.length < POLL_BODY_BYTES_MAX / 2)
      this.#checkNothingFollows(channels, position);
  }

  /** Reads a body, once for all clients with the same bytes. */
  #read(body: Uint8Array): Body {
    let read = this.#bodies.get(body);
    if (read === undefined) {
      const value = JSON.parse(Buffer.from(body).toString()) as object;
      const objects = ([value].flat() as Given[]).map(({ gap, ...object }) => ({
        id: object.id,
        gap,
        shown: JSON.stringify(object),
      }));
      read = { isArray: Array.isArray(value), objects };
      this.#bodies.set(body, read);
    }
    return read;
  }

  #checkNothingFollows(channels: readonly string[], position: number): void {
    const { model } = this.#world;
    for (const [name, lost] of this.#lost(channels)) {
      const newest = model.lastUpTo(name, this.#world.through(channels));
      if (newest > Math.max(position, lost))
        throw new Error(`the answer ends at ${position}, and ${newest} of ${name} is held`);
    }
  }
}

/**
 * A position P is a gap iff 0 < P < max(lostThrough, floor), or P > the log's last id; an
 * unreadable one is, too.
 */
function isOwedGap(asked: Asked, lostThrough: number, lastId: number): boolean {
  if (asked.kind === 'foreign') return true;
  if (asked.kind !== 'after' && asked.kind !== 'ahead') return false;
  return (asked.id > 0 && asked.id < lostThrough) || asked.id > lastId;
}
