/** Clients that hold lines on servers that keep their events, and come back with their position. */
import { HEALTHY, READING } from '../../src/core/line-table.js';
import { NOBODY } from '../../src/core/owners.js';
import type { Position } from '../../src/core/position.js';
import { checkMessage, FakeSocket, gzipMode, type ModeName } from './fake-port.js';
import { GzipReader } from './gunzip.js';
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
import type { Asked } from './model.js';
import { EventStreamReader, JsonLinesReader, type Reader } from './readers.js';

const MODES: readonly ModeName[] = ['sse', 'ndjson', 'websocket'];
const CAPACITIES = [600, 5000, 40_000, 10_000_000];
const SPEEDS = [0, 300, 5000, 50_000, Infinity, Infinity];

interface Line {
  readonly server: KeepingServer;
  readonly socket: FakeSocket;
  readonly handle: number;
  readonly follower: Follower;
  readonly reader: Reader;
  speed: number;
}

interface Client extends Asking {
  readonly channels: readonly string[];
  readonly mode: ModeName;
  /** Its lines are compressed. */
  readonly isGzip: boolean;
  position: number | undefined;
  line: Line | undefined;
}

export class KeepingLines {
  readonly #parts: ClientParts;
  readonly #requests: Requests;
  readonly #clients: Client[];
  #made = 0;

  constructor(parts: ClientParts, count: number) {
    this.#parts = parts;
    this.#requests = new Requests(parts.diary);
    this.#clients = Array.from({ length: count }, () => this.#newClient());
  }

  join(): void {
    const { random, model } = this.#parts;
    const index = random.below(this.#clients.length);
    let client = this.#clients[index] as Client;
    if (client.line !== undefined || client.asking > 0) return;
    const { position } = client;
    if (position !== undefined && random.chance(0.7)) {
      void this.#open(client, askedAfter(position));
      return;
    }
    client = this.#clients[index] = this.#newClient();
    void this.#open(client, newAsked(random, model.lastId));
  }

  leave(): void {
    const client = this.#parts.random.pick(this.#clients);
    // One that is joining goes away, too.
    client.asking = 0;
    if (client.line !== undefined) this.#close(client, client.line);
  }

  /** Those that were given something come back, if they are not there. */
  comeBack(): void {
    for (const client of this.#clients)
      if (client.line === undefined && client.asking === 0 && client.position !== undefined)
        void this.#open(client, askedAfter(client.position));
  }

  changeSpeed(): void {
    const { line } = this.#parts.random.pick(this.#clients);
    if (line !== undefined) line.speed = this.#newSpeed();
  }

  changeSpeeds(): void {
    for (const { line } of this.#clients) if (line !== undefined) line.speed = this.#newSpeed();
  }

  /** From now on everybody reads what there is. */
  hurry(): void {
    for (const { line } of this.#clients) if (line !== undefined) line.speed = Infinity;
  }

  /** A turn of the clients: they read what their speeds allow. */
  readSome(): void {
    for (const client of this.#clients)
      if (client.line !== undefined) this.#read(client, client.line);
  }

  /** Nobody waits for an answer, or has something to read. */
  get isRead(): boolean {
    return this.#clients.every(
      ({ line, asking }) => asking === 0 && (line === undefined || line.socket.unreadBytes === 0),
    );
  }

  /** Clients without a line that have been given something. */
  get awayCount(): number {
    return this.#clients.filter(
      ({ line, position }) => line === undefined && position !== undefined,
    ).length;
  }

  /** The server's process has died. */
  died(server: KeepingServer): void {
    for (const client of this.#clients) {
      // Its request may have been there; a client that waits elsewhere asks again.
      client.asking = 0;
      if (client.line?.server === server) this.#close(client, client.line);
    }
  }

  /** Open lines of the server on a channel, or on any. */
  openOn(server: KeepingServer, channel?: string): number {
    return this.#clients.filter(
      ({ line, channels }) =>
        line?.server === server &&
        !line.socket.ended &&
        (channel === undefined || channels.includes(channel)),
    ).length;
  }

  /** After each turn: the rows of the server against what the clients know. */
  check(server: KeepingServer, mayBeLapped: boolean): { open: number; reading: number } {
    const { lines } = server.hub;
    let open = 0;
    let reading = 0;
    for (const { line, channels } of this.#clients) {
      if (line?.server !== server || line.socket.ended) continue;
      open++;
      const { socket, handle } = line;
      const group = lines.groupOf(handle, socket);
      if (group === undefined) throw new Error(`${socket.name} has no row`);
      const row = lines.rowOf(handle);
      const state = group.table.states[row];
      if (state === READING) reading++;
      const cursor = group.table.cursors[row] as number;
      // Those of a deleted channel are ended over some turns; on several, one may hold others up.
      const isExcused = mayBeLapped || group.deletedAt !== undefined || channels.length > 1;
      if (state === HEALTHY && cursor < group.set.lostThrough && !isExcused)
        throw new Error(`${socket.name} is healthy at ${cursor}, and lapped`);
    }
    return { open, reading };
  }

  /** At rest every line has been given all that it was owed. */
  checkRest(): void {
    const { diary, model } = this.#parts;
    for (const { line } of this.#clients) {
      if (line === undefined) continue;
      diary.attempt(line.socket.name, () => {
        line.reader.checkBetween();
        line.follower.settle(model.lastId);
      });
    }
  }

  #newClient(): Client {
    const { random, channels } = this.#parts;
    const mode = random.pick(MODES);
    const names = newChannels(random, channels);
    const isEnvelope = mode === 'sse' && names.length > 1;
    return {
      channels: names,
      mode: isEnvelope ? 'sse-env' : mode,
      isGzip: mode !== 'websocket' && random.chance(0.4),
      position: undefined,
      line: undefined,
      asking: 0,
    };
  }

  #newSpeed(): number {
    return this.#parts.random.pick(SPEEDS);
  }

