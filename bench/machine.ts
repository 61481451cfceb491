/**
 * What a figure depends on: the machine, the versions, the commit, and the cores of the processes.
 */
import { spawnSync } from 'node:child_process';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { readFileLimit } from '../src/linux/file-limit.js';
import { OPTIONS } from '../src/options/table.js';
import { chooseBuild, isBuild, thisHost } from '../src/native/builds.js';
import { CLIENT_CORE, SERVER_CORE, pinning } from './child.js';

export interface Machine {
  cpu: string;
  cores: number;
  memoryGiB: number;
  kernel: string;
  glibc: string;
  node: string;
  uWebSockets: string;
  commit: string;
  /** True when files other than bench results differed from the commit. */
  dirty: boolean;
  openFiles: string;
  pinned: string;
  sendBuffer: string;
}

const ROOT = fileURLToPath(new URL('..', import.meta.url));

export function describeMachine(): Machine {
  const host = thisHost();
  const build = chooseBuild(host);
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    glibc: host.glibcVersion ?? 'none',
    node: process.version,
    uWebSockets: isBuild(build) ? build.name : 'none',
    commit: git('rev-parse', '--short=12', '--verify', '--quiet', 'HEAD') || 'none',
    dirty: git('status', '--porcelain', '--', '.', ':!bench/results') !== '',
    openFiles: String(readFileLimit() ?? 'unknown'),
    pinned: pinnedWords(`core ${SERVER_CORE}`),
    sendBuffer: `Holdline ${OPTIONS.socketSendBufferBytes.default / 1024} KiB, others the kernel’s`,
  };
}

/** Where the processes run. */
export function pinnedWords(serverPlace: string): string {
  return pinning
    ? `server on ${serverPlace}, client and publisher on core ${CLIENT_CORE} (taskset)`
    : 'not pinned';
}

/** Where they run when only the server's loop keeps to its core: `freeOtherThreads`. */
export const LOOP_PINNED_WORDS = pinnedWords(
  `core ${SERVER_CORE} with its loop and on all with other threads`,
);

/** Share of a core that other processes may use without a remark. */
const OTHERS_SHARE_MAX = 0.1;

/** A remark when other processes used so much of a core that they changed the figures. */
export function remarkOnOtherProcesses(where: string, cpuShare: number): string[] {
  if (cpuShare <= OTHERS_SHARE_MAX) return [];
  return [
    `${where}: other processes took up to ${(cpuShare * 100).toFixed(0)} % of a core; the ` +
      'machine was not quiet',
  ];
}

function git(...args: string[]): string {
  return spawnSync('git', args, { cwd: ROOT, encoding: 'utf8' }).stdout.trim();
}
