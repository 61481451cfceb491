/**
 * A server and its clients, side by side on this machine, and what one of them is seen to take
 * while events go out.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { CounterName } from '../../counters.js';
import { RunFailure } from '../load/clients/connection.js';
import { nowUs } from '../load/books/clock.js';
import { Fleet } from '../load/processes/fleet.js';
import { Round, type RoundOutcome } from '../load/run/round.js';
import type { Cores } from './cores.js';
import { MeasuredServer } from './measured-server.js';
import { kernelBytes, machineBusySeconds } from './process-usage.js';
import type { Accept, MemoryStep, Profile, Window } from './profile.js';

/** Share of the clients of which every event is read; of the others bytes are counted. */
const CHECKED_SHARE = 0.01;

/**
 * Client processes at most; each takes what a core of a server gives, and none may take it from
 * another.
 */
const CLIENT_PROCESSES = 4;

/**
 * A process and the kernel are looked at so often before the least is believed: garbage goes, lines
 * stay.
 */
const MEMORY_LOOKS = 5;
const MEMORY_CHECK_MS = 150;

/** How often memory is looked at while events go out. */
const WORKING_LOOKS = 4;

/**
 * How long the last events are waited for: where more was offered than taken some are still to be
 * published.
 */
const SETTLE_MS = 8_000;

/** From here on all that runs for the clients fills their cores. */
const CLIENT_BUSY_SHARE = 0.95;

/** How it is put up. */
export interface RigOptions {
  readonly transport: Profile['transport'];
  readonly cores: Cores | undefined;
  readonly socketSendBufferBytes: number;
  readonly heartbeatMs: number;
}

/** Events to publish. */
export interface Publishing {
  readonly ratePerSecond: number;
  readonly eventBytes: number;
  readonly seconds: number;
}

/** One server with its clients. */
export class Rig {
  readonly server: MeasuredServer;
  readonly #fleet: Fleet;
  readonly #clientCores: number;
  #lines = 0;

  private constructor(server: MeasuredServer, fleet: Fleet, clientCores: number) {
    this.server = server;
    this.#fleet = fleet;
    this.#clientCores = clientCores;
  }

  /** Starts both. Throws {@link RunFailure}. */
  static async start({
    transport,
    cores,
    socketSendBufferBytes,
    heartbeatMs,
  }: RigOptions): Promise<Rig> {
    const server = await MeasuredServer.start({
      core: cores?.server,
      heartbeatMs,
      socketSendBufferBytes,
    });
    try {
      const processes = Math.min(cores?.clients.length ?? 1, CLIENT_PROCESSES);
      const fleet = await Fleet.start({
        target: server.target,
        transport,
        processes,
        checkedShare: CHECKED_SHARE,
        cores: cores?.clients,
      });
      return new Rig(server, fleet, cores?.clients.length ?? 1);
    } catch (error) {
      await server.close();
      throw error;
    }
  }

  /** Grows to so many lines. */
  async open(lines: number): Promise<Accept> {
    const fresh = lines - this.#lines;
    const cpuBefore = this.server.cpuSeconds;
    const opened = await this.#fleet.open(lines);
    const [refusal] = opened.failed.keys();
    if (refusal !== undefined || opened.hasStalled || opened.lines < lines) {
      throw new RunFailure(
        `${opened.lines} of ${lines} clients could subscribe: ${refusal ?? 'the server stopped answering'}`,
      );
    }
    this.#lines = lines;
    return {
      lines: fresh,
      seconds: opened.seconds,
      serverCpuSeconds: this.server.cpuSeconds - cpuBefore,
    };
  }

  /** Memory of a server that has nothing to do. */
  async memory(): Promise<MemoryStep> {
    let rssBytes = Infinity;
    let kernel = Infinity;
    for (let look = 0; look < MEMORY_LOOKS; look++) {
      await sleep(MEMORY_CHECK_MS);
      rssBytes = Math.min(rssBytes, this.server.rssBytes);
      kernel = Math.min(kernel, kernelBytes());
    }
    return { lines: this.#lines, rssBytes, kernelBytes: kernel };
  }

  /** Begins to watch a server to which nothing is published; what it returns ends that. */
  async watchIdle(): Promise<() => Promise<Window>> {
    const before = await this.#look();
    return async () =>
      this.#windowOf(before, await this.#look(), IDLE, [this.server.rssBytes], undefined);
  }

  /** Publishes, and waits until everything has come or nothing more does. */
  publish(publishing: Publishing): Promise<Window> {
    const { ratePerSecond, eventBytes, seconds } = publishing;
    const round = new Round(this.#fleet, {
      target: this.server.target,
      channel: this.server.target.path.slice(1),
      sizeBytes: eventBytes,
      ratePerSecond,
      events: Math.max(1, Math.round(ratePerSecond * seconds)),
      publishKey: this.server.publishKey,
    });
    return this.#watch(publishing, round);
  }

