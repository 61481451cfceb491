/**
 * The simulator: a hub with the memory log between publishers and clients that act at random, on a
 * clock and on sockets that it owns. Everything that a client is given is checked against a naive
 * model (model.ts), and the hub's own tables after each turn. A seed decides everything, so it
 * replays a run.
 */
import { isDeletion, type LoggedEntry } from '../../src/core/event.js';
import type { Group } from '../../src/core/group.js';
import type { WhichLines } from '../../src/core/line-ends.js';
import { NO_GRACE } from '../../src/core/line-table.js';
import type { Counters } from '../../src/counters.js';
import {
  CORK_WRITE_BYTES_MAX,
  DEADLINE_STEP_MS,
  IN_FLIGHT_WINDOW_CORKS_MAX,
} from '../../src/limits.js';
import { settlePromises } from './fake-clock.js';
import { IteratorClients } from './iterator-clients.js';
import { LineClients, type Meant } from './line-clients.js';
import type { Accepted } from './model.js';
import { PollClients } from './poll-clients.js';
import { Publishers } from './publishers.js';
import { ADDRESSES, USERS, World, type Setting } from './world.js';
import { play } from './replay.js';

/**
 * So often the compressor is given something that costs it all of its time, and a third of a second
 * of more.
 */
const EXHAUSTING_STEPS = 4_000;
const ZEROS = Buffer.alloc(12 * 1024 * 1024);

/** Turns that a hub may take to come to rest when nothing more is asked of it. */
const REST_TURNS = 20_000;

export class Simulation {
  steps = 0;

  readonly #world: World;
  readonly #publishers: Publishers;
  readonly #lines: LineClients;
  readonly #polls: PollClients;
  readonly #iterators: IteratorClients;
  /** Channels whose last entry is a deletion. */
  readonly #deletedNow = new Set<string>();

  /** `change`: what the run is to be like instead of the setting that the seed draws. */
  constructor(seed: number, change?: (setting: Setting) => Setting) {
    this.#world = new World(seed, change);
    this.#lines = new LineClients(this.#world);
    this.#polls = new PollClients(this.#world);
    this.#iterators = new IteratorClients(this.#world, seed);
    const subscribersOf = (channel: string): number =>
      this.#lines.countOn(channel) +
      this.#polls.countOn(channel) +
      this.#iterators.countOn(channel);
    this.#publishers = new Publishers(this.#world, subscribersOf);
    this.#world.onEnter = (entry) => this.#enters(entry);
  }

  get setting(): Setting {
    return this.#world.setting;
  }

  get counters(): Readonly<Counters> {
    return this.#world.counters;
  }

  /** The last actions before a failure, newest last. */
  get trace(): string {
    return this.#world.trace;
  }

  /** Takes `count` steps, coming to rest now and then and at the end. */
  async run(count: number): Promise<void> {
    const { random, hub } = this.#world;
    try {
      await play(random, count, {
        step: async () => {
          this.steps++;
          this.#world.step++;
          await this.#step();
          this.#iterators.act();
          this.#world.throwFault();
        },
        rest: () => this.#rest(),
      });
    } finally {
      hub.stop();
    }
  }

  // ── what happens ───────────────────────────────────────────────────────────────────────────────

