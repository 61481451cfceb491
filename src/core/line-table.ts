/**
 * A table of lines: each held connection of a group is a row of packed parallel arrays.
 *
 *   cursors[row]        Float64   8 B
 *   losses[row]         Float64   8 B
 *   lastWrites[row]     Uint32    4 B
 *   handles[row]        Int32     4 B
 *   openedSeconds[row]  Uint32    4 B
 *   trustedFrom[row]    Uint32    4 B
 *   states[row]         Uint8     1 B
 *   inGrace[row]        Uint8     1 B
 *   sockets[row]        reference 8 B
 *   clean[row]          Float64   8 B   only where lines are given gzip blocks
 *
 * Removing a row moves the last one into its place. Tables are walked downwards, so that a row that
 * moves has been visited already.
 */
import { isUnblemished, trustedFromOpening, trustedFromPause, trustOf } from './grace.js';

/** Has not reached the head since it joined or stalled. Nothing waits for it. */
export const CATCHING_UP = 0;
/** Has reached the head and kept up since. Events that it has not been given are never evicted. */
export const HEALTHY = 1;
/** Its socket has drained. A probe comes before the next write: does it take bytes again? */
export const DRAINED = 2;
/** Refused bytes. Nothing is written to it until its socket has drained. */
export const STALLED = 3;
/** Is behind the rings, and given what the log keeps (core/history-lines.ts): no sweep sees it. */
export const READING = 4;

/** The cursor of a line that asked for whatever there is: what is lost below is no gap for it. */
export const OLDEST = -1;

/** Bytes of a row in the typed arrays: the sum above without the reference. */
export const TABLE_ROW_BYTES = 34;
export const REFERENCE_BYTES = 8;

/**
 * Whether a line is in grace (core/grace.ts): not; judged at the end of the current window; judged
 * one window later, since it came in the middle.
 */
export const NO_GRACE = 0;
export const IN_GRACE = 1;
export const LATE_IN_GRACE = 2;

const FIRST_ROWS = 4;
/** The rows of one group. Arrays may be longer than `count`; rows beyond it mean nothing. */
export class LineTable<Socket> {
  count = 0;
  /** Lines in state STALLED. Written by {@link LineTable.setState} and removal only. */
  stalledCount = 0;
  /** Lines in state READING. The same. */
  readingCount = 0;
  /** Id up to which the line has been given everything. Only grows. */
  cursors = new Float64Array(FIRST_ROWS);
  /**
   * Losses up to this count (core/loss-clock.ts) were reported to the line, or happened before it
   * joined: they are no gap any more. Negative for a line that is given what the log keeps, maybe
   * stalled meanwhile: core/history-lines.ts.
   */
  losses = new Float64Array(FIRST_ROWS);
  /** Step of the heartbeat wheel at the last write. */
  lastWrites = new Uint32Array(FIRST_ROWS);
  handles = new Int32Array(FIRST_ROWS);
  /** Second of the hub's life in which the line was opened. */
  openedSeconds = new Uint32Array(FIRST_ROWS);
  states = new Uint8Array(FIRST_ROWS);
  /** Second of the hub's life from which the line is trusted, 0 when it is. core/grace.ts */
  trustedFrom = new Uint32Array(FIRST_ROWS);
  /** Not NO_GRACE: the line's channels keep what it has not been given, though it refuses bytes. */
  inGrace = new Uint8Array(FIRST_ROWS);
  /** Lines in grace. */
  graceCount = 0;
  /** Least cursor of lines in grace, and how many have it. Searched for again when none has. */
  #graceLeast = Infinity;
  #graceLeastCount = 0;
  readonly sockets: Socket[] = [];
  /**
   * Id above which the line has been given nothing but the frames of its channel, and all of them
   * up to its cursor. Undefined unless its lines are given gzip blocks (core/compressed-slices.ts).
   */
  clean: Float64Array | undefined;

  constructor(isGzip = false) {
    if (isGzip) this.clean = new Float64Array(FIRST_ROWS);
  }

