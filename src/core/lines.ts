/**
 * Lines: the handle by which a socket's callbacks find their row. A handle is a small integer that
 * stays while rows move, and is used again after its line has closed.
 *
 *   tables[handle]  reference 8 B
 *   rows[handle]    Int32     4 B
 */
import { copyInto, REFERENCE_BYTES, TABLE_ROW_BYTES, type LineTable } from './line-table.js';
import { OWNER_BYTES } from './owners.js';

/** Bytes of a handle in the typed array. */
export const HANDLE_BYTES = 4;

/** Bytes of a line in typed arrays and references: its row of a table, its handle, its owner. */
export const ROW_BYTES = TABLE_ROW_BYTES + HANDLE_BYTES + 2 * REFERENCE_BYTES + OWNER_BYTES;

const FIRST_HANDLES = 64;

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

  /** The handle's group if the line is open and still `socket`'s: a late callback finds nothing. */
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

  /** Removes an open line. Returns its group; its row may be another line's from now on. */
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
