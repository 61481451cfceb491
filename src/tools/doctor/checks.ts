/**
 * What the doctor makes of a machine's facts, for so many lines. Nothing here looks at the machine
 * itself.
 */

import { RESERVED_FILES, SPARE_SOCKETS_MAX } from '../../limits.js';
import { PAGE_BYTES } from '../../linux/sockets.js';
import { bytesInWords, inWords, timeInWords, type Finding, type Level } from './finding.js';
import type { Machine, Triple } from './machine.js';

/** What the machine is to carry. */
export interface Plan {
  readonly lines: number;
  readonly socketSendBufferBytes: number;
  readonly deadPeerTimeoutMs: number;
  /** What the rings may hold. */
  readonly replayTotalBytes: number;
}

/**
 * Connects that uWebSockets.js lets wait to be accepted; the kernel takes net.core.somaxconn where
 * that is less. native-notes/listen-backlog.md
 */
const LISTEN_BACKLOG = 512;

/** The oldest glibc that the binaries of uWebSockets.js run on. native-notes/which-build.md */
const GLIBC_LEAST = '2.27';

/**
 * What an idle line takes: in the process (bench/README.md), and in the kernel's slabs, where a
 * socket with its file is about 3.7 KB on 6.x.
 */
const USER_BYTES_PER_LINE = 900;
const KERNEL_BYTES_PER_LINE = 4096;

/** The process without lines and rings. */
const PROCESS_BYTES = 64 * 1024 * 1024;

/**
 * Shares of the lines that may stall at once before TCP's memory is under pressure: enough, and too
 * few.
 */
const STALLED_ENOUGH_SHARE = 0.1;
const STALLED_TOO_FEW_SHARE = 0.01;

/** A buffer below this slows readers and publishers that are far away, bytes. */
const LEAST_BUFFER_BYTES = 64 * 1024;

/**
 * What a reader that stopped may hold in the kernel where nobody bounds it and the machine does not
 * say, bytes.
 */
const USUAL_SEND_MOST_BYTES = 4 * 1024 * 1024;

/** A peer that vanished is held this long at the most, ms, before advice is given. */
const DEAD_PEER_MS = 120_000;

/** Ports that an address has at the most for outgoing connections. */
const MOST_PORTS = 65_535 - 1024 + 1;

type Check = (machine: Machine, plan: Plan) => Finding | undefined;

/** All findings about a machine, in the order of their reading. */
export function checkMachine(machine: Machine, plan: Plan): Finding[] {
  return CHECKS.map((check) => check(machine, plan)).filter((finding) => finding !== undefined);
}

const CHECKS: readonly Check[] = [
  checkNode,
  checkLibc,
  checkNative,
  checkSocketOptions,
  checkCores,
  checkFiles,
  checkMemory,
  checkSwap,
  checkHugePages,
  checkAcceptQueue,
  checkSynQueue,
  checkPorts,
  checkTcpMemory,
  checkSendBuffers,
  checkReceiveBuffers,
  checkDeadPeers,
  checkTracking,
];

/** A finding that is mended only where it is not ok. */
function found(name: string, level: Level, value: string, why: string, mend: string): Finding {
  return { name, level, value, why, mend: level === 'ok' ? null : mend };
}

function checkNode({ nodeVersion, nodeRange }: Machine): Finding {
  const level = isInRange(nodeVersion, nodeRange) ? 'ok' : 'problem';
  const why = `package.json asks for ${nodeRange}; the binary of uWebSockets.js is made for single versions of Node`;
  return found('node', level, nodeVersion, why, 'install Node 22 or 20, then npm install');
}

function checkLibc({ platform, glibcVersion }: Machine): Finding | undefined {
  if (platform !== 'linux') return undefined;
  const isOld = glibcVersion !== undefined && compareVersions(glibcVersion, GLIBC_LEAST) < 0;
  return found(
    'libc',
    glibcVersion === undefined || isOld ? 'problem' : 'ok',
    glibcVersion === undefined ? 'not glibc (musl, as on Alpine?)' : `glibc ${glibcVersion}`,
    `uWebSockets.js has binaries for glibc ${GLIBC_LEAST} and newer, and none for musl`,
    'use Debian 10, Ubuntu 18.04 or newer; in a container FROM node:22-bookworm-slim instead of node:22-alpine',
  );
}

function checkNative({ nativeProblem }: Machine): Finding {
  const why = 'no line is held without it';
  return found(
    'native',
    nativeProblem === undefined ? 'ok' : 'problem',
    nativeProblem ?? 'loads',
    why,
    'npm install',
  );
}

