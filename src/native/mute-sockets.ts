/**
 * Mute sockets: those that have never sent a byte. When the server is full some are closed, so that
 * a client that does send gets a place. uWebSockets does not tell which socket a request came from
 * (native-notes/responses-expose-no-descriptor.md), but the kernel tells which have sent nothing.
 * On Linux with `koffi` only; elsewhere none is closed.
 */
import { readdirSync } from 'node:fs';
import {
  MUTE_AGE_MS_MIN,
  MUTE_CLOSED_AT_ONCE_MAX,
  MUTE_DESCRIPTORS_CHECKED_MAX,
  MUTE_CHECK_MS,
} from '../limits.js';
import { IPPROTO_TCP, loadLibc, type Libc } from './libc.js';

const TCP_INFO = 11;
const ESTABLISHED = 1;

/** `struct tcp_info` of Linux' include/uapi/linux/tcp.h, and the fields that are read. */
const INFO_BYTES = 136;
const STATE_AT = 0;
const LAST_DATA_RECEIVED_MS_AT = 52;
const BYTES_RECEIVED_AT = 128;

const info = Buffer.alloc(INFO_BYTES);

export class MuteSockets {
  readonly #libc: Libc | undefined;
  #port = 0;
  /** Places that were made and are not taken yet. */
  #places = 0;
  #checkedMs = -Infinity;
  /** Where the next check begins in the list of descriptors. */
  #next = 0;

  private constructor(libc: Libc | undefined) {
    this.#libc = libc;
  }

  static async load(): Promise<MuteSockets> {
    const isLinux = process.platform === 'linux';
    return new MuteSockets(isLinux ? await loadLibc().catch(() => undefined) : undefined);
  }

  /** The port of the server, once it listens. */
  listensOn(port: number): void {
    this.#port = port;
  }

  /**
   * True if a new socket may have the place of a mute one, which is closed in the next turn. Checks
   * MUTE_DESCRIPTORS_CHECKED_MAX descriptors, at most every MUTE_CHECK_MS. `closed` is called for
   * each socket that is closed.
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
    if (libc === undefined || now - this.#checkedMs < MUTE_CHECK_MS) return;
    this.#checkedMs = now;
    const mute = this.#findMute(libc).toSorted((one, other) => other.ageMs - one.ageMs);
    for (const { descriptor } of mute.slice(0, MUTE_CLOSED_AT_ONCE_MAX)) {
      libc.shutDown(descriptor);
      this.#places++;
      closed();
    }
  }

  /** The server's mute sockets, and their age: the time since data came, of which none ever did. */
  #findMute(libc: Libc): { readonly descriptor: number; readonly ageMs: number }[] {
    const all = ownDescriptors();
    const mute: { descriptor: number; ageMs: number }[] = [];
    const count = Math.min(all.length, MUTE_DESCRIPTORS_CHECKED_MAX);
    for (let i = 0; i < count; i++) {
      const descriptor = all[(this.#next + i) % all.length] as number;
      if (
        !libc.fill(descriptor, IPPROTO_TCP, TCP_INFO, info) ||
        info[STATE_AT] !== ESTABLISHED ||
        info.readBigUInt64LE(BYTES_RECEIVED_AT) > 0n
      )
        continue;
      const ageMs = info.readUInt32LE(LAST_DATA_RECEIVED_MS_AT);
      if (ageMs >= MUTE_AGE_MS_MIN && libc.portOf(descriptor) === this.#port)
        mute.push({ descriptor, ageMs });
    }
    if (count > 0) this.#next = (this.#next + count) % all.length;
    return mute;
  }
}

/** Those of this process; none where no descriptor is left to look with, or there is no /proc. */
function ownDescriptors(): number[] {
  try {
    return readdirSync('/proc/self/fd').map(Number);
  } catch {
    return [];
  }
}
