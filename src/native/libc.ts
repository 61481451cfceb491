/** The C library's functions on own sockets, through `koffi`, an optional dependency. */
import { readdirSync, readlinkSync } from 'node:fs';

export interface SocketFunctions {
  /** setsockopt(2) of an `int`; returns the errno, 0 for success. */
  set(this: void, descriptor: number, level: number, option: number, value: number): number;
  /** getsockopt(2) of an `int`; undefined if it fails, as it does for what is no socket. */
  get(this: void, descriptor: number, level: number, option: number): number | undefined;
  /** The local port of an IPv4 or IPv6 socket; undefined for anything else. */
  portOf(this: void, descriptor: number): number | undefined;
}

export interface Libc extends SocketFunctions {
  /** getsockopt(2) of a structure, into `bytes`; false unless exactly that many were written. */
  fill(this: void, descriptor: number, level: number, option: number, bytes: Buffer): boolean;
  /** shutdown(2) of both directions. */
  shutDown(this: void, descriptor: number): void;
}

export const SOL_SOCKET = 1;
export const IPPROTO_TCP = 6;

const SHUT_RDWR = 2;

/** Of sockaddr_in6, the longer of the two, and Linux' numbers of the families. */
const SOCKADDR_BYTES = 28;
const AF_INET = 2;
const AF_INET6 = 10;

/** 1 for a socket that listens. */
const SO_ACCEPTCONN = 30;

/** Costs about 4 MB of memory and 25 ms. Rejects if koffi does not load. */
export async function loadLibc(): Promise<Libc> {
  const { default: koffi } = await import('koffi');
  // Null: what is loaded already, whatever the C library's file is called.
  const library = koffi.load(null);
  const set = library.func('int setsockopt(int, int, int, const int *, uint32_t)');
  const get = library.func('int getsockopt(int, int, int, _Out_ int *, _Inout_ uint32_t *)');
  const fill = library.func('int getsockopt(int, int, int, void *, _Inout_ uint32_t *)');
  const name = library.func('int getsockname(int, _Out_ uint8_t *, _Inout_ uint32_t *)');
  const shutdown = library.func('int shutdown(int, int)');
  return {
    set: (descriptor, level, option, value) =>
      set(descriptor, level, option, [value], 4) === 0 ? 0 : koffi.errno(),
    get: (descriptor, level, option) => {
      const value = [0];
      return get(descriptor, level, option, value, [4]) === 0 ? value[0] : undefined;
    },
    portOf: (descriptor) => {
      // sockaddr_in and sockaddr_in6 both begin with the family, in this machine's byte order, and
      // the port, in the network's.
      const address = Buffer.alloc(SOCKADDR_BYTES);
      if (name(descriptor, address, [SOCKADDR_BYTES]) !== 0) return undefined;
      const family = address.readUInt16LE(0);
      return family === AF_INET || family === AF_INET6 ? address.readUInt16BE(2) : undefined;
    },
    fill: (descriptor, level, option, bytes) => {
      const length = [bytes.length];
      return fill(descriptor, level, option, bytes, length) === 0 && length[0] === bytes.length;
    },
    shutDown: (descriptor) => void shutdown(descriptor, SHUT_RDWR),
  };
}

/** A listening socket of this process. */
export interface OwnListener {
  readonly descriptor: number;
  /** `socket:[inode]`: names the socket for ever, whereas descriptors are used again. */
  readonly link: string;
}

/**
 * The sockets of this process that listen on `port`. Each descriptor is asked, because the kernel's
 * table has a row for every socket of the machine, and tens of megabytes of them after many clients
 * have left (native-notes/proc-net-tcp.md). Empty if there is no /proc.
 */
export function ownListeners(port: number, libc: SocketFunctions): OwnListener[] {
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