function checkSocketOptions({ platform, sockets }: Machine, { lines }: Plan): Finding {
  const { options, problems } = sockets;
  const set = [
    ...(options.sendBufferBytes === undefined
      ? []
      : [`send buffer ${bytesInWords(options.sendBufferBytes)} as the kernel counts`]),
    ...(options.userTimeoutMs === undefined
      ? []
      : [`unacknowledged data ends a line after ${timeInWords(options.userTimeoutMs)}`]),
  ];
  return found(
    'socket-options',
    problems.length === 0 ? 'ok' : 'advice',
    problems.length > 0 ? problems.join('; ') : set.join(', ') || 'none wanted',
    `they bound what each of ${inWords(lines)} lines may take of the kernel, and for how long`,
    platform === 'linux'
      ? 'npm install koffi, where it is missing; else see what is said of the value'
      : 'serve on Linux',
  );
}

function checkCores({ cores }: Machine, { lines }: Plan): Finding {
  return found(
    'cores',
    cores < 1 ? 'problem' : cores < 2 ? 'advice' : 'ok',
    inWords(cores),
    `one process fans out to ${inWords(lines)} lines on one core; the kernel and whatever else runs want another`,
    'give it two cores (docker --cpus=2, CPUQuota=200%)',
  );
}

function checkFiles({ fileLimit, fileCeiling }: Machine, { lines }: Plan): Finding {
  const wanted = lines + RESERVED_FILES + SPARE_SOCKETS_MAX;
  const why = `each line is an open file; ${inWords(lines)} lines take ${inWords(wanted)} with those kept for the process, and past the limit nobody is accepted`;
  if (fileLimit === undefined)
    return found('file-limit', 'advice', 'not told here', why, `ulimit -n ${wanted}`);
  const raise = `ulimit -n ${wanted}, or LimitNOFILE=${wanted} in the systemd unit, or docker --ulimit nofile=${wanted}`;
  const isPastCeiling = fileCeiling !== undefined && fileCeiling < wanted;
  return found(
    'file-limit',
    fileLimit < wanted ? 'problem' : 'ok',
    `${inWords(fileLimit)}, which is ${fileLimit === Infinity ? 'any number of' : inWords(Math.max(0, fileLimit - RESERVED_FILES - SPARE_SOCKETS_MAX))} lines`,
    why,
    isPastCeiling ? `sysctl -w fs.nr_open=${wanted}, then ${raise}` : raise,
  );
}

function checkMemory(
  { memoryBytes, cgroupMemoryBytes }: Machine,
  { lines, replayTotalBytes }: Plan,
): Finding {
  const wanted =
    PROCESS_BYTES + replayTotalBytes + lines * (USER_BYTES_PER_LINE + KERNEL_BYTES_PER_LINE);
  const isGroupBound = cgroupMemoryBytes < memoryBytes;
  const carried = Math.min(memoryBytes, cgroupMemoryBytes);
  return found(
    'memory',
    wanted > carried ? 'problem' : wanted > carried / 2 ? 'advice' : 'ok',
    `${bytesInWords(carried)}${isGroupBound ? ', as the control group says' : ''}`,
    `${inWords(lines)} idle lines with full rings take about ${bytesInWords(wanted)} in process and kernel; ` +
      (isGroupBound ? 'past the limit the process is killed' : 'stalled readers come on top'),
    isGroupBound
      ? `docker --memory=${bytesAsOption(2 * wanted)}, MemoryMax=${bytesAsOption(2 * wanted)}; or --replay-total lower`
      : 'a machine with more memory, fewer --lines, or --replay-total lower',
  );
}

function checkSwap({ swapBytes, swappiness }: Machine): Finding | undefined {
  if (swapBytes === undefined) return undefined;
  const isEager = swapBytes > 0 && (swappiness ?? 60) > 10;
  return found(
    'swap',
    isEager ? 'advice' : 'ok',
    swapBytes === 0 ? 'none' : `${bytesInWords(swapBytes)}, swappiness ${swappiness ?? 'not told'}`,
    'a sweep touches every line: what of them has gone to a disk, all wait for',
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
    `${hugePages}, defrag ${hugePagesDefrag ?? 'not told'}`,
    `always: memory grows in steps of 2 MiB where a line takes 900 B, so that ${inWords(lines)} lines may take more than was measured; ` +
      'defrag always: the loop may wait for the kernel to tidy up',
    [
      ...(hugePages === 'always' ? [`echo madvise > ${folder}/enabled`] : []),
      ...(isStalling ? [`echo madvise > ${folder}/defrag`] : []),
    ].join('; '),
  );
}

function checkAcceptQueue({ somaxconn }: Machine, { lines }: Plan): Finding | undefined {
  if (somaxconn === undefined) return undefined;
  return found(
    'accept-queue',
    somaxconn < Math.min(LISTEN_BACKLOG, lines) ? 'advice' : 'ok',
    `net.core.somaxconn ${inWords(somaxconn)}, of which a listening socket uses up to ${LISTEN_BACKLOG}`,
    `when ${inWords(lines)} lines come back at once, a connect that finds it full is dropped and tried again a second later`,
    `sysctl -w net.core.somaxconn=4096`,
  );
}

