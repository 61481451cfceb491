/** The doctor's checks of a machine, given its facts and how many lines it is to hold. */

import { RESERVED_FILES, SPARE_SOCKETS_MAX } from '../../limits.js';
import { PAGE_BYTES } from '../../linux/sockets.js';
import { decimal, duration, size } from '../report/words.js';
import { found, type Finding } from './finding.js';
import type { Machine, Triple } from './machine.js';

/** What the machine is to hold. */
export interface Plan {
  readonly lines: number;
  readonly socketSendBufferBytes: number;
  readonly deadPeerTimeoutMs: number;
  /** What all rings together may hold. */
  readonly replayTotalBytes: number;
}

/**
 * Connections that may wait to be accepted, as uWebSockets.js asks for; net.core.somaxconn bounds
 * it. native-notes/listen-backlog.md
 */
const LISTEN_BACKLOG = 512;

/** The oldest glibc that the uWebSockets.js binaries run on. native-notes/which-build.md */
const GLIBC_MIN = '2.27';

/**
 * What an idle line takes in the process (bench/README.md), and in the kernel's slabs, where a
 * socket and its file take about 3.7 KB on Linux 6.x.
 */
const USER_BYTES_PER_LINE = 900;
const KERNEL_BYTES_PER_LINE = 4096;

/** The process without lines and rings. */
const PROCESS_BYTES = 64 * 1024 * 1024;

/** Share of the lines that should be able to stall before TCP's memory is under pressure. */
const STALLED_SHARE = 0.1;

/** When it is under pressure below this share, that is a problem. */
const STALLED_SHARE_MIN = 0.01;

/** A smaller buffer slows readers and publishers that are far away, bytes. */
const BUFFER_BYTES_MIN = 64 * 1024;

/**
 * What the kernel may hold for a reader that has stopped, where nothing bounds it and the machine
 * does not report its own maximum, bytes.
 */
const DEFAULT_SEND_BUFFER_BYTES_MAX = 4 * 1024 * 1024;

/** How long a vanished peer may be held before the doctor gives advice, ms. */
const DEAD_PEER_MS_MAX = 120_000;

/** Ports that one address has for outgoing connections. */
const PORTS_MAX = 65_535 - 1024 + 1;

type Check = (machine: Machine, plan: Plan) => Finding | undefined;

/** All findings about a machine, in the order in which they are shown. */
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

function checkNode({ nodeVersion, nodeRange }: Machine): Finding {
  const level = isInRange(nodeVersion, nodeRange) ? 'ok' : 'problem';
  const why = `package.json asks for ${nodeRange}; a uWebSockets.js binary runs on one version of Node only`;
  return found('node', level, nodeVersion, why, 'install Node 22 or 20, then npm install');
}

function checkLibc({ platform, glibcVersion }: Machine): Finding | undefined {
  if (platform !== 'linux') return undefined;
  const isOld = glibcVersion !== undefined && compareVersions(glibcVersion, GLIBC_MIN) < 0;
  return found(
    'libc',
    glibcVersion === undefined || isOld ? 'problem' : 'ok',
    glibcVersion === undefined ? 'not glibc (musl, as on Alpine?)' : `glibc ${glibcVersion}`,
    `uWebSockets.js has binaries for glibc ${GLIBC_MIN} and newer, and none for musl`,
    'use Debian 10, Ubuntu 18.04 or newer; in a container, FROM node:22-bookworm-slim instead of node:22-alpine',
  );
}

