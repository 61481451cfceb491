/**
 * The simulator's clients inside the program: async iterators over the lines of
 * transports/library.ts, which read some items a turn or none. They are given what the model owes
 * any client, and their rows in the hub are checked like those of sockets.
 */
import type { Group } from '../../src/core/group.js';
import { HEALTHY, NO_GRACE, STALLED } from '../../src/core/line-table.js';
import { NOBODY } from '../../src/core/owners.js';
import type { DeliveryMode } from '../../src/core/ports.js';
import { LibraryLines, type LibraryLine } from '../../src/transports/library.js';
import type { Meant } from './line-clients.js';
import { Connection, positionOf, shownObject, type Asked } from './model.js';
import { Random } from './random.js';
import { attempt, type World } from './world.js';

type Step = Awaited<ReturnType<LibraryLine['next']>>;

/** A line that is open, or that its reader has not read to its end. */
interface Reading {
  readonly name: string;
  readonly line: LibraryLine;
  readonly handle: number;
  readonly connection: Connection;
  /** Items that its reader asks for at a time; those that did not come are waited for. */
  speed: number;
  asked: number;
  /** The program closed it: what comes of calls that waited means nothing. */
  isClosed: boolean;
  cursor: number;
  /** The step after the last one at whose end it had been given everything. */
  atHeadStep: number;
  /** Turns since its channel was deleted. */
  overTurns: number | undefined;
}

/** Between its lines it remembers its channel and its position. */
interface Client {
  channel: string;
  position: number | undefined;
  reading: Reading | undefined;
}

const SPEEDS = [0, 0, 1, 5, 100];
/** What reads everything within a few turns. */
const FULL_SPEED = 500;
/** Turns in which all lines of a deleted channel are ended, as for other lines. */
const DELETED_TURNS = 3;

export class IteratorClients {
  /** Gaps that were written. */
  gaps = 0;

  readonly #world: World;
  /** Dice of its own, so that the others' runs do not change with it. */
  readonly #random: Random;
  readonly #lines: LibraryLines;
  readonly #clients: Client[];
  #made = 0;
  /** Of the line that joined last. */
  #handle = -1;
  readonly #onGap = new WeakMap<LibraryLine, () => void>();