function checkSynQueue({ synBacklog, synCookies }: Machine, { lines }: Plan): Finding | undefined {
  if (synBacklog === undefined) return undefined;
  return found(
    'syn-queue',
    synCookies === false && synBacklog < Math.min(LISTEN_BACKLOG, lines) ? 'advice' : 'ok',
    `net.ipv4.tcp_max_syn_backlog ${inWords(synBacklog)}, SYN cookies ${synCookies === undefined ? 'not told' : synCookies ? 'on' : 'off'}`,
    `when ${inWords(lines)} lines come back at once, handshakes under way have room here; without cookies those past it are dropped`,
    'sysctl -w net.ipv4.tcp_syncookies=1 net.ipv4.tcp_max_syn_backlog=4096',
  );
}

function checkPorts({ portRange }: Machine, { lines }: Plan): Finding | undefined {
  if (portRange === undefined) return undefined;
  const [first, last] = portRange;
  const ports = last - first + 1;
  const widen = 'sysctl -w net.ipv4.ip_local_port_range="1024 65535"';
  return found(
    'ports',
    ports < lines ? 'advice' : 'ok',
    `${inWords(ports)}, from ${first} to ${last}`,
    `a proxy on this machine takes one for each of ${inWords(lines)} lines that it passes to one address; so does holdline load for its clients`,
    lines <= MOST_PORTS
      ? widen
      : `${widen}, and several addresses for the proxy to connect to (127.0.0.1, 127.0.0.2 …), ${inWords(MOST_PORTS)} lines each`,
  );
}

/** What one stalled line may hold of the kernel, as the kernel counts it. */
function stalledBytes({ sockets, tcpSendBytes }: Machine): number {
  return sockets.options.sendBufferBytes ?? tcpSendBytes?.[2] ?? USUAL_SEND_MOST_BYTES;
}

function checkTcpMemory(
  machine: Machine,
  { lines, socketSendBufferBytes }: Plan,
): Finding | undefined {
  const { tcpMemoryBytes, memoryBytes, sockets } = machine;
  if (tcpMemoryBytes === undefined) return undefined;
  const pressureBytes = tcpMemoryBytes[1];
  const perLine = stalledBytes(machine);
  const carried = Math.floor(pressureBytes / perLine);
  const wanted = Math.ceil(lines * STALLED_ENOUGH_SHARE) * perLine;
  const isUnbounded = sockets.options.sendBufferBytes === undefined;
  const raise = `sysctl -w net.ipv4.tcp_mem="${pagesAround(wanted).join(' ')}"`;
  return found(
    'tcp-memory',
    carried >= lines * STALLED_ENOUGH_SHARE
      ? 'ok'
      : carried >= lines * STALLED_TOO_FEW_SHARE
        ? 'advice'
        : 'problem',
    `pressure at ${bytesInWords(pressureBytes)}, which is ${inWords(carried)} stalled lines of ${bytesInWords(perLine)}`,
    `when more of ${inWords(lines)} lines stall at once, the kernel shrinks the windows of all connections of the machine, healthy ones among them`,
    isUnbounded && socketSendBufferBytes > 0
      ? 'npm install koffi, so that --socket-send-buffer bounds a line'
      : isUnbounded
        ? '--socket-send-buffer 64KiB'
        : wanted < memoryBytes / 4
          ? raise
          : '--socket-send-buffer 16KiB',
  );
}

/** tcp_mem, in pages, with its pressure at these bytes, in the kernel's own proportions. */
function pagesAround(pressureBytes: number): Triple {
  const pages = Math.ceil(pressureBytes / PAGE_BYTES);
  return [Math.floor(pages * 0.75), pages, Math.ceil(pages * 1.5)];
}

function checkSendBuffers(
  machine: Machine,
  { lines, socketSendBufferBytes }: Plan,
): Finding | undefined {
  const { tcpSendBytes, sockets, memoryBytes } = machine;
  if (tcpSendBytes === undefined) return undefined;
  const most = tcpSendBytes[2];
  const isBounded = sockets.options.sendBufferBytes !== undefined;
  const all = lines * most;
  const isSlow = most < LEAST_BUFFER_BYTES && !isBounded;
  return found(
    'send-buffers',
    isSlow || (!isBounded && all > memoryBytes / 4) ? 'advice' : 'ok',
    `net.ipv4.tcp_wmem ${triple(tcpSendBytes)}${isBounded ? ', not used by lines: --socket-send-buffer bounds them' : ''}`,
    isBounded
      ? 'it would hold for lines without a bound of their own'
      : isSlow
        ? 'a reader that is far away gets no more than this in a round trip'
        : `a reader that stops looks healthy until this much waits for it; ${inWords(lines)} such readers would take ${bytesInWords(all)}`,
    isSlow
      ? 'sysctl -w net.ipv4.tcp_wmem="4096 16384 4194304"'
      : socketSendBufferBytes > 0
        ? 'npm install koffi; without it sysctl -w net.ipv4.tcp_wmem="4096 16384 131072", which is for all connections of the machine'
        : '--socket-send-buffer 64KiB',
  );
}