  /** Bytes of the typed arrays, with rows beyond `count`. The references are on the heap. */
  get memoryBytes(): number {
    const { cursors, losses, lastWrites, handles, openedSeconds, trustedFrom, states, inGrace } =
      this;
    let bytes = 0;
    for (const array of [
      cursors,
      losses,
      lastWrites,
      handles,
      openedSeconds,
      trustedFrom,
      states,
      inGrace,
    ])
      bytes += array.byteLength;
    return bytes + (this.clean?.byteLength ?? 0);
  }

  setState(row: number, state: number): void {
    const before = this.states[row];
    if (before === state) return;
    if (before === STALLED) this.stalledCount--;
    if (state === STALLED) this.stalledCount++;
    if (before === READING) this.readingCount--;
    if (state === READING) {
      this.readingCount++;
      this.#leaveGrace(row);
    }
    // It took everything in time, which is what grace is for. It is trusted from now on, unless it
    // failed before.
    if (
      state === HEALTHY &&
      this.#leaveGrace(row) &&
      isUnblemished(this.trustedFrom[row] as number, this.openedSeconds[row] as number)
    )
      this.trustedFrom[row] = 0;
    this.states[row] = state;
  }

  /** Whether the line may be given grace, see core/grace.ts. */
  trustOf(row: number, second: number): number {
    return trustOf(this.trustedFrom[row] as number, this.openedSeconds[row] as number, second);
  }

  /** The line paused, its channels were held, and their budgets could not pay. core/grace.ts */
  distrust(row: number, second: number, pauseMs: number): void {
    const { trustedFrom, openedSeconds } = this;
    trustedFrom[row] = trustedFromPause(
      second,
      pauseMs,
      trustedFrom[row] as number,
      openedSeconds[row] as number,
    );
  }

  /**
   * The line is in grace until it is healthy, or {@link judgeGrace} or {@link endGrace} ends it.
   */
  startGrace(row: number, grace: typeof IN_GRACE | typeof LATE_IN_GRACE): void {
    if (this.inGrace[row] !== NO_GRACE) return;
    this.inGrace[row] = grace;
    this.graceCount++;
    const cursor = this.cursors[row] as number;
    if (cursor < this.#graceLeast) {
      this.#graceLeast = cursor;
      this.#graceLeastCount = 1;
    } else if (cursor === this.#graceLeast) {
      this.#graceLeastCount++;
    }
  }

  /** The line was given something that is no frame of its channel, or not all up to `id`. */
  interrupt(row: number, id = this.cursors[row] as number): void {
    if (this.clean !== undefined) this.clean[row] = id;
  }

  /** The line has been given everything up to `cursor`. */
  advance(row: number, cursor: number): void {
    if (
      this.inGrace[row] !== NO_GRACE &&
      this.cursors[row] === this.#graceLeast &&
      cursor > this.#graceLeast
    )
      this.#graceLeastCount--;
    this.cursors[row] = cursor;
  }

  /**
   * A window ends. Lines that still refuse bytes and have been given nothing above `goal` lose
   * their grace. If they held up others, `trustedFrom` is the second from which they are trusted
   * again. Not judged before the next end: a line that has drained (it waits for the pump), one at
   * `newestId` (it holds up nothing), and one that came late. Returns how many lost their grace.
   */
  judgeGrace(goal: number, newestId: number, trustedFrom: number | undefined): number {
    let failed = 0;
    for (let row = 0, left = this.graceCount; left > 0; row++) {
      const grace = this.inGrace[row];
      if (grace === NO_GRACE) continue;
      left--;
      const cursor = this.cursors[row] as number;
      const isSpared =
        grace === LATE_IN_GRACE ||
        this.states[row] !== STALLED ||
        (trustedFrom !== undefined && cursor >= newestId);
      if (cursor <= goal && !isSpared) {
        failed++;
        this.#leaveGrace(row);
        if (trustedFrom !== undefined) this.trustedFrom[row] = trustedFrom;
        continue;
      }
      this.inGrace[row] = IN_GRACE;
    }
    return failed;
  }

