/**
 * Owners: whose each line is, and when it has to end. Parallel arrays by handle, beside
 * core/lines.ts:
 *
 *   ids[handle]         Float64  8 B
 *   users[handle]       Int32    4 B   index into a tally of names
 *   addresses[handle]   Int32    4 B   the same, of addresses as limits count them
 *   shown[handle]       Int32    4 B   the same, of addresses as they are shown, where they differ
 *   endSeconds[handle]  Uint32   4 B
 *   endCodes[handle]    Uint8    1 B
 *
 * A distinct user or address costs about 100 B more on V8's heap, its text and a map entry, while
 * some line has it, and so does each line whose credential has another user.
 */
import { copyInto } from './line-table.js';
import { NO_NAME, Tally } from './tally.js';

/** Bytes of a line in these arrays: the sum above. */
export const OWNER_BYTES = 25;

/** Why a line has to end at a time, or was told to end: codes of ENDS (errors.ts). */
export const TIMED_ENDS = ['expired', 'ticket-expired', 'aged', 'revoked', 'disconnected'] as const;
export type TimedEnd = (typeof TIMED_ENDS)[number];

/** Whose a line is, as its transport knows it. */
export interface Owner {
  /** The person or program behind it. */
  readonly user: string | undefined;
  /** The user of its credential; absent where it is `user`. */
  readonly credentialUser?: string | undefined;
  /** Address as limits count it (IPv6 by /64); empty where it is exempt or unknown. */
  readonly address: string;
  /** Address as hooks and operators see it; absent where it is `address`. */
  readonly shownAddress?: string;
  /** When the line has to end, ms since 1970; Infinity for never. */
  readonly endsAtMs: number;
  /** Why it ends then. */
  readonly endsWith: 'expired' | 'ticket-expired' | 'aged';
}

/** The owner of a line of which nothing is known, and which need not end. */
export const NOBODY: Owner = {
  user: undefined,
  address: '',
  endsAtMs: Infinity,
  endsWith: 'expired',
};

/** End second of a line that need not end, and of one that is to end at once. */
export const NEVER = 0xffff_ffff;
export const AT_ONCE = 0;

const FIRST_HANDLES = 64;

/** Hears how many lines a user or an address has, whenever that changes. */
export type OwnerListener = (kind: 'user' | 'address', name: string, lines: number) => void;

export class Owners {
  /** Undefined while nobody wants to know. */
  onCount: OwnerListener | undefined;

  readonly #users = new Tally();
  readonly #addresses = new Tally();
  readonly #shown = new Tally();
  /** By handle, where the credential has another user. */
  readonly #credentialUsers = new Map<number, string>();
  /** Ids given so far; they count up from 1 for the life of the process. */
  #lastId = 0;
  /** Handles up to this one have been in use. */
  #handles = 0;
  #ids = new Float64Array(FIRST_HANDLES);
  #userOf = new Int32Array(FIRST_HANDLES);
  #addressOf = new Int32Array(FIRST_HANDLES);
  #shownOf = new Int32Array(FIRST_HANDLES);
  #endSeconds = new Uint32Array(FIRST_HANDLES);
  #endCodes = new Uint8Array(FIRST_HANDLES);

  /** One more than the highest handle that has been in use. */
  get handles(): number {
    return this.#handles;
  }

  /** Bytes of the typed arrays. Names are on the heap. */
  get memoryBytes(): number {
    return (
      this.#ids.length * OWNER_BYTES +
      this.#users.memoryBytes +
      this.#addresses.memoryBytes +
      this.#shown.memoryBytes
    );
  }

  /** Open lines and waiting polls of the user. */
  linesOfUser(user: string): number {
    return this.#users.countOf(user);
  }

  /** Open lines and waiting polls of the address, as limits count it. */
  linesOfAddress(address: string): number {
    return this.#addresses.countOf(address);
  }