function checkReceiveBuffers({ tcpReceiveBytes }: Machine, { lines }: Plan): Finding | undefined {
  if (tcpReceiveBytes === undefined) return undefined;
  return found(
    'receive-buffers',
    tcpReceiveBytes[2] < LEAST_BUFFER_BYTES ? 'advice' : 'ok',
    `net.ipv4.tcp_rmem ${triple(tcpReceiveBytes)}`,
    `nothing to ${inWords(lines)} lines that only listen, since what comes is read at once; less than ${bytesInWords(LEAST_BUFFER_BYTES)} slows publishers that are far away`,
    'sysctl -w net.ipv4.tcp_rmem="4096 131072 6291456"',
  );
}

function checkDeadPeers(
  { sockets, tcpRetries }: Machine,
  { lines, deadPeerTimeoutMs }: Plan,
): Finding | undefined {
  const isBounded = sockets.options.userTimeoutMs !== undefined;
  if (!isBounded && tcpRetries === undefined) return undefined;
  const untilGivenUpMs = isBounded ? deadPeerTimeoutMs : retryTimeMs(tcpRetries!);
  return found(
    'dead-peers',
    untilGivenUpMs > DEAD_PEER_MS ? 'advice' : 'ok',
    isBounded
      ? `gone within ${timeInWords(untilGivenUpMs)} (--dead-peer-timeout)`
      : `net.ipv4.tcp_retries2 ${tcpRetries}: held for about ${timeInWords(untilGivenUpMs)}`,
    `phones leave without a word; of ${inWords(lines)} lines those that did are written to and paid for until then`,
    isBounded
      ? '--dead-peer-timeout 60s'
      : `${deadPeerTimeoutMs > 0 ? 'npm install koffi, for --dead-peer-timeout' : '--dead-peer-timeout 60s'}; or sysctl -w net.ipv4.tcp_retries2=8, which is for all connections of the machine`,
  );
}

/**
 * How long the kernel sends again before it gives up, ms: 200 ms, twice as long each time, up to
 * 120 s (tcp_model_timeout in net/ipv4/tcp_timer.c).
 */
export function retryTimeMs(retries: number): number {
  let allMs = 0;
  for (let nth = 0, waitMs = 200; nth <= retries; nth++, waitMs = Math.min(2 * waitMs, 120_000))
    allMs += waitMs;
  return allMs;
}

function checkTracking({ tracked }: Machine, { lines }: Plan): Finding | undefined {
  if (tracked === undefined) return undefined;
  const { count, max } = tracked;
  const wanted = count + lines;
  // Loaded it may be and track nothing, where no rule asks for it.
  const level = wanted <= max ? 'ok' : count === 0 ? 'advice' : 'problem';
  return found(
    'tracking',
    level,
    `net.netfilter.nf_conntrack_max ${inWords(max)}, ${inWords(count)} in use`,
    `the firewall keeps a row for each of ${inWords(lines)} lines, two behind a proxy on this machine; past the limit new connections are dropped without a word`,
    `sysctl -w net.netfilter.nf_conntrack_max=${2 ** Math.ceil(Math.log2(2 * wanted))}`,
  );
}

function triple(values: Triple): string {
  return values.map(bytesInWords).join(', ');
}

/** As docker and systemd read it: whole MiB. */
function bytesAsOption(bytes: number): string {
  return `${Math.ceil(bytes / 1024 ** 2)}M`;
}

/** Below 0, 0 or above, as the first version is older, the same or newer. */
function compareVersions(one: string, other: string): number {
  const others = other.split('.').map(Number);
  const differences = one
    .split('.')
    .map((part, nth) => Number.parseInt(part, 10) - (others[nth] ?? 0));
  return differences.find((difference) => difference !== 0) ?? 0;
}

/**
 * True when a version is of one of the major versions in a range such as "^20.12 || ^22", and not
 * older than its minor one.
 */
export function isInRange(version: string, range: string): boolean {
  const [major = '', minor = ''] = version.split('.');
  return range.split(/\s*\|\|\s*/).some((caret) => {
    const [, wantedMajor, leastMinor = '0'] = /^\^(\d+)(?:\.(\d+))?$/.exec(caret) ?? [];
    if (wantedMajor === undefined) throw new Error(`not a version with a caret: ${caret}`);
    return major === wantedMajor && Number(minor) >= Number(leastMinor);
  });
}
