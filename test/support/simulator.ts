/**
 * The simulator: a hub with the memory log between publishers and clients that act at random, on a clock and on sockets that it
 * owns. Every byte that a client is given is checked against a naive model (model.ts), and the hub's own tables after each turn.
 * A seed decides everything, so it replays a run.
 */
import { isDeletion, type LoggedEntry, type NewEntry, type NewEvent } from '../../src/core/event.js';
import type { Feed } from '../../src/core/feed.js';
import { Hub, type HubOptions } from '../../src/core/hub.js';
import type { Published } from '../../src/core/intake.js';
import { HEALTHY, STALLED } from '../../src/core/lines.js';
import { makeCounters } from '../../src/counters.js';
import { HoldlineError } from '../../src/errors.js';
import {
  CORK_WRITE_BYTES,
  DEADLINE_STEP_MS,
  EVENT_COST_BYTES,
  PUBLISH_WAIT_MS,
  SWEEP_WORK_BYTES,
  WORKING_ROOM_CORKS_MOST,
} from '../../src/limits.js';
import { MemoryLog } from '../../src/log/memory.js';
import { FakeClock, settlePromises } from './fake-clock.js';
import type { Held } from './fake-hub.js';
import { checkMessage, FakeSocket, fakeWays, type WayName } from './fake-port.js';
import { Connection, Model, type Accepted, type Asked } from './model.js';
import { PollClients, positionOf } from './poll-clients.js';
import { Random } from './random.js';
import { EventStreamReader, JsonLinesReader, type Reader } from './readers.js';

/** What differs from run to run beside the dice. */
interface Setting {
  readonly hub: HubOptions;
  readonly firstId: number | undefined;
  readonly corkMs: number;
  readonly channels: readonly string[];
  readonly clients: number;
  /** Channels are dropped now and then, as a retention rule would. */
  readonly drops: boolean;
  /** How often a step deletes a channel. */
  readonly deleting: number;
  /** How often a step publishes. */
  readonly publishing: number;
  /** Clients that poll, beside those that hold lines. */
  readonly polls: number;
  /** How lines are given events. */
  readonly ways: readonly WayName[];
}

const NAMES = ['a', 'b', 'c', 'd', 'e'];
const MIB = 1024 * 1024;

function settingOf(random: Random): Setting {
  return {
    hub: {
      replay: { events: random.pick([0, 1, 10, 50, 1000, 5000, 5000]), bytes: random.pick([0, 200, 5000, MIB, MIB, MIB, MIB]) },
      replayTotalBytes: random.pick([5000, 100_000, 256 * MIB, 256 * MIB, 256 * MIB]),
      heartbeatMs: random.pick([100, 100, 1000, 15_000]),
      flushIntervalMs: random.pick([0, 0, 0, 5, 100, 3000]),
      slow: random.pick(['gap', 'gap', 'latest', 'close']),
      sweepWorkBytes: random.pick([SWEEP_WORK_BYTES, 1_000_000, 1]),
    },
    firstId: random.pick([1, 1000, undefined]),
    corkMs: random.pick([0, 0.006, 0.1, 1]),
    channels: NAMES.slice(0, random.between(1, NAMES.length)),
    clients: random.pick([3, 12, 40, 90]),
    drops: random.chance(0.4),
    deleting: random.pick([0, 0.001, 0.01]),
    publishing: random.pick([0.05, 0.2, 0.5]),
    polls: random.pick([0, 3, 10, 30]),
    ways: random.pick<WayName[]>([['sse'], ['sse', 'ndjson', 'websocket'], ['sse', 'ndjson', 'websocket'], ['websocket']]),
  };
}

/** A client that comes and goes. Between its connections it remembers its position. */
interface Client {
  channels: readonly string[];
  way: WayName;
  position: number | undefined;
  line: Line | undefined;
}

/** A client's open line. */
interface Line {
  readonly socket: FakeSocket;
  readonly handle: number;
  readonly connection: Connection;
  readonly reader: Reader;
  /** Bytes that the client reads in a turn. */
  speed: number;
  /** The cursor when last looked at. */
  cursor: number;
  /** Turns since its channel was deleted. */
  overTurns: number | undefined;
}

/** A publish that has not been answered. */
interface Pending {
  readonly channel: string;
  readonly sinceMs: number;
  turnsWithRoom: number;
}