function checkNative({ nativeProblem }: Machine): Finding {
  const why = 'the server cannot hold a line without it';
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

function checkCores({ cores }: Machine, { lines }: Plan): Finding {
  return found(
    'cores',
    cores < 1 ? 'problem' : cores < 2 ? 'advice' : 'ok',
    decimal(cores),
    `one process serves ${decimal(lines)} lines on one core; the kernel and everything else need another`,
    'give it two cores (docker --cpus=2, systemd CPUQuota=200%)',
  );
}

function checkFiles({ fileLimit, fileCeiling }: Machine, { lines }: Plan): Finding {
  const wanted = lines + RESERVED_FILES + SPARE_SOCKETS_MAX;
  const why = `each line is an open file; ${decimal(lines)} lines need ${decimal(wanted)}, with those reserved for the process, and above the limit no connection is accepted`;
  if (fileLimit === undefined)
    return found('file-limit', 'advice', 'not reported here', why, `ulimit -n ${wanted}`);
  const raise = `ulimit -n ${wanted}, or LimitNOFILE=${wanted} in the systemd unit, or docker --ulimit nofile=${wanted}`;
  const isPastCeiling = fileCeiling !== undefined && fileCeiling < wanted;
  return found(
    'file-limit',
    fileLimit < wanted ? 'problem' : 'ok',
    fileLimit === Infinity
      ? 'no limit'
      : `${decimal(fileLimit)}, enough for ${decimal(Math.max(0, fileLimit - RESERVED_FILES - SPARE_SOCKETS_MAX))} lines`,
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
  const available = Math.min(memoryBytes, cgroupMemoryBytes);
  return found(
    'memory',
    wanted > available ? 'problem' : wanted > available / 2 ? 'advice' : 'ok',
    `${size(available)}${isGroupBound ? ', the limit of the control group' : ''}`,
    `${decimal(lines)} idle lines with full rings take about ${size(wanted)} in process and kernel; ` +
      (isGroupBound ? 'above the limit the process is killed' : 'stalled readers take more'),
    isGroupBound
      ? `docker --memory=${bytesAsOption(2 * wanted)}, systemd MemoryMax=${bytesAsOption(2 * wanted)}; or a lower --replay-total`
      : 'a machine with more memory, fewer --lines, or a lower --replay-total',
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
    `with "always", memory grows in steps of 2 MiB while a line takes 900 B, so ${decimal(lines)} lines may take more than was measured; ` +
      'with defrag "always", the event loop may wait while the kernel moves pages',
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
    `net.core.somaxconn ${decimal(somaxconn)}, of which the server uses up to ${LISTEN_BACKLOG}`,
    `when ${decimal(lines)} lines reconnect at once and this queue is full, a connection is dropped and tried again after a second`,
    'sysctl -w net.core.somaxconn=4096',
  );
}

function checkSynQueue({ synBacklog, synCookies }: Machine, { lines }: Plan): Finding | undefined {
  if (synBacklog === undefined) return undefined;
  return found(
    'syn-queue',
    synCookies === false && synBacklog < Math.min(LISTEN_BACKLOG, lines) ? 'advice' : 'ok',
    `net.ipv4.tcp_max_syn_backlog ${decimal(synBacklog)}, SYN cookies ${synCookies === undefined ? 'unknown' : synCookies ? 'on' : 'off'}`,
    `when ${decimal(lines)} lines reconnect at once, unfinished handshakes wait in this queue; without SYN cookies those above it are dropped`,
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
    `${decimal(ports)}, from ${first} to ${last}`,
    `a proxy on this machine needs one for each of ${decimal(lines)} lines that it forwards to one address, and holdline load needs one for each client`,
    lines <= PORTS_MAX
      ? widen
      : `${widen}, and several addresses for the proxy to connect to (127.0.0.1, 127.0.0.2 …), ${decimal(PORTS_MAX)} lines each`,
  );
}

/** Kernel memory that one stalled line may hold, as the kernel counts it. */
function stalledBytes({ sockets, tcpSendBytes }: Machine): number {
  return sockets.options.sendBufferBytes ?? tcpSendBytes?.[2] ?? DEFAULT_SEND_BUFFER_BYTES_MAX;
}

function checkTcpMemory(
  machine: Machine,
  { lines, socketSendBufferBytes }: Plan,
): Finding | undefined {
  const { tcpMemoryBytes, memoryBytes, sockets } = machine;
  if (tcpMemoryBytes === undefined) return undefined;
  const pressureBytes = tcpMemoryBytes[1];
  const perLine = stalledBytes(machine);
  const stalled = Math.floor(pressureBytes / perLine);
  const wanted = Math.ceil(lines * STALLED_SHARE) * perLine;
  const isUnbounded = sockets.options.sendBufferBytes === undefined;
  const raise = `sysctl -w net.ipv4.tcp_mem="${pagesAround(wanted).join(' ')}"`;
  return found(
    'tcp-memory',
    stalled >= lines * STALLED_SHARE
      ? 'ok'
      : stalled >= lines * STALLED_SHARE_MIN
        ? 'advice'
        : 'problem',
    `pressure at ${size(pressureBytes)}, which is ${decimal(stalled)} stalled lines of ${size(perLine)}`,
    `when more of ${decimal(lines)} lines stall at once, the kernel shrinks the windows of all connections of the machine, healthy ones included`,
    isUnbounded && socketSendBufferBytes > 0
      ? 'npm install koffi, so that --socket-send-buffer bounds each line'
      : isUnbounded
        ? '--socket-send-buffer 64KiB'
        : wanted < memoryBytes / 4
          ? raise
          : '--socket-send-buffer 16KiB',
  );
}

/** Values of tcp_mem, in pages, with pressure at so many bytes, in the kernel's proportions. */
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
  const maxBytes = tcpSendBytes[2];
  const isBounded = sockets.options.sendBufferBytes !== undefined;
  const all = lines * maxBytes;
  const isSlow = maxBytes < BUFFER_BYTES_MIN && !isBounded;
  return found(
    'send-buffers',
    isSlow || (!isBounded && all > memoryBytes / 4) ? 'advice' : 'ok',
    `net.ipv4.tcp_wmem ${triple(tcpSendBytes)}${isBounded ? ', not used for lines: --socket-send-buffer bounds them' : ''}`,
    isBounded
      ? 'it would apply to lines without a bound of their own'
      : isSlow
        ? 'a reader that is far away gets at most this much in one round trip'
        : `a reader that stops looks healthy until the last of these sizes is full; ${decimal(lines)} such readers would take ${size(all)}`,
    isSlow
      ? 'sysctl -w net.ipv4.tcp_wmem="4096 16384 4194304"'
      : socketSendBufferBytes > 0
        ? 'npm install koffi; or sysctl -w net.ipv4.tcp_wmem="4096 16384 131072", which applies to all connections of the machine'
        : '--socket-send-buffer 64KiB',
  );
}

function checkReceiveBuffers({ tcpReceiveBytes }: Machine, { lines }: Plan): Finding | undefined {
  if (tcpReceiveBytes === undefined) return undefined;
  return found(
    'receive-buffers',
    tcpReceiveBytes[2] < BUFFER_BYTES_MIN ? 'advice' : 'ok',
    `net.ipv4.tcp_rmem ${triple(tcpReceiveBytes)}`,
    `less than ${size(BUFFER_BYTES_MIN)} slows publishers that are far away; it does not matter for ${decimal(lines)} lines that only listen`,
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
    untilGivenUpMs > DEAD_PEER_MS_MAX ? 'advice' : 'ok',
    isBounded
      ? `closed within ${duration(untilGivenUpMs)} (--dead-peer-timeout)`
      : `net.ipv4.tcp_retries2 ${tcpRetries}: held for about ${duration(untilGivenUpMs)}`,
    `phones leave without closing; those among ${decimal(lines)} lines cost memory and writes until then`,
    isBounded
      ? '--dead-peer-timeout 60s'
      : `${deadPeerTimeoutMs > 0 ? 'npm install koffi, for --dead-peer-timeout' : '--dead-peer-timeout 60s'}; or sysctl -w net.ipv4.tcp_retries2=8, which applies to all connections of the machine`,
  );
}

/**
 * How long the kernel retries before it gives up, ms: first after 200 ms, then twice as long each
 * time, up to 120 s (tcp_model_timeout in net/ipv4/tcp_timer.c).
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
  // The module may be loaded and track nothing, when no rule asks for it.
  const level = wanted <= max ? 'ok' : count === 0 ? 'advice' : 'problem';
  return found(
    'tracking',
    level,
    `net.netfilter.nf_conntrack_max ${decimal(max)}, ${decimal(count)} in use`,
    `the firewall tracks each of ${decimal(lines)} lines, twice behind a proxy on this machine; above the limit new connections are dropped silently`,
    `sysctl -w net.netfilter.nf_conntrack_max=${2 ** Math.ceil(Math.log2(2 * wanted))}`,
  );
}

function triple(values: Triple): string {
  return values.map(size).join(', ');
}

/** A size in MiB as docker and systemd take it. */
function bytesAsOption(bytes: number): string {
  return `${Math.ceil(bytes / 1024 ** 2)}M`;
}

/** Negative, 0 or positive, as the first version is older, the same or newer. */
function compareVersions(one: string, other: string): number {
  const others = other.split('.').map(Number);
  const differences = one
    .split('.')
    .map((part, nth) => Number.parseInt(part, 10) - (others[nth] ?? 0));
  return differences.find((difference) => difference !== 0) ?? 0;
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
