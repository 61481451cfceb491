/**
 * The simulator's clients that hold lines, on streams and in messages: they come and go, read fast
 * or slowly, and come back to their positions. What they are given is checked byte for byte, and so
 * are their rows in the hub.
 */
import type { Group } from '../../src/core/group.js';
import { HEALTHY, NO_GRACE, STALLED } from '../../src/core/line-table.js';
import type { Owner } from '../../src/core/owners.js';
import { checkMessage, FakeSocket, fakeModes, gzipMode, type ModeName } from './fake-port.js';
import { GzipReader, StreamDecoder } from './gunzip.js';
import { Connection, positionOf, type Asked } from './model.js';
import { EventStreamReader, JsonLinesReader, type Reader } from './readers.js';
import { attempt, type World } from './world.js';

/** A client that comes and goes. Between its connections it remembers its position. */
interface Client {
  channels: readonly string[];
  mode: ModeName;
  /** Its lines are compressed. */
  readonly isGzip: boolean;
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
  /** How it stalls on purpose, if it does. */
  habit: Habit | undefined;
  /** The cursor at the last check. */
  cursor: number;
  /** The step after the last one at whose end it had been given everything. */
  atHeadStep: number;
  /** Turns since its channel was deleted. */
  overTurns: number | undefined;
  readonly owner: Owner;
}

/** A reader that reads and stalls in turn, each such client at another time. */
interface Habit {
  readonly readMs: number;
  readonly stallMs: number;
  readonly offsetMs: number;
  /** It comes back on a new line whenever it has stalled. */
  readonly comesBack: boolean;
  hasStalled: boolean;
}

const CAPACITIES = [600, 5000, 40_000, 400_000, 10_000_000];
const HABIT_TIMES_MS = [5, 40, 90, 200];
const SPEEDS = [0, 150, 3000, 30_000, Infinity, Infinity];
/** What means nothing on a stream. */
const FILLER: Readonly<Record<string, string>> = { sse: ':\n', ndjson: '\n' };
/** Bytes of answers that a client may leave unread; then its transport closes it. */
const UNREAD_ANSWERS_BYTES_MAX = 20_000;
/**
 * Turns in which all lines of a deleted channel are ended: more than half of all there may be are
 * ended in one.
 */
const DELETED_TURNS = 3;

/** A line or a waiting poll that may be meant by a disconnect. */
export interface Candidate {
  readonly owner: Owner;
  readonly handle: number;
  readonly channels: readonly string[];
  /** Its only channel was deleted, and it is being ended for that. */
  readonly isOver: boolean;
}

export type Meant = (candidate: Candidate) => boolean;

export class LineClients {
  /** Gaps that were written. */
  gaps = 0;

  readonly #world: World;
  readonly #modes: ReturnType<typeof fakeModes>;
  readonly #clients: Client[];
  #socketsMade = 0;

  constructor(world: World) {
    this.#world = world;
    const { corkMs, hub } = world.setting;
    this.#modes = fakeModes(world.clock, corkMs, hub.writeBytesMax);
    this.#clients = Array.from({ length: world.setting.lines }, () => this.#newClient());
  }

  /** Lines on a channel, maybe on others too. */
  countOn(channel: string): number {
    return this.#open().filter(({ client }) => client.channels.includes(channel)).length;
  }

  /** True when everything that was sent has been read. */
  get isRead(): boolean {
    return this.#clients.every(({ line }) => line === undefined || line.socket.unreadBytes === 0);
  }

  /** Whose the open lines are. */
  *owners(): Iterable<Owner> {
    for (const { line } of this.#open()) yield line.owner;
  }

  /** Handle of an open line, if this client has one. */
  someHandle(): number | undefined {
    const { line } = this.#world.random.pick(this.#clients);
    return line === undefined || line.socket.ended ? undefined : line.handle;
  }

  /** Open lines that are to be ended; those that are revoked are given nothing more. */
  disconnected(isMeant: Meant, isRevoked: boolean): number {
    const meant = this.#open().filter(
      ({ client: { channels }, line: { owner, handle, overTurns } }) =>
        isMeant({ owner, handle, channels, isOver: overTurns !== undefined }),
    );
    if (isRevoked) for (const { line } of meant) line.connection.revoked();
    return meant.length;
  }

  // ── what they do ───────────────────────────────────────────────────────────────────────────────

