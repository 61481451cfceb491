/**
 * Lines: every held connection as a row of packed parallel arrays, and the handle by which its socket's callbacks find the row.
 *
 *   row of a table, 0 … count−1              handle of the server
 *   cursors[row]     Float64   8 B            tables[handle]  reference 8 B
 *   losses[row]      Float64   8 B            rows[handle]    Int32     4 B
 *   lastWrites[row]  Uint32    4 B
 *   handles[row]     Int32     4 B
 *   openedSeconds[row] Uint32  4 B
 *   states[row]      Uint8     1 B
 *   awaited[row]     Uint8     1 B
 *   sockets[row]     reference 8 B            in all 50 bytes a line
 *
 * Removing a row moves the last one into its place, so whoever walks a table walks it downwards: then a row that moves has been
 * visited already.
 */

/** Has not been given everything up to the head since it joined or stalled; nothing waits for it. */
export const CATCHING_UP = 0;
/** Has been given everything up to the head once and has kept up since; its unread events are never evicted. */
export const HEALTHY = 1;
/** Refused bytes; nothing is written until its socket has drained. */
export const STALLED = 2;
/** Its socket drained; the next write asks first, by a probe, whether that was enough. */
export const DRAINED = 3;

/** Bytes of a line in the tables: the sum above. */
export const ROW_BYTES = 50;

const FIRST_ROWS = 4;
const FIRST_HANDLES = 64;

/** The rows of one feed. Arrays may be longer than `count`; rows beyond it mean nothing. */
export class LineTable<Socket> {
  count = 0;
  /** Lines in state STALLED. Written by {@link LineTable.setState} and removal only. */
  stalledCount = 0;
  /** Id up to which the line has been given everything it is owed. Only grows. */
  cursors = new Float64Array(FIRST_ROWS);
  /** Losses up to this count (core/channel.ts) have been told to the line, or were before it joined: they are no gap any more. */
  losses = new Float64Array(FIRST_ROWS);
  /** Step of the heartbeat wheel at the last write. */
  lastWrites = new Uint32Array(FIRST_ROWS);
  handles = new Int32Array(FIRST_ROWS);
  /** Second of the hub's life in which the line was opened. */
  openedSeconds = new Uint32Array(FIRST_ROWS);
  states = new Uint8Array(FIRST_ROWS);
  /** 1 for a line that was healthy when it refused bytes and is waited for, see core/pump.ts. */
  awaited = new Uint8Array(FIRST_ROWS);
  /** Lines that are waited for. */
  awaitedCount = 0;
  readonly sockets: Socket[] = [];

  /** Bytes of the typed arrays, rows beyond `count` among them; the references are on the heap. */
  get memoryBytes(): number {
    const { cursors, losses, lastWrites, handles, openedSeconds, states, awaited } = this;
    let bytes = 0;
    for (const array of [cursors, losses, lastWrites, handles, openedSeconds, states, awaited]) bytes += array.byteLength;
    return bytes;
  }

  setState(row: number, state: number): void {
    const before = this.states[row];
    if (before === state) return;
    if (before === STALLED) this.stalledCount--;
    if (state === STALLED) this.stalledCount++;
    if (state === HEALTHY) this.#forget(row);
    this.states[row] = state;
  }

  /** The line is waited for until it is healthy again, or {@link forgetAwaited}. */
  await(row: number): void {
    if (this.awaited[row] === 1) return;
    this.awaited[row] = 1;
    this.awaitedCount++;
  }

  /** Lines that have been given nothing newer than `id` are waited for no longer. True when there was one. */
  forgetAwaitedAt(id: number): boolean {
    const before = this.awaitedCount;
    for (let row = 0, left = this.awaitedCount; left > 0; row++) {
      if (this.awaited[row] === 0) continue;
      left--;
      if ((this.cursors[row] as number) <= id) this.#forget(row);
    }
    return this.awaitedCount < before;
  }

  /** Least cursor of the lines that are waited for; Infinity when there is none. */
  get awaitedThrough(): number {
    let least = Infinity;
    for (let row = 0, left = this.awaitedCount; left > 0; row++) {
      if (this.awaited[row] === 0) continue;
      left--;
      least = Math.min(least, this.cursors[row] as number);
    }
    return least;
  }

  #forget(row: number): void {
    this.awaitedCount -= this.awaited[row] as number;
    this.awaited[row] = 0;
  }

  /** Appends a row and returns it. */
  add(socket: Socket, handle: number, cursor: number, losses: number, step: number, openedSecond: number): number {
    const row = this.count;
    if (row === this.cursors.length) this.#grow();
    this.count = row + 1;
    this.cursors[row] = cursor;
    this.losses[row] = losses;
    this.lastWrites[row] = step;
    this.handles[row] = handle;
    this.openedSeconds[row] = openedSecond;
    this.states[row] = CATCHING_UP;
    this.sockets.push(socket);
    return row;
  }

  /** Removes a row by moving the last one into it; returns the handle that moved, or −1. */
  remove(row: number): number {
    if (this.states[row] === STALLED) this.stalledCount--;
    this.#forget(row);
    const last = --this.count;
    const socket = this.sockets.pop() as Socket;
    if (row === last) return -1;
    this.cursors[row] = this.cursors[last] as number;
    this.losses[row] = this.losses[last] as number;
    this.lastWrites[row] = this.lastWrites[last] as number;
    this.openedSeconds[row] = this.openedSeconds[last] as number;
    this.states[row] = this.states[last] as number;
    this.awaited[row] = this.awaited[last] as number;
    this.awaited[last] = 0;
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
    this.awaited = copyInto(new Uint8Array(rows), this.awaited);
  }
}

function copyInto<T extends Float64Array | Uint32Array | Int32Array | Uint8Array>(target: T, source: T): T {
  target.set(source);
  return target;
}

/** Handles of all lines of a server: small integers that stay while rows move, reused after a line has closed. */
export class Lines<Socket, Feed extends { readonly table: LineTable<Socket> }> {
  openedTotal = 0;
  closedTotal = 0;
  readonly #feeds: (Feed | undefined)[] = [];
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

  /** Adds a line to a feed; returns its handle. */
  add(feed: Feed, socket: Socket, cursor: number, losses: number, step: number, openedSecond: number): number {
    const handle = this.#free.pop() ?? this.#feeds.length;
    if (handle >= this.#rows.length) this.#rows = copyInto(new Int32Array(this.#rows.length * 2), this.#rows);
    this.#rows[handle] = feed.table.add(socket, handle, cursor, losses, step, openedSecond);
    this.#feeds[handle] = feed;
    this.openedTotal++;
    return handle;
  }

  /** The handle's feed while the line is open and still `socket`'s: a late callback of a closed line finds nothing. */
  feedOf(handle: number, socket: Socket): Feed | undefined {
    const feed = this.#feeds[handle];
    return feed !== undefined && feed.table.sockets[this.rowOf(handle)] === socket ? feed : undefined;
  }

  /** The feed of an open line. */
  feedAt(handle: number): Feed {
    return this.#feeds[handle] as Feed;
  }

  /** Row of an open line. */
  rowOf(handle: number): number {
    return this.#rows[handle] as number;
  }

  /** Removes a line that is open; returns the feed it was on. */
  remove(handle: number): Feed {
    const feed = this.feedAt(handle);
    const row = this.rowOf(handle);
    const moved = feed.table.remove(row);
    if (moved >= 0) this.#rows[moved] = row;
    this.#feeds[handle] = undefined;
    this.#free.push(handle);
    this.closedTotal++;
    return feed;
  }
}
