/** Where figures were measured: what a reader of a report must know to compare them with others. */

import { availableParallelism, cpus, release, totalmem, type as systemName } from 'node:os';
import process from 'node:process';
import { VERSION } from '../../version.js';

/** The machine and the versions. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  /** Name and release: `Linux 6.1.0`. */
  readonly system: string;
  /** Version of the C library; null where it is another than glibc. */
  readonly glibc: string | null;
  readonly node: string;
  readonly holdline: string;
}

/** This machine, as this process sees it. */
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

/** The same in a line. */
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
    `${cores} ${cores === 1 ? 'core' : 'cores'}`,
    `${(memoryBytes / 1024 ** 3).toFixed(1)} GiB`,
    system,
    ...(glibc === null ? [] : [`glibc ${glibc}`]),
    `Node ${node}`,
    `Holdline ${holdline}`,
  ].join(', ');
}

/** The version of the C library; undefined where it is another than glibc. */
export function readGlibcVersion(): string | undefined {
  // Only a diagnostic report has it. With the network in it the report would look up the name of
  // every peer, which blocks (Node 20.13 can leave it out).
  (process.report as { excludeNetwork?: boolean }).excludeNetwork = true;
  const { header } = process.report.getReport() as unknown as {
    readonly header: { readonly glibcVersionRuntime?: string };
  };
  return header.glibcVersionRuntime;
}
