/**
 * What Linux tells of TCP sockets under /proc (proc(5)): who listens, what waits in queues, and what all of it takes. Elsewhere, or
 * where a file cannot be read, everything is undefined.
 */

import { closeSync, existsSync, openSync, readdirSync, readFileSync, readlinkSync, readSync } from 'node:fs';

/** Tables of sockets, IPv4 and IPv6; a socket of `::` is in the second, whoever it talks to. native-notes/listen-addresses.md */
const SOCKET_TABLES = ['/proc/net/tcp', '/proc/net/tcp6'] as const;

/** State of a listening socket in those tables (include/net/tcp_states.h). */
const LISTEN = '0A';

/** A page of memory, bytes, in which the kernel counts what TCP takes. */
export const PAGE_BYTES = 4096;

/**
 * The sockets on one local port, listening ones left out. Totals only: uWebSockets does not tell which row is which line's.
 * native-notes/responses-expose-no-descriptor.md
 */
export interface PortTotals {
  readonly sockets: number;
  /** Bytes of payload that were written and not yet acknowledged by the peers. */
  readonly sendQueueBytes: number;
  /** Bytes of payload that came and were not yet read. */
  readonly receiveQueueBytes: number;
}

/** Adds up the sockets on a local port. Blocks for about 40 ms at 15,000 of them (native-notes/proc-net-tcp.md): not for the event loop. */
export function readPortTotals(port: number): PortTotals | undefined {
  const tables = SOCKET_TABLES.filter((path) => existsSync(path));
  return tables.length === 0 ? undefined : portTotalsIn(readPieces(tables), port);
}

/** {@link readPortTotals} of the texts of the tables, or of pieces of them that begin with a line to be left out. */
export function portTotalsIn(tables: Iterable<string>, port: number): PortTotals {
  let sockets = 0;
  let sendQueueBytes = 0;
  let receiveQueueBytes = 0;
  for (const { localPort, state, queues } of rowsOf(tables)) {
    if (localPort !== port || state === LISTEN) continue;
    sockets++;
    sendQueueBytes += Number.parseInt(queues.slice(0, 8), 16);
    receiveQueueBytes += Number.parseInt(queues.slice(9, 17), 16);
  }
  return { sockets, sendQueueBytes, receiveQueueBytes };
}

/** Inodes of the sockets that listen on a local port. */
export function listenerInodes(port: number): number[] {
  const tables = SOCKET_TABLES.map(readText).filter((text) => text !== undefined);
  return [...rowsOf(tables)].filter(({ localPort, state }) => localPort === port && state === LISTEN).map(({ inode }) => inode);
}

/** The file descriptor of a process, this one by default, that is one of those sockets. */
export function descriptorOf(inodes: readonly number[], pid: number | 'self' = 'self'): number | undefined {
  const wanted = new Set(inodes.map((inode) => `socket:[${inode}]`));
  const directory = `/proc/${pid}/fd`;
  try {
    const found = readdirSync(directory).find((descriptor) => wanted.has(readLink(`${directory}/${descriptor}`) ?? ''));
    return found === undefined ? undefined : Number(found);
  } catch {
    return undefined;
  }
}

/** What all TCP sockets of this network namespace take in buffers, bytes: whoever's they are, both ends on loopback. */
export function readTcpBytes(): number | undefined {
  const pages = /^TCP: .*\bmem (\d+)/m.exec(readText('/proc/net/sockstat') ?? '')?.[1];
  return pages === undefined ? undefined : Number(pages) * PAGE_BYTES;
}

/** One socket in the tables. */
interface SocketRow {
  readonly localPort: number;
  /** Two digits of hex. */
  readonly state: string;
  /** `SSSSSSSS:RRRRRRRR`, hex: bytes to be sent, bytes to be read; of a listening socket the accept queue. */
  readonly queues: string;
  readonly inode: number;
}

/** Bytes of a piece of a table, about 400 rows. */
const PIECE_BYTES = 64 * 1024;

/**
 * Reads tables, and gives them in pieces of whole rows, each behind a line that is none: as one text, with what is made of it, 15,000
 * rows take 20 MB and more. A table is read to its end first, since rows are doubled when sockets come while it is read.
 */
function* readPieces(paths: readonly string[]): Generator<string> {
  for (const path of paths) {
    // The first line is a heading, which is left out as it is.
    let begun = '';
    for (const piece of readBuffers(path)) {
      const end = piece.lastIndexOf('\n') + 1;
      yield begun + piece.toString('latin1', 0, end);
      begun = `\n${piece.toString('latin1', end)}`;
    }
  }
}

/** Reads a file to its end. The kernel hands out a page at a time, for each of which readFileSync would keep a buffer of 64 KiB. */
function readBuffers(path: string): Buffer[] {
  const pieces: Buffer[] = [];
  const file = openSync(path, 'r');
  try {
    let length = PIECE_BYTES;
    for (let read = 1; read > 0; length += read) {
      if (length === PIECE_BYTES) {
        pieces.push(Buffer.allocUnsafeSlow(PIECE_BYTES));
        length = 0;
      }
      read = readSync(file, pieces.at(-1)!, length, PIECE_BYTES - length, null);
    }
    pieces.push(pieces.pop()!.subarray(0, length));
  } finally {
    closeSync(file);
  }
  return pieces;
}

function* rowsOf(tables: Iterable<string>): Generator<SocketRow> {
  for (const table of tables) {
    for (const line of table.split('\n').slice(1)) {
      // sl, local_address, rem_address, st, tx_queue:rx_queue, tr:tm->when, retrnsmt, uid, timeout, inode
      const [, local, , state, queues, , , , , inode] = line.trim().split(/\s+/);
      if (local === undefined || state === undefined || queues === undefined) continue;
      yield { localPort: Number.parseInt(local.slice(local.indexOf(':') + 1), 16), state, queues, inode: Number(inode) };
    }
  }
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