/** Texts that have gone wrong somewhere, once. */
const NASTY = [
  '',
  '\n',
  '\r',
  'a\r\nb',
  '\uFEFFbom',
  'id: 3',
  'event: gap\ndata: {}\n\n',
  '😀',
  '\0',
  'data',
  ': c',
  '\n\n\n',
  ' x ',
];
const PROSE = 'It was a bright cold day in April, and the clocks were striking.\r\nNo line is held for ever\n'.repeat(800);
const SPEEDS = [0, 150, 3000, 30_000, Infinity, Infinity];
/** Actions kept to be shown with a failure. */
const TRACE = 25;
/** What means nothing on a stream. */
const FILLER: Readonly<Record<string, string>> = { sse: ':\n', ndjson: '\n' };
/** Bytes of answers that a client may leave unread; then its transport closes it. */
const UNREAD_ANSWERS_BYTES = 20_000;
/** Turns in which all lines of a deleted channel are ended: more than half of all there may be are ended in one. */
const DELETED_TURNS = 3;
/** Turns that a hub may take to come to rest when nothing more is asked of it. */
const REST_TURNS = 20_000;

export class Simulation {
  readonly setting: Setting;
  readonly counters = makeCounters();
  steps = 0;

  readonly #random: Random;
  readonly #clock = new FakeClock();
  readonly #model: Model;
  readonly #floor: number;
  readonly #ways: ReturnType<typeof fakeWays>;
  readonly #hub: Hub<Held>;
  readonly #clients: Client[];
  readonly #polls: PollClients;
  /** Ids of each batch that the log has accepted. */
  readonly #idsOf = new WeakMap<readonly NewEntry[], number[]>();
  readonly #publishNumbers = new WeakMap<readonly NewEntry[], number>();
  readonly #lastAccepted = new Map<string, number>();
  readonly #pending = new Set<Pending>();
  /** Deletions that the log has not been given yet, first to last. */
  #deletions: (readonly NewEntry[])[] = [];
  /** Channels with events that a sweep has not brought to every line, when last looked at. */
  readonly #unswept = new Set<string>();
  /** Channels whose last entry is a deletion, and by channel the id of its last deletion. */
  readonly #deletedNow = new Set<string>();
  readonly #deletedThrough = new Map<string, number>();
  #published = 0;
  /** No batch is smaller than an entry. */
  #largestBatchBytes = EVENT_COST_BYTES;
  #gaps = 0;
  #longestTurnMs = 0;
  #socketsMade = 0;
  #trace: string[] = [];
  #fault: Error | undefined;

  constructor(seed: number) {
    this.#random = new Random(seed);
    this.setting = settingOf(this.#random);
    const log = new MemoryLog(this.#clock, this.counters, this.setting.firstId);
    this.#floor = log.floor();
    this.#model = new Model(log.floor() + 1);
    const append = log.append.bind(log);
    log.append = (entries) => {
      this.#accepted(entries);
      return append(entries);
    };
    this.#ways = fakeWays(this.#clock, this.setting.corkMs);
    this.#hub = new Hub(log, this.#clock, this.counters, this.setting.hub);
    const enter = this.#hub.enter.bind(this.#hub);
    this.#hub.enter = (entry) => {
      try {
        this.#enters(entry);
      } catch (error) {
        this.#fault ??= error as Error;
      }
      enter(entry);
    };
    this.#clients = Array.from({ length: this.setting.clients }, () => this.#newClient());
    this.#polls = new PollClients(
      {
        random: this.#random,
        clock: this.#clock,
        model: this.#model,
        hub: this.#hub,
        counters: this.counters,
        floor: this.#floor,
        note: (what) => this.#note(what),
        fault: (error) => {
          this.#fault ??= error;
        },
        newAsked: () => this.#newAsked(),
        newChannels: () => this.#newChannels(),
      },
      this.setting.polls,
    );
  }