  join(): void {
    const { random } = this.#world;
    const index = random.below(this.#clients.length);
    let client = this.#clients[index] as Client;
    if (client.line !== undefined) return;
    const { position } = client;
    // Position 0, where a log that starts at id 1 begins, asks for whatever is held.
    const comesBack: Asked =
      position === 0 ? { kind: 'oldest' } : { kind: 'after', id: position ?? 0 };
    const asked = position !== undefined && random.chance(0.7) ? comesBack : this.#world.newAsked();
    if (asked !== comesBack) client = this.#clients[index] = this.#newClient();
    this.#join(client, asked);
  }

  /** Clients with a position and no line come back to it. */
  comeBack(): void {
    for (const client of this.#clients) {
      const { line, position } = client;
      if (line === undefined && position !== undefined && position > 0)
        this.#join(client, { kind: 'after', id: position });
    }
  }

  leave(): void {
    const client = this.#world.random.pick(this.#clients);
    if (client.line !== undefined) this.#close(client, client.line);
  }

  /** A proxy in front of most of them goes down. */
  leaveTogether(): void {
    for (const { client, line } of this.#lines())
      if (this.#world.random.chance(0.8)) this.#close(client, line);
  }

  changeSpeed(): void {
    const { line } = this.#world.random.pick(this.#clients);
    if (line === undefined) return;
    line.speed = this.#world.random.pick(SPEEDS);
    this.#world.note(`${line.socket.name} reads ${line.speed} bytes a turn`);
  }

  /** Everybody reads on, as fast as he likes. */
  changeSpeeds(): void {
    for (const { line } of this.#lines()) {
      line.speed = this.#world.random.pick(SPEEDS);
      line.habit = this.#newHabit();
    }
  }

  /** Everybody reads whatever there is. */
  readAll(): void {
    for (const { line } of this.#lines()) {
      line.speed = Infinity;
      line.habit = undefined;
    }
  }

  #newHabit(): Habit | undefined {
    const { random, setting } = this.#world;
    if (!random.chance(setting.stalling)) return undefined;
    const [readMs, stallMs] = [random.pick(HABIT_TIMES_MS), random.pick(HABIT_TIMES_MS)];
    return {
      readMs,
      stallMs,
      offsetMs: random.below(readMs + stallMs),
      comesBack: random.chance(0.3),
      hasStalled: false,
    };
  }

  /** True while the line's client takes nothing, out of habit. */
  #stallsNow({ habit }: Line): boolean {
    if (habit === undefined) return false;
    const { readMs, stallMs, offsetMs } = habit;
    return (this.#world.clock.nowMs() + offsetMs) % (readMs + stallMs) >= readMs;
  }

  /** What the loop finds on the sockets: bytes were read, room was made. */
  read(): void {
    for (const { client, line } of this.#lines()) this.#read(client, line);
  }

  /** A publisher that is answered on its own line; mostly none. */
  newTold(): ((id: number) => void) | undefined {
    const client = this.#world.random.pick(this.#clients);
    const { line } = client;
    if (line?.socket.kind !== 'message' || !this.#world.random.chance(0.3)) return undefined;
    return (id) => this.#reply(client, line, id);
  }

  // ── what must hold ─────────────────────────────────────────────────────────────────────────────

  /**
   * A deletion enters: healthy lines have been given what came before, those on the channel alone
   * are over.
   */
  deleted(channel: string, id: number, newestId: number): void {
    for (const { client, line } of this.#open()) {
      const { group, row } = this.#rowOf(line);
      if (line.overTurns !== undefined || !group.channels.some(({ name }) => name === channel))
        continue;
      const isHealthy = group.table.states[row] === HEALTHY;
      const mayLack = this.#world.wasHeldBack(client.channels, line.atHeadStep);
      if (isHealthy && (group.table.cursors[row] as number) < newestId && !mayLack)
        throw new Error(
          `${line.socket.name}: healthy, and not given everything at the deletion of ${channel}`,
        );
      if (group.channels.length > 1) continue;
      line.overTurns = 0;
      line.connection.deleted(id, isHealthy);
    }
  }

  /**
   * After each turn: the hub's rows. Adds to `open`, by transport, and to the groups that are
   * swept; returns how many are stalled.
   */
  check(open: Record<string, number>, groups: Set<Group>): number {
    let stalled = 0;
    for (const { client, line } of this.#open()) {
      attempt(line.socket.name, () => {
        const { group, row } = this.#rowOf(line);
        const state = group.table.states[row] as number;
        open[group.mode.transport] = (open[group.mode.transport] ?? 0) + 1;
        if (state === STALLED) stalled++;
        this.#checkRow(line, group.table.cursors[row] as number, state);
        if (line.overTurns !== undefined) return;
        groups.add(group);
        if (line.cursor >= group.set.newestId) line.atHeadStep = this.#world.step + 1;
        const grace = group.table.inGrace[row];
        const mayBeLapped = this.#world.wasHeldBack(client.channels, line.atHeadStep);
        if (
          (state === HEALTHY || grace !== NO_GRACE) &&
          line.cursor < group.set.lostThrough &&
          !mayBeLapped
        )
          throw new Error(
            `in state ${state}, grace ${grace} at ${line.cursor}, and lapped: ${group.set.lostThrough} is lost`,
          );
        if (grace !== NO_GRACE && line.cursor < group.graceThrough)
          throw new Error(
            `in grace at ${line.cursor}, and its channels keep what follows ${group.graceThrough}`,
          );
      });
    }
    return stalled;
  }

  #checkRow(line: Line, cursor: number, state: number): void {
    if (cursor < line.cursor)
      throw new Error(`the cursor went back from ${line.cursor} to ${cursor}`);
    line.cursor = cursor;
    if (state !== STALLED && line.socket.refusing)
      throw new Error(`state ${state} while the socket refuses bytes`);
    if (line.overTurns !== undefined && line.overTurns++ > DELETED_TURNS)
      throw new Error('is there though its channel was deleted');
  }

  /** At rest every line is healthy, and events or gaps cover everything. */
  checkRest(): void {
    for (const { line } of this.#lines()) {
      attempt(line.socket.name, () => {
        const { group, row } = this.#rowOf(line);
        const state = group.table.states[row];
        if (state !== HEALTHY) throw new Error(`at rest in state ${state}`);
        if (line.cursor < group.set.newestId)
          throw new Error(`at rest at ${line.cursor}, the newest is ${group.set.newestId}`);
        line.reader.checkBetween();
        line.connection.settle(this.#world.model.lastId);
      });
    }
  }

  /**
   * At rest, in an interval of the heartbeat: every stream hears something, an event stream the
   * head; messages hear nothing.
   */
  async checkHearing(intervalPasses: () => Promise<void>): Promise<void> {
    // Some may have come in place of lines that were ended since everybody read.
    this.readAll();
    const before = new Map([...this.#lines()].map(({ line }) => [line, line.socket.writes]));
    await intervalPasses();
    for (const { client, line } of this.#open()) {
      const { socket, connection } = line;
      const writes = before.get(line);
      // It has come in place of one that was ended meanwhile.
      if (writes === undefined) continue;
      attempt(socket.name, () => {
        const heard = socket.writes > writes;
        if (heard !== (socket.kind === 'stream'))
          throw new Error(`heard ${heard ? 'something' : 'nothing'} in an interval`);
        const head = this.#world.model.lastId;
        if (client.mode.startsWith('sse') && connection.position < head)
          throw new Error(`its heartbeat left it at ${connection.position}; the head is ${head}`);
      });
    }
  }

  // ── one of them ────────────────────────────────────────────────────────────────────────────────

  /**
   * Clients with a line; a line that the server has ended is one until its client has read the end.
   */
  #lines(): { readonly client: Client; readonly line: Line }[] {
    const found: { client: Client; line: Line }[] = [];
    for (const client of this.#clients)
      if (client.line !== undefined) found.push({ client, line: client.line });
    return found;
  }

  /** Those whose lines are open for the server. */
  #open(): { readonly client: Client; readonly line: Line }[] {
    return this.#lines().filter(({ line }) => !line.socket.ended);
  }

  #newClient(): Client {
    const { random, setting } = this.#world;
    const channels = this.#world.newChannels();
    const mode = random.pick(setting.modes);
    const envelope = mode === 'sse' && (channels.length > 1 || random.chance(0.2));
    const isGzip = mode !== 'websocket' && random.chance(0.4);
    return {
      channels,
      mode: envelope ? 'sse-env' : mode,
      isGzip,
      position: undefined,
      line: undefined,
    };
  }

  #rowOf(line: Line): { readonly group: Group; readonly row: number } {
    const { lines } = this.#world.hub;
    const group = lines.groupOf(line.handle, line.socket);
    if (group === undefined) throw new Error('an open line has no row');
    return { group, row: lines.rowOf(line.handle) };
  }

  #join(client: Client, asked: Asked): void {
    const { random, hub, model, floor } = this.#world;
    const { channels } = client;
    // Lines on several channels are plain.
    const isGzip = client.isGzip && channels.length === 1;
    const plainMode = this.#modes[client.mode];
    const mode = isGzip ? gzipMode(plainMode) : plainMode;
    const isEvents = mode.transport === 'sse';
    // An EventSource gets 204 then, and does not come back. transports/stream.ts
    if (isEvents && hub.isDeleted(channels)) return;
    const capacity = random.pick(CAPACITIES);
    const name = `socket ${this.#socketsMade++}`;
    const kind = mode.transport === 'websocket' ? 'message' : 'stream';
    const socket = new FakeSocket(name, capacity, random.between(1, capacity), kind);
    this.#world.note(
      `${name} (${mode.encoding.name}, ${capacity} bytes) joins ${channels.join()} ${JSON.stringify(asked)}`,
    );
    const head = this.#world.through(channels);
    const owner = this.#world.newOwner();
    const joined = hub.join(socket, channels, mode, positionOf(asked), 3000, owner);
    const opening = Buffer.from(joined.opening);
    const lost = new Map(channels.map((channel) => [channel, this.#world.lostOn(channel)]));
    const connection = new Connection(model, channels, asked, { head, floor, lost });
    const plainReader = isEvents
      ? new EventStreamReader(connection, client.mode === 'sse-env')
      : new JsonLinesReader(connection, kind === 'stream');
    const reader = isGzip ? new GzipReader(plainReader) : plainReader;
    const shownOpening = isGzip ? new StreamDecoder().decode(opening) : opening;
    socket.onGap = () => this.#gapIsWritten(connection, channels);
    if (/^\n?\{"gap":|\nevent: gap\n/.test(shownOpening.toString('latin1')))
      this.#gapIsWritten(connection, channels);
    // NDJSON has no prelude; the head of the response tells the position.
    // transports/stream.ts, transports/websocket.ts
    if (!isEvents) connection.start(hub.startOf(channels, positionOf(asked)).continuesAfter);
    const { handle } = joined;
    const line: Line = {
      socket,
      handle,
      connection,
      reader,
      speed: random.pick(SPEEDS),
      habit: this.#newHabit(),
      cursor: 0,
      atHeadStep: this.#world.step,
      overTurns: undefined,
      owner,
    };
    client.line = line;
    // A WebSocket reports its close within the call that ends it; its row is gone by then.
    if (kind === 'message') socket.onEnd = () => hub.left(handle, socket);
    // A response head that the kernel has not taken yet, as on a connection that is used again.
    else if (!isGzip && capacity <= 40_000 && random.chance(0.1))
      socket.writeHead(capacity + 1000, FILLER[mode.transport] as string);
    if (opening.length === 0) return;
    if (kind === 'message') checkMessage(socket, opening);
    if (!socket.write(opening, opening)) hub.stalled(handle, socket);
  }

  #gapIsWritten(connection: Connection, channels: readonly string[]): void {
    this.gaps++;
    connection.gapIsWritten(this.#world.through(channels));
  }

  #read(client: Client, line: Line): void {
    const { socket, connection, handle, reader, habit } = line;
    const stalls = this.#stallsNow(line);
    if (habit !== undefined && habit.hasStalled !== stalls) {
      habit.hasStalled = stalls;
      if (!stalls && habit.comesBack) {
        this.#comeBackAnew(client, line, habit);
        return;
      }
    }
    const bytes = socket.read(stalls ? 0 : line.speed);
    if (bytes.length > 0) attempt(socket.name, () => reader.feed(bytes));
    if (connection.position >= 0) client.position = connection.position;
    if (socket.ended && socket.unreadBytes === 0) {
      const told = connection.ended?.code;
      if (told !== socket.endCode)
        throw new Error(`${socket.name}: was told ${told}, ended for ${socket.endCode}`);
      this.#close(client, line);
    } else if (socket.isWritable && socket.becomeWritable()) {
      this.#world.hub.drained(handle, socket);
    }
  }

  /** It hangs up and comes back where it was, to do the same again. */
  #comeBackAnew(client: Client, line: Line, habit: Habit): void {
    this.#close(client, line);
    if (client.line !== undefined || client.position === undefined || client.position <= 0) return;
    this.#join(client, { kind: 'after', id: client.position });
    // Its channel may have been deleted.
    const opened = client.line as Line | undefined;
    if (opened !== undefined) opened.habit = habit;
  }

  /**
   * As transports/websocket.ts: sent whether or not there is room; a client that does not read its
   * answers is closed.
   */
  #reply(client: Client, line: Line, id: number): void {
    const { socket, handle } = line;
    if (
      socket.closed ||
      socket.ended ||
      socket.send(Buffer.from(`${JSON.stringify({ ok: { id } })}\n`))
    )
      return;
    this.#world.hub.stalled(handle, socket);
    if (socket.backlogBytes > UNREAD_ANSWERS_BYTES_MAX + socket.largestBytes)
      this.#close(client, line);
  }

  #close(client: Client, line: Line): void {
    const { hub, random } = this.#world;
    const { socket, handle } = line;
    this.#world.note(`${socket.name} closes at ${client.position}`);
    socket.closed = true;
    client.line = undefined;
    hub.left(handle, socket);
    // Callbacks that come late find nothing, also when the handle is used again.
    if (random.chance(0.2)) this.#join(client, { kind: 'live' });
    hub.drained(handle, socket);
    hub.stalled(handle, socket);
    hub.left(handle, socket);
  }
}
