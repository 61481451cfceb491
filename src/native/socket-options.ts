/**
 * Options of the kernel's sockets that neither Node nor uWebSockets sets
 * (native-notes/socket-defaults.md), through setsockopt(2) of the C library and `koffi`, an
 * optional dependency. They are set on the listening socket, and what it accepts inherits them.
 * Linux only; where something cannot be set, a sentence says so and the server goes on.
 * native-notes/socket-options.md
 */
import { readdirSync, readlinkSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';

/** What is wanted; 0 leaves the kernel's own. */
export interface WantedSocketOptions {
  readonly socketSendBufferBytes: number;
  readonly socketReceiveBufferBytes: number;
  readonly notsentLowatBytes: number;
  readonly deadPeerTimeoutMs: number;
}

/**
 * What the listening socket has, read back from it; what was not wanted or could not be set is left
 * out.
 */
export interface SocketOptions {
  /** SO_SNDBUF as the kernel counts it: twice what was asked for, its own bookkeeping included. */
  readonly sendBufferBytes?: number;
  /** SO_RCVBUF, counted in the same way. */
  readonly receiveBufferBytes?: number;
  /** TCP_NOTSENT_LOWAT. */
  readonly notsentLowatBytes?: number;
  /** TCP_USER_TIMEOUT. */
  readonly userTimeoutMs?: number;
  /** TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT. */
  readonly keepaliveIdleSeconds?: number;
  readonly keepaliveIntervalSeconds?: number;
  readonly keepaliveProbes?: number;
}

/** What became of the wish. */
export interface SocketReport {
  readonly options: SocketOptions;
  /** One sentence for each thing that is not as it was wanted. */
  readonly problems: readonly string[];
}

/** Functions of the C library: options of type `int`, and where a socket is. */
export interface Libc {
  /** Sets an option; the errno, 0 when it is set. */
  set(this: void, descriptor: number, level: number, option: number, value: number): number;
  /** Reads an option; undefined when it cannot be read, also of what is no socket. */
  get(this: void, descriptor: number, level: number, option: number): number | undefined;
  /** The local port of an IPv4 or IPv6 socket; undefined of what is none. */
  portOf(this: void, descriptor: number): number | undefined;
}

/**
 * One option, with its numbers from Linux' include/uapi for x64 and arm64, the machines that
 * uWebSockets.js has binaries for.
 */
interface SocketOption {
  /** As setsockopt(2) and tcp(7) call it. */
  readonly name: string;
  readonly level: number;
  readonly option: number;
  readonly value: number;
  /**
   * Where the value read back stands; SO_KEEPALIVE alone has no place, since the other three tell
   * it.
   */
  readonly field?: keyof SocketOptions;
  /** The sysctl that bounds a buffer, without a word; a buffer is read back doubled. */
  readonly bound?: string;
}

/** A wish with the options that grant it, and what not having it means. */
interface Wish {
  readonly flag: string;
  readonly options: readonly SocketOption[];
  readonly without?: string;
}

const SOL_SOCKET = 1;
const IPPROTO_TCP = 6;

/** Of sockaddr_in6, the longer one, and what families are called on Linux. */
const SOCKADDR_BYTES = 28;
const AF_INET = 2;
const AF_INET6 = 10;

/** Option that is 1 of a socket that listens. */
const SO_ACCEPTCONN = 30;

/**
 * Shares of the dead peer's time: what data may stay unacknowledged and what a line may be silent,
 * and between two probes.
 */
const UNANSWERED_SHARE = 0.35;
const BETWEEN_PROBES_SHARE = 0.1;

/** How a vanished peer is found out within a time. */
export interface DeadPeerTimes {
  /** From the first byte that is not acknowledged, or from the window's closing, to the end. */
  readonly userTimeoutMs: number;
  /** From the last byte that came to the first probe of a silent line. */
  readonly idleSeconds: number;
  /** From the probe to the end. */
  readonly intervalSeconds: number;
}

/**
 * Times for a peer that is to be gone within `timeoutMs`. A silent line ends `idle + interval`
 * after its last sign of life: with a user timeout set the kernel ends it at the first look that
 * finds both that time past and a probe unanswered, and the user timeout is never longer than the
 * two. The worst case is data written just before, which holds that look off and has the user
 * timeout for itself: all three together. The rest is for the kernel's timers, which come a little
 * later. native-notes/dead-peer.md
 */
export function deadPeerTimes(timeoutMs: number): DeadPeerTimes {
  const userTimeoutMs = Math.floor(timeoutMs * UNANSWERED_SHARE);
  return {
    userTimeoutMs,
    // The kernel counts keepalive in whole seconds.
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
        // Counts only on kernels that do not ask the user timeout, and then comes to the same.
        tcp('TCP_KEEPCNT', 6, 1, 'keepaliveProbes'),
        { name: 'SO_KEEPALIVE', level: SOL_SOCKET, option: 9, value: 1 },
      ],
      without: 'a peer that vanished may be held for about 15 minutes',
    });
  }
  return wishes;
}