  /** Ends both. */
  async close(): Promise<void> {
    await this.#fleet.close();
    await this.server.close();
  }

  /** Publishes, and sees what the server does while events are due. */
  async #watch(publishing: Publishing, round: Round): Promise<Window> {
    const before = await this.#look();
    const playing = round.play();
    // Should the looking fail first, this is no unhandled failure.
    playing.catch(() => {});
    let isCutShort = false;
    const timer = setTimeout(
      () => {
        isCutShort = true;
        // The first stop ends the publishing, the second the waiting.
        round.stop();
        round.stop();
      },
      publishing.seconds * 1000 + SETTLE_MS,
    );
    const rss: number[] = [];
    for (let look = 1; look <= WORKING_LOOKS; look++) {
      await sleep(
        Math.max(
          0,
          (before.atUs - nowUs()) / 1000 + (publishing.seconds * 1000 * look) / WORKING_LOOKS,
        ),
      );
      rss.push(this.server.rssBytes);
    }
    const after = await this.#look();
    const outcome = await playing;
    clearTimeout(timer);
    const { lost, gaps, doubled, outOfOrder } = outcome.books;
    // What is not waited for is not lost; nor is what the server told of, which is known only of
    // the clients that are checked.
    const faults = doubled + outOfOrder + (isCutShort || gaps > 0 ? 0 : lost);
    return { ...this.#windowOf(before, after, publishing, rss, outcome), faults };
  }

  #windowOf(
    before: Look,
    after: Look,
    { ratePerSecond, eventBytes }: Publishing,
    rss: readonly number[],
    outcome: RoundOutcome | undefined,
  ): Window {
    const seconds = (after.atUs - before.atUs) / 1e6;
    const counted = (name: CounterName): number =>
      (after.counters[name] - before.counters[name]) / seconds;
    const serverShare = (after.cpuSeconds - before.cpuSeconds) / seconds;
    const clients =
      outcome === undefined
        ? 0
        : sum([...outcome.processes, outcome.coordinator].map(({ busyShare }) => busyShare));
    return {
      lines: this.#lines,
      eventBytes,
      offeredPerSecond: ratePerSecond,
      seconds,
      acceptedPerSecond: counted('events_accepted_total'),
      deliveriesPerSecond: counted('deliveries_total'),
      writesPerSecond: counted('writes_total'),
      writtenBytesPerSecond: counted('written_bytes_total'),
      heartbeatsPerSecond: counted('heartbeats_total'),
      sweepsPerSecond: counted('sweeps_total'),
      serverShare,
      clientShare: clients / this.#clientCores,
      strangerShare: Math.max(
        0,
        (after.machineSeconds - before.machineSeconds) / seconds - serverShare - clients,
      ),
      p50Ms: percentileMs(outcome, 50),
      p99Ms: percentileMs(outcome, 99),
      rssBytes: sum(rss) / rss.length,
      faults: 0,
      isClientLimited:
        (outcome?.bottlenecks.length ?? 0) > 0 || clients / this.#clientCores > CLIENT_BUSY_SHARE,
    };
  }

  async #look(): Promise<Look> {
    const counters = await this.server.counters();
    return {
      atUs: nowUs(),
      counters,
      cpuSeconds: this.server.cpuSeconds,
      machineSeconds: machineBusySeconds(),
    };
  }
}

/** What was seen at one moment; differences between two are what happened. */
interface Look {
  readonly atUs: number;
  readonly counters: Readonly<Record<CounterName, number>>;
  readonly cpuSeconds: number;
  readonly machineSeconds: number;
}

const IDLE: Publishing = { ratePerSecond: 0, eventBytes: 0, seconds: 0 };

function percentileMs(outcome: RoundOutcome | undefined, percent: number): number | null {
  const latencyUs = outcome?.books.latencyUs;
  return latencyUs === undefined || latencyUs.totalCount === 0
    ? null
    : latencyUs.getValueAtPercentile(percent) / 1000;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
