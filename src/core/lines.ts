/**
 * Lines: every held connection as a row of packed parallel arrays, and the handle by which its
 * socket's callbacks find the row.
 *
 *   row of a table, 0 … count−1              handle of the server
 *   cursors[row]     Float64   8 B            tables[handle]  reference 8 B
 *   losses[row]      Float64   8 B            rows[handle]    Int32     4 B
 *   lastWrites[row]  Uint32    4 B
 *   handles[row]     Int32     4 B
 *   openedSeconds[row] Uint32  4 B
 *   trustedFrom[row] Uint32    4 B
 *   states[row]      Uint8     1 B
 *   inGrace[row]     Uint8     1 B
 *   sockets[row]     reference 8 B            in all 54 bytes a line
 *
 * Removing a row moves the last one into its place, so whoever walks a table walks it downwards:
 * then a row that moves has been visited already.
 */
import { isUnblemished, trustedFromOpening, trustOf } from './grace.js';

/**
 * Has not been given everything up to the head since it joined or stalled; nothing waits for it.
 */
export const CATCHING_UP = 0;
/**
 * Has been given everything up to the head once and has kept up since; its unread events are never
 * evicted.
 */
export const HEALTHY = 1;
/** Refused bytes; nothing is written until its socket has drained. */
export const STALLED = 2;
/** Its socket drained; the next write asks first, by a probe, whether that was enough. */
export const DRAINED = 3;

/** Bytes of a line in the tables: the sum above. */
export const ROW_BYTES = 54;

/**
 * Whether a line is in grace (core/grace.ts): not; judged when the window under way ends; come
 * meanwhile, judged at the next end.
 */
export const NO_GRACE = 0;
export const IN_GRACE = 1;
export const LATE_IN_GRACE = 2;

const FIRST_ROWS = 4;
const FIRST_HANDLES = 64;

/** The rows of one group. Arrays may be longer than `count`; rows beyond it mean nothing. */
export class LineTable<Socket> {
  count = 0;
  /** Lines in state STALLED. Written by {@link LineTable.setState} and removal only. */
  stalledCount = 0;
  /** Id up to which the line has been given everything it is owed. Only grows. */
  cursors = new Float64Array(FIRST_ROWS);
  /**
   * Losses up to this count (core/channel.ts) have been told to the line, or were before it joined:
   * they are no gap any more.
   */
  losses = new Float64Array(FIRST_ROWS);
  /** Step of the heartbeat wheel at the last write. */
  lastWrites = new Uint32Array(FIRST_ROWS);
  handles = new Int32Array(FIRST_ROWS);
  /** Second of the hub's life in which the line was opened. */
  openedSeconds = new Uint32Array(FIRST_ROWS);
  states = new Uint8Array(FIRST_ROWS);
  /**
   * Second of the pump's life from which the line has proven itself, 0 when it has; see
   * core/grace.ts.
   */
  trustedFrom = new Uint32Array(FIRST_ROWS);
  /**
   * NO_GRACE, or else the line was healthy when it refused bytes, and its channels keep what it has
   * not been given.
   */
  inGrace = new Uint8Array(FIRST_ROWS);
  /** Lines in grace. */
  graceCount = 0;
  /**
   * Least cursor of theirs when last looked for, and how many of them are still there: it is looked
   * for again when none is.
   */
  #graceLeast = Infinity;
  #graceLeastCount = 0;
  readonly sockets: Socket[] = [];