/**
 * Gets ready before a server listens on `port` (0: any), and gives the function to call with the
 * port right after, in the same turn: a connection that is made in between would not have the
 * options (native-notes/listen-addresses.md). Nothing is loaded when nothing is wanted.
 */
export async function prepareSocketOptions(
  wanted: WantedSocketOptions,
  port: number,
): Promise<(port: number) => SocketReport> {
  const wishes = wishesFrom(wanted);
  if (wishes.length === 0) return () => ({ options: {}, problems: [] });
  if (process.platform !== 'linux')
    return () =>
      nothingSet(wishes, `this is ${process.platform}, and they are known for Linux only`);
  let libc: Libc;
  try {
    libc = await loadLibc();
  } catch (cause) {
    const [words = ''] = (cause instanceof Error ? cause.message : String(cause)).split('\n');
    return () =>
      nothingSet(
        wishes,
        `koffi, an optional dependency, does not load (${words}); npm install koffi`,
      );
  }
  // On another address the same port may have another listener, of this process, too.
  const others = new Set(port === 0 ? [] : ownListeners(port, libc).map(({ link }) => link));
  return (listening) => {
    const found = ownListeners(listening, libc).find(({ link }) => !others.has(link));
    if (found === undefined)
      return nothingSet(wishes, `no socket of this process listens on port ${listening}`);
    return setOptions(found.descriptor, wanted, libc);
  };
}

/**
 * A socket of this process that listens; the link, `socket:[inode]`, names it once and for all,
 * where a descriptor is given again.
 */
interface OwnListener {
  readonly descriptor: number;
  readonly link: string;
}

/**
 * The sockets of this process that listen on a port, asked of each descriptor: the kernel's table
 * has a row for every socket of the machine, and tens of megabytes of them where a herd has just
 * left (native-notes/proc-net-tcp.md). Empty where there is no /proc.
 */
export function ownListeners(port: number, libc: Libc): OwnListener[] {
  let names: string[];
  try {
    names = readdirSync('/proc/self/fd');
  } catch {
    return [];
  }
  const listeners: OwnListener[] = [];
  for (const name of names) {
    const descriptor = Number(name);
    if (libc.get(descriptor, SOL_SOCKET, SO_ACCEPTCONN) !== 1 || libc.portOf(descriptor) !== port)
      continue;
    listeners.push({ descriptor, link: readlinkSync(`/proc/self/fd/${name}`) });
  }
  return listeners;
}

/** Sets what is wanted on a socket and reads it back. */
export function setOptions(
  descriptor: number,
  wanted: WantedSocketOptions,
  libc: Libc,
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
          `${flag}: ${value} bytes were asked for and the kernel gives ${got / 2}, as ${bound} says; sysctl -w ${bound}=${value} would allow it`,
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

/**
 * The C library of this process. Costs about 4 MB of memory and 25 ms; rejects where koffi does not
 * load.
 */
export async function loadLibc(): Promise<Libc> {
  const { default: koffi } = await import('koffi');
  // Null: what is loaded already, whatever the C library's file is called.
  const library = koffi.load(null);
  const set = library.func('int setsockopt(int, int, int, const int *, uint32_t)');
  const get = library.func('int getsockopt(int, int, int, _Out_ int *, _Inout_ uint32_t *)');
  const name = library.func('int getsockname(int, _Out_ uint8_t *, _Inout_ uint32_t *)');
  return {
    set: (descriptor, level, option, value) =>
      set(descriptor, level, option, [value], 4) === 0 ? 0 : koffi.errno(),
    get: (descriptor, level, option) => {
      const value = [0];
      return get(descriptor, level, option, value, [4]) === 0 ? value[0] : undefined;
    },
    portOf: (descriptor) => {
      // sockaddr_in and sockaddr_in6 both begin with the family, in this machine's order, and the
      // port, in the network's.
      const address = Buffer.alloc(SOCKADDR_BYTES);
      if (name(descriptor, address, [SOCKADDR_BYTES]) !== 0) return undefined;
      const family = address.readUInt16LE(0);
      return family === AF_INET || family === AF_INET6 ? address.readUInt16BE(2) : undefined;
    },
  };
}
