/** The machine on which figures were measured, without which they cannot be compared. */

import { availableParallelism, cpus, release, totalmem, type as systemName } from 'node:os';
import process from 'node:process';
import { readGlibcVersion } from '../../linux/glibc.js';
import { VERSION } from '../../version.js';
import { count } from './words.js';

/** A machine and its versions. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  /** Name and release: `Linux 6.1.0`. */
  readonly system: string;
  /** Version of glibc; null where the C library is another one. */
  readonly glibc: string | null;
  readonly node: string;
  readonly holdline: string;
}

/** This machine. */
export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    system: `${systemName()} ${release()}`,
    glibc: readGlibcVersion() ?? null,
    node: process.version,
    holdline: VERSION,
  };
}

/** The same in one line of text. */
export function machineWords({
  cpu,
  cores,
  memoryBytes,
  system,
  glibc,
  node,
  holdline,
}: Machine): string {
  return [
    cpu,
    count(cores, 'core', 'cores'),
    `${(memoryBytes / 1024 ** 3).toFixed(1)} GiB`,
    system,
    ...(glibc === null ? [] : [`glibc ${glibc}`]),
    `Node ${node}`,
    `Holdline ${holdline}`,
  ].join(', ');
}