  /** Takes `count` steps, coming to rest now and then and at the end. */
  async run(count: number): Promise<void> {
    const { random } = Math;
    // Polls are answered at random times, which are to be the same when a seed is run again.
    Math.random = () => this.#random.next();
    try {
      for (let step = 0; step < count; step++) {
        this.steps++;
        await this.#step();
        if (this.#fault !== undefined) throw this.#fault;
        if (this.#random.chance(0.002)) await this.#rest();
      }
      await this.#rest();
    } finally {
      Math.random = random;
      this.#hub.stop();
    }
  }

  /** The last actions before a failure, newest last. */
  get trace(): string {
    return this.#trace.join('\n');
  }

  // ── what happens ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async #step(): Promise<void> {
    const random = this.#random;
    const dice = random.next();
    if (dice < this.setting.publishing) this.#publishSome();
    else if (dice < this.setting.publishing + 0.08) this.#join();
    else if (dice < this.setting.publishing + 0.099) this.#leave();
    else if (dice < this.setting.publishing + 0.1) this.#leaveTogether();
    else if (dice < this.setting.publishing + 0.14) this.#changeSpeed();
    else if (dice < this.setting.publishing + 0.142) this.#endSome();
    else if (dice < this.setting.publishing + 0.15 && this.setting.drops) this.#drop();
    else if (dice < this.setting.publishing + 0.16 && random.chance(100 * this.setting.deleting)) this.#delete();
    else
      await this.#turn(
        random.chance(0.01) ? random.between(50, 3000) : random.chance(0.2) ? random.below(30) : random.next() * 2,
      );
  }

  async #turn(ms: number, polls = true): Promise<void> {
    const startMs = this.#clock.nowMs();
    this.#note(`turn ${ms.toFixed(1)} ms`);
    this.#clock.pass(ms);
    this.#clock.runTimers();
    await settlePromises();
    for (const client of this.#clients) if (client.line !== undefined) this.#read(client, client.line);
    if (polls) this.#polls.ask();
    this.#clock.runSoon();
    await settlePromises();
    this.#longestTurnMs = Math.max(this.#longestTurnMs, this.#clock.nowMs() - startMs);
    this.#check();
  }

