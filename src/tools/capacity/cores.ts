/**
 * Cores for the server and for its clients, apart from each other, so that neither takes the
 * other's time. Linux with `taskset`.
 */

import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { readAllowedCores } from '../../linux/processes.js';

/** Who runs where. */
export interface Cores {
  readonly server: number;
  /** At least one. */
  readonly clients: readonly number[];
}

/**
 * Does something on the cores of the clients, where there are cores to part, and goes back to all
 * of them.
 */
export async function onClientCores<Result>(
  task: (cores: Cores | undefined) => Promise<Result>,
): Promise<Result> {
  const cores = partCores();
  if (cores === undefined) return task(undefined);
  moveTo(cores.clients);
  try {
    return await task(cores);
  } finally {
    moveTo([cores.server, ...cores.clients]);
  }
}

/**
 * Parts the cores that this process may use; undefined where there is one only, or nothing to pin
 * with.
 */
function partCores(): Cores | undefined {
  const [server, ...clients] = allowedCores();
  if (server === undefined || clients.length === 0 || spawnSync('taskset', ['-V']).status !== 0)
    return undefined;
  return { server, clients };
}

/** Moves this process, all threads of it, to the cores. */
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

/** The cores in a list as the kernel writes it: `0-3,8`. */
export function coresIn(list: string): number[] {
  return list.split(',').flatMap((range) => {
    const [first, last = first] = range.split('-').map(Number);
    if (first === undefined || last === undefined || range === '' || Number.isNaN(first + last))
      return [];
    return Array.from({ length: last - first + 1 }, (_, nth) => first + nth);
  });
}
