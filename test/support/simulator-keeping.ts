/**
 * The simulator of servers that keep their events: hubs one after another on one store, whose log
 * delays, fails, answers late and forgets, between publishers and clients that act at random. Each
 * client must be given every event once and in order, or be told of a gap where something is lost
 * for good. A seed decides everything, so it replays a run.
 */
import type { NewEntry, NewEvent } from '../../src/core/event.js';
import { Hub, type HubOptions } from '../../src/core/hub.js';
import { HEALTHY, READING } from '../../src/core/line-table.js';
import { NOBODY } from '../../src/core/owners.js';
import type { Position } from '../../src/core/position.js';
import type { Polled } from '../../src/core/waiting-polls.js';
import { makeCounters } from '../../src/counters.js';
import { asError, type HoldlineError } from '../../src/errors.js';
import { HISTORY_READS_MAX } from '../../src/limits.js';
import { FakeClock, settlePromises } from './fake-clock.js';
import type { Held } from './fake-hub.js';
import { FakePoll, fakePollMode } from './fake-poll.js';
import { checkMessage, FakeSocket, fakeModes, type ModeName } from './fake-port.js';
import { Follower, type Lost } from './follower.js';
import { KeepingLog, KeepingStore } from './keeping-log.js';
import { Model, positionOf, shownObject, type Asked } from './model.js';
import { Random } from './random.js';
import { EventStreamReader, JsonLinesReader, type Reader } from './readers.js';

const NAMES = ['a', 'b', 'c', 'd'];
const MODES: readonly ModeName[] = ['sse', 'ndjson', 'websocket'];
const CAPACITIES = [600, 5000, 40_000, 10_000_000];
const SPEEDS = [0, 300, 5000, 50_000, Infinity, Infinity];
const MIB = 1024 * 1024;
/** Turns in which a server comes to rest. */
const REST_TURNS = 60_000;
/** Refusals of a publish of which nothing is committed. */
const KNOWN_CODES: ReadonlySet<string> = new Set([
  'HOLDLINE_PUBLISH_BUSY',
  'HOLDLINE_LOG_UNAVAILABLE',
  // More than half of all memory of publishes.
  'HOLDLINE_TOO_LARGE',
]);
/** Turns in which all lines are visited that a given-up queue has left behind. */
const GIVEN_UP_TURNS = 5;
/** Actions that are shown with a failure. */
const TRACE = 30;

interface KeepingSetting {
  readonly hub: HubOptions;
  readonly firstId: number;
  readonly keepEvents: number;
  readonly channels: readonly string[];
  readonly lines: number;
  readonly polls: number;
  /** Longest delays of appends, of their answers, and of reads, ms. */
  readonly appendMs: number;
  readonly answerMs: number;
  readonly readMs: number;
  /** Share of appends and of reads that fail, also while the log is up. */
  readonly failing: number;
  readonly deleting: number;
  /** Share of publishes that come by the log from another node. */
  readonly floods: number;
  readonly drops: boolean;
  readonly restarts: boolean;
}

interface Line {
  readonly socket: FakeSocket;
  readonly handle: number;
  readonly follower: Follower;
  readonly reader: Reader;
  speed: number;
}

interface LineClient {
  channels: readonly string[];
  mode: ModeName;
  position: number | undefined;
  line: Line | undefined;
  /** Number of the request that is under way; 0 without one. */
  asking: number;
}

interface PollClient {
  channels: readonly string[];
  limit: number;
  follower: Follower | undefined;
  waiting: { readonly poll: FakePoll; readonly handle: number } | undefined;
  /** The same. */
  asking: number;
}