  /** What the loop finds on a client's socket: bytes were read, room was made. */
  #read(client: Client, line: Line): void {
    const { socket, connection, handle, reader } = line;
    const bytes = socket.read(line.speed);
    if (bytes.length > 0) this.#attempt(line, () => reader.feed(bytes));
    if (connection.position >= 0) client.position = connection.position;
    if (socket.ended && socket.unreadBytes === 0) {
      this.#attempt(line, () => {
        if (connection.ended === undefined) throw new Error('ended without a word');
        if (connection.ended.code !== socket.endCode) throw new Error(`was told ${connection.ended.code}, ended for ${socket.endCode}`);
      });
      this.#close(client, line);
    } else if (socket.isWritable && socket.becomeWritable()) {
      this.#hub.drained(handle, socket);
    }
  }

  /** Mostly one; now and then as many at once as do not fit. */
  #publishSome(): void {
    const count = this.#random.chance(0.01) ? this.#random.between(10, 60) : 1;
    for (let i = 0; i < count; i++) this.#publish();
  }

  #publish(): void {
    const random = this.#random;
    // The first channel is the busy one.
    const channel = random.chance(0.5) ? (this.setting.channels[0] as string) : random.pick(this.setting.channels);
    const count = random.chance(0.85) ? 1 : random.chance(0.97) ? random.between(2, 40) : random.between(1000, 2500);
    const events = Array.from({ length: count }, () => this.#newEvent(channel, count));
    const bytes = events.reduce((sum, event) => sum + event.data.length + EVENT_COST_BYTES, 0);
    this.#note(`publish ${count} on ${channel}, ${bytes} bytes`);
    this.#largestBatchBytes = Math.max(this.#largestBatchBytes, bytes);
    const { line } = random.pick(this.#clients);
    const byMessage = line?.socket.kind === 'message' && random.chance(0.3) ? line : undefined;
    this.#await(channel, events, () => this.#hub.publish(channel, events), byMessage);
  }

  /** Deletes a channel, now and then with something right behind it. */
  #delete(): void {
    const channel = this.#random.pick(this.setting.channels);
    this.#note(`delete ${channel}`);
    // What the hub will hand to the log stands for this.
    const entries: NewEntry[] = [{ channel, isDeletion: true }];
    this.#deletions.push(entries);
    this.#await(channel, entries, () => this.#hub.deleteChannel(channel), undefined);
    if (this.#random.chance(0.5)) this.#publish();
  }

  /** The answer to a publish, which its publisher is told on its own line if it came by one. */
  #await(channel: string, entries: readonly NewEntry[], publish: () => Promise<Published>, byMessage: Line | undefined): void {
    this.#publishNumbers.set(entries, this.#published++);
    const pending: Pending = { channel, sinceMs: this.#clock.nowMs(), turnsWithRoom: 0 };
    this.#pending.add(pending);
    publish().then(
      ({ ids }) => {
        this.#pending.delete(pending);
        const expected = this.#idsOf.get(entries);
        if (expected === undefined || ids.join() !== expected.join())
          this.#fault ??= new Error(`a publish was told other ids than its events have`);
        if (byMessage !== undefined) this.#reply(byMessage, ids[0] as number);
      },
      (error: unknown) => {
        this.#pending.delete(pending);
        this.#deletions = this.#deletions.filter((deletion) => deletion !== entries);
        if (this.#idsOf.has(entries)) this.#fault ??= new Error('a publish was refused and its events were accepted');
        if (!(error instanceof HoldlineError) || error.code !== 'HOLDLINE_PUBLISH_BUSY') this.#fault ??= error as Error;
      },
    );
  }

  /** As transports/websocket.ts: sent whether or not there is room; a client that does not read its answers is closed. */
  #reply(line: Line, id: number): void {
    const { socket, handle } = line;
    if (socket.closed || socket.ended) return;
    if (socket.send(Buffer.from(`${JSON.stringify({ ok: { id } })}\n`))) return;
    this.#hub.stalled(handle, socket);
    const client = this.#clients.find((one) => one.line === line);
    if (client !== undefined && socket.backlogBytes > UNREAD_ANSWERS_BYTES + this.#largestBatchBytes) this.#close(client, line);
  }

  #newEvent(channel: string, count: number): NewEvent {
    const random = this.#random;
    const type = random.chance(0.3) ? random.pick(['note', 'é', 'a b', '"q"', 'x'.repeat(64)]) : undefined;
    const size = count > 100 ? random.below(60) : this.#newSize(count);
    const text = random.chance(0.1) ? random.pick(NASTY) : PROSE.slice(random.below(90)).slice(0, size);
    const json = random.chance(0.2);
    const data = json ? JSON.stringify({ n: random.below(1e9), text }, null, random.pick([0, 1])) : text;
    return { channel, type, data: Buffer.from(data), json };
  }

  #newSize(count: number): number {
    const random = this.#random;
    const dice = random.next();
    if (dice < 0.8) return random.below(300);
    if (dice < 0.97) return random.below(3000);
    // Larger than a cork, and with many lines or in a batch seldom, or the run is all copying.
    return random.chance(10 / (10 + this.setting.clients * count)) ? random.between(10_000, 60_000) : 0;
  }

  /** The log gives ids to a batch, or to a deletion. */
  #accepted(entries: readonly NewEntry[]): void {
    const [first] = entries as [NewEntry];
    const { channel } = first;
    let asked = entries;
    if (isDeletion(first)) {
      asked = this.#deletions.find(([deletion]) => deletion?.channel === channel) as readonly NewEntry[];
      this.#deletions = this.#deletions.filter((deletion) => deletion !== asked);
    }
    this.#idsOf.set(asked, this.#model.accept(entries));
    const number = this.#publishNumbers.get(asked) as number;
    if (number < (this.#lastAccepted.get(channel) ?? -1)) throw new Error(`publishers on ${channel} overtook each other`);
    this.#lastAccepted.set(channel, number);
  }

  /** An entry enters its ring. A deletion may only when healthy lines have been given everything before. */
  #enters(entry: LoggedEntry): void {
    const { channel, id } = entry;
    if (!isDeletion(entry)) {
      this.#deletedNow.delete(channel);
      return;
    }
    this.#note(`the deletion ${id} of ${channel} enters`);
    this.#deletedNow.add(channel);
    this.#deletedThrough.set(channel, id);
    const newestId = this.#model.lastUpTo(channel, id);
    for (const { line } of this.#clients) {
      if (line === undefined || line.socket.ended || line.overTurns !== undefined) continue;
      const { feed, row } = this.#rowOf(line);
      if (!feed.channels.some(({ name }) => name === channel)) continue;
      const isHealthy = feed.table.states[row] === HEALTHY;
      if (isHealthy && (feed.table.cursors[row] as number) < newestId)
        throw new Error(`${line.socket.name}: healthy, and not given everything at the deletion of ${channel}`);
      if (feed.channels.length > 1) continue;
      line.overTurns = 0;
      line.connection.deleted(id, isHealthy);
    }
    this.#polls.deleted(channel, id, newestId);
  }

  #rowOf(line: Line): { readonly feed: Feed<Held>; readonly row: number } {
    const feed = this.#hub.lines.feedOf(line.handle, line.socket);
    if (feed === undefined) throw new Error('an open line has no row');
    return { feed, row: this.#hub.lines.rowOf(line.handle) };
  }

  #newChannels(): readonly string[] {
    const random = this.#random;
    const count = random.chance(0.6) ? 1 : random.between(1, 4);
    if (random.chance(0.5) && count === 1) return [this.setting.channels[0] as string];
    return random.some(this.setting.channels, count);
  }

  #newClient(): Client {
    const random = this.#random;
    const channels = this.#newChannels();
    const way = random.pick(this.setting.ways);
    const envelope = way === 'sse' && (channels.length > 1 || random.chance(0.2));
    return { channels, way: envelope ? 'sse-env' : way, position: undefined, line: undefined };
  }

  #join(): void {
    const random = this.#random;
    const index = random.below(this.#clients.length);
    let client = this.#clients[index] as Client;
    if (client.line !== undefined) return;
    const { position } = client;
    // Position 0, where a log that starts at id 1 begins, asks for whatever is held.
    const comesBack: Asked = position === 0 ? { kind: 'oldest' } : { kind: 'after', id: position ?? 0 };
    const asked = position !== undefined && random.chance(0.7) ? comesBack : this.#newAsked();
    if (asked !== comesBack) client = this.#clients[index] = this.#newClient();
    this.#open(client, asked);
  }

  #newAsked(): Asked {
    const random = this.#random;
    const head = this.#hub.head;
    switch (random.below(7)) {
      case 0:
        return { kind: 'oldest' };
      case 1:
        return { kind: 'foreign' };
      case 2:
        return { kind: 'ahead', id: this.#model.lastId + random.between(1, 1000) };
      case 3:
        return { kind: 'last', count: random.pick([0, 1, 3, 20, 5000]) };
      case 4:
        return head < 200 ? { kind: 'live' } : { kind: 'after', id: head - random.below(200) };
      default:
        return { kind: 'live' };
    }
  }

  #open(client: Client, asked: Asked): void {
    const random = this.#random;
    const hub = this.#hub;
    const { channels } = client;
    const way = this.#ways[client.way];
    // An EventSource is told 204 then, and does not come back. transports/stream.ts
    if (way.transport === 'sse' && hub.isDeleted(channels)) return;
    const capacity = random.pick([600, 5000, 40_000, 400_000, 10_000_000]);
    const name = `socket ${this.#socketsMade++}`;
    const { kind } = way.port as { readonly kind: FakeSocket['kind'] };
    const socket = new FakeSocket(name, capacity, random.between(1, capacity), kind);
    this.#note(`${name} (${client.way}, ${capacity} bytes) joins ${channels.join()} ${JSON.stringify(asked)}`);
    const { head } = hub;
    const joined = hub.join(socket, channels, way, positionOf(asked), 3000);
    const opening = Buffer.from(joined.opening);
    const feed = hub.lines.feedOf(joined.handle, socket) as Feed<Held>;
    const lost = new Map(feed.channels.map((channel) => [channel.name, channel.lostThrough]));
    for (const [channel, lostThrough] of lost) this.#checkKept(channel, lostThrough);
    const connection = new Connection(this.#model, channels, asked, { head, floor: this.#floor, lost });
    const reader =
      way.transport === 'sse'
        ? new EventStreamReader(connection, client.way === 'sse-env')
        : new JsonLinesReader(connection, way.transport === 'ndjson');
    socket.onGap = () => {
      this.#gaps++;
      connection.gapIsWritten(this.#hub.head);
    };
    if (/^\n?\{"gap":|\nevent: gap\n/.test(opening.toString('latin1'))) {
      this.#gaps++;
      connection.gapIsWritten(head);
    }
    // Lines of JSON do not tell where they start; the head of the response does. transports/stream.ts, transports/websocket.ts
    if (way.transport !== 'sse') connection.start(hub.startOf(channels, positionOf(asked)).continuesAfter);
    const cursor = feed.table.cursors[hub.lines.rowOf(joined.handle)] as number;
    const line: Line = { socket, handle: joined.handle, connection, reader, speed: random.pick(SPEEDS), cursor, overTurns: undefined };
    client.line = line;
    socket.onEnd = () => {
      // A WebSocket's close is told of within the call that ends it; nothing is there any more.
      if (kind === 'message') hub.left(line.handle, socket);
    };
    // A response head that the kernel has not taken yet, as on a connection that is used again.
    if (kind === 'stream' && capacity <= 40_000 && random.chance(0.1)) socket.writeHead(capacity + 1000, FILLER[way.transport] as string);
    if (opening.length === 0) return;
    if (kind === 'message') checkMessage(socket, opening);
    if (!socket.write(opening, opening)) hub.stalled(joined.handle, socket);
  }

  #leave(): void {
    const client = this.#random.pick(this.#clients);
    if (client.line !== undefined) this.#close(client, client.line);
    this.#polls.leave(0.02);
  }

  /** A proxy in front of most of them goes down. */
  #leaveTogether(): void {
    for (const client of this.#clients)
      if (client.line !== undefined && this.#random.chance(0.8)) this.#close(client, client.line);
    this.#polls.leave(0.8);
  }

  #close(client: Client, line: Line): void {
    this.#note(`${line.socket.name} closes at ${client.position}`);
    line.socket.closed = true;
    client.line = undefined;
    this.#hub.left(line.handle, line.socket);
    // Callbacks that come late find nothing, also when the handle is used again.
    if (this.#random.chance(0.2)) this.#open(client, { kind: 'live' });
    this.#hub.drained(line.handle, line.socket);
    this.#hub.stalled(line.handle, line.socket);
    this.#hub.left(line.handle, line.socket);
  }

  #changeSpeed(): void {
    const { line } = this.#random.pick(this.#clients);
    if (line === undefined) return;
    line.speed = this.#random.pick(SPEEDS);
    this.#note(`${line.socket.name} reads ${line.speed} bytes a turn`);
  }

  #endSome(): void {
    const count = this.#random.below(4);
    this.#note(`${count} lines are ended`);
    this.#polls.whileEnding(() => this.#hub.endSome(count, 'draining'));
  }

  #drop(): void {
    const channel = this.#random.pick(this.setting.channels);
    this.#note(`${channel} is dropped`);
    this.#hub.dropChannel(channel);
  }

  // ── what must hold ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** After each turn: the hub's tables against each other and against what the clients know. */
  #check(): void {
    if (this.#fault !== undefined) throw this.#fault;
    const hub = this.#hub;
    const { gauges } = hub;
    const feeds = new Set<Feed<Held>>(this.#polls.feeds());
    const open: Record<string, number> = { sse: 0, ndjson: 0, websocket: 0, poll: this.#polls.waitingCount };
    let stalled = 0;
    for (const { line } of this.#clients) {
      if (line === undefined || line.socket.ended) continue;
      this.#attempt(line, () => {
        const { feed, row } = this.#rowOf(line);
        const cursor = feed.table.cursors[row] as number;
        const state = feed.table.states[row];
        open[feed.way.transport] = (open[feed.way.transport] as number) + 1;
        if (state === STALLED) stalled++;
        if (cursor < line.cursor) throw new Error(`the cursor went back from ${line.cursor} to ${cursor}`);
        line.cursor = cursor;
        if (state !== STALLED && line.socket.refusing) throw new Error(`state ${state} while the socket refuses bytes`);
        if (line.overTurns !== undefined) {
          if (line.overTurns++ > DELETED_TURNS) throw new Error('is there though its channel was deleted');
          return;
        }
        feeds.add(feed);
        if (state === HEALTHY && cursor < feed.lostThrough)
          throw new Error(`healthy at ${cursor} and lapped: ${feed.lostThrough} is lost`);
      });
    }
    this.#polls.check(this.#longestTurnMs);
    this.#checkGauges(open, stalled);
    for (const channel of this.setting.channels) {
      if (hub.isDeleted([channel]) !== this.#deletedNow.has(channel))
        throw new Error(`${channel} is ${hub.isDeleted([channel]) ? '' : 'not '}deleted for the hub`);
    }
    this.#unswept.clear();
    for (const feed of feeds) this.#checkUnswept(feed);
    this.#checkWaiting(gauges.queueEvents);
  }

  #checkGauges(open: Readonly<Record<string, number>>, stalled: number): void {
    const { counters } = this;
    const { gauges } = this.#hub;
    const sum = Object.values(open).reduce((total, count) => total + count, 0);
    const what = { ...gauges, open: sum, ...open, stalled };
    const fail = (rule: string): never => {
      throw new Error(`${rule}: ${JSON.stringify(what)}`);
    };
    if (gauges.linesOpen !== sum) fail('lines that are open for the hub are those that are open for their clients');
    if (counters.lines_opened_total - counters.lines_closed_total !== sum) fail('opened − closed is what is open');
    for (const [transport, count] of Object.entries(gauges.linesByTransport))
      if (open[transport] !== count) fail(`lines by transport are those of the clients, ${transport}`);
    if (gauges.linesStalled !== stalled) fail('lines that are stalled are counted');
    const { events, deletions } = this.#model;
    if (counters.events_accepted_total > events) fail('no more events are counted than accepted');
    if (counters.events_entered_total + counters.deletions_total + gauges.queueEvents !== events + deletions)
      fail('entered + queued is what was accepted');
    if (gauges.queueBytes > this.#largestBatchBytes) fail('the queue holds no more than one batch');
    if (gauges.waitingPublishers !== this.#pending.size) fail('publishers wait that have no answer');
    const { answered, empty, waited, gaps } = this.#polls;
    if (counters.polls_answered_total !== answered || counters.polls_empty_total !== empty || counters.polls_waited_total !== waited)
      fail('polls are counted');
    if (counters.gaps_total !== this.#gaps + gaps) fail(`gaps are counted, ${counters.gaps_total} of ${this.#gaps + gaps}`);
  }

  /** What some healthy line of the feed may not have been given is bounded: more than that does not enter. */
  #checkUnswept(feed: Feed<Held>): void {
    const corks = Math.floor((this.setting.hub.sweepWorkBytes ?? 0) / CORK_WRITE_BYTES);
    const roomBytes = CORK_WRITE_BYTES * Math.min(WORKING_ROOM_CORKS_MOST, Math.max(1, corks));
    for (const { name } of feed.channels) {
      const events = this.#model.eventsOf(name);
      let bytes = 0;
      let count = 0;
      for (let i = this.#model.indexAfter(name, this.#hub.head) - 1; i >= 0; i--) {
        const event = events[i] as Accepted;
        if (event.id <= feed.sweptThrough) break;
        bytes += Buffer.byteLength(event.data);
        count++;
      }
      if (count > 0) this.#unswept.add(name);
      if (count > 1 && bytes > roomBytes)
        throw new Error(`${bytes} bytes of ${name} have entered that a sweep has not brought to every line`);
    }
  }

  /** Nobody waits while there is room: the queue is empty, and every line has been given what the channel holds. */
  #checkWaiting(queueEvents: number): void {
    for (const pending of this.#pending) {
      const waitedMs = this.#clock.nowMs() - pending.sinceMs;
      if (waitedMs > PUBLISH_WAIT_MS + this.#longestTurnMs)
        throw new Error(`a publish on ${pending.channel} has had no answer for ${waitedMs} ms`);
      pending.turnsWithRoom = queueEvents > 0 || this.#unswept.has(pending.channel) ? 0 : pending.turnsWithRoom + 1;
      if (pending.turnsWithRoom > 3) throw new Error(`a publish on ${pending.channel} waits, and there is room`);
    }
  }

  /** A channel holds what `--replay-…` promises, unless something is allowed to drop it. */
  #checkKept(channel: string, lostThrough: number): void {
    if (this.setting.drops || this.setting.hub.replayTotalBytes < MIB) return;
    const events = this.#model.eventsOf(channel);
    const { replay } = this.setting.hub;
    let index = this.#model.indexAfter(channel, this.#hub.head);
    for (let kept = 0, bytes = 0; index > 0 && kept < replay.events; kept++, index--) {
      bytes += (events[index - 1] as Accepted).bytes + 3;
      if (bytes > replay.bytes) break;
    }
    const deletable = this.#model.lastUpTo(channel, this.#deletedThrough.get(channel) ?? 0);
    const evictable = Math.max(events[index - 1]?.id ?? 0, deletable);
    if (lostThrough > evictable) throw new Error(`${channel} has lost ${lostThrough}; it may lose up to ${evictable}`);
  }

  /** Everybody is there and reads, nobody publishes: the hub must come to rest, and every client must have what it was owed. */
  async #rest(): Promise<void> {
    this.#note('everybody reads');
    for (const client of this.#clients) {
      const { line, position } = client;
      if (line === undefined && position !== undefined && position > 0) this.#open(client, { kind: 'after', id: position });
    }
    for (let turns = 0, quiet = 0; quiet < 3; turns++) {
      for (const { line } of this.#clients) if (line !== undefined) line.speed = Infinity;
      await this.#turn(1);
      const isRead = this.#clients.every(({ line }) => line === undefined || line.socket.unreadBytes === 0);
      const { isSettled } = this.#hub;
      const { isIdle } = this.#clock;
      quiet = isRead && isSettled && isIdle ? quiet + 1 : 0;
      if (turns > REST_TURNS) {
        const what = { isRead, isSettled, isIdle, ...this.#hub.gauges };
        throw new Error(`the hub does not come to rest: ${JSON.stringify(what)}`);
      }
    }
    if (this.counters.events_accepted_total !== this.#model.events) throw new Error('the counter of accepted events is off');
    for (const { line } of this.#clients) {
      if (line === undefined) continue;
      this.#attempt(line, () => {
        const { feed, row } = this.#rowOf(line);
        const state = feed.table.states[row];
        if (state !== HEALTHY) throw new Error(`at rest in state ${state}`);
        if (line.cursor < feed.newestId) throw new Error(`at rest at ${line.cursor}, the newest is ${feed.newestId}`);
        line.reader.checkBetween();
        line.connection.settle(this.#hub.head);
      });
    }
    this.#polls.rest();
    if (this.#random.chance(0.3)) await this.#checkNoDeadlines();
    await this.#hearAll();
    for (const { line } of this.#clients) if (line !== undefined) line.speed = this.#random.pick(SPEEDS);
  }

  /** When no poll waits nothing is left of those that did: a deadline would keep its wheel turning. */
  async #checkNoDeadlines(): Promise<void> {
    this.#polls.leave(1);
    await this.#turn(DEADLINE_STEP_MS, false);
    await this.#turn(DEADLINE_STEP_MS, false);
    const { timerCount } = this.#clock;
    if (timerCount !== 1) throw new Error(`${timerCount} timers run when nobody waits; one is the heartbeat's`);
  }

  /** At rest every stream hears something within one interval of the heartbeat, an event stream the head; messages hear nothing. */
  async #hearAll(): Promise<void> {
    const { heartbeatMs } = this.setting.hub;
    if (this.#random.chance(0.5)) return;
    const before = this.#clients.map(({ line }) => line?.socket.writes ?? 0);
    const turnMs = heartbeatMs / 100;
    for (let ms = 0; ms <= heartbeatMs + 2 * turnMs; ms += turnMs) await this.#turn(turnMs);
    for (const [i, { line, way }] of this.#clients.entries()) {
      if (line === undefined) continue;
      const { socket, connection } = line;
      this.#attempt(line, () => {
        const heard = socket.writes > (before[i] as number);
        if (heard !== (socket.kind === 'stream')) throw new Error(`heard ${heard ? 'something' : 'nothing'} in ${heartbeatMs} ms`);
        if (way.startsWith('sse') && connection.position < this.#hub.head)
          throw new Error(`its heartbeat left it at ${connection.position}; the head is ${this.#hub.head}`);
      });
    }
  }

  /** Runs a check, and says whose it was when it fails. */
  #attempt(line: Line, check: () => void): void {
    try {
      check();
    } catch (error) {
      throw new Error(`${line.socket.name}: ${(error as Error).message}`, { cause: error });
    }
  }

  #note(what: string): void {
    this.#trace.push(`${this.#clock.nowMs().toFixed(1)} ms  ${what}`);
    if (this.#trace.length > 2 * TRACE) this.#trace = this.#trace.slice(-TRACE);
  }
}
