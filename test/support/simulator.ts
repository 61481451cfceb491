/**
 * The simulator: a hub with the memory log between publishers and clients that act at random, on a clock and on sockets that it
 * owns. Every byte that a client is given is checked against a naive model (model.ts), and the hub's own tables after each turn.
 * A seed decides everything, so it replays a run.
 */
import type { NewEvent } from '../../src/core/event.js';
import type { Feed } from '../../src/core/feed.js';
import { Hub, type HubOptions } from '../../src/core/hub.js';
import { HEALTHY, STALLED } from '../../src/core/lines.js';
import type { Position } from '../../src/core/position.js';
import { makeCounters } from '../../src/counters.js';
import { HoldlineError } from '../../src/errors.js';
import {
  CORK_WRITE_BYTES,
  EVENT_COST_BYTES,
  PUBLISH_WAIT_MS,
  SWEEP_WORK_BYTES,
  WORKING_ROOM_CORKS_MOST,
} from '../../src/limits.js';
import { MemoryLog } from '../../src/log/memory.js';
import { FakeClock, settlePromises } from './fake-clock.js';
import { FakePort, FakeSocket } from './fake-port.js';
import { Connection, Model, type Accepted, type Asked } from './model.js';
import { Random } from './random.js';

/** What differs from run to run beside the dice. */
interface Setting {
  readonly hub: HubOptions;
  readonly firstId: number | undefined;
  readonly corkMs: number;
  readonly channels: readonly string[];
  readonly clients: number;
  /** Channels are dropped now and then, as a retention rule would. */
  readonly drops: boolean;
  /** How often a step publishes. */
  readonly publishing: number;
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
    publishing: random.pick([0.05, 0.2, 0.5]),
  };
}

/** A client that comes and goes. Between its connections it remembers its position. */
interface Client {
  channels: readonly string[];
  envelope: boolean;
  position: number | undefined;
  line: Line | undefined;
}

