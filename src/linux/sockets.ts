/**
 * What Linux tells of TCP sockets under /proc (proc(5)): who listens, what waits in queues, and
 * what all of it takes. Elsewhere, or where a file cannot be read, everything is undefined.
 */

import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
} from 'node:fs';

/**
 * Tables of sockets, IPv4 and IPv6; a socket of `::` is in the second, whoever it talks to.
 * native-notes/listen-addresses.md
 */
const SOCKET_TABLES = ['/proc/net/tcp', '/proc/net/tcp6'] as const;

/** State of a listening socket in those tables (include/net/tcp_states.h). */
const LISTEN = 0x0a;

/** A page of memory, bytes, in which the kernel counts what TCP takes. */
export const PAGE_BYTES = 4096;

/**
 * The sockets on one local port, listening ones left out. Totals only: uWebSockets does not tell
 * which row is which line's. native-notes/responses-expose-no-descriptor.md
 */
export interface PortTotals {
  readonly sockets: number;
  /** Bytes of payload that were written and not yet acknowledged by the peers. */
  readonly sendQueueBytes: number;
  /** Bytes of payload that came and were not yet read. */
  readonly receiveQueueBytes: number;
}

/**
 * Adds up the sockets on a local port, in the memory of one piece of a table. Blocks for about 20
 * ms at 15,000 of them (native-notes/proc-net-tcp.md): not for the event loop. It is no picture of
 * one moment: a socket may be counted twice or not at all that comes or goes next to where one
 * piece ends.
 */
export function readPortTotals(port: number): PortTotals | undefined {
  let sockets = 0;
  let sendQueueBytes = 0;
  let receiveQueueBytes = 0;
  const found = readRows((bytes, at) => {
    if (localPortIn(bytes, at) !== port || stateIn(bytes, at) === LISTEN) return;
    sockets++;
    sendQueueBytes += sendQueueIn(bytes, at);
    receiveQueueBytes += receiveQueueIn(bytes, at);
  });
  return found ? { sockets, sendQueueBytes, receiveQueueBytes } : undefined;
}

/** Inodes of the sockets that listen on a local port. */
export function listenerInodes(port: number): number[] {
  const inodes: number[] = [];
  readRows((bytes, at) => {
    if (localPortIn(bytes, at) === port && stateIn(bytes, at) === LISTEN)
      inodes.push(inodeIn(bytes, at));
  });
  return inodes;
}

/** The file descriptor of a process, this one by default, that is one of those sockets. */
export function descriptorOf(
  inodes: readonly number[],
  pid: number | 'self' = 'self',
): number | undefined {
  const wanted = new Set(inodes.map((inode) => `socket:[${inode}]`));
  const directory = `/proc/${pid}/fd`;
  try {
    const found = readdirSync(directory).find((descriptor) =>
      wanted.has(readLink(`${directory}/${descriptor}`) ?? ''),
    );
    return found === undefined ? undefined : Number(found);
  } catch {
    return undefined;
  }
}

/**
 * What all TCP sockets of this network namespace take in buffers, bytes: whoever's they are, both
 * ends on loopback.
 */
export function readTcpBytes(): number | undefined {
  const pages = /^TCP: .*\bmem (\d+)/m.exec(readText('/proc/net/sockstat') ?? '')?.[1];
  return pages === undefined ? undefined : Number(pages) * PAGE_BYTES;
}

/** Bytes of a piece of a table, about 400 rows: all the memory that reading takes. */
const PIECE_BYTES = 64 * 1024;

/** Told of a row: the bytes it stands in, and where in them its local port does. */
type Visit = (bytes: Uint8Array, at: number) => void;

/**
 * Reads the tables that there are, a piece at a time, and shows each row. False where there is
 * none.
 */
function readRows(visit: Visit): boolean {
  const piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
  const tables = SOCKET_TABLES.filter((path) => existsSync(path));
  for (const path of tables) {
    const file = openSync(path, 'r');
    try {
      let length = 0;
      for (;;) {
        // The kernel hands out a page of whole rows at a time.
        const read = readSync(file, piece, length, PIECE_BYTES - length, null);
        if (read === 0) break;
        length = visitRows(piece, length + read, visit);
      }
    } finally {
      closeSync(file);
    }
  }
  return tables.length > 0;
}

/**
 * Shows the whole rows in the first `length` bytes and moves what is left of a last one to the
 * front; returns how much that is.
 */
export function visitRows(bytes: Uint8Array, length: number, visit: Visit): number {
  let start = 0;
  for (;;) {
    const end = bytes.indexOf(LINE_FEED, start);
    if (end < 0 || end >= length) break;
    // sl: local_address:port …; in the heading no digit follows the colon, since there is none.
    const number = bytes.indexOf(COLON, start);
    const local = number < 0 || number > end ? -1 : bytes.indexOf(COLON, number + 1);
    if (local > 0 && local < end) visit(bytes, local + 1);
    start = end + 1;
  }
  bytes.copyWithin(0, start, length);
  return length - start;
}

const LINE_FEED = 0x0a;
const COLON = 0x3a;
const SPACE = 0x20;

// A row as net/ipv4/tcp_ipv4.c prints it, from the local port on: `PPPP AAAAAAAA:PPPP SS
// TTTTTTTT:RRRRRRRR TT:TTTTTTTT RRRRRRRR uid timeout inode …` with an address of 32 digits in tcp6.

function localPortIn(bytes: Uint8Array, at: number): number {
  return hexIn(bytes, at, 4);
}

/** Where the state stands: behind the remote port. */
function stateAt(bytes: Uint8Array, at: number): number {
  return bytes.indexOf(COLON, at) + 6;
}

function stateIn(bytes: Uint8Array, at: number): number {
  return hexIn(bytes, stateAt(bytes, at), 2);
}

/** Bytes to be sent; of a listening socket the length of its queue. */
function sendQueueIn(bytes: Uint8Array, at: number): number {
  return hexIn(bytes, stateAt(bytes, at) + 3, 8);
}

/** Bytes to be read. */
function receiveQueueIn(bytes: Uint8Array, at: number): number {
  return hexIn(bytes, stateAt(bytes, at) + 12, 8);
}

/** The fifth field behind the queues: timer, retransmits, uid, timeout, inode. */
function inodeIn(bytes: Uint8Array, at: number): number {
  let cursor = stateAt(bytes, at) + 20;
  for (let field = 0; field < 5; field++) {
    while (bytes[cursor] !== SPACE) cursor++;
    while (bytes[cursor] === SPACE) cursor++;
  }
  let inode = 0;
  for (let digit = bytes[cursor]!; digit !== SPACE && digit !== LINE_FEED; digit = bytes[++cursor]!)
    inode = inode * 10 + digit - 0x30;
  return inode;
}

/** A number of so many hexadecimal digits in capitals, as the kernel prints them. */
function hexIn(bytes: Uint8Array, at: number, digits: number): number {
  let value = 0;
  for (let index = at; index < at + digits; index++) {
    const digit = bytes[index]!;
    value = value * 16 + (digit <= 0x39 ? digit - 0x30 : digit - 0x37);
  }
  return value;
}

function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    // It was closed meanwhile.
    return undefined;
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
