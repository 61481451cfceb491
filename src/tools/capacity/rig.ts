/**
 * A server and its clients on this machine, and what the server uses while events are published.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { CounterName } from '../../counters.js';
import { readKernelNetworkBytes } from '../../linux/memory.js';
import { readBusySeconds } from '../../linux/processes.js';
import { RunFailure } from '../load/clients/connection.js';
import { nowUs } from '../load/books/clock.js';
import { percentileMs } from '../load/books/histogram.js';
import { Fleet } from '../load/processes/fleet.js';
import { Round, type RoundOutcome } from '../load/run/round.js';
import type { Cores } from './cores.js';
import { MeasuredServer } from './measured-server.js';
import { missesOf } from './misses.js';
import type { Accept, CompressedWindow, MemoryStep, Profile, Window } from './profile.js';

/** Share of the clients that read every event; the others count bytes. */
const CHECKED_SHARE = 0.01;

/** Each keeps up with one core of a server. */
const CLIENT_PROCESSES_MAX = 4;

/** Memory is sampled so often, and the minimum counts: garbage goes, lines stay. */
const MEMORY_SAMPLES = 5;
const MEMORY_SAMPLE_MS = 150;

/** Samples of memory while events are published. */
const WORKING_SAMPLES = 4;

/** How long to wait for the last events. Above the highest rate some are not even published. */
const SETTLE_MS = 8_000;

/** From this share of their cores the clients are at their limit. */
const CLIENT_BUSY_SHARE = 0.95;

export interface RigOptions {
  readonly transport: Profile['transport'];
  readonly cores: Cores | undefined;
  readonly socketSendBufferBytes: number;
  readonly heartbeatMs: number;
  /** With `shared` the clients ask for gzip, too; by default off. */
  readonly compress?: 'off' | 'shared' | undefined;
}

/** Events to publish. */
export interface Publishing {
  readonly ratePerSecond: number;
  readonly eventBytes: number;
  readonly seconds: number;
}

