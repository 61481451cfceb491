/** The doctor's checks of a machine for so many lines. Those of TCP are in tcp-checks.ts. */

import { RESERVED_FILES, SPARE_SOCKETS_MAX } from '../../limits.js';
import { chooseBuild, fittingNodes, isBuild, type Refusal } from '../../native/builds.js';
import { decimal, duration, size } from '../report/words.js';
import { found, type Finding, type MachineCheck } from './finding.js';
import type { Machine, Plan } from './machine.js';
import { TCP_CHECKS } from './tcp-checks.js';

/**
 * What an idle line takes in the process (bench/README.md), with a margin, and in the kernel's
 * slabs, where a socket and its file take about 3.7 KB on Linux 6.x.
 */
const USER_BYTES_PER_LINE = 900;
const KERNEL_BYTES_PER_LINE = 4096;

/** The process without lines and rings. */
const PROCESS_BYTES = 64 * 1024 * 1024;

/** All findings about a machine, in the order in which they are shown. */
export function checkMachine(machine: Machine, plan: Plan): Finding[] {
  return CHECKS.map((check) => check(machine, plan)).filter((finding) => finding !== undefined);
}

const CHECKS: readonly MachineCheck[] = [
  checkNode,
  checkLibc,
  checkNative,
  checkSocketOptions,
  checkCores,
  checkFiles,
  checkMemory,
  checkSwap,
  checkHugePages,
  ...TCP_CHECKS,
];

function checkNode(machine: Machine): Finding {
  const { nodeVersion, nodeRange } = machine;
  const refusal = refusalFor(machine, 'node');
  const level = refusal === undefined && isInRange(nodeVersion, nodeRange) ? 'ok' : 'problem';
  const why =
    `package.json asks for ${nodeRange}; a uWebSockets.js binary runs on one version ` +
    'of Node only';
  const mend = `use the newest Node ${fittingNodes(machine).join(' or ')}, then run npm install again`;
  return found('node', level, nodeVersion, why, mend);
}

function checkLibc(machine: Machine): Finding | undefined {
  const { platform, glibcVersion } = machine;
  if (platform !== 'linux') return undefined;
  const choice = chooseBuild(machine);
  const refusal = refusalFor(machine, 'libc');
  return found(
    'libc',
    refusal === undefined ? 'ok' : 'problem',
    glibcVersion === undefined ? 'not glibc (musl, as on Alpine?)' : `glibc ${glibcVersion}`,
    refusal?.cause ??
      (isBuild(choice)
        ? `${choice.name} needs glibc ${choice.glibcMin} or newer, and has no binary for musl`
        : 'uWebSockets.js has binaries for glibc only'),
    refusal?.fix ?? '',
  );
}

/** Why no build fits the machine, if that part of it is to blame. */
function refusalFor(machine: Machine, part: Refusal['part']): Refusal | undefined {
  const choice = chooseBuild(machine);
  return isBuild(choice) || choice.part !== part ? undefined : choice;
}

function checkNative(machine: Machine): Finding {
  const { nativeProblem } = machine;
  const choice = chooseBuild(machine);
  return found(
    'native',
    nativeProblem === undefined ? 'ok' : 'problem',
    nativeProblem ?? `${isBuild(choice) ? choice.name : 'uWebSockets.js'} loads`,
    'the server cannot hold a line without it',
    isBuild(choice) ? 'npm install' : choice.fix,
  );
}

function checkSocketOptions({ platform, sockets }: Machine, { lines }: Plan): Finding {
  const { options, problems } = sockets;
  const set = [
    ...(options.sendBufferBytes === undefined
      ? []
      : [`a send buffer of ${size(options.sendBufferBytes)} as the kernel counts it`]),
    ...(options.userTimeoutMs === undefined
      ? []
      : [`a line ends when its data is unacknowledged for ${duration(options.userTimeoutMs)}`]),
  ];
  return found(
    'socket-options',
    problems.length === 0 ? 'ok' : 'advice',
    problems.length > 0 ? problems.join('; ') : set.join(', ') || 'none wanted',
    `they bound how much kernel memory each of ${decimal(lines)} lines may take, and for how long`,
    platform === 'linux'
      ? 'npm install koffi if it is missing; otherwise see the value above'
      : 'run the server on Linux',
  );
}

function checkCores({ cores }: Machine, { lines, workers }: Plan): Finding {
  if (workers > Math.max(1, cores)) {
    return found(
      'cores',
      cores < 1 ? 'problem' : 'advice',
      `${decimal(cores)} for ${decimal(workers)} workers`,
      `each worker serves its part of ${decimal(lines)} lines on one core; more than there are ` +
        'cores wait for each other, and each takes memory',
      `--workers ${Math.max(1, Math.floor(cores))}, or give it ${workers} cores`,
    );
  }
  return found(
    'cores',
    cores < 1 ? 'problem' : cores < 2 ? 'advice' : 'ok',
    decimal(cores),
    `one process serves ${decimal(lines)} lines on one core; the kernel and everything else ` +
      'need another',
    'give it two cores (docker --cpus=2, systemd CPUQuota=200%)',
  );
}