function settingOf(random: Random): KeepingSetting {
  // The log keeps at least what the rings do: else nobody knows what was below them.
  const replayEvents = random.pick([0, 1, 10, 100, 1000]);
  return {
    hub: {
      replay: { events: replayEvents, bytes: random.pick([200, 5000, MIB, MIB]) },
      replayTotalBytes: random.pick([5000, 100_000, 256 * MIB, 256 * MIB]),
      heartbeatMs: random.pick([100, 1000]),
      flushIntervalMs: random.pick([0, 0, 0, 5]),
      slow: random.pick(['gap', 'gap', 'gap', 'close']),
      sweepWorkBytes: random.pick([1, 1_000_000, 256 * MIB]),
      publishBytes: random.pick([150_000, MIB, 64 * MIB]),
    },
    firstId: random.pick([1, 1000]),
    keepEvents: random.pick([Infinity, Infinity, 3000, Math.max(50, 2 * replayEvents)]),
    channels: NAMES.slice(0, random.between(1, NAMES.length)),
    lines: random.pick([3, 12, 25]),
    polls: random.pick([0, 3, 8]),
    appendMs: random.pick([0, 0, 3, 40]),
    answerMs: random.pick([0, 3, 40]),
    readMs: random.pick([0, 2, 2, 50]),
    failing: random.pick([0, 0.01, 0.1]),
    deleting: random.pick([0, 0.002, 0.01]),
    floods: random.pick([0.1, 0.1, 0.8]),
    drops: random.chance(0.4),
    restarts: random.chance(0.8),
  };
}

export class KeepingSimulation {
  readonly setting: KeepingSetting;
  steps = 0;

  readonly #random: Random;
  readonly #clock = new FakeClock();
  readonly #counters = makeCounters();
  readonly #store: KeepingStore;
  readonly #model: Model;
  readonly #modes: ReturnType<typeof fakeModes>;
  readonly #lines: LineClient[];
  readonly #polls: PollClient[];
  readonly #lost: Lost;
  #hub!: Hub<Held>;
  #log!: KeepingLog;
  /** True while the log takes and reads nothing. */
  #isAway = false;
  /** Hubs so far: what an earlier one still answers counts for nothing. */
  #life = 0;
  #made = 0;
  #readsUnderWay = 0;
  #requests = 0;
  #givenUp = 0;
  #givenUpTurns = 0;
  /** What was committed, by the entries that the log was given. */
  readonly #committed = new WeakMap<readonly NewEntry[], readonly number[]>();
  #fault: Error | undefined;
  #trace: string[] = [];

