/**
 * What the simulator's publishers and clients live in: the dice, the clock, the hub with its log,
 * and the model beside it.
 */
import type { LoggedEntry, NewEntry } from '../../src/core/event.js';
import { Hub, type HubOptions } from '../../src/core/hub.js';
import { makeCounters } from '../../src/counters.js';
import { NOBODY, type Owner } from '../../src/core/owners.js';
import {
  CORK_WRITE_BYTES_MAX,
  LARGE_WRITE_BYTES_MAX,
  SWEEP_WORK_BYTES_MAX,
} from '../../src/limits.js';
import { MemoryLog } from '../../src/log/memory-log.js';
import { FakeClock } from './fake-clock.js';
import type { Held } from './fake-hub.js';
import type { ModeName } from './fake-port.js';
import { Model, type Accepted, type Asked } from './model.js';
import { Random } from './random.js';

/** What differs from run to run beside the dice. */
export interface Setting {
  readonly hub: HubOptions;
  readonly firstId: number | undefined;
  readonly corkMs: number;
  readonly channels: readonly string[];
  /** Clients that hold lines. */
  readonly lines: number;
  /** How their lines are given events. */
  readonly modes: readonly ModeName[];
  /** Share of their lines whose readers stall on purpose, in turns. */
  readonly stalling: number;
  /** Clients that poll. */
  readonly polls: number;
  /** Channels are dropped now and then, as a retention rule would. */
  readonly drops: boolean;
  /** How often a step deletes a channel. */
  readonly deleting: number;
  /** How often a step publishes. */
  readonly publishing: number;
  /** The share of publishes that come by the log from another node. */
  readonly floods: number;
  /** Lines and polls have ends of their own, and are disconnected and revoked now and then. */
  readonly ends: boolean;
}

const NAMES = ['a', 'b', 'c', 'd', 'e'];
/** Whose lines are, and where from. */
export const USERS = ['ada', 'bob', 'eve'];
export const ADDRESSES = ['192.0.2.1', '2001:db8::/64'];
const MIB = 1024 * 1024;
/** Actions kept to be shown with a failure. */
const TRACE = 25;

function settingOf(random: Random): Setting {
  const ends = random.chance(0.5);
  return {
    ends,
    hub: {
      policies: random.pick([[], [{ channels: 'a', replayAge: random.pick([200, 2_000]) }]]),
      maxAgeMs: ends ? random.pick([0, 2_000, 30_000]) : 0,
      replay: {
        events: random.pick([0, 1, 10, 50, 1000, 5000, 5000]),
        bytes: random.pick([0, 200, 5000, MIB, MIB, MIB, MIB]),
      },
      replayTotalBytes: random.pick([5000, 100_000, 256 * MIB, 256 * MIB, 256 * MIB]),
      heartbeatMs: random.pick([100, 100, 1000, 15_000]),
      flushIntervalMs: random.pick([0, 0, 0, 5, 100, 3000]),
      slow: random.pick(['gap', 'gap', 'latest', 'close']),
      sweepWorkBytes: random.pick([SWEEP_WORK_BYTES_MAX, 1_000_000, 1]),
      // Without a draw of its own, so that the seeds stand for the runs they always stood for.
      writeBytesMax: ends ? LARGE_WRITE_BYTES_MAX : CORK_WRITE_BYTES_MAX,
    },
    firstId: random.pick([1, 1000, undefined]),
    corkMs: random.pick([0, 0.006, 0.1, 1]),
    channels: NAMES.slice(0, random.between(1, NAMES.length)),
    lines: random.pick([3, 12, 30, 60]),
    modes: random.pick<ModeName[]>([
      ['sse'],
      ['sse', 'ndjson', 'websocket'],
      ['sse', 'ndjson', 'websocket'],
      ['websocket'],
    ]),
    stalling: random.pick([0, 0.1, 0.5, 1]),
    polls: random.pick([0, 3, 10, 30]),
    drops: random.chance(0.4),
    deleting: random.pick([0, 0.001, 0.01]),
    publishing: random.pick([0.05, 0.2, 0.5]),
    floods: random.pick([0, 0, 0.05, 0.5]),
  };
}