  async #open(client: Client, asked: Asked): Promise<void> {
    const server = this.#parts.serverNow();
    if (server?.hasPlace() !== true) return;
    const { channels } = client;
    const found = await this.#requests.ready(server, channels, asked, client);
    if (found === undefined || !server.isAlive || !this.#clients.includes(client)) return;
    // Another request of the same step may have been answered first.
    if (!server.hasPlace() || client.line !== undefined) return;
    this.#parts.diary.attempt(`a line on ${channels.join()}`, () =>
      this.#openNow(client, server, asked, found),
    );
  }

  #openNow(client: Client, server: KeepingServer, asked: Asked, position: Position): void {
    const { random, model, diary } = this.#parts;
    const { hub, lost } = server;
    const { channels } = client;
    // Lines on several channels are plain.
    const isGzip = client.isGzip && channels.length === 1;
    const plainMode = server.modes[client.mode];
    const mode = isGzip ? gzipMode(plainMode) : plainMode;
    const isEvents = mode.transport === 'sse';
    if (isEvents && hub.isDeleted(channels)) {
      // 204 tells it to stop.
      client.position = undefined;
      return;
    }
    const kind = mode.transport === 'websocket' ? 'message' : 'stream';
    const capacity = random.pick(CAPACITIES);
    const lowWater = random.between(1, capacity);
    const socket = new FakeSocket(`socket ${this.#made++}`, capacity, lowWater, kind);
    diary.note(
      `${socket.name} (${mode.encoding.name}) joins ${channels.join()} ${JSON.stringify(asked)}`,
    );
    const joined = hub.join(socket, channels, mode, position, 3000, NOBODY);
    const opening = Buffer.from(joined.opening);
    const follower = new Follower(model, lost, channels, asked);
    const plainReader = isEvents
      ? new EventStreamReader(follower, client.mode === 'sse-env')
      : new JsonLinesReader(follower, kind === 'stream');
    const reader = isGzip ? new GzipReader(plainReader) : plainReader;
    if (!isEvents) follower.start(joined.continuesAfter);
    const { handle } = joined;
    client.line = { server, socket, handle, follower, reader, speed: this.#newSpeed() };
    if (kind === 'message') socket.onEnd = () => hub.left(handle, socket);
    if (opening.length === 0) return;
    if (kind === 'message') checkMessage(socket, opening);
    if (!socket.write(opening, opening)) hub.stalled(handle, socket);
  }

  #read(client: Client, line: Line): void {
    const { server, socket, follower, reader, handle } = line;
    const bytes = socket.read(line.speed);
    if (bytes.length > 0) this.#parts.diary.attempt(socket.name, () => reader.feed(bytes));
    if (follower.position >= 0) client.position = follower.position;
    if (socket.ended && socket.unreadBytes === 0) this.#close(client, line);
    else
      server.run(() => {
        if (!socket.closed && socket.isWritable && socket.becomeWritable())
          server.hub.drained(handle, socket);
      });
  }

  #close(client: Client, { server, socket, handle }: Line): void {
    this.#parts.diary.note(`${socket.name} closes at ${client.position}`);
    client.line = undefined;
    server.run(() => {
      socket.closed = true;
      server.hub.left(handle, socket);
    });
  }
}
