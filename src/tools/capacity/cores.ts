/**
 * Separate cores for the server and for its clients, so that neither takes the other's time. Needs
 * Linux and `taskset`.
 */

import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { readAllowedCores } from '../../linux/processes.js';

/** The cores of the server and of the clients. */
export interface Cores {
  readonly server: number;
  /** At least one. */
  readonly clients: readonly number[];
}

/**
 * Runs a task on the clients' cores, and then returns to all cores. Where there is only one core,
 * or no `taskset`, the task runs on all and gets undefined.
 */
export async function onClientCores<Result>(
  task: (cores: Cores | undefined) => Promise<Result>,
): Promise<Result> {
  const cores = splitCores();
  if (cores === undefined) return task(undefined);
  moveTo(cores.clients);
  try {
    return await task(cores);
  } finally {
    moveTo([cores.server, ...cores.clients]);
  }
}

function splitCores(): Cores | undefined {
  const [server, ...clients] = allowedCores();
  if (server === undefined || clients.length === 0 || spawnSync('taskset', ['-V']).status !== 0)
    return undefined;
  return { server, clients };
}

/** Moves all threads of this process to the cores. */
function moveTo(cores: readonly number[]): void {
  spawnSync('taskset', ['-acp', cores.join(','), String(process.pid)]);
}

function allowedCores(): number[] {
  try {
    return coresIn(readAllowedCores());
  } catch {
    return [];
  }
}

/** The cores in a list such as the kernel's `0-3,8`. */
export function coresIn(list: string): number[] {
  return list.split(',').flatMap((range) => {
    const [first, last = first] = range.split('-').map(Number);
    if (first === undefined || last === undefined || range === '' || Number.isNaN(first + last))
      return [];
    return Array.from({ length: last - first + 1 }, (_, nth) => first + nth);
  });
}