/** A client's open line. */
interface Line {
  readonly socket: FakeSocket;
  readonly handle: number;
  readonly connection: Connection;
  /** Bytes that the client reads in a turn. */
  speed: number;
  /** The cursor when last looked at. */
  cursor: number;
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
  readonly #port: FakePort;
  readonly #hub: Hub<FakeSocket>;
  readonly #clients: Client[];
  /** Ids of each batch that the log has accepted. */
  readonly #idsOf = new WeakMap<readonly NewEvent[], number[]>();
  readonly #publishNumbers = new WeakMap<readonly NewEvent[], number>();
  readonly #lastAccepted = new Map<string, number>();
  readonly #pending = new Set<Pending>();
  /** Channels with events that a sweep has not brought to every line, when last looked at. */
  readonly #unswept = new Set<string>();
  #published = 0;
  #largestBatchBytes = 0;
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
    log.append = (events) => {
      this.#accepted(events);
      return append(events);
    };
    this.#port = new FakePort(this.#clock, this.setting.corkMs);
    this.#hub = new Hub(log, this.#clock, this.counters, this.setting.hub);
    this.#clients = Array.from({ length: this.setting.clients }, () => this.#newClient());
  }

  /** Takes `count` steps, coming to rest now and then and at the end. */
  async run(count: number): Promise<void> {
    for (let step = 0; step < count; step++) {
      this.steps++;
      await this.#step();
      if (this.#fault !== undefined) throw this.#fault;
      if (this.#random.chance(0.002)) await this.#rest();
    }
    await this.#rest();
    this.#hub.stop();
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
    else
      await this.#turn(
        random.chance(0.01) ? random.between(50, 3000) : random.chance(0.2) ? random.below(30) : random.next() * 2,
      );
  }

  async #turn(ms: number): Promise<void> {
    const startMs = this.#clock.nowMs();
    this.#note(`turn ${ms.toFixed(1)} ms`);
    this.#clock.pass(ms);
    this.#clock.runTimers();
    await settlePromises();
    for (const client of this.#clients) if (client.line !== undefined) this.#poll(client, client.line);
    this.#clock.runSoon();
    await settlePromises();
    this.#longestTurnMs = Math.max(this.#longestTurnMs, this.#clock.nowMs() - startMs);
    this.#check();
  }

  /** What the loop finds on a client's socket: bytes were read, room was made. */
  #poll(client: Client, line: Line): void {
    const { socket, connection, handle } = line;
    const bytes = socket.read(line.speed);
    if (bytes.length > 0) this.#attempt(line, () => connection.feed(bytes));
    if (connection.position >= 0) client.position = connection.position;
    if (socket.ended && socket.unreadBytes === 0) {
      if (connection.ended === undefined) throw new Error(`${socket.name} ended without an end event`);
      this.#close(client, line);
    } else if (socket.isWritable) {
      socket.becomeWritable();
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
    this.#publishNumbers.set(events, this.#published++);
    const pending: Pending = { channel, sinceMs: this.#clock.nowMs(), turnsWithRoom: 0 };
    this.#pending.add(pending);
    this.#hub.publish(channel, events).then(
      ({ ids }) => {
        this.#pending.delete(pending);
        const expected = this.#idsOf.get(events);
        if (expected === undefined || ids.join() !== expected.join())
          this.#fault ??= new Error(`a publish was told other ids than its events have`);
      },
      (error: unknown) => {
        this.#pending.delete(pending);
        if (this.#idsOf.has(events)) this.#fault ??= new Error('a publish was refused and its events were accepted');
        if (!(error instanceof HoldlineError) || error.code !== 'HOLDLINE_PUBLISH_BUSY') this.#fault ??= error as Error;
      },
    );
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

  /** The log gives ids to a batch. */
  #accepted(events: readonly NewEvent[]): void {
    this.#idsOf.set(events, this.#model.accept(events));
    const channel = events[0]?.channel as string;
    const number = this.#publishNumbers.get(events) as number;
    if (number < (this.#lastAccepted.get(channel) ?? -1)) throw new Error(`publishers on ${channel} overtook each other`);
    this.#lastAccepted.set(channel, number);
  }

  #newClient(): Client {
    const random = this.#random;
    const count = random.chance(0.6) ? 1 : random.between(1, 4);
    const channels =
      random.chance(0.5) && count === 1 ? [this.setting.channels[0] as string] : random.some(this.setting.channels, count);
    return { channels, envelope: channels.length > 1 || random.chance(0.2), position: undefined, line: undefined };
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
    const capacity = random.pick([600, 5000, 40_000, 400_000, 10_000_000]);
    const socket = new FakeSocket(`socket ${this.#socketsMade++}`, capacity, random.between(1, capacity));
    this.#note(`${socket.name} (${capacity} bytes) joins ${client.channels.join()} ${JSON.stringify(asked)}`);
    const head = hub.head;
    const joined = hub.join(socket, client.channels, client.envelope ? this.#port.enveloped : this.#port.plain, positionOf(asked), 3000);
    const opening = Buffer.from(joined.opening);
    const feed = hub.lines.feedOf(joined.handle, socket) as Feed<FakeSocket>;
    const lost = new Map(feed.channels.map((channel) => [channel.name, channel.lostThrough]));
    for (const [name, lostThrough] of lost) this.#checkKept(name, lostThrough);
    const connection = new Connection(this.#model, client.channels, client.envelope, asked, { head, floor: this.#floor, lost });
    socket.onGap = () => connection.gapIsWritten(this.#hub.head);
    if (opening.includes('\nevent: gap\n')) connection.gapIsWritten(head);
    const cursor = feed.table.cursors[hub.lines.rowOf(joined.handle)] as number;
    client.line = { socket, handle: joined.handle, connection, speed: random.pick(SPEEDS), cursor };
    // A response head that the kernel has not taken yet, as on a connection that is used again.
    if (capacity <= 40_000 && random.chance(0.1)) socket.writeHead(capacity + 1000);
    if (!socket.write(opening, opening)) hub.stalled(joined.handle, socket);
  }

  #leave(): void {
    const client = this.#random.pick(this.#clients);
    if (client.line !== undefined) this.#close(client, client.line);
  }

  /** A proxy in front of most of them goes down. */
  #leaveTogether(): void {
    for (const client of this.#clients)
      if (client.line !== undefined && this.#random.chance(0.8)) this.#close(client, client.line);
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
    this.#hub.endSome(count, 'draining');
  }

  #drop(): void {
    const channel = this.#random.pick(this.setting.channels);
    this.#note(`${channel} is dropped`);
    this.#hub.dropChannel(channel);
  }

  // ── what must hold ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** After each turn: the hub's tables against each other and against what the clients know. */
  #check(): void {
    const hub = this.#hub;
    const { counters } = this;
    const { gauges } = hub;
    const feeds = new Set<Feed<FakeSocket>>();
    let open = 0;
    let stalled = 0;
    for (const { line } of this.#clients) {
      if (line === undefined || line.socket.ended) continue;
      open++;
      this.#attempt(line, () => {
        const feed = hub.lines.feedOf(line.handle, line.socket);
        if (feed === undefined) throw new Error('an open line has no row');
        feeds.add(feed);
        const row = hub.lines.rowOf(line.handle);
        const cursor = feed.table.cursors[row] as number;
        const state = feed.table.states[row];
        if (cursor < line.cursor) throw new Error(`the cursor went back from ${line.cursor} to ${cursor}`);
        if (state === HEALTHY && cursor < feed.lostThrough)
          throw new Error(`healthy at ${cursor} and lapped: ${feed.lostThrough} is lost`);
        if (state === STALLED) stalled++;
        if (state !== STALLED && line.socket.refusing) throw new Error(`state ${state} while the socket refuses bytes`);
        line.cursor = cursor;
      });
    }
    if (gauges.linesOpen !== open) throw new Error(`${gauges.linesOpen} lines are open for the hub, ${open} for the clients`);
    if (counters.lines_opened_total - counters.lines_closed_total !== open)
      throw new Error('opened − closed is not what is open');
    if (gauges.linesStalled !== stalled)
      throw new Error(`${gauges.linesStalled} lines are stalled for the gauge, ${stalled} in the tables`);
    const accepted = this.#model.lastId - this.#floor;
    if (counters.events_accepted_total > accepted) throw new Error('more events were counted than accepted');
    if (counters.events_entered_total + gauges.queueEvents !== accepted)
      throw new Error('entered + queued is not what was accepted');
    if (gauges.queueBytes > this.#largestBatchBytes)
      throw new Error(`a queue of ${gauges.queueBytes} bytes, more than one batch`);
    if (gauges.waitingPublishers !== this.#pending.size)
      throw new Error(`${gauges.waitingPublishers} publishers wait, ${this.#pending.size} have no answer`);
    this.#unswept.clear();
    for (const feed of feeds) this.#checkUnswept(feed);
    this.#checkWaiting(gauges.queueEvents);
    if (this.#fault !== undefined) throw this.#fault;
  }

  /** What some healthy line of the feed may not have been given is bounded: more than that does not enter. */
  #checkUnswept(feed: Feed<FakeSocket>): void {
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
    const evictable = events[index - 1]?.id ?? 0;
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
    if (this.counters.events_accepted_total !== this.#model.lastId - this.#floor)
      throw new Error('the counter of accepted events is off');
    for (const { line } of this.#clients) {
      if (line === undefined) continue;
      this.#attempt(line, () => {
        const feed = this.#hub.lines.feedOf(line.handle, line.socket) as Feed<FakeSocket>;
        const state = feed.table.states[this.#hub.lines.rowOf(line.handle)];
        if (state !== HEALTHY) throw new Error(`at rest in state ${state}`);
        if (line.cursor < feed.newestId) throw new Error(`at rest at ${line.cursor}, the newest is ${feed.newestId}`);
        line.connection.settle(this.#hub.head);
      });
    }
    await this.#hearAll();
    for (const { line } of this.#clients) if (line !== undefined) line.speed = this.#random.pick(SPEEDS);
  }

  /** At rest every line hears the head within one interval of the heartbeat. */
  async #hearAll(): Promise<void> {
    const { heartbeatMs } = this.setting.hub;
    if (this.#random.chance(0.5)) return;
    const before = this.#clients.map(({ line }) => line?.socket.writes ?? 0);
    const turnMs = heartbeatMs / 100;
    for (let ms = 0; ms <= heartbeatMs + 2 * turnMs; ms += turnMs) await this.#turn(turnMs);
    for (const [i, { line }] of this.#clients.entries()) {
      if (line === undefined) continue;
      this.#attempt(line, () => {
        if (line.socket.writes === before[i]) throw new Error(`heard nothing in ${heartbeatMs} ms`);
        if (line.connection.position < this.#hub.head)
          throw new Error(`its heartbeat left it at ${line.connection.position}; the head is ${this.#hub.head}`);
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

function positionOf(asked: Asked): Position {
  if (asked.kind === 'oldest') return { kind: 'after', id: 0 };
  if (asked.kind === 'ahead') return { kind: 'after', id: asked.id };
  return asked;
}