function checkFiles({ fileLimit, fileCeiling }: Machine, { lines, workers }: Plan): Finding {
  const kept = RESERVED_FILES + SPARE_SOCKETS_MAX;
  const wanted = lines + kept;
  const why =
    `each line is an open file; ${decimal(lines)} lines need ${decimal(wanted)}, ` +
    'with those reserved for the process, and above the limit no connection is accepted' +
    (workers === 1 ? '' : '; one worker has all lines for a moment when the others have ended');
  if (fileLimit === undefined)
    return found('file-limit', 'advice', 'not reported here', why, `ulimit -n ${wanted}`);
  const raise =
    `ulimit -n ${wanted}, or LimitNOFILE=${wanted} in the systemd unit, or docker ` +
    `--ulimit nofile=${wanted}`;
  const isPastCeiling = fileCeiling !== undefined && fileCeiling < wanted;
  const carried = Math.max(0, fileLimit - kept);
  return found(
    'file-limit',
    carried * workers < lines ? 'problem' : fileLimit < wanted ? 'advice' : 'ok',
    fileLimit === Infinity
      ? 'no limit'
      : `${decimal(fileLimit)}, enough for ${decimal(carried)} lines` +
          (workers === 1 ? '' : ` in each of ${decimal(workers)} workers`),
    why,
    isPastCeiling ? `sysctl -w fs.nr_open=${wanted}, then ${raise}` : raise,
  );
}

function checkMemory(
  { memoryBytes, cgroupMemoryBytes }: Machine,
  { lines, replayTotalBytes, workers }: Plan,
): Finding {
  // Each worker has rings, and so has their supervisor, for a log in memory (workers/start.ts).
  const processes = workers === 1 ? 1 : workers + 1;
  const wanted =
    processes * (PROCESS_BYTES + replayTotalBytes) +
    lines * (USER_BYTES_PER_LINE + KERNEL_BYTES_PER_LINE);
  const [where, fewer] =
    processes === 1
      ? ['', '']
      : [
          ` in ${decimal(processes)} processes, one of them the supervisor,`,
          ', or fewer --workers',
        ];
  const isGroupBound = cgroupMemoryBytes < memoryBytes;
  const available = Math.min(memoryBytes, cgroupMemoryBytes);
  return found(
    'memory',
    wanted > available ? 'problem' : wanted > available / 2 ? 'advice' : 'ok',
    `${size(available)}${isGroupBound ? ', the limit of the control group' : ''}`,
    `${decimal(lines)} idle lines with full rings${where} take about ${size(wanted)} in process and kernel; ` +
      (isGroupBound ? 'above the limit the process is killed' : 'stalled readers take more'),
    isGroupBound
      ? `docker --memory=${bytesAsOption(2 * wanted)}, systemd ` +
          `MemoryMax=${bytesAsOption(2 * wanted)}; or a lower --replay-total${fewer}`
      : `a machine with more memory, fewer --lines, or a lower --replay-total${fewer}`,
  );
}

function checkSwap({ swapBytes, swappiness }: Machine): Finding | undefined {
  if (swapBytes === undefined) return undefined;
  const isEager = swapBytes > 0 && (swappiness ?? 60) > 10;
  return found(
    'swap',
    isEager ? 'advice' : 'ok',
    swapBytes === 0 ? 'none' : `${size(swapBytes)}, swappiness ${swappiness ?? 'unknown'}`,
    'each event touches every line, so all of them wait for what was swapped to disk',
    'sysctl -w vm.swappiness=1, or MemorySwapMax=0 in the systemd unit',
  );
}

function checkHugePages(
  { hugePages, hugePagesDefrag }: Machine,
  { lines }: Plan,
): Finding | undefined {
  if (hugePages === undefined) return undefined;
  const isStalling = hugePages !== 'never' && hugePagesDefrag === 'always';
  const folder = '/sys/kernel/mm/transparent_hugepage';
  return found(
    'huge-pages',
    hugePages === 'always' || isStalling ? 'advice' : 'ok',
    `${hugePages}, defrag ${hugePagesDefrag ?? 'unknown'}`,
    'with "always", memory grows in steps of 2 MiB while a line takes less than 1 KiB, so ' +
      `${decimal(lines)} lines may take more than was measured; ` +
      'with defrag "always", the event loop may wait while the kernel moves pages',
    [
      ...(hugePages === 'always' ? [`echo madvise > ${folder}/enabled`] : []),
      ...(isStalling ? [`echo madvise > ${folder}/defrag`] : []),
    ].join('; '),
  );
}

/** A size in MiB as docker and systemd take it. */
function bytesAsOption(bytes: number): string {
  return `${Math.ceil(bytes / 1024 ** 2)}M`;
}

/** True when a version is in a range such as "^20.12 || ^22". */
export function isInRange(version: string, range: string): boolean {
  const [major = '', minor = ''] = version.split('.');
  return range.split(/\s*\|\|\s*/).some((caret) => {
    const [, wantedMajor, minorMin = '0'] = /^\^(\d+)(?:\.(\d+))?$/.exec(caret) ?? [];
    if (wantedMajor === undefined) throw new Error(`not a version with a caret: ${caret}`);
    return major === wantedMajor && Number(minor) >= Number(minorMin);
  });
}
