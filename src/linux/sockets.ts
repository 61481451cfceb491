/**
 * The TCP sockets of this machine, from /proc (proc(5)): which ones listen, what waits in their
 * queues, and what all of them take. Everything is undefined where a file cannot be read, and
 * elsewhere than on Linux.
 */

import { closeSync, existsSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { readText } from './files.js';

/**
 * Tables of sockets, IPv4 and IPv6. A socket that listens on `::` and its connections are in the
 * second, also those of IPv4. native-notes/listen-addresses.md
 */
const SOCKET_TABLES = ['/proc/net/tcp', '/proc/net/tcp6'] as const;

/** State of a listening socket there (include/net/tcp_states.h). */
const LISTEN = 0x0a;

/** A page of memory, bytes: the unit in which the kernel counts what TCP takes. */
export const PAGE_BYTES = 4096;

/**
 * The sockets on one local port, without those that listen. Totals only, since uWebSockets does not
 * tell which row belongs to which line. native-notes/responses-expose-no-descriptor.md
 */
export interface PortTotals {
  readonly sockets: number;
  /** Bytes of payload that were written and are not yet acknowledged by the peers. */
  readonly sendQueueBytes: number;
  /** Bytes of payload that arrived and are not yet read. */
  readonly receiveQueueBytes: number;
}

/**
 * Adds up the sockets on a local port. It reads the tables piece by piece and takes the memory of
 * one piece. It blocks for about 20 ms at 15,000 sockets, so it is not for the event loop
 * (native-notes/proc-net-tcp.md). The kernel gives no snapshot: a socket that opens or closes
 * meanwhile may be counted twice or not at all.
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

/** The file descriptor under which a process, by default this one, has one of those sockets. */
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
 * Bytes in the buffers of all TCP sockets of this network namespace, whoever owns them. On loopback
 * that includes both ends.
 */
export function readTcpBytes(): number | undefined {
  const pages = /^TCP: .*\bmem (\d+)/m.exec(readText('/proc/net/sockstat') ?? '')?.[1];
  return pages === undefined ? undefined : Number(pages) * PAGE_BYTES;
}

/** Bytes of a table that are read at once, about 400 rows: all the memory that reading takes. */
const PIECE_BYTES = 64 * 1024;

/** Called for a row with the bytes that hold it and the offset of its local port. */
type Visit = (bytes: Uint8Array, at: number) => void;

/** Visits each row of the tables that exist. False where none does. */
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
 * Visits the complete rows in the first `length` bytes and moves the incomplete one behind them to
 * the front. Returns how many bytes that one has.
 */
export function visitRows(bytes: Uint8Array, length: number, visit: Visit): number {
  let start = 0;
  for (;;) {
    const end = bytes.indexOf(LINE_FEED, start);
    if (end < 0 || end >= length) break;
    // A row is `sl: local_address:port …`. The heading has no colon and is skipped.
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

/** Offset of the state, which follows the remote port. */
function stateAt(bytes: Uint8Array, at: number): number {
  return bytes.indexOf(COLON, at) + 6;
}

function stateIn(bytes: Uint8Array, at: number): number {
  return hexIn(bytes, stateAt(bytes, at), 2);
}

/** Bytes to be sent. */
function sendQueueIn(bytes: Uint8Array, at: number): number {
  return hexIn(bytes, stateAt(bytes, at) + 3, 8);
}

/** Bytes to be read. */
function receiveQueueIn(bytes: Uint8Array, at: number): number {
  return hexIn(bytes, stateAt(bytes, at) + 12, 8);
}

/** The inode is the fifth field after the queues: timer, retransmits, uid, timeout, inode. */
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

/** A number of so many hexadecimal digits, which the kernel prints in capitals. */
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
    // It has been closed meanwhile.
    return undefined;
  }
}
