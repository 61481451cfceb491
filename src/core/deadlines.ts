/**
 * Deadlines of many small things on one timer: a wheel of buckets, each a list linked through two
 * arrays by handle. Adding and removing cost the same however many there are, and nothing is
 * allocated for one.
 */
import type { Clock } from '../clock.js';
import { DEADLINE_STEP_MS, SWEEP_SLICE_MS } from '../limits.js';

const NONE = -1;
const FIRST_HANDLES = 64;

export class Deadlines {
  readonly #clock: Clock;
  readonly #expired: (handle: number) => void;
  readonly #startedMs: number;
  /** First handle of each bucket; bucket = step mod buckets. */
  readonly #heads: Int32Array;
  #next = new Int32Array(FIRST_HANDLES);
  #previous = new Int32Array(FIRST_HANDLES);
  /** The bucket that a handle is in, or NONE. */
  #buckets = new Int32Array(FIRST_HANDLES).fill(NONE);
  #count = 0;
  /** The last step whose bucket is empty for good. */
  #step = 0;
  /** Cancels the timer of the next turn, while one is to come. */
  #cancel: (() => void) | undefined;
  #stopped = false;

  /**
   * `expired` is called for a handle that was added and not removed, in a turn of its own: up to a
   * step early, and late only when the time is less than a step.
   */
  constructor(clock: Clock, longestMs: number, expired: (handle: number) => void) {
    this.#clock = clock;
    this.#expired = expired;
    this.#startedMs = clock.nowMs();
    this.#heads = new Int32Array(Math.ceil(longestMs / DEADLINE_STEP_MS) + 2).fill(NONE);
  }

  /** Handles that wait. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of the typed arrays. */
  get memoryBytes(): number {
    return (
      this.#heads.byteLength +
      this.#next.byteLength +
      this.#previous.byteLength +
      this.#buckets.byteLength
    );
  }

  /** The handle, which must not be waiting, expires in `delayMs`, at most the longest time. */
  add(handle: number, delayMs: number): void {
    this.#grow(handle);
    if (this.#count++ === 0) this.#step = this.#stepAt(0);
    // Where the wheel lags behind the clock, a turn of it ends earlier than the longest time from
    // now.
    const step = Math.min(
      Math.max(this.#stepAt(delayMs), this.#step + 1),
      this.#step + this.#heads.length - 1,
    );
    const bucket = step % this.#heads.length;
    const head = this.#heads[bucket] as number;
    this.#next[handle] = head;
    this.#previous[handle] = NONE;
    if (head !== NONE) this.#previous[head] = handle;
    this.#heads[bucket] = handle;
    this.#buckets[handle] = bucket;
    this.#schedule();
  }

  /** Takes a handle out; nothing happens when it is not waiting. */
  remove(handle: number): void {
    const bucket = this.#buckets[handle] ?? NONE;
    if (bucket === NONE) return;
    const next = this.#next[handle] as number;
    const previous = this.#previous[handle] as number;
    if (previous === NONE) this.#heads[bucket] = next;
    else this.#next[previous] = next;
    if (next !== NONE) this.#previous[next] = previous;
    this.#buckets[handle] = NONE;
    this.#count--;
  }

  /** Nothing expires any more. */
  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }

  /** Empties what is due, for a slice of time; the rest in a later turn of the loop. */
  readonly #turn = (): void => {
    // What is added meanwhile needs no timer of its own.
    this.#cancel = nothing;
    if (this.#stopped) return;
    const now = this.#stepAt(0);
    const untilMs = this.#clock.nowMs() + SWEEP_SLICE_MS;
    // After a pause of the whole process one round sees every bucket.
    this.#step = Math.max(this.#step, now - this.#heads.length);
    while (this.#step < now) {
      const bucket = (this.#step + 1) % this.#heads.length;
      for (
        let handle = this.#heads[bucket] as number;
        handle !== NONE;
        handle = this.#heads[bucket] as number
      ) {
        this.remove(handle);
        this.#expired(handle);
        if (this.#clock.nowMs() >= untilMs) {
          this.#clock.soon(this.#turn);
          return;
        }
      }
      this.#step++;
    }
    this.#cancel = undefined;
    if (this.#count > 0) this.#schedule();
  };

  /** The next turn is when the next step begins, or at once where it has begun. */
  #schedule(): void {
    if (this.#cancel !== undefined) return;
    const nextMs = this.#startedMs + (this.#step + 1) * DEADLINE_STEP_MS;
    this.#cancel = this.#clock.later(Math.max(0, nextMs - this.#clock.nowMs()), this.#turn);
  }

  /** The step that is under way in `delayMs`. */
  #stepAt(delayMs: number): number {
    return Math.floor((this.#clock.nowMs() - this.#startedMs + delayMs) / DEADLINE_STEP_MS);
  }

  #grow(handle: number): void {
    let length = this.#buckets.length;
    if (handle < length) return;
    while (length <= handle) length *= 2;
    this.#next = grown(this.#next, length);
    this.#previous = grown(this.#previous, length);
    this.#buckets = grown(this.#buckets, length);
  }
}

function nothing(): void {}

function grown(array: Int32Array<ArrayBuffer>, length: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(length).fill(NONE);
  larger.set(array);
  return larger;
}