  /** The line of a new handle. It need not end before {@link setEnd} says so. */
  add(handle: number, owner: Owner): void {
    if (handle >= this.#ids.length) this.#grow();
    if (handle >= this.#handles) this.#handles = handle + 1;
    const { user, credentialUser = user, address, shownAddress = address } = owner;
    if (credentialUser !== undefined && credentialUser !== user)
      this.#credentialUsers.set(handle, credentialUser);
    this.#ids[handle] = ++this.#lastId;
    this.#userOf[handle] = user === undefined ? NO_NAME : this.#users.add(user);
    this.#addressOf[handle] = address === '' ? NO_NAME : this.#addresses.add(address);
    this.#shownOf[handle] = shownAddress === address ? NO_NAME : this.#shown.add(shownAddress);
    this.#endSeconds[handle] = NEVER;
    if (this.onCount !== undefined) this.#tellCounts(user, address);
  }

  /** The line has closed. */
  remove(handle: number): void {
    const user = this.#userOf[handle] as number;
    const address = this.#addressOf[handle] as number;
    const shown = this.#shownOf[handle] as number;
    const isTold = this.onCount !== undefined;
    const userName = isTold ? this.#users.nameOf(user) : undefined;
    const addressName = isTold ? this.#addresses.nameOf(address) : undefined;
    if (user !== NO_NAME) this.#users.remove(user);
    if (address !== NO_NAME) this.#addresses.remove(address);
    if (shown !== NO_NAME) this.#shown.remove(shown);
    this.#credentialUsers.delete(handle);
    this.#ids[handle] = 0;
    this.#userOf[handle] = NO_NAME;
    this.#endSeconds[handle] = NEVER;
    if (isTold) this.#tellCounts(userName, addressName ?? '');
  }

  #tellCounts(user: string | undefined, address: string): void {
    if (user !== undefined) this.onCount?.('user', user, this.linesOfUser(user));
    if (address !== '') this.onCount?.('address', address, this.linesOfAddress(address));
  }

  /** Id of the line: unique in the life of the process. */
  idOf(handle: number): number {
    return this.#ids[handle] as number;
  }

  userOf(handle: number): string | undefined {
    return this.#users.nameOf(this.#userOf[handle] as number);
  }

  /** The address as hooks and operators see it; undefined where none is known. */
  addressOf(handle: number): string | undefined {
    const shown = this.#shown.nameOf(this.#shownOf[handle] as number);
    return shown ?? this.#addresses.nameOf(this.#addressOf[handle] as number);
  }

  /** Second of the hub's life in which the line has to end, NEVER or AT_ONCE. */
  endSecondOf(handle: number): number {
    return this.#endSeconds[handle] as number;
  }

  endCodeOf(handle: number): TimedEnd {
    return TIMED_ENDS[this.#endCodes[handle] as number] as TimedEnd;
  }

  setEnd(handle: number, second: number, code: TimedEnd): void {
    this.#endSeconds[handle] = second;
    this.#endCodes[handle] = TIMED_ENDS.indexOf(code);
  }

  /** The handle of an open line; −1 if there is none of this id. */
  handleOfId(id: number): number {
    // The id of a handle that is free is 0.
    return id > 0 ? this.#ids.indexOf(id) : -1;
  }

  /**
   * Calls `each` with the handle of every line of the user, or of a credential of the user. Walks
   * all handles, about 3 ns each.
   */
  eachOfUser(user: string, each: (handle: number) => void): void {
    for (const [handle, name] of this.#credentialUsers) if (name === user) each(handle);
    const index = this.#users.indexOf(user);
    if (index === NO_NAME) return;
    for (let handle = 0, left = this.linesOfUser(user); left > 0; handle++) {
      if (this.#userOf[handle] !== index) continue;
      left--;
      each(handle);
    }
  }

  /**
   * The lines that have to end by `second`, and the earliest end after it. Walks all handles, about
   * 3 ns each.
   */
  due(second: number): { readonly count: number; readonly nextSecond: number } {
    let count = 0;
    let nextSecond = NEVER;
    const ends = this.#endSeconds;
    for (let handle = 0; handle < this.#handles; handle++) {
      const end = ends[handle] as number;
      if (end <= second) count++;
      else if (end < nextSecond) nextSecond = end;
    }
    return { count, nextSecond };
  }

  #grow(): void {
    const handles = this.#ids.length * 2;
    this.#ids = copyInto(new Float64Array(handles), this.#ids);
    this.#userOf = copyInto(new Int32Array(handles), this.#userOf);
    this.#addressOf = copyInto(new Int32Array(handles), this.#addressOf);
    this.#shownOf = copyInto(new Int32Array(handles), this.#shownOf);
    this.#endSeconds = copyInto(new Uint32Array(handles), this.#endSeconds);
    this.#endCodes = copyInto(new Uint8Array(handles), this.#endCodes);
  }
}
