/** The machine on which figures were measured, without which they cannot be compared. */

import { availableParallelism, cpus, release, totalmem, type as systemName } from 'node:os';
import process from 'node:process';
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

/** The version of glibc; undefined where the C library is another one. */
export function readGlibcVersion(): string | undefined {
  // Only a diagnostic report has it. With the network in it the report would look up the name of
  // every peer, which blocks (Node 20.13 can leave it out).
  (process.report as { excludeNetwork?: boolean }).excludeNetwork = true;
  const { header } = process.report.getReport() as unknown as {
    readonly header: { readonly glibcVersionRuntime?: string };
  };
  return header.glibcVersionRuntime;
}