  async #step(): Promise<void> {
    const { random, setting, hub } = this.#world;
    if (this.steps % EXHAUSTING_STEPS === 0) {
      this.#world.note('the compressor has used up its time');
      hub.compressor.deflate(ZEROS, undefined);
    }
    const dice = random.next() - setting.publishing;
    if (dice < 0) this.#publishers.publishSome(() => this.#lines.newTold());
    else if (dice < 0.08) this.#lines.join();
    else if (dice < 0.099) this.#leave();
    else if (dice < 0.1) this.#leaveTogether();
    else if (dice < 0.14) this.#lines.changeSpeed();
    else if (dice < 0.142) this.#endSome();
    else if (dice < 0.144 && setting.ends) this.#disconnect();
    else if (dice < 0.15 && setting.drops) this.#drop();
    else if (dice < 0.16 && random.chance(100 * setting.deleting)) this.#publishers.delete();
    else
      await this.#turn(
        random.chance(0.01)
          ? random.between(50, 3000)
          : random.chance(0.2)
            ? random.below(30)
            : random.next() * 2,
      );
  }

  async #turn(ms: number, asks = true): Promise<void> {
    const { clock } = this.#world;
    this.#world.step++;
    const startMs = clock.nowMs();
    this.#world.note(`turn ${ms.toFixed(1)} ms`);
    clock.pass(ms);
    clock.runTimers();
    await settlePromises();
    this.#lines.read();
    this.#iterators.read();
    if (asks) this.#polls.ask();
    clock.runSoon();
    await settlePromises();
    this.#world.longestTurnMs = Math.max(this.#world.longestTurnMs, clock.nowMs() - startMs);
    this.#check();
  }

  #leave(): void {
    this.#lines.leave();
    this.#polls.leave(0.02);
  }

  /** A proxy in front of most of them goes down. */
  #leaveTogether(): void {
    this.#lines.leaveTogether();
    this.#polls.leave(0.8);
  }

  #endSome(): void {
    const count = this.#world.random.below(4);
    this.#world.note(`${count} lines are ended`);
    this.#polls.whileEnding(() => this.#world.hub.endSome(count, 'draining'));
  }

  /** Somebody's lines, those on a channel, or one: they are ended in the turns that follow. */
  #disconnect(): void {
    const { random, hub } = this.#world;
    const code = random.pick(['disconnected', 'revoked'] as const);
    const handle = this.#lines.someHandle();
    const user = random.pick(USERS);
    const channel = random.pick(this.setting.channels);
    const [which, isMeant] = random.pick<[WhichLines, Meant]>([
      [{ user }, ({ owner }) => owner.user === user],
      [{ channel }, ({ channels, isOver }) => channels.includes(channel) && !isOver],
      [
        { id: handle === undefined ? 0 : hub.owners.idOf(handle) },
        (candidate) => candidate.handle === handle,
      ],
    ]);
    this.#world.note(`${JSON.stringify(which)} is ${code}`);
    const meant =
      this.#lines.disconnected(isMeant, code === 'revoked') +
      this.#polls.disconnected(isMeant) +
      this.#iterators.disconnected(isMeant, code === 'revoked');
    const found = hub.disconnect(which, code);
    if (found !== meant)
      throw new Error(`${found} lines are ${code} by ${JSON.stringify(which)}, and not ${meant}`);
  }

  #drop(): void {
    const channel = this.#world.random.pick(this.setting.channels);
    this.#world.note(`${channel} is dropped`);
    this.#world.hub.dropChannel(channel);
  }

  /**
   * An entry enters its ring; a deletion may only when healthy lines have been given everything
   * before.
   */
  #enters(entry: LoggedEntry): void {
    const { channel, id } = entry;
    if (!isDeletion(entry)) {
      this.#deletedNow.delete(channel);
      return;
    }
    this.#world.note(`the deletion ${id} of ${channel} enters`);
    this.#deletedNow.add(channel);
    this.#world.deletedThrough.set(channel, id);
    const newestId = this.#world.model.lastUpTo(channel, id);
    this.#lines.deleted(channel, id, newestId);
    this.#polls.deleted(channel, id, newestId);
    this.#iterators.deleted(channel, id, newestId);
  }

  // ── what must hold ─────────────────────────────────────────────────────────────────────────────

  /** After each turn: the hub's tables against each other and against what the clients know. */
  #check(): void {
    this.#world.throwFault();
    const { hub } = this.#world;
    const groups = new Set<Group>(this.#polls.groups());
    const open: Record<string, number> = { poll: this.#polls.waitingCount };
    const stalled = this.#lines.check(open, groups) + this.#iterators.check(open, groups);
    this.#polls.check();
    this.#checkGauges(open, stalled);
    this.#checkOwners();
    for (const channel of this.setting.channels) {
      this.#world.checkHeld(channel);
      if (hub.isDeleted([channel]) !== this.#deletedNow.has(channel))
        throw new Error(
          `${channel} is ${hub.isDeleted([channel]) ? '' : 'not '}deleted for the hub`,
        );
    }
    const unswept = new Set<string>();
    for (const group of groups) {
      this.#checkUnswept(group, unswept);
      this.#checkGrace(group, groups);
    }
    this.#publishers.check(unswept);
  }

  /** Two views of each fact: the hub's and the clients'. */
  #checkGauges(open: Readonly<Record<string, number>>, stalled: number): void {
    const { counters, model } = this.#world;
    const { gauges } = this.#world.hub.figures;
    const sum = Object.values(open).reduce((total, count) => total + count, 0);
    const polls = this.#polls;
    const rules: Record<string, boolean> = {
      'lines that are open for the hub are those of its clients': gauges.linesOpen === sum,
      'opened − closed is what is open':
        counters.lines_opened_total - counters.lines_closed_total === sum,
      'open lines are counted by transport': Object.entries(gauges.linesByTransport).every(
        ([transport, count]) => count === (open[transport] ?? 0),
      ),
      'stalled lines are counted': gauges.linesStalled === stalled,
      'no more events are counted than were accepted':
        counters.events_accepted_total <= model.events,
      'entered + queued is what was accepted':
        counters.events_entered_total + counters.deletions_entered_total + gauges.queueEvents ===
        model.events + model.deletions,
      'a queue holds no more than one batch':
        this.setting.floods > 0 ||
        gauges.queueBytes <= this.#publishers.largestBatchBytes * this.setting.channels.length,
      'publishers that wait or are read are those without an answer':
        gauges.waitingPublishers + gauges.readingPublishers === this.#publishers.pendingCount,
      'polls are counted':
        counters.polls_answered_total === polls.answered &&
        counters.polls_empty_total === polls.empty &&
        counters.polls_waited_total === polls.waited,
      'closes are counted by reason':
        Object.values(counters.closed).reduce((total, count) => total + count, 0) ===
        counters.lines_closed_total,
      'gaps are counted':
        counters.gaps_total === this.#lines.gaps + polls.gaps + this.#iterators.gaps,
    };
    const broken = Object.keys(rules).filter((rule) => rules[rule] === false);
    if (broken.length > 0)
      throw new Error(
        `not so: ${broken.join('; ')} pending ${this.#publishers.pendingCount} ${JSON.stringify({ ...gauges, open, stalled, counters })}`,
      );
  }

  #checkOwners(): void {
    const { owners } = this.#world.hub;
    const users: Record<string, number> = {};
    const addresses: Record<string, number> = {};
    for (const client of [this.#lines, this.#polls]) {
      for (const { user, address } of client.owners()) {
        if (user !== undefined) users[user] = (users[user] ?? 0) + 1;
        addresses[address] = (addresses[address] ?? 0) + 1;
      }
    }
    for (const user of USERS)
      if (owners.linesOfUser(user) !== (users[user] ?? 0))
        throw new Error(`${user} has ${users[user] ?? 0} lines, not ${owners.linesOfUser(user)}`);
    for (const address of ADDRESSES)
      if (owners.linesOfAddress(address) !== (addresses[address] ?? 0))
        throw new Error(`${owners.linesOfAddress(address)} lines are counted for ${address}`);
  }

  /**
   * What some line of the group that is healthy or in grace may not have been given is bounded:
   * more than that does not enter.
   */
  #checkUnswept(group: Group, unswept: Set<string>): void {
    const { model, setting } = this.#world;
    const roomBytes = Math.min(
      IN_FLIGHT_WINDOW_CORKS_MAX * CORK_WRITE_BYTES_MAX,
      Math.max(CORK_WRITE_BYTES_MAX, setting.hub.sweepWorkBytes ?? 0),
    );
    for (const { name } of group.channels) {
      const events = model.eventsOf(name);
      let bytes = 0;
      let count = 0;
      for (let i = model.indexAfter(name, this.#world.through([name])) - 1; i >= 0; i--) {
        const event = events[i] as Accepted;
        if (event.id <= group.sweptThrough) break;
        bytes += Buffer.byteLength(event.data);
        count++;
      }
      if (count > 0 || group.graceThrough < Infinity) unswept.add(name);
      // A group of several channels may be left behind by one for what waits on another.
      if (group.channels.length === 1 && count > 1 && bytes > roomBytes)
        throw new Error(
          `${bytes} bytes of ${name} have entered that a sweep has not brought to every line`,
        );
    }
  }

  /** Lines in grace are counted, and so are the groups that have some on each channel. */
  #checkGrace({ table, graceThrough, channels }: Group, groups: ReadonlySet<Group>): void {
    const count = table.inGrace
      .subarray(0, table.count)
      .filter((grace) => grace !== NO_GRACE).length;
    if (count !== table.graceCount)
      throw new Error(`${count} lines are in grace, ${table.graceCount} are counted`);
    if (count > 0 && graceThrough === Infinity)
      throw new Error(`${count} lines are in grace, and no window is under way`);
    for (const channel of channels) {
      const inGrace = channel.groups.filter((group) => group.graceThrough !== Infinity);
      if (channel.groupsInGrace !== inGrace.length)
        throw new Error(
          `${inGrace.length} groups are in grace on ${channel.name}, ${channel.groupsInGrace} are counted`,
        );
      if (channel.groups.some((group) => group.table.count > 0 && !groups.has(group)))
        throw new Error(`a group on ${channel.name} has lines that no client knows`);
    }
  }

  /**
   * Everybody is there and reads, nobody publishes: the hub must come to rest, and every client
   * must have what it was owed.
   */
  async #rest(): Promise<void> {
    const { random, clock, hub, counters, model } = this.#world;
    this.#world.note('everybody reads');
    this.#lines.comeBack();
    for (let turns = 0, quiet = 0; quiet < 3; turns++) {
      this.#lines.readAll();
      this.#iterators.readAll();
      await this.#turn(1);
      const isRead = this.#lines.isRead && this.#iterators.isRead;
      const { isSettled } = hub;
      const { isIdle } = clock;
      quiet = isRead && isSettled && isIdle ? quiet + 1 : 0;
      if (turns > REST_TURNS)
        throw new Error(
          `the hub does not come to rest: ${JSON.stringify({ isRead, isSettled, isIdle, ...hub.figures.gauges })}`,
        );
    }
    if (counters.events_accepted_total !== model.events - this.#publishers.foreignEvents)
      throw new Error('the counter of accepted events is off');
    this.#lines.checkRest();
    this.#polls.checkRest();
    this.#iterators.checkRest();
    if (random.chance(0.3)) await this.#checkNoDeadlines();
    if (random.chance(0.5)) await this.#lines.checkHearing(() => this.#beat());
    this.#lines.changeSpeeds();
    this.#iterators.changeSpeeds();
  }

  /**
   * When no poll waits nothing is left of those that did: a deadline would keep its wheel turning.
   */
  async #checkNoDeadlines(): Promise<void> {
    this.#polls.leave(1);
    await this.#turn(DEADLINE_STEP_MS, false);
    await this.#turn(DEADLINE_STEP_MS, false);
    const { timerCount } = this.#world.clock;
    // Ends have a timer for the earliest, and for each walk that pauses.
    if (timerCount !== 1 && !this.setting.ends)
      throw new Error(`${timerCount} timers run when nobody waits; one is the heartbeat's`);
  }

  /** An interval of the heartbeat passes. */
  async #beat(): Promise<void> {
    const { heartbeatMs } = this.setting.hub;
    const turnMs = heartbeatMs / 100;
    for (let ms = 0; ms <= heartbeatMs + 2 * turnMs; ms += turnMs) await this.#turn(turnMs);
  }
}
