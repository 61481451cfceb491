/**
 * What Linux tells of TCP sockets under /proc (proc(5)): who listens, what waits in queues, and what all of it takes. Elsewhere, or
 * where a file cannot be read, everything is undefined.
 */

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Tables of sockets, IPv4 and IPv6. */
const SOCKET_TABLES = ['/proc/net/tcp', '/proc/net/tcp6'] as const;

/** State of a listening socket in those tables (include/net/tcp_states.h). */
const LISTEN = '0A';

/** A page of memory, bytes, in which the kernel counts what TCP takes. */
const PAGE_BYTES = 4096;

/** The sockets on one local port, listening ones left out. */
export interface PortTotals {
  readonly sockets: number;
  /** Bytes of payload that were written and not yet acknowledged by the peers. */
  readonly sendQueueBytes: number;
  /** Bytes of payload that came and were not yet read. */
  readonly receiveQueueBytes: number;
}

/** Adds up the sockets on a local port. Blocks for about 25 ms at 15,000 of them (native-notes/proc-net-tcp.md): not for the event loop. */
export function readPortTotals(port: number): PortTotals | undefined {
  const tables = SOCKET_TABLES.map(readText).filter((text) => text !== undefined);
  return tables.length === 0 ? undefined : portTotalsIn(tables, port);
}

/** {@link readPortTotals} of the texts of the tables. */
export function portTotalsIn(tables: readonly string[], port: number): PortTotals {
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

function* rowsOf(tables: readonly string[]): Generator<SocketRow> {
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