  /** Bytes of the typed arrays, rows beyond `count` among them; the references are on the heap. */
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
    return bytes;
  }

  setState(row: number, state: number): void {
    const before = this.states[row];
    if (before === state) return;
    if (before === STALLED) this.stalledCount--;
    if (state === STALLED) this.stalledCount++;
    // It drained and took everything in time, which is what grace is for: it has proven itself,
    // unless it failed before.
    if (
      state === HEALTHY &&
      this.#leaveGrace(row) &&
      isUnblemished(this.trustedFrom[row] as number, this.openedSeconds[row] as number)
    )
      this.trustedFrom[row] = 0;
    this.states[row] = state;
  }

  /** What the line may be given, see core/grace.ts. */
  trustOf(row: number, second: number): number {
    return trustOf(this.trustedFrom[row] as number, this.openedSeconds[row] as number, second);
  }

  /**
   * The line is in grace until it is healthy again, or {@link judgeGrace} or {@link endGrace} ends
   * that.
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
   * A window ends. Lines that still refuse bytes and have been given nothing above `goal` are in
   * grace no longer. Where that has cost others something, `trustedFrom` is the second from which
   * they are trusted again. A line that has drained waits for the pump and not the pump for it, one
   * at `newestId` holds nothing, and one that came late has had no time: they are judged when the
   * next one ends. Returns how many lines used it in vain.
   */
  judgeGrace(goal: number, newestId: number, trustedFrom: number | undefined): number {
    let vain = 0;
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
        vain++;
        this.#leaveGrace(row);
        if (trustedFrom !== undefined) this.trustedFrom[row] = trustedFrom;
        continue;
      }
      this.inGrace[row] = IN_GRACE;
    }
    return vain;
  }

  /** No line is in grace any more. */
  endGrace(): void {
    this.inGrace.fill(NO_GRACE, 0, this.count);
    this.graceCount = 0;
    this.#graceLeastCount = 0;
    this.#graceLeast = Infinity;
  }

  /**
   * Least cursor of the lines in grace; Infinity when there is none. Walks the table when the last
   * line that was there has gone on.
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
    this.sockets.push(socket);
    return row;
  }

  /** Removes a row by moving the last one into it; returns the handle that moved, or −1. */
  remove(row: number): number {
    if (this.states[row] === STALLED) this.stalledCount--;
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
  }
}

function copyInto<T extends Float64Array | Uint32Array | Int32Array | Uint8Array>(
  target: T,
  source: T,
): T {
  target.set(source);
  return target;
}

/**
 * Handles of all lines of a server: small integers that stay while rows move, reused after a line
 * has closed.
 */
export class Lines<Socket, Group extends { readonly table: LineTable<Socket> }> {
  openedTotal = 0;
  closedTotal = 0;
  readonly #groups: (Group | undefined)[] = [];
  #rows = new Int32Array(FIRST_HANDLES);
  readonly #free: number[] = [];

  /** Lines open now: opened − closed. */
  get open(): number {
    return this.openedTotal - this.closedTotal;
  }

  /** Bytes of the typed array that finds rows by handle. */
  get memoryBytes(): number {
    return this.#rows.byteLength;
  }

  /** Adds a line to a group; returns its handle. */
  add(
    group: Group,
    socket: Socket,
    cursor: number,
    losses: number,
    step: number,
    openedSecond: number,
  ): number {
    const handle = this.#free.pop() ?? this.#groups.length;
    if (handle >= this.#rows.length)
      this.#rows = copyInto(new Int32Array(this.#rows.length * 2), this.#rows);
    this.#rows[handle] = group.table.add(socket, handle, cursor, losses, step, openedSecond);
    this.#groups[handle] = group;
    this.openedTotal++;
    return handle;
  }

  /**
   * The handle's group while the line is open and still `socket`'s: a late callback of a closed
   * line finds nothing.
   */
  groupOf(handle: number, socket: Socket): Group | undefined {
    const group = this.#groups[handle];
    return group !== undefined && group.table.sockets[this.rowOf(handle)] === socket
      ? group
      : undefined;
  }

  /** The group of an open line. */
  groupAt(handle: number): Group {
    return this.#groups[handle] as Group;
  }

  /** Row of an open line. */
  rowOf(handle: number): number {
    return this.#rows[handle] as number;
  }

  /** Removes a line that is open; returns the group it was on. */
  remove(handle: number): Group {
    const group = this.groupAt(handle);
    const row = this.rowOf(handle);
    const moved = group.table.remove(row);
    if (moved >= 0) this.#rows[moved] = row;
    this.#groups[handle] = undefined;
    this.#free.push(handle);
    this.closedTotal++;
    return group;
  }
}