/**
 * The same run with sweeps that a cork of 1 ms makes slow, in steps of one byte of work, and with
 * lines and polls that end in the middle of them and of the heartbeat's interval.
 */
export function withEndsAmidSweeps(setting: Setting): Setting {
  return {
    ...setting,
    ends: true,
    hub: {
      ...setting.hub,
      heartbeatMs: 15_000,
      maxAgeMs: 30_000,
      sweepWorkBytes: 1,
      writeBytesMax: LARGE_WRITE_BYTES_MAX,
    },
    corkMs: 1,
    modes: ['sse', 'ndjson', 'websocket'],
  };
}

export class World {
  readonly random: Random;
  readonly setting: Setting;
  readonly counters = makeCounters();
  readonly clock = new FakeClock();
  readonly model: Model;
  readonly hub: Hub<Held>;
  readonly log: MemoryLog;
  /** First id of all − 1. */
  readonly floor: number;
  /** The longest turn of the loop so far. */
  longestTurnMs = 0;
  /** Told of what the log is given, before it gives ids. */
  onAppend: ((entries: readonly NewEntry[]) => void) | undefined;
  /** Told of what enters the rings, before it does. */
  onEnter: ((entry: LoggedEntry) => void) | undefined;
  /** By channel: id of its last deletion that has entered. */
  readonly deletedThrough = new Map<string, number>();
  /**
   * By channel: ids that were accepted and have not entered, and the step in which there were some
   * last.
   */
  readonly #pending = new Map<string, number[]>();
  readonly #pendingStep = new Map<string, number>();
  /** Steps and turns of the simulation so far. Written by simulator.ts. */
  step = 0;

  #trace: string[] = [];
  #fault: Error | undefined;

  constructor(seed: number, change = (setting: Setting): Setting => setting) {
    this.random = new Random(seed);
    this.setting = change(settingOf(this.random));
    const log = new MemoryLog(this.clock, this.counters, this.setting.firstId);
    this.floor = log.floor();
    this.model = new Model(this.floor + 1);
    const append = log.append.bind(log);
    log.append = (entries) => {
      this.onAppend?.(entries);
      for (const [i, { channel }] of entries.entries()) {
        this.pendingOf(channel).push(this.model.lastId - entries.length + 1 + i);
        this.#pendingStep.set(channel, this.step);
      }
      return append(entries);
    };
    this.log = log;
    this.hub = new Hub(log, this.clock, this.counters, this.setting.hub);
    const { channels } = this.hub;
    const enter = channels.enter.bind(channels);
    channels.enter = (channel, entry) => {
      // An exception would be taken for the log's.
      this.catchFault(() => {
        const id = this.pendingOf(entry.channel).shift();
        if (id !== entry.id)
          throw new Error(`${entry.id} enters ${entry.channel}, and ${id} was accepted before`);
        this.onEnter?.(entry);
      });
      enter(channel, entry);
    };
  }

  /** The last actions, newest last. */
  get trace(): string {
    return this.#trace.join('\n');
  }

