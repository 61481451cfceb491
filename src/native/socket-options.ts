/**
 * Options of the kernel's sockets that neither Node nor uWebSockets sets
 * (native-notes/socket-defaults.md). They are set on the listening socket, and the sockets that it
 * accepts inherit them (native-notes/socket-options.md). Linux with `koffi` only; if an option
 * cannot be set, a sentence says so and the server goes on.
 */
import { getSystemErrorName } from 'node:util';
import {
  IPPROTO_TCP,
  loadLibc,
  ownListeners,
  SOL_SOCKET,
  type Libc,
  type SocketFunctions,
} from './libc.js';
import type { SocketOptions, SocketReport } from './socket-report.js';

/** What is wanted; 0 leaves the kernel's default. */
export interface WantedSocketOptions {
  readonly socketSendBufferBytes: number;
  readonly socketReceiveBufferBytes: number;
  readonly notsentLowatBytes: number;
  readonly deadPeerTimeoutMs: number;
}

/**
 * One option. Its numbers are those of Linux' include/uapi for x64 and arm64, for which
 * uWebSockets.js has binaries.
 */
interface SocketOption {
  /** As in setsockopt(2) and tcp(7). */
  readonly name: string;
  readonly level: number;
  readonly option: number;
  readonly value: number;
  /** Where the value that is read back goes; SO_KEEPALIVE has no field, as three others show it. */
  readonly field?: keyof SocketOptions;
  /** The sysctl that silently bounds a buffer; a buffer is read back doubled. */
  readonly bound?: string;
}

/** What one flag wants: its options, and the consequence of not having them. */
interface Wish {
  readonly flag: string;
  readonly options: readonly SocketOption[];
  readonly without?: string;
}

/**
 * Shares of the dead peer's time: how long data may stay unacknowledged or a line silent, and the
 * time between two probes.
 */
const UNANSWERED_SHARE = 0.35;
const BETWEEN_PROBES_SHARE = 0.1;

/** The kernel's times by which a vanished peer is noticed. */
export interface DeadPeerTimes {
  /** From the first byte that is not acknowledged, or from the window's closing, to the close. */
  readonly userTimeoutMs: number;
  /** From the last byte received to the first probe of a silent line. */
  readonly idleSeconds: number;
  /** From the probe to the close. */
  readonly intervalSeconds: number;
}

/**
 * Times so that a vanished peer's connection is closed within `timeoutMs`. A silent line is closed
 * `idle + interval` after its last sign of life: with a user timeout the kernel closes it at the
 * first check at which that timeout has passed and a probe is unanswered, and the user timeout is
 * never longer than the two. The worst case is data written just before that check: it defers the
 * check and then takes the user timeout, so all three add up. The rest is left for the kernel's
 * timers, which are a little late. native-notes/dead-peer.md
 */
export function deadPeerTimes(timeoutMs: number): DeadPeerTimes {
  const userTimeoutMs = Math.floor(timeoutMs * UNANSWERED_SHARE);
  return {
    userTimeoutMs,
    // Keepalive is in whole seconds.
    idleSeconds: Math.max(1, Math.floor(userTimeoutMs / 1000)),
    intervalSeconds: Math.max(1, Math.floor((timeoutMs * BETWEEN_PROBES_SHARE) / 1000)),
  };
}