  constructor(world: World, seed: number) {
    this.#world = world;
    this.#random = new Random(seed + 1_000_003);
    const { hub } = world;
    let mode: DeliveryMode<LibraryLine> | undefined;
    this.#lines = new LibraryLines(
      {
        join: (line, names, given, position, retryMs, owner) => {
          const joined = hub.join(
            line as never,
            names,
            (mode ??= this.#noting(given)) as never,
            position,
            retryMs,
            owner,
          );
          this.#handle = joined.handle;
          return joined;
        },
        ready: (names, position) => hub.ready(names, position),
        left: (handle, line) => hub.left(handle, line as never),
        drained: (handle, line) => hub.drained(handle, line as never),
        stalled: (handle, line) => hub.stalled(handle, line as never),
      },
      () => {},
    );
    this.#clients = Array.from({ length: this.#random.pick([0, 2, 5, 12]) }, () => ({
      channel: this.#random.pick(world.setting.channels),
      position: undefined,
      reading: undefined,
    }));
  }

  countOn(channel: string): number {
    return this.#open().filter(({ client }) => client.channel === channel).length;
  }

  /** True when every reader waits for what comes next. */
  get isRead(): boolean {
    return this.#readings().every(({ reading }) => reading.asked === reading.speed);
  }

  // ── what they do ───────────────────────────────────────────────────────────────────────────────

  /** Once a step: one of them comes, goes, or reads at another speed; all are cut now and then. */
  act(): void {
    if (this.#clients.length === 0) return;
    const random = this.#random;
    const client = random.pick(this.#clients);
    const dice = random.next();
    if (dice < 0.1) this.#join(client);
    else if (dice < 0.13) this.#leave(client);
    else if (dice < 0.2 && client.reading !== undefined) client.reading.speed = random.pick(SPEEDS);
    else if (
      dice < 0.2005 &&
      this.#open().every(({ reading }) => reading.overTurns === undefined)
    ) {
      this.#world.note('all iterators are cut');
      this.#lines.closeAll();
    }
  }

  /** Every turn: they ask for what they may. */
  read(): void {
    for (const { client, reading } of this.#readings()) {
      for (; reading.asked < reading.speed; reading.asked++) {
        void reading.line.next().then((step) => {
          reading.asked--;
          if (!reading.isClosed)
            this.#world.catchFault(() => attempt(reading.name, () => this.#take(client, step)));
        });
      }
    }
  }

  /** As {@link LineClients.disconnected}. */
  disconnected(isMeant: Meant, isRevoked: boolean): number {
    const meant = this.#open().filter(({ client: { channel }, reading: { handle, overTurns } }) =>
      isMeant({ owner: NOBODY, handle, channels: [channel], isOver: overTurns !== undefined }),
    );
    if (isRevoked) for (const { reading } of meant) reading.connection.revoked();
    return meant.length;
  }

  readAll(): void {
    for (const { reading } of this.#readings()) reading.speed = FULL_SPEED;
  }

  changeSpeeds(): void {
    for (const { reading } of this.#readings()) reading.speed = this.#random.pick(SPEEDS);
  }

  // ── what must hold ─────────────────────────────────────────────────────────────────────────────

  /** As {@link LineClients.deleted}. */
  deleted(channel: string, id: number, newestId: number): void {
    for (const { client, reading } of this.#open()) {
      if (client.channel !== channel || reading.overTurns !== undefined) continue;
      const { group, row } = this.#rowOf(reading);
      const isHealthy = group.table.states[row] === HEALTHY;
      if (isHealthy && (group.table.cursors[row] as number) < newestId)
        throw new Error(`${reading.name}: healthy, and not given everything at the deletion`);
      reading.overTurns = 0;
      reading.connection.deleted(id, isHealthy);
    }
  }

  /** As {@link LineClients.check}. */
  check(open: Record<string, number>, groups: Set<Group>): number {
    let stalled = 0;
    for (const { reading } of this.#open()) {
      attempt(reading.name, () => {
        const { group, row } = this.#rowOf(reading);
        const state = group.table.states[row] as number;
        const cursor = group.table.cursors[row] as number;
        open['library'] = (open['library'] ?? 0) + 1;
        if (state === STALLED) stalled++;
        if (cursor < reading.cursor)
          throw new Error(`the cursor went back from ${reading.cursor} to ${cursor}`);
        reading.cursor = cursor;
        if (reading.overTurns !== undefined) {
          if (reading.overTurns++ > DELETED_TURNS)
            throw new Error('is there though its channel was deleted');
          return;
        }
        groups.add(group);
        const isKept = state === HEALTHY || group.table.inGrace[row] !== NO_GRACE;
        if (isKept && cursor < group.set.lostThrough)
          throw new Error(
            `in state ${state} at ${cursor}, and lapped: ${group.set.lostThrough} is lost`,
          );
      });
    }
    return stalled;
  }

  /** At rest every line is healthy, and events or gaps cover everything. */
  checkRest(): void {
    for (const { reading } of this.#open()) {
      attempt(reading.name, () => {
        const { group, row } = this.#rowOf(reading);
        const state = group.table.states[row];
        if (state !== HEALTHY) throw new Error(`at rest in state ${state}`);
        if ((group.table.cursors[row] as number) < group.set.newestId)
          throw new Error(`at rest at ${group.table.cursors[row]} of ${group.set.newestId}`);
        const { line, connection } = reading;
        if (line.position !== connection.position)
          throw new Error(`its position is ${line.position}, not ${connection.position}`);
        connection.settle(this.#world.model.lastId);
      });
    }
  }

  // ── one of them ────────────────────────────────────────────────────────────────────────────────

  #readings(): { readonly client: Client; readonly reading: Reading }[] {
    const found: { client: Client; reading: Reading }[] = [];
    for (const client of this.#clients)
      if (client.reading !== undefined) found.push({ client, reading: client.reading });
    return found;
  }

  /** Those whose lines are open for the server. */
  #open(): { readonly client: Client; readonly reading: Reading }[] {
    return this.#readings().filter(({ reading }) => reading.line.end === undefined);
  }

  #rowOf({ handle, line }: Reading): { readonly group: Group; readonly row: number } {
    const { lines } = this.#world.hub;
    const group = lines.groupOf(handle, line);
    if (group === undefined) throw new Error('an open line has no row');
    return { group, row: lines.rowOf(handle) };
  }

  /** The mode, with a port that tells of gaps when they are written. */
  #noting(mode: DeliveryMode<LibraryLine>): DeliveryMode<LibraryLine> {
    const { port } = mode;
    if (port.kind === 'poll') throw new Error('a line of the library on a port of polls');
    const write = (line: LibraryLine, bytes: Uint8Array): boolean => {
      if (Buffer.from(bytes.subarray(0, 7)).toString() === '{"gap":') this.#onGap.get(line)?.();
      return port.write(line, bytes);
    };
    return { ...mode, port: { ...port, write } };
  }

  #join(client: Client): void {
    if (client.reading !== undefined) return;
    const { hub, model, floor } = this.#world;
    const random = this.#random;
    const { position } = client;
    const comesBack = position !== undefined && random.chance(0.7);
    if (!comesBack) client.channel = random.pick(this.#world.setting.channels);
    const { channel } = client;
    const asked: Asked = comesBack
      ? position === 0
        ? { kind: 'oldest' }
        : { kind: 'after', id: position }
      : random.pick<Asked>([
          { kind: 'live' },
          { kind: 'oldest' },
          { kind: 'ahead', id: model.lastId + random.between(1, 1000) },
        ]);
    const name = `iterator ${this.#made++}`;
    this.#world.note(`${name} joins ${channel} ${JSON.stringify(asked)}`);
    const head = this.#world.through([channel]);
    const gapsBefore = this.#world.counters.gaps_at_join_total;
    const line = this.#lines.open(channel, positionOf(asked));
    const lost = new Map([[channel, this.#world.lostOn(channel)]]);
    const connection = new Connection(model, [channel], asked, { head, floor, lost });
    const onGap = (): void => {
      this.gaps++;
      connection.gapIsWritten(this.#world.through([channel]));
    };
    this.#onGap.set(line, onGap);
    if (this.#world.counters.gaps_at_join_total > gapsBefore) onGap();
    connection.start(line.position);
    const handle = this.#handle;
    if (hub.lines.groupOf(handle, line) === undefined) throw new Error(`${name} has no row`);
    client.reading = {
      name,
      line,
      handle,
      connection,
      speed: random.pick(SPEEDS),
      asked: 0,
      isClosed: false,
      cursor: 0,
      atHeadStep: this.#world.step,
      overTurns: undefined,
    };
  }

  #leave(client: Client): void {
    const { reading } = client;
    if (reading === undefined) return;
    this.#world.note(`${reading.name} closes at ${reading.line.position}`);
    reading.isClosed = true;
    client.reading = undefined;
    reading.line.close();
    if (this.#world.hub.lines.groupOf(reading.handle, reading.line) !== undefined)
      throw new Error(`${reading.name} is closed and has a row`);
  }

  #take(client: Client, step: Step): void {
    const { reading } = client;
    if (reading === undefined) throw new Error('was given something after its end');
    const { connection, line } = reading;
    if (step.done === true) {
      if (line.end === undefined) throw new Error('is over, and nobody ended it');
      connection.end(line.end);
      reading.isClosed = true;
      client.reading = undefined;
      return;
    }
    const { value } = step;
    if (value.gap !== undefined) {
      connection.gap(value.gap);
    } else {
      const { channel, event } = connection.event(value.id);
      const [shown, expected] = [JSON.stringify(value), shownObject(channel, event)];
      if (shown !== expected)
        throw new Error(`was given ${shown.slice(0, 200)}, not ${expected.slice(0, 200)}`);
    }
    // Ahead of it when several calls are answered at once.
    if (line.position < connection.position)
      throw new Error(`its position is ${line.position}, not ${connection.position}`);
    client.position = connection.position;
  }
}