  /** No line is in grace any more. */
  endGrace(): void {
    this.inGrace.fill(NO_GRACE, 0, this.count);
    this.graceCount = 0;
    this.#graceLeastCount = 0;
    this.#graceLeast = Infinity;
  }

  /**
   * Least cursor of the lines in grace; Infinity without such lines. Walks the table when the last
   * line with the least cursor has gone on.
   */
  get graceThrough(): number {
    if (this.graceCount > 0 && this.#graceLeastCount > 0) return this.#graceLeast;
    let least = Infinity;
    let count = 0;
    for (let row = 0, left = this.graceCount; left > 0; row++) {
      if (this.inGrace[row] === NO_GRACE) continue;
      left--;
      const cursor = this.cursors[row] as number;
      if (cursor < least) {
        least = cursor;
        count = 1;
      } else if (cursor === least) {
        count++;
      }
    }
    this.#graceLeast = least;
    this.#graceLeastCount = count;
    return least;
  }

  #leaveGrace(row: number): boolean {
    if (this.inGrace[row] === NO_GRACE) return false;
    this.inGrace[row] = NO_GRACE;
    this.graceCount--;
    if (this.cursors[row] === this.#graceLeast) this.#graceLeastCount--;
    return true;
  }

  /** Appends a row and returns it. */
  add(
    socket: Socket,
    handle: number,
    cursor: number,
    losses: number,
    step: number,
    openedSecond: number,
  ): number {
    const row = this.count;
    if (row === this.cursors.length) this.#grow();
    this.count = row + 1;
    this.cursors[row] = cursor;
    this.losses[row] = losses;
    this.lastWrites[row] = step;
    this.handles[row] = handle;
    this.openedSeconds[row] = openedSecond;
    this.trustedFrom[row] = trustedFromOpening(openedSecond);
    this.states[row] = CATCHING_UP;
    if (this.clean !== undefined) this.clean[row] = cursor;
    this.sockets.push(socket);
    return row;
  }

  /** Removes a row by moving the last one into it. Returns the handle that moved, or −1. */
  remove(row: number): number {
    if (this.states[row] === STALLED) this.stalledCount--;
    if (this.states[row] === READING) this.readingCount--;
    this.#leaveGrace(row);
    const last = --this.count;
    const socket = this.sockets.pop() as Socket;
    if (row === last) return -1;
    this.cursors[row] = this.cursors[last] as number;
    this.losses[row] = this.losses[last] as number;
    this.lastWrites[row] = this.lastWrites[last] as number;
    this.openedSeconds[row] = this.openedSeconds[last] as number;
    this.states[row] = this.states[last] as number;
    this.trustedFrom[row] = this.trustedFrom[last] as number;
    this.inGrace[row] = this.inGrace[last] as number;
    this.inGrace[last] = NO_GRACE;
    this.sockets[row] = socket;
    if (this.clean !== undefined) this.clean[row] = this.clean[last] as number;
    const moved = this.handles[last] as number;
    this.handles[row] = moved;
    return moved;
  }

  #grow(): void {
    const rows = this.cursors.length * 2;
    this.cursors = copyInto(new Float64Array(rows), this.cursors);
    this.losses = copyInto(new Float64Array(rows), this.losses);
    this.lastWrites = copyInto(new Uint32Array(rows), this.lastWrites);
    this.handles = copyInto(new Int32Array(rows), this.handles);
    this.openedSeconds = copyInto(new Uint32Array(rows), this.openedSeconds);
    this.states = copyInto(new Uint8Array(rows), this.states);
    this.trustedFrom = copyInto(new Uint32Array(rows), this.trustedFrom);
    this.inGrace = copyInto(new Uint8Array(rows), this.inGrace);
    if (this.clean !== undefined) this.clean = copyInto(new Float64Array(rows), this.clean);
  }
}

/** Copies a typed array to the beginning of a larger one. */
export function copyInto<T extends Float64Array | Uint32Array | Int32Array | Uint8Array>(
  target: T,
  source: T,
): T {
  target.set(source);
  return target;
}
