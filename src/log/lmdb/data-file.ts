/**
 * The file of a log as LMDB lays it out: the two pages that it begins with, and what they say of
 * its length. Read without LMDB, which reads its file through memory.
 */
import { closeSync, openSync, readSync } from 'node:fs';

export const DATA_FILE = 'data.mdb';

// The first two pages: MDB_page_header and MDB_meta of LMDB, 64 bits.
export const PAGE_HEAD_BYTES = 24;
const PAGE_BYTES_MAX = 65_536;
const PAGE_BYTES_MIN = 512;
const MAGIC = 0xbeefc0de;
const META = { magic: 0, pageBytes: 24, lastPage: 120, end: 144 } as const;
const LAST_PAGE_BYTES = 8;

/** What the first two pages say. */
export interface DataFileHead {
  readonly pageBytes: number;
  /** Pages that LMDB has in use, or has used: it writes the next new one behind them. */
  readonly pages: number;
}

/** Reads them; words instead when they are none. Throws what the system says. */
export function readHead(path: string): DataFileHead | string {
  const file = openSync(path, 'r');
  try {
    const room = Buffer.alloc(PAGE_BYTES_MAX + PAGE_HEAD_BYTES + META.end);
    const head = room.subarray(0, readSync(file, room, 0, room.length, 0));
    if (head.length < PAGE_HEAD_BYTES + META.end || head.readUInt32LE(PAGE_HEAD_BYTES) !== MAGIC)
      return 'it does not begin as one';
    const pageBytes = head.readUInt32LE(PAGE_HEAD_BYTES + META.pageBytes);
    if (
      pageBytes < PAGE_BYTES_MIN ||
      pageBytes > PAGE_BYTES_MAX ||
      head.length < pageBytes + PAGE_HEAD_BYTES + META.end
    )
      return 'it ends within its first pages';
    return { pageBytes, pages: readPages(file, pageBytes) };
  } finally {
    closeSync(file);
  }
}

const lastPage = Buffer.alloc(LAST_PAGE_BYTES);

/** Pages of an open file, as the transaction that was committed last has left them; about 3 µs. */
export function readPages(file: number, pageBytes: number): number {
  let last = 0;
  // Of the two the newer one has the higher number: it never falls.
  for (const start of [0, pageBytes]) {
    readSync(file, lastPage, 0, LAST_PAGE_BYTES, start + PAGE_HEAD_BYTES + META.lastPage);
    last = Math.max(last, Number(lastPage.readBigUInt64LE()));
  }
  return last + 1;
}
