/** The doctor's checks of what the kernel allows TCP and the firewall, for so many lines. */

import { PAGE_BYTES } from '../../linux/sockets.js';
import { decimal, duration, size } from '../report/words.js';
import { found, type Finding, type MachineCheck } from './finding.js';
import type { Machine, Plan, Triple } from './machine.js';

/**
 * Connections that may wait to be accepted, as uWebSockets.js asks for; net.core.somaxconn bounds
 * it. native-notes/listen-backlog.md
 */
const LISTEN_BACKLOG = 512;

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

/** In the order in which their findings are shown. */
export const TCP_CHECKS: readonly MachineCheck[] = [
  checkAcceptQueue,
  checkSynQueue,
  checkMigration,
  checkPorts,
  checkTcpMemory,
  checkSendBuffers,
  checkReceiveBuffers,
  checkDeadPeers,
  checkTracking,
];

function checkAcceptQueue({ somaxconn }: Machine, { lines }: Plan): Finding | undefined {
  if (somaxconn === undefined) return undefined;
  return found(
    'accept-queue',
    somaxconn < Math.min(LISTEN_BACKLOG, lines) ? 'advice' : 'ok',
    `net.core.somaxconn ${decimal(somaxconn)}, of which the server uses up to ${LISTEN_BACKLOG}`,
    `when ${decimal(lines)} lines reconnect at once and this queue is full, a connection is ` +
      'dropped and tried again after a second',
    'sysctl -w net.core.somaxconn=4096',
  );
}

function checkSynQueue({ synBacklog, synCookies }: Machine, { lines }: Plan): Finding | undefined {
  if (synBacklog === undefined) return undefined;
  return found(
    'syn-queue',
    synCookies === false && synBacklog < Math.min(LISTEN_BACKLOG, lines) ? 'advice' : 'ok',
    `net.ipv4.tcp_max_syn_backlog ${decimal(synBacklog)}, SYN cookies ` +
      (synCookies === undefined ? 'unknown' : synCookies ? 'on' : 'off'),
    `when ${decimal(lines)} lines reconnect at once, unfinished handshakes wait in this queue; ` +
      'without SYN cookies those above it are dropped',
    'sysctl -w net.ipv4.tcp_syncookies=1 net.ipv4.tcp_max_syn_backlog=4096',
  );
}

function checkMigration({ migratesRequests }: Machine, { workers }: Plan): Finding | undefined {
  if (migratesRequests === undefined || workers === 1) return undefined;
  return found(
    'migration',
    migratesRequests ? 'ok' : 'advice',
    `net.ipv4.tcp_migrate_req ${Number(migratesRequests)}`,
    `${decimal(workers)} processes share the port: when one of them ends, the connections that ` +
      'wait to be accepted there are reset, unless the kernel gives them to the others',
    'sysctl -w net.ipv4.tcp_migrate_req=1',
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
    `a proxy on this machine needs one for each of ${decimal(lines)} lines that it forwards to ` +
      'one address, and holdline load needs one for each client',
    lines <= PORTS_MAX
      ? widen
      : `${widen}, and several addresses for the proxy to connect to (127.0.0.1, 127.0.0.2 …), ` +
          `${decimal(PORTS_MAX)} lines each`,
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
    `pressure at ${size(pressureBytes)}, which is ${decimal(stalled)} stalled lines of ` +
      size(perLine),
    `when more of ${decimal(lines)} lines stall at once, the kernel shrinks the windows of all ` +
      'connections of the machine, healthy ones included',
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
    'net.ipv4.tcp_wmem ' +
      `${triple(tcpSendBytes)}${isBounded ? ', not used for lines: --socket-send-buffer bounds them' : ''}`,
    isBounded
      ? 'it would apply to lines without a bound of their own'
      : isSlow
        ? 'a reader that is far away gets at most this much in one round trip'
        : 'a reader that stops looks healthy until the last of these sizes is full; ' +
          `${decimal(lines)} such readers would take ${size(all)}`,
    isSlow
      ? 'sysctl -w net.ipv4.tcp_wmem="4096 16384 4194304"'
      : socketSendBufferBytes > 0
        ? 'npm install koffi; or sysctl -w net.ipv4.tcp_wmem="4096 16384 131072", which ' +
          'applies to all connections of the machine'
        : '--socket-send-buffer 64KiB',
  );
}

function checkReceiveBuffers({ tcpReceiveBytes }: Machine, { lines }: Plan): Finding | undefined {
  if (tcpReceiveBytes === undefined) return undefined;
  return found(
    'receive-buffers',
    tcpReceiveBytes[2] < BUFFER_BYTES_MIN ? 'advice' : 'ok',
    `net.ipv4.tcp_rmem ${triple(tcpReceiveBytes)}`,
    `less than ${size(BUFFER_BYTES_MIN)} slows publishers that are far away; it does not ` +
      `matter for ${decimal(lines)} lines that only listen`,
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
    `phones leave without closing; those among ${decimal(lines)} lines cost memory and writes ` +
      'until then',
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
    `the firewall tracks each of ${decimal(lines)} lines, twice behind a proxy on this ` +
      'machine; above the limit new connections are dropped silently',
    `sysctl -w net.netfilter.nf_conntrack_max=${2 ** Math.ceil(Math.log2(2 * wanted))}`,
  );
}

function triple(values: Triple): string {
  return values.map(size).join(', ');
}