function wishesFrom(wanted: WantedSocketOptions): Wish[] {
  const socket = (
    name: string,
    option: number,
    bytes: number,
    field: keyof SocketOptions,
    bound: string,
  ): SocketOption => {
    return { name, level: SOL_SOCKET, option, value: bytes, field, bound };
  };
  const tcp = (
    name: string,
    option: number,
    value: number,
    field: keyof SocketOptions,
  ): SocketOption => {
    return { name, level: IPPROTO_TCP, option, value, field };
  };
  const wishes: Wish[] = [];
  if (wanted.socketSendBufferBytes > 0) {
    wishes.push({
      flag: '--socket-send-buffer',
      options: [
        socket(
          'SO_SNDBUF',
          7,
          wanted.socketSendBufferBytes,
          'sendBufferBytes',
          'net.core.wmem_max',
        ),
      ],
      // native-notes/kernel-buffers-before-stall.md
      without: 'a reader that has stopped may look healthy for about 4 MB',
    });
  }
  if (wanted.socketReceiveBufferBytes > 0) {
    wishes.push({
      flag: '--socket-receive-buffer',
      options: [
        socket(
          'SO_RCVBUF',
          8,
          wanted.socketReceiveBufferBytes,
          'receiveBufferBytes',
          'net.core.rmem_max',
        ),
      ],
      // native-notes/repeated-reads.md
      without: 'a client that sends without a pause may hold the loop for as long as it sends',
    });
  }
  if (wanted.notsentLowatBytes > 0) {
    wishes.push({
      flag: '--notsent-lowat',
      options: [tcp('TCP_NOTSENT_LOWAT', 25, wanted.notsentLowatBytes, 'notsentLowatBytes')],
    });
  }
  if (wanted.deadPeerTimeoutMs > 0) {
    const { userTimeoutMs, idleSeconds, intervalSeconds } = deadPeerTimes(wanted.deadPeerTimeoutMs);
    wishes.push({
      flag: '--dead-peer-timeout',
      options: [
        tcp('TCP_USER_TIMEOUT', 18, userTimeoutMs, 'userTimeoutMs'),
        tcp('TCP_KEEPIDLE', 4, idleSeconds, 'keepaliveIdleSeconds'),
        tcp('TCP_KEEPINTVL', 5, intervalSeconds, 'keepaliveIntervalSeconds'),
        // Only for kernels that ignore the user timeout here; there it has the same effect.
        tcp('TCP_KEEPCNT', 6, 1, 'keepaliveProbes'),
        { name: 'SO_KEEPALIVE', level: SOL_SOCKET, option: 9, value: 1 },
      ],
      without: 'a peer that vanished may be held for about 15 minutes',
    });
  }
  return wishes;
}

/**
 * Prepares before a server listens on `port` (0: any). Returns the function that sets the options;
 * it is called with the actual port in the turn of listening, because a connection made before
 * would not have them (native-notes/listen-addresses.md). Loads nothing if nothing is wanted.
 */
export async function prepareSocketOptions(
  wanted: WantedSocketOptions,
  port: number,
): Promise<(port: number) => SocketReport> {
  const wishes = wishesFrom(wanted);
  if (wishes.length === 0) return () => ({ options: {}, problems: [] });
  if (process.platform !== 'linux')
    return () =>
      nothingSet(wishes, `they are supported on Linux only, and this is ${process.platform}`);
  let libc: Libc;
  try {
    libc = await loadLibc();
  } catch (cause) {
    const [words = ''] = (cause instanceof Error ? cause.message : String(cause)).split('\n');
    return () =>
      nothingSet(
        wishes,
        `the optional dependency koffi does not load (${words}); run npm install koffi`,
      );
  }
  // This process may have another listener with the same port, on another address.
  const others = new Set(port === 0 ? [] : ownListeners(port, libc).map(({ link }) => link));
  return (listening) => {
    const found = ownListeners(listening, libc).find(({ link }) => !others.has(link));
    if (found === undefined)
      return nothingSet(wishes, `no socket of this process listens on port ${listening}`);
    return setOptions(found.descriptor, wanted, libc);
  };
}

/** Sets what is wanted on a socket and reads it back. */
export function setOptions(
  descriptor: number,
  wanted: WantedSocketOptions,
  libc: SocketFunctions,
): SocketReport {
  const options: { -readonly [Field in keyof SocketOptions]: number } = {};
  const problems: string[] = [];
  for (const { flag, options: wished, without } of wishesFrom(wanted)) {
    for (const { name, level, option, value, field, bound } of wished) {
      const errno = libc.set(descriptor, level, option, value);
      if (errno !== 0) {
        problems.push(
          `cannot set ${flag} (${name} to ${value}: ${getSystemErrorName(-errno)})${consequence(without)}`,
        );
        break;
      }
      const got = libc.get(descriptor, level, option);
      if (got === undefined || field === undefined) continue;
      options[field] = got;
      if (bound !== undefined && got < 2 * value) {
        problems.push(
          `${flag}: the kernel gives ${got / 2} of ${value} bytes, limited by ${bound}; sysctl -w ${bound}=${value} would allow it`,
        );
      }
    }
  }
  return { options, problems };
}

function nothingSet(wishes: readonly Wish[], why: string): SocketReport {
  const flags = wishes.map(({ flag }) => flag).join(', ');
  const without = wishes.flatMap((wish) => wish.without ?? []).join(', and ');
  return { options: {}, problems: [`cannot set ${flags}: ${why}${consequence(without)}`] };
}

function consequence(without = ''): string {
  return without === '' ? '' : `; without it ${without}`;
}