/** One server and its clients. */
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
    compress = 'off',
  }: RigOptions): Promise<Rig> {
    const server = await MeasuredServer.start({
      core: cores?.server,
      heartbeatMs,
      socketSendBufferBytes,
      compress,
    });
    try {
      const processes = Math.min(cores?.clients.length ?? 1, CLIENT_PROCESSES_MAX);
      const fleet = await Fleet.start({
        target: server.target,
        transport,
        compress: compress === 'shared',
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

  /** Opens more lines, up to so many. */
  async open(lines: number): Promise<Accept> {
    const fresh = lines - this.#lines;
    const cpuBefore = this.server.cpuSeconds;
    const opened = await this.#fleet.open(lines);
    const [refusal] = opened.failed.keys();
    if (refusal !== undefined || opened.hasStalled || opened.lines < lines) {
      throw new RunFailure(
        `${opened.lines} of ${lines} clients could subscribe: ` +
          (refusal ?? 'the server stopped answering'),
      );
    }
    this.#lines = lines;
    return {
      lines: fresh,
      seconds: opened.seconds,
      serverCpuSeconds: this.server.cpuSeconds - cpuBefore,
    };
  }

  /** Memory of an idle server. */
  async memory(): Promise<MemoryStep> {
    let rssBytes = Infinity;
    let kernel = Infinity;
    for (let taken = 0; taken < MEMORY_SAMPLES; taken++) {
      await sleep(MEMORY_SAMPLE_MS);
      rssBytes = Math.min(rssBytes, this.server.rssBytes);
      kernel = Math.min(kernel, readKernelNetworkBytes());
    }
    return { lines: this.#lines, rssBytes, kernelBytes: kernel };
  }

  /** Starts a window without events. Calling the result ends it. */
  async watchIdle(): Promise<() => Promise<Window>> {
    const before = await this.#totals();
    return async () =>
      this.#windowOf(before, await this.#totals(), IDLE, [this.server.rssBytes], undefined);
  }

  /** Publishes, and waits until everything has arrived or nothing more does. */
  publish(publishing: Publishing): Promise<CompressedWindow> {
    const { ratePerSecond, eventBytes, seconds } = publishing;
    const round = new Round(this.#fleet, {
      target: this.server.target,
      channel: this.server.target.path.slice(1),
      sizeBytes: eventBytes,
      ratePerSecond,
      events: Math.max(1, Math.round(ratePerSecond * seconds)),
      publishKey: this.server.publishKey,
      // All of it. With a window the books know the ids of what is missing, and whether later
      // events came.
      window: { fromMs: 0, untilMs: seconds * 1000 + SETTLE_MS },
    });
    return this.#watch(publishing, round);
  }

  /** Ends both. */
  async close(): Promise<void> {
    await this.#fleet.close();
    await this.server.close();
  }

  /** Publishes, and samples the server while events are due. */
  async #watch(publishing: Publishing, round: Round): Promise<CompressedWindow> {
    const before = await this.#totals();
    const playing = round.play();
    // If sampling fails first, this rejection must not stay unhandled.
    playing.catch(() => {});
    let isCutShort = false;
    const timer = setTimeout(
      () => {
        isCutShort = true;
        // The first stop ends publishing, the second ends waiting.
        round.stop();
        round.stop();
      },
      publishing.seconds * 1000 + SETTLE_MS,
    );
    const rss: number[] = [];
    for (let nth = 1; nth <= WORKING_SAMPLES; nth++) {
      await sleep(
        Math.max(
          0,
          (before.atUs - nowUs()) / 1000 + (publishing.seconds * 1000 * nth) / WORKING_SAMPLES,
        ),
      );
      rss.push(this.server.rssBytes);
    }
    const after = await this.#totals();
    const outcome = await playing;
    clearTimeout(timer);
    const { pending, unknown } = outcome.publisher;
    // What was published without an answer has no known id.
    const misses = missesOf(outcome.books, isCutShort || pending > 0 || unknown.size > 0);
    return { ...this.#windowOf(before, after, publishing, rss, outcome), ...misses };
  }

  #windowOf(
    before: Totals,
    after: Totals,
    { ratePerSecond, eventBytes }: Publishing,
    rss: readonly number[],
    outcome: RoundOutcome | undefined,
  ): CompressedWindow {
    const seconds = (after.atUs - before.atUs) / 1e6;
    const counted = (name: CounterName): number =>
      (after.counters[name] - before.counters[name]) / seconds;
    const serverShare = (after.cpuSeconds - before.cpuSeconds) / seconds;
    const clients =
      outcome === undefined
        ? 0
        : sum([...outcome.processes, outcome.coordinator].map(({ busyShare }) => busyShare));
    const latencyMs = (percentile: number): number | null =>
      outcome === undefined ? null : percentileMs(outcome.books.latencyUs, percentile);
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
      p50Ms: latencyMs(50),
      p99Ms: latencyMs(99),
      rssBytes: sum(rss) / rss.length,
      faults: 0,
      blocksPerSecond: counted('compress_blocks_total'),
      compressedPlainBytesPerSecond: counted('compress_plain_bytes_total'),
      compressedBytesPerSecond: counted('compress_bytes_total'),
      compressorShare: counted('compress_seconds_total'),
      isClientLimited:
        (outcome?.bottlenecks.length ?? 0) > 0 || clients / this.#clientCores > CLIENT_BUSY_SHARE,
    };
  }

  async #totals(): Promise<Totals> {
    const counters = await this.server.counters();
    return {
      atUs: nowUs(),
      counters,
      cpuSeconds: this.server.cpuSeconds,
      machineSeconds: readBusySeconds(),
    };
  }
}

/** Totals at one moment. The difference of two is what happened in between. */
interface Totals {
  readonly atUs: number;
  readonly counters: Readonly<Record<CounterName, number>>;
  readonly cpuSeconds: number;
  readonly machineSeconds: number;
}

const IDLE: Publishing = { ratePerSecond: 0, eventBytes: 0, seconds: 0 };

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
