/**
 * What the server takes while it is driven, where it runs on this machine: memory and processor
 * time of the processes that listen on its port, and what TCP has in buffers, from /proc (proc(5)).
 */

import { readdirSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { HoldlineError } from '../../../errors.js';
import { readProcessUsage, type ProcessUsage } from '../../../linux/processes.js';
import { descriptorOf, listenerInodes, readTcpBytes } from '../../../linux/sockets.js';
import type { Target } from '../clients/connection.js';
import { nowUs } from '../books/clock.js';

/** How often a sample is taken, at first. */
const SAMPLE_MS = 500;

/**
 * Samples that are kept, since a run may take a day. Beyond that two and two become one, and they
 * are taken half as often. The first stays: it is from before the run.
 */
const SAMPLES_MAX = 2_048;

/** The server at one moment, and of a long run at its highest since the sample before. */
export interface ServerSample {
  /** By `nowUs()`. */
  readonly atUs: number;
  /** Resident memory. Pages that several processes share count for each of them. */
  readonly rssBytes: number;
  /**
   * Processor time of all threads since the sample before, as a share of one core; null in the
   * first.
   */
  readonly cpuShare: number | null;
  /** What all TCP sockets of this machine have in buffers, the clients' ends among them. */
  readonly tcpBytes: number | null;
}

/** Takes samples of a server until it is stopped. */
export class ProcessMeter {
  /** The processes that have the listening socket; their children without it are left out. */
  readonly pids: readonly number[];
  /** Why there are no samples. */
  readonly problem: string | undefined;
  #samples: ServerSample[] = [];
  #intervalMs = SAMPLE_MS;
  #timer: NodeJS.Timeout | undefined;
  #before: { readonly atUs: number; readonly cpuSeconds: number } | undefined;

  /**
   * Finds the server's processes and takes the first sample. It reads the table of all sockets of
   * the machine and blocks like readPortTotals(), so it is made before clients connect. `pid` names
   * one process instead. Throws HOLDLINE_BAD_OPTION when that does not exist.
   */
  constructor(target: Pick<Target, 'address' | 'port'>, pid?: number) {
    if (pid !== undefined && usageOf([pid]) === undefined) {
      throw new HoldlineError(
        'HOLDLINE_BAD_OPTION',
        `--server-pid: ${pid} was given, and /proc of this machine has no such process`,
      );
    }
    const found = pid === undefined ? listeningProcesses(target) : [pid];
    this.pids = typeof found === 'string' ? [] : found;
    this.problem = typeof found === 'string' ? found : undefined;
    if (this.pids.length > 0) this.#sample();
  }

  /** Oldest first. */
  get samples(): readonly ServerSample[] {
    return this.#samples;
  }

  get latest(): ServerSample | undefined {
    return this.#samples.at(-1);
  }

  /** Takes no more samples; those that were taken stay. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  #sample(): void {
    const usage = usageOf(this.pids);
    // The server is gone.
    if (usage === undefined) return;
    const { rssBytes, cpuSeconds } = usage;
    const atUs = nowUs();
    const before = this.#before;
    // One of several processes may have ended, and its time is no longer counted.
    const cpuShare =
      before === undefined
        ? null
        : Math.max(0, cpuSeconds - before.cpuSeconds) / ((atUs - before.atUs) / 1e6);
    this.#samples.push({ atUs, rssBytes, cpuShare, tcpBytes: readTcpBytes() ?? null });
    this.#before = { atUs, cpuSeconds };
    if (this.#samples.length > SAMPLES_MAX) {
      this.#samples = halved(this.#samples);
      this.#intervalMs *= 2;
    }
    this.#timer = setTimeout(() => this.#sample(), this.#intervalMs);
    this.#timer.unref();
  }
}

/** The first, and each two that follow as one. */
function halved(samples: readonly ServerSample[]): ServerSample[] {
  const pairs = Array.from({ length: (samples.length - 1) / 2 }, (_, nth) => {
    const before = samples[2 * nth]!;
    const one = samples[2 * nth + 1]!;
    const other = samples[2 * nth + 2]!;
    const work = (to: ServerSample, from: ServerSample): number =>
      to.cpuShare! * (to.atUs - from.atUs);
    return {
      atUs: other.atUs,
      rssBytes: Math.max(one.rssBytes, other.rssBytes),
      cpuShare: (work(one, before) + work(other, one)) / (other.atUs - before.atUs),
      tcpBytes: other.tcpBytes === null ? null : Math.max(one.tcpBytes ?? 0, other.tcpBytes),
    };
  });
  return [samples[0]!, ...pairs];
}

/** The processes that have the socket that listens there, or why they are not known. */
function listeningProcesses({
  address,
  port,
}: Pick<Target, 'address' | 'port'>): number[] | string {
  if (process.platform !== 'linux')
    return 'memory and CPU of a server are read from /proc, which this system does not have';
  if (!isOfThisMachine(address)) return `the server is at ${address}, which is not this machine`;
  const inodes = listenerInodes(port);
  const pids =
    inodes.length === 0 ? [] : processes().filter((pid) => descriptorOf(inodes, pid) !== undefined);
  if (pids.length > 0) return pids;
  return `no process of this user listens on port ${port} here; --server-pid N names the one to look at`;
}

function isOfThisMachine(address: string): boolean {
  if (address.startsWith('127.')) return true;
  return Object.values(networkInterfaces()).some((addresses) =>
    addresses?.some((one) => one.address === address),
  );
}

function processes(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** What the processes take together; undefined when none of them exists. */
function usageOf(pids: readonly number[]): ProcessUsage | undefined {
  const usages = pids.map(readUsage).filter((usage) => usage !== undefined);
  if (usages.length === 0) return undefined;
  const sum = (of: (usage: ProcessUsage) => number): number =>
    usages.reduce((total, usage) => total + of(usage), 0);
  return {
    rssBytes: sum(({ rssBytes }) => rssBytes),
    cpuSeconds: sum(({ cpuSeconds }) => cpuSeconds),
  };
}

function readUsage(pid: number): ProcessUsage | undefined {
  try {
    return readProcessUsage(pid);
  } catch {
    // It does not exist, or has ended.
    return undefined;
  }
}