  constructor(seed: number) {
    const random = new Random(seed);
    this.#random = random;
    this.setting = settingOf(random);
    const { setting } = this;
    this.#store = new KeepingStore(setting.firstId, setting.keepEvents);
    this.#model = new Model(setting.firstId);
    const commit = this.#store.commit.bind(this.#store);
    this.#store.commit = (entries, wallMs) => {
      this.#committed.set(entries, this.#model.accept(entries));
      return commit(entries, wallMs);
    };
    this.#lost = {
      of: (channel) => this.#store.lostOf(channel),
      floor: this.#store.floor,
      isUncertain: (channels) =>
        channels.some(
          (name) => this.#store.lostOf(name) > this.#hub.channels.member(name).lostThrough,
        ),
      ofRing: (channel) => this.#hub.channels.member(channel).lostThrough,
    };
    this.#modes = fakeModes(this.#clock, random.pick([0, 0.01]));
    this.#lines = Array.from({ length: setting.lines }, () => this.#newLineClient());
    this.#polls = Array.from({ length: setting.polls }, () => this.#newPollClient());
  }

  /** The last actions, newest last. */
  get trace(): string {
    return this.#trace.slice(-TRACE).join('\n');
  }

  async run(count: number): Promise<void> {
    const { random: chance } = Math;
    const random = this.#random;
    Math.random = () => random.next();
    try {
      await this.#start();
      for (let step = 0; step < count; step++) {
        this.steps++;
        await this.#step();
        this.#throwFault();
        if (random.chance(0.002)) await this.#rest();
      }
      await this.#rest();
    } finally {
      Math.random = chance;
      this.#hub.stop();
    }
  }

  // ── the server ─────────────────────────────────────────────────────────────────────────────────

  async #start(): Promise<void> {
    const { setting } = this;
    const random = this.#random;
    const fails = (): boolean => this.#isAway || random.chance(setting.failing);
    const life = ++this.#life;
    this.#readsUnderWay = 0;
    this.#log = new KeepingLog(
      this.#store,
      {
        appendMs: () => random.below(setting.appendMs + 1),
        appendAnswerMs: () => random.below(setting.answerMs + 1),
        appendFault: () =>
          fails() ? random.pick(['unavailable', 'unknown', 'unknown-kept'] as const) : undefined,
        readMs: () => random.below(setting.readMs + 1),
        readAnswerMs: () => random.below(setting.readMs + 1),
        readFails: fails,
      },
      this.#clock,
    );
    const { history } = this.#log;
    for (const name of ['read', 'newest'] as const) {
      const read = history[name] as (...asked: never[]) => Promise<never>;
      Object.assign(history, {
        [name]: async (...asked: never[]) => {
          if (++this.#readsUnderWay > HISTORY_READS_MAX) this.#failed(new Error('too many reads'));
          try {
            return await read(...asked);
          } finally {
            if (life === this.#life) this.#readsUnderWay--;
          }
        },
      });
    }
    this.#hub = new Hub(this.#log, this.#clock, this.#counters, setting.hub);
    await this.#log.open();
    this.#hub.begin();
  }

  /** The process is killed, and another one opens what it has kept. */
  async #restart(): Promise<void> {
    this.#note('the server is killed');
    for (const client of this.#lines) {
      client.asking = 0;
      if (client.line !== undefined) this.#close(client, client.line);
    }
    for (const client of this.#polls) this.#hangUp(client);
    this.#log.crash();
    this.#hub.stop();
    await this.#start();
  }

  async #turn(ms: number): Promise<void> {
    this.#clock.pass(ms);
    this.#clock.runTimers();
    await settlePromises();
    for (const client of this.#lines)
      if (client.line !== undefined) this.#read(client, client.line);
    this.#clock.runSoon();
    await settlePromises();
    this.#check();
  }

  async #step(): Promise<void> {
    const random = this.#random;
    const { setting } = this;
    const dice = random.next();
    if (dice < 0.3) this.#publishSome();
    else if (dice < 0.4) this.#join();
    else if (dice < 0.43) this.#leave();
    else if (dice < 0.48) this.#ask();
    else if (dice < 0.53) this.#changeSpeed();
    else if (dice < 0.531 && setting.restarts) await this.#restart();
    else if (dice < 0.533) this.#isAway = !this.#isAway && random.chance(0.5);
    else if (random.chance(2 * setting.deleting)) this.#delete();
    else if (dice < 0.534) this.#hub.endSome(random.below(3), 'draining');
    else if (dice < 0.54 && setting.drops) this.#hub.dropChannel(random.pick(setting.channels));
    else await this.#turn(random.chance(0.02) ? random.below(500) : random.next() * 3);
  }

  // ── publishers ─────────────────────────────────────────────────────────────────────────────────

  #publishSome(): void {
    const random = this.#random;
    const { setting } = this;
    const channel = random.pick(setting.channels);
    const count = random.chance(0.8) ? 1 : random.chance(0.95) ? random.between(2, 40) : 1000;
    const events = Array.from({ length: count }, () => this.#newEvent(channel, count));
    this.#note(`publish ${count} on ${channel}`);
    const kind = random.next();
    if (kind < setting.floods) {
      // Another node of the same log.
      void this.#log.append(events).catch(() => {});
    } else if (kind < setting.floods + 0.1) {
      const named = events.map((event) => ({
        ...event,
        channel: random.pick(this.setting.channels),
      }));
      const { batches } = this.#hub;
      this.#await(named, () => batches.submit(named, batches.reserve('')));
    } else {
      this.#await(events, () => this.#hub.publish(channel, events));
    }
  }

  #delete(): void {
    const channel = this.#random.pick(this.setting.channels);
    this.#note(`delete ${channel}`);
    this.#await([], () => this.#hub.deleteChannel(channel));
  }

  #newEvent(channel: string, count: number): NewEvent {
    const random = this.#random;
    const size =
      count > 100
        ? random.below(60)
        : random.chance(0.99)
          ? random.below(400)
          : random.below(40_000);
    const data = Buffer.from(`"${'x'.repeat(size)}"`);
    return { channel, type: undefined, data, json: random.chance(0.2) };
  }

  #await(
    entries: readonly NewEntry[],
    publish: () => Promise<{ readonly ids: readonly number[] }>,
  ): void {
    const life = this.#life;
    publish().then(
      ({ ids }) => {
        const committed = this.#committed.get(entries);
        if (entries.length > 0 && committed?.join() !== ids.join())
          this.#failed(new Error(`a publish was told ${ids.join()}, not ${committed?.join()}`));
      },
      (error: unknown) => {
        const { code } = asError(error) as HoldlineError;
        const isKnown = KNOWN_CODES.has(code);
        if (life !== this.#life || code === 'HOLDLINE_OUTCOME_UNKNOWN') return;
        if (!isKnown) this.#failed(asError(error));
        else if (this.#committed.has(entries))
          this.#failed(new Error(`a publish was refused with ${code}, and committed`));
      },
    );
  }

  // ── lines ──────────────────────────────────────────────────────────────────────────────────────

  #newLineClient(): LineClient {
    const random = this.#random;
    const mode = random.pick(MODES);
    const channels = this.#newChannels();
    const isEnvelope = mode === 'sse' && channels.length > 1;
    return {
      channels,
      mode: isEnvelope ? 'sse-env' : mode,
      position: undefined,
      line: undefined,
      asking: 0,
    };
  }

  #newChannels(): readonly string[] {
    const random = this.#random;
    return random.some(this.setting.channels, random.chance(0.6) ? 1 : random.between(1, 3));
  }

  #newAsked(): Asked {
    const random = this.#random;
    const { lastId } = this.#model;
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

  #join(): void {
    const random = this.#random;
    const index = random.below(this.#lines.length);
    let client = this.#lines[index] as LineClient;
    if (client.line !== undefined || client.asking > 0) return;
    const { position } = client;
    if (position !== undefined && random.chance(0.7)) {
      this.#comeBack(client, position);
      return;
    }
    client = this.#lines[index] = this.#newLineClient();
    void this.#open(client, this.#newAsked());
  }

  #comeBack(client: LineClient, position: number): void {
    const asked: Asked = position === 0 ? { kind: 'oldest' } : { kind: 'after', id: position };
    void this.#open(client, asked);
  }

  async #open(client: LineClient, asked: Asked): Promise<void> {
    const life = this.#life;
    const { channels } = client;
    const found = await this.#ready(channels, asked, client);
    if (found === undefined || life !== this.#life || !this.#lines.includes(client)) return;
    this.#catch(`a line on ${channels.join()}`, () => this.#openNow(client, asked, found));
  }

  /** What the client starts at; undefined when it was refused, or went away meanwhile. */
  async #ready(
    channels: readonly string[],
    asked: Asked,
    client: { asking: number },
  ): Promise<Position | undefined> {
    const position = positionOf(asked);
    const ready = this.#hub.ready(channels, position);
    if (ready === undefined) return position;
    const request = (client.asking = ++this.#requests);
    try {
      const found = await ready;
      return client.asking === request ? found : undefined;
    } catch (error) {
      this.#checkUnavailable(error);
      return undefined;
    } finally {
      if (client.asking === request) client.asking = 0;
    }
  }

  #checkUnavailable(error: unknown): void {
    const { code } = asError(error) as HoldlineError;
    if (code !== 'HOLDLINE_LOG_UNAVAILABLE') this.#failed(asError(error));
  }

  #openNow(client: LineClient, asked: Asked, position: Position): void {
    const random = this.#random;
    const { channels } = client;
    const mode = this.#modes[client.mode];
    const isEvents = mode.transport === 'sse';
    if (isEvents && this.#hub.isDeleted(channels)) return;
    const kind = mode.transport === 'websocket' ? 'message' : 'stream';
    const capacity = random.pick(CAPACITIES);
    const socket = new FakeSocket(
      `socket ${this.#made++}`,
      capacity,
      random.between(1, capacity),
      kind,
    );
    this.#note(`${socket.name} (${client.mode}) joins ${channels.join()} ${JSON.stringify(asked)}`);
    const joined = this.#hub.join(socket, channels, mode, position, 3000, NOBODY);
    const opening = Buffer.from(joined.opening);
    const follower = new Follower(this.#model, this.#lost, channels, asked);
    const reader = isEvents
      ? new EventStreamReader(follower, client.mode === 'sse-env')
      : new JsonLinesReader(follower, kind === 'stream');
    if (!isEvents) follower.start(joined.continuesAfter);
    const { handle } = joined;
    const speed = random.pick(SPEEDS);
    client.line = { socket, handle, follower, reader, speed };
    if (kind === 'message') socket.onEnd = () => this.#hub.left(handle, socket);
    if (opening.length === 0) return;
    if (kind === 'message') checkMessage(socket, opening);
    if (!socket.write(opening, opening)) this.#hub.stalled(handle, socket);
  }

  #read(client: LineClient, line: Line): void {
    const { socket, follower, reader, handle } = line;
    const bytes = socket.read(line.speed);
    if (bytes.length > 0) this.#catch(socket.name, () => reader.feed(bytes));
    if (follower.position >= 0) client.position = follower.position;
    if (socket.ended && socket.unreadBytes === 0) this.#close(client, line);
    else if (socket.isWritable && socket.becomeWritable()) this.#hub.drained(handle, socket);
  }

  #close(client: LineClient, { socket, handle }: Line): void {
    this.#note(`${socket.name} closes at ${client.position}`);
    socket.closed = true;
    client.line = undefined;
    this.#hub.left(handle, socket);
  }

  #leave(): void {
    const client = this.#random.pick(this.#lines);
    // One that is joining goes away, too.
    client.asking = 0;
    if (client.line !== undefined) this.#close(client, client.line);
    if (this.#polls.length > 0) this.#hangUp(this.#random.pick(this.#polls));
  }

  #changeSpeed(): void {
    const { line } = this.#random.pick(this.#lines);
    if (line !== undefined) line.speed = this.#random.pick(SPEEDS);
  }

  // ── polls ──────────────────────────────────────────────────────────────────────────────────────

  #newPollClient(): PollClient {
    return {
      channels: this.#newChannels(),
      limit: this.#random.pick([0, 1, 50, 1000]),
      follower: undefined,
      waiting: undefined,
      asking: 0,
    };
  }

  #hangUp(client: PollClient): void {
    client.asking = 0;
    const { waiting } = client;
    if (waiting === undefined) return;
    client.waiting = undefined;
    waiting.poll.closed = true;
    this.#hub.left(waiting.handle, waiting.poll);
  }

  #ask(): void {
    if (this.#polls.length === 0) return;
    const client = this.#random.pick(this.#polls);
    if (client.waiting !== undefined || client.asking > 0) return;
    if (client.follower === undefined || this.#random.chance(0.05)) {
      Object.assign(client, this.#newPollClient());
      void this.#poll(client, this.#newAsked(), this.#random.pick([0, 200, 2000]));
    } else {
      void this.#pollOn(client, this.#random.pick([0, 200, 2000]));
    }
  }

  #pollOn(client: PollClient, waitMs: number): Promise<void> {
    const id = client.follower?.position ?? 0;
    return this.#poll(client, id === 0 ? { kind: 'oldest' } : { kind: 'after', id }, waitMs);
  }

  async #poll(client: PollClient, asked: Asked, waitMs: number): Promise<void> {
    const life = this.#life;
    const { channels, limit } = client;
    this.#note(`poll on ${channels.join()} ${JSON.stringify(asked)}`);
    const position = await this.#ready(channels, asked, client);
    if (position === undefined || life !== this.#life) return;
    let request = 0;
    const use = (polled: Polled): void => {
      if (life !== this.#life || (request > 0 && client.asking !== request)) return;
      const whose = `a poll on ${channels.join()}`;
      this.#catch(whose, () => this.#polled(client, asked, polled, waitMs));
    };
    try {
      const looking = this.#hub.polls.look(channels, position, limit, use);
      if (looking === undefined) return;
      request = client.asking = ++this.#requests;
      await looking;
    } catch (error) {
      this.#checkUnavailable(error);
    } finally {
      if (client.asking === request) client.asking = 0;
    }
  }

  #polled(client: PollClient, asked: Asked, polled: Polled, waitMs: number): void {
    const { channels, limit } = client;
    const { answer, start } = polled;
    const goesOn = asked.kind === 'after' && client.follower?.position === asked.id;
    if (!goesOn) {
      client.follower = new Follower(this.#model, this.#lost, channels, asked);
      client.follower.start(start.continuesAfter);
    }
    if (answer !== undefined || waitMs === 0) {
      this.#hub.polls.answered(polled);
      this.#take(client, answer?.body, polled.position, start.gap !== undefined);
      return;
    }
    const poll = new FakePoll(`poll ${this.#made++}`);
    const { polls } = this.#hub;
    const handle = polls.wait(poll, channels, fakePollMode(limit), start, waitMs, NOBODY);
    client.waiting = { poll, handle };
    poll.onAnswer = ({ body, position }) => {
      client.waiting = undefined;
      this.#catch(poll.name, () => this.#take(client, body, position, start.gap !== undefined));
    };
  }

  #take(
    client: PollClient,
    body: Uint8Array | undefined,
    position: number,
    owesGap: boolean,
  ): void {
    const follower = client.follower as Follower;
    if (body === undefined) {
      // A gap that could not be told is found again from there.
      if (!owesGap) follower.moveTo(position);
      else {
        const asked: Asked = position === 0 ? { kind: 'oldest' } : { kind: 'after', id: position };
        client.follower = new Follower(this.#model, this.#lost, client.channels, asked);
        client.follower.start(position);
      }
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

  // ── what must hold ─────────────────────────────────────────────────────────────────────────────

  /** After each turn: the hub's tables against what the clients know. */
  #check(): void {
    this.#throwFault();
    const { lines } = this.#hub;
    const { gauges } = this.#hub.figures;
    const waiting = this.#polls.filter((client) => client.waiting !== undefined).length;
    // Where a queue was given up, lines are lapped until they are visited.
    const { queues_given_up_total: givenUp } = this.#counters;
    if (givenUp !== this.#givenUp) this.#givenUpTurns = GIVEN_UP_TURNS;
    this.#givenUp = givenUp;
    const isGivenUp = this.#givenUpTurns-- > 0;
    let open = 0;
    let reading = 0;
    for (const { line, channels } of this.#lines) {
      if (line === undefined || line.socket.ended) continue;
      open++;
      const group = lines.groupOf(line.handle, line.socket);
      if (group === undefined) throw new Error(`${line.socket.name} has no row`);
      const row = lines.rowOf(line.handle);
      const state = group.table.states[row];
      if (state === READING) reading++;
      const cursor = group.table.cursors[row] as number;
      // Those of a deleted channel are ended over some turns; on several, one may hold others up.
      const mayBeLapped = isGivenUp || group.deletedAt !== undefined || channels.length > 1;
      if (state === HEALTHY && cursor < group.set.lostThrough && !mayBeLapped)
        throw new Error(`${line.socket.name} is healthy at ${cursor}, and lapped`);
    }
    if (gauges.linesOpen !== open + waiting || gauges.linesReading !== reading)
      throw new Error(
        `${open} lines, ${reading} reading, ${waiting} polls; not so: ${JSON.stringify(gauges)}`,
      );
  }

  /**
   * The log answers, everybody reads, nobody publishes: the hub must come to rest, and every client
   * have what it was owed.
   */
  async #rest(): Promise<void> {
    this.#note('everybody reads');
    this.#isAway = false;
    const { failing } = this.setting;
    Object.assign(this.setting, { failing: 0 });
    for (const client of this.#lines)
      if (client.line === undefined && client.asking === 0 && client.position !== undefined)
        this.#comeBack(client, client.position);
    for (let turns = 0, quiet = 0; quiet < 3; turns++) {
      let isRead = true;
      for (const { line, asking } of this.#lines) {
        if (line !== undefined) line.speed = Infinity;
        isRead &&= asking === 0 && (line === undefined || line.socket.unreadBytes === 0);
      }
      await this.#turn(1);
      const { isSettled } = this.#hub;
      const { gauges } = this.#hub.figures;
      const isAsking = this.#polls.some(({ asking }) => asking > 0);
      const isQuiet = isRead && isSettled && !isAsking && gauges.linesReading === 0;
      quiet = isQuiet && this.#clock.isIdle ? quiet + 1 : 0;
      if (turns > REST_TURNS)
        throw new Error(
          `the hub does not come to rest: ${JSON.stringify({ isRead, isSettled, isAsking, ...gauges })}`,
        );
    }
    for (const { line } of this.#lines) {
      if (line === undefined) continue;
      this.#catch(line.socket.name, () => {
        line.reader.checkBetween();
        line.follower.settle(this.#model.lastId);
      });
    }
    for (const client of this.#polls) await this.#pollAll(client);
    this.#throwFault();
    for (const { line } of this.#lines)
      if (line !== undefined) line.speed = this.#random.pick(SPEEDS);
    Object.assign(this.setting, { failing });
  }

  /** At rest a client that polls on is given everything. */
  async #pollAll(client: PollClient): Promise<void> {
    this.#hangUp(client);
    if (client.follower === undefined) return;
    client.limit = 1000;
    for (let turns = 0, events = -1; events !== client.follower.events;) {
      events = client.follower.events;
      let isOver = false;
      void this.#pollOn(client, 0).finally(() => (isOver = true));
      while (!isOver && turns++ < REST_TURNS) await this.#turn(1);
      this.#throwFault();
    }
    const { follower } = client;
    // One that is owed a gap is told with the next event.
    const isOwed = follower.position < this.#model.lastId;
    this.#catch(`polls on ${client.channels.join()}`, () => {
      if (!isOwed) follower.settle(this.#model.lastId);
      else this.#checkNothingFollows(client, follower.position);
    });
  }

  #checkNothingFollows({ channels }: PollClient, position: number): void {
    for (const channel of channels) {
      const newest = this.#store.eventsOf(channel).at(-1)?.id ?? 0;
      if (newest > position)
        throw new Error(`polls end at ${position}, and ${newest} of ${channel} is kept`);
    }
  }

  // ── faults ─────────────────────────────────────────────────────────────────────────────────────

  #note(what: string): void {
    this.#trace.push(`${this.#clock.nowMs().toFixed(1)} ms  ${what}`);
    if (this.#trace.length > 10 * TRACE) this.#trace = this.#trace.slice(-TRACE);
  }

  #failed(error: Error): void {
    this.#fault ??= error;
  }

  /** Runs what would otherwise throw through the hub. */
  #catch(whose: string, check: () => void): void {
    try {
      check();
    } catch (error) {
      this.#failed(new Error(`${whose}: ${(error as Error).message}`, { cause: error }));
    }
  }

  #throwFault(): void {
    if (this.#fault !== undefined) throw this.#fault;
  }
}