  note(what: string): void {
    this.#trace.push(`${this.clock.nowMs().toFixed(1)} ms  ${what}`);
    if (this.#trace.length > 2 * TRACE) this.#trace = this.#trace.slice(-TRACE);
  }

  /** Notes an error where none may be thrown; {@link World.throwFault} throws the first. */
  fault(error: Error): void {
    this.#fault ??= error;
  }

  catchFault(check: () => void): void {
    try {
      check();
    } catch (error) {
      this.fault(error as Error);
    }
  }

  throwFault(): void {
    if (this.#fault !== undefined) throw this.#fault;
  }

  newChannels(): readonly string[] {
    const { random } = this;
    const { channels } = this.setting;
    const count = random.chance(0.6) ? 1 : random.between(1, 4);
    // The first one is the busy one.
    if (random.chance(0.5) && count === 1) return [channels[0] as string];
    return random.some(channels, count);
  }

  /** Whose the next line is; where there are ends, some have one. */
  newOwner(): Owner {
    const { random, setting, clock } = this;
    const user = random.pick([undefined, ...USERS]);
    const address = random.pick(['', ...ADDRESSES]);
    const shownAddress = random.chance(0.5) ? address : '2001:db8::7';
    if (!setting.ends) return { ...NOBODY, user, address, shownAddress };
    const endsAtMs = random.chance(0.5) ? Infinity : clock.wallMs() + random.between(-100, 10_000);
    return { user, address, shownAddress, endsAtMs, endsWith: 'expired' };
  }

  newAsked(): Asked {
    const { random } = this;
    const { head } = this.hub;
    switch (random.below(7)) {
      case 0:
        return { kind: 'oldest' };
      case 1:
        return { kind: 'foreign' };
      case 2:
        return { kind: 'ahead', id: this.model.lastId + random.between(1, 1000) };
      case 3:
        return { kind: 'last', count: random.pick([0, 1, 3, 20, 5000]) };
      case 4:
        return head < 200 ? { kind: 'live' } : { kind: 'after', id: head - random.below(200) };
      default:
        return { kind: 'live' };
    }
  }

  /** Ids of the channel that were accepted and have not entered. */
  pendingOf(channel: string): number[] {
    let pending = this.#pending.get(channel);
    if (pending === undefined) this.#pending.set(channel, (pending = []));
    return pending;
  }

  /** Id up to which everything on those channels can be read; on several, with their queues. */
  through(channels: readonly string[]): number {
    const [first] = channels.length === 1 ? this.pendingOf(channels[0] as string) : [];
    return first === undefined ? this.model.lastId : first - 1;
  }

  /**
   * True when one of several channels had queued entries since that step: readers may be lapped.
   */
  wasHeldBack(channels: readonly string[], sinceStep: number): boolean {
    if (channels.length === 1) return false;
    for (const channel of channels)
      if (this.pendingOf(channel).length > 0) this.#pendingStep.set(channel, this.step);
    return channels.some((channel) => (this.#pendingStep.get(channel) ?? -1) >= sinceStep);
  }

  /** Id up to which nothing of the channel is held, by the gap of a client that asks for all. */
  lostOn(channel: string): number {
    return this.hub.startOf([channel], { kind: 'foreign' }).gap?.through as number;
  }

  /**
   * A channel holds what `--replay-…` promises, unless something is allowed to drop it, and nothing
   * that was deleted.
   */
  checkHeld(channel: string): void {
    const { model, setting } = this;
    const lostThrough = this.lostOn(channel);
    const deleted = model.lastUpTo(channel, this.deletedThrough.get(channel) ?? 0);
    if (lostThrough < deleted)
      throw new Error(`${channel} still holds ${deleted}, which was deleted`);
    const { policies = [] } = setting.hub;
    const mayExpire = policies.some(({ channels }) => channels === channel);
    if (mayExpire || setting.drops || setting.hub.replayTotalBytes < MIB) return;
    const events = model.eventsOf(channel);
    const { replay } = setting.hub;
    let index = model.indexAfter(channel, this.through([channel]));
    for (let kept = 0, bytes = 0; index > 0 && kept < replay.events; kept++, index--) {
      bytes += (events[index - 1] as Accepted).bytes + 3;
      if (bytes > replay.bytes) break;
    }
    const evictable = Math.max(this.floor, events[index - 1]?.id ?? 0, deleted);
    if (lostThrough > evictable)
      throw new Error(`${channel} has lost ${lostThrough}; it may lose up to ${evictable}`);
  }
}

/** Runs a check, and says whose it was when it fails. */
export function attempt(whose: string, check: () => void): void {
  try {
    check();
  } catch (error) {
    throw new Error(`${whose}: ${(error as Error).message}`, { cause: error });
  }
}
