/**
 * Sockets that have never sent a byte: closed when a server is full, so that who asks finds a
 * place. uWebSockets does not tell which socket a request came from
 * (native-notes/responses-expose-no-descriptor.md), the kernel tells which has sent nothing.
 * Through `koffi`, an optional dependency, on Linux; elsewhere nobody is closed.
 */
import { readdirSync } from 'node:fs';
import {
  MUTE_AGE_MS_MIN,
  MUTE_CLOSED_AT_ONCE_MAX,
  MUTE_DESCRIPTORS_CHECKED_MAX,
  MUTE_CHECK_MS,
} from '../limits.js';

/** The three functions of the C library, for TCP sockets. */
interface Libc {
  /** Fills `info`; false where the descriptor is no TCP socket. */
  info(this: void, descriptor: number): boolean;
  localPort(this: void, descriptor: number): number;
  shutDown(this: void, descriptor: number): void;
}

const IPPROTO_TCP = 6;
const TCP_INFO = 11;
const ESTABLISHED = 1;
const SHUT_RDWR = 2;

/**
 * `struct tcp_info` of Linux' include/uapi/linux/tcp.h: where the fields stand that are looked at.
 */
const INFO_BYTES = 136;
const STATE_AT = 0;
const LAST_DATA_RECEIVED_MS_AT = 52;
const BYTES_RECEIVED_AT = 128;

const info = Buffer.alloc(INFO_BYTES);

async function loadLibc(): Promise<Libc | undefined> {
  if (process.platform !== 'linux') return undefined;
  try {
    const { default: koffi } = await import('koffi');
    const libc = koffi.load(null);
    const getsockopt = libc.func('int getsockopt(int, int, int, void *, void *)');
    const getsockname = libc.func('int getsockname(int, void *, void *)');
    const shutdown = libc.func('int shutdown(int, int)');
    const length = Buffer.alloc(4);
    const address = Buffer.alloc(128);
    return {
      info(descriptor) {
        length.writeInt32LE(INFO_BYTES);
        return (
          getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, info, length) === 0 &&
          length.readInt32LE() === INFO_BYTES
        );
      },
      localPort(descriptor) {
        length.writeInt32LE(address.length);
        return getsockname(descriptor, address, length) === 0 ? address.readUInt16BE(2) : 0;
      },
      shutDown: (descriptor) => void shutdown(descriptor, SHUT_RDWR),
    };
  } catch {
    return undefined;
  }
}

export class MuteSockets {
  readonly #libc: Libc | undefined;
  #port = 0;
  /** Places that were made and nobody has taken yet. */
  #places = 0;
  #lookedMs = -Infinity;
  /** Where the next look begins in the list of descriptors. */
  #next = 0;

  private constructor(libc: Libc | undefined) {
    this.#libc = libc;
  }

  static async load(): Promise<MuteSockets> {
    return new MuteSockets(await loadLibc());
  }

  /** The port of the server, once it listens. */
  listensOn(port: number): void {
    this.#port = port;
  }

  /**
   * True when somebody new may have the place of a socket that was silent: it is closed in the next
   * turn. Looks at most every MUTE_CHECK_MS, at MUTE_DESCRIPTORS_CHECKED_MAX descriptors. `closed`
   * is called for each that is closed.
   */
  takePlace(closed: () => void): boolean {
    if (this.#places === 0) this.#makePlaces(closed);
    if (this.#places === 0) return false;
    this.#places--;
    return true;
  }

  #makePlaces(closed: () => void): void {
    const libc = this.#libc;
    const now = performance.now();
    if (libc === undefined || now - this.#lookedMs < MUTE_CHECK_MS) return;
    this.#lookedMs = now;
    const silent = this.#findSilent(libc).toSorted((one, other) => other.ageMs - one.ageMs);
    for (const { descriptor } of silent.slice(0, MUTE_CLOSED_AT_ONCE_MAX)) {
      libc.shutDown(descriptor);
      this.#places++;
      closed();
    }
  }

  /**
   * Sockets of the server that have sent nothing yet; the time since the last data is their age
   * then.
   */
  #findSilent(libc: Libc): { readonly descriptor: number; readonly ageMs: number }[] {
    const all = readdirSync('/proc/self/fd').map(Number);
    const silent: { descriptor: number; ageMs: number }[] = [];
    const count = Math.min(all.length, MUTE_DESCRIPTORS_CHECKED_MAX);
    for (let i = 0; i < count; i++) {
      const descriptor = all[(this.#next + i) % all.length] as number;
      if (
        !libc.info(descriptor) ||
        info[STATE_AT] !== ESTABLISHED ||
        info.readBigUInt64LE(BYTES_RECEIVED_AT) > 0n
      )
        continue;
      const ageMs = info.readUInt32LE(LAST_DATA_RECEIVED_MS_AT);
      if (ageMs >= MUTE_AGE_MS_MIN && libc.localPort(descriptor) === this.#port)
        silent.push({ descriptor, ageMs });
    }
    this.#next = (this.#next + count) % all.length;
    return silent;
  }
}
