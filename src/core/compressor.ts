/**
 * The compressor of a hub: makes blocks for lines in step and bodies for polls, and takes at most a
 * share of the loop's time. Nothing is kept from one block to the next, neither a context of zlib
 * nor a byte: a block refers to the plain bytes before it, which are given with it.
 */
import { constants, deflateRawSync, gzipSync } from 'node:zlib';
import type { Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import {
  COMPRESS_BODY_BYTES_MIN,
  COMPRESS_CREDIT_MS_MAX,
  COMPRESS_DEBT_MS_MAX,
  COMPRESS_KEPT_BYTES_MAX,
  COMPRESS_TIME_SHARE,
} from '../limits.js';

/**
 * scripts/compression-settings.ts: 8 KiB of window give 95 % of what 32 KiB give, in a quarter of
 * the time for a block of one event; a smaller memLevel gives the same bytes with less to clear.
 */
const WINDOW_BITS = 13;
const LEVEL = 6;
const MEM_LEVEL = 6;

/** What zlib refers back to at most: its window without MIN_LOOKAHEAD (deflate.h). */
export const DICTIONARY_BYTES_MAX = 2 ** WINDOW_BITS - 262;

/** What a block, and a byte of it, are charged, ms: measured on the machine of bench/README.md. */
const BLOCK_MS = 0.02;
const BYTE_MS = 0.000_012;

/** Who keeps blocks, and may be told to drop them. */
interface Keeper {
  /** Bytes that it keeps. */
  readonly keptBytes: number;
  clear(): void;
}

export class Compressor {
  readonly #clock: Clock;
  readonly #counters: Counters;
  #creditMs = COMPRESS_CREDIT_MS_MAX;
  #creditAtMs: number;
  /** Who keeps blocks; who began first is first. */
  readonly #keepers = new Set<Keeper>();
  #keptBytes = 0;
  /** Bodies of polls; what was not worth it is there as undefined. */
  readonly #bodies = new WeakMap<Uint8Array, Uint8Array | undefined>();

  constructor(clock: Clock, counters: Counters) {
    this.#clock = clock;
    this.#counters = counters;
    this.#creditAtMs = clock.nowMs();
  }

  /** True while the compressor has not used up its share of the time. */
  get hasTime(): boolean {
    const nowMs = this.#clock.nowMs();
    this.#creditMs = Math.min(
      COMPRESS_CREDIT_MS_MAX,
      this.#creditMs + (nowMs - this.#creditAtMs) * COMPRESS_TIME_SHARE,
    );
    this.#creditAtMs = nowMs;
    return this.#creditMs > 0;
  }

  /** Bytes of blocks that are kept. */
  get keptBytes(): number {
    return this.#keptBytes;
  }

  /**
   * The bytes as raw deflate blocks that end at a byte, to be decoded right after `dictionary`:
   * whoever has decoded other bytes before decodes nonsense.
   */
  deflate(plain: Uint8Array, dictionary: Uint8Array | undefined): Buffer {
    const beganMs = this.#charge(plain);
    const block = deflateRawSync(plain, {
      windowBits: WINDOW_BITS,
      level: LEVEL,
      memLevel: MEM_LEVEL,
      // One buffer is enough unless the bytes do not compress, and it stays as long as the block.
      chunkSize: Math.max(512, plain.length >>> 1),
      finishFlush: constants.Z_SYNC_FLUSH,
      ...(dictionary !== undefined && dictionary.length > 0 && { dictionary }),
    });
    this.#count(plain, block, beganMs);
    return block;
  }

  /**
   * The body of an answer, compressed whole; undefined when that would not make it smaller, or when
   * there is no time. Whoever asks for the same body gets the same bytes.
   */
  gzip(body: Uint8Array): Uint8Array | undefined {
    if (body.length < COMPRESS_BODY_BYTES_MIN) return undefined;
    if (this.#bodies.has(body)) return this.#bodies.get(body);
    if (!this.hasTime) {
      this.#counters.compress_refused_total++;
      return undefined;
    }
    const beganMs = this.#charge(body);
    const bytes = gzipSync(body, { level: LEVEL });
    this.#count(body, bytes, beganMs);
    const smaller = bytes.length < body.length ? bytes : undefined;
    this.#bodies.set(body, smaller);
    return smaller;
  }

  /** A keeper keeps so many bytes more. When all keep too many, others drop theirs. */
  kept(keeper: Keeper, bytes: number): void {
    this.#keepers.add(keeper);
    this.#keptBytes += bytes;
    for (const other of this.#keepers) {
      if (this.#keptBytes <= COMPRESS_KEPT_BYTES_MAX) return;
      if (other !== keeper) other.clear();
    }
  }

  /** A keeper has dropped all that it kept. */
  dropped(keeper: Keeper, bytes: number): void {
    if (this.#keepers.delete(keeper)) this.#keptBytes -= bytes;
  }

  #charge(plain: Uint8Array): number {
    // By size and not by the clock, so that the same events are compressed in the same way.
    const chargeMs = BLOCK_MS + BYTE_MS * plain.length;
    this.#creditMs = Math.max(-COMPRESS_DEBT_MS_MAX, this.#creditMs - chargeMs);
    return performance.now();
  }

  #count(plain: Uint8Array, bytes: Uint8Array, beganMs: number): void {
    const counters = this.#counters;
    counters.compress_seconds_total += (performance.now() - beganMs) / 1000;
    counters.compress_blocks_total++;
    counters.compress_plain_bytes_total += plain.length;
    counters.compress_bytes_total += bytes.length;
  }
}
