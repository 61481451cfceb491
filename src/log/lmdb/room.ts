/**
 * Room on the disk behind the last page of a log's file. LMDB writes into pages that were freed and
 * behind the last one, so with enough room there none of its writes meets a full disk. It must not:
 * where pwrite(2) fails, LMDB 3.5.6 prints a sentence of more than 100 bytes into 100 that it has
 * allocated, and glibc ends the process. A full disk, or a quota, is met here instead, before the
 * transaction.
 */
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { LOG_ROOM_STEP_BYTES } from '../../limits.js';
import { DATA_FILE, readHead, readPages } from './data-file.js';
import type { LogLibc } from './libc.js';

const ZEROS_BYTES = 256 * 1024;

export class Room {
  readonly pageBytes: number;
  readonly #file: number;
  readonly #libc: LogLibc | undefined;
  /** Up to here the file has its blocks. */
  #endBytes: number;
  /** Pages behind the last one that are there for certain: those of transactions are taken off. */
  #left = 0;
  /** Why there was no more. */
  #problem: unknown;

  private constructor(file: number, pageBytes: number, libc: LogLibc | undefined) {
    this.#file = file;
    this.pageBytes = pageBytes;
    this.#libc = libc;
    const { size, blocks } = fstatSync(file);
    this.#endBytes = size;
    // Pages that were never written have no blocks, if the file was not made here.
    if (blocks * STAT_BLOCK_BYTES < size) this.#fillHoles(size);
    this.#look();
  }

  /** Of a log that is there; without `libc` zeros are written. */
  static open(directory: string, libc: LogLibc | undefined): Room {
    const path = join(directory, DATA_FILE);
    const head = readHead(path);
    if (typeof head === 'string') throw new Error(head);
    return new Room(openSync(path, constants.O_RDWR), head.pageBytes, libc);
  }

  /** Pages that LMDB may have in use, or has used: at the most. */
  get pages(): number {
    return Math.floor(this.#endBytes / this.pageBytes) - this.#left;
  }

  /** Makes room for as many pages, if the disk has it; returns how many there are, maybe more. */
  reserve(pages: number): number {
    if (this.#left >= pages) return this.#left;
    const first = this.#look();
    if (this.#left >= pages) return this.#left;
    const step = Math.ceil(LOG_ROOM_STEP_BYTES / this.pageBytes);
    // On a disk that is nearly full as much as is needed.
    for (const more of [pages + step, pages])
      if (this.#grow((first + more) * this.pageBytes)) break;
    this.#look();
    return this.#left;
  }

  /** Before a transaction that may need as many pages. Throws what the system says of the disk. */
  take(pages: number): void {
    if (this.reserve(pages) < pages) throw this.#problem;
    this.#left -= pages;
  }

  /** Why {@link Room.reserve} did not do it. */
  get problem(): unknown {
    return this.#problem;
  }

  /** Gives back what was not used. */
  giveBack(): void {
    ftruncateSync(this.#file, this.#look() * this.pageBytes);
    this.#left = 0;
  }

  close(): void {
    closeSync(this.#file);
  }

  /** Sees how far LMDB has come, and returns it. */
  #look(): number {
    const pages = readPages(this.#file, this.pageBytes);
    // Should it have written more than was thought, none of that is ever cut off.
    this.#endBytes = Math.max(this.#endBytes, pages * this.pageBytes);
    this.#left = Math.max(0, Math.floor(this.#endBytes / this.pageBytes) - pages);
    return pages;
  }

  #grow(endBytes: number): boolean {
    try {
      this.#allocate(this.#endBytes, endBytes);
      this.#endBytes = endBytes;
      return true;
    } catch (error) {
      this.#problem = error;
      // What it got of it would be missing elsewhere.
      ftruncateSync(this.#file, this.#endBytes);
      return false;
    }
  }

  #fillHoles(size: number): void {
    try {
      this.#libc?.allocate(this.#file, 0, size);
    } catch {
      // On a full disk they stay: events are refused there, and what was kept is read.
    }
  }

  #allocate(from: number, to: number): void {
    if (this.#libc?.allocate(this.#file, from, to - from) === true) return;
    // The file system, or this process, has no fallocate(2).
    const zeros = Buffer.alloc(ZEROS_BYTES);
    for (let at = from; at < to;)
      at += writeSync(this.#file, zeros, 0, Math.min(to - at, zeros.length), at);
    // Only then a file system that gives room late has said whether there is any.
    fsyncSync(this.#file);
  }
}

/** Unit of st_blocks, stat(2). */
const STAT_BLOCK_BYTES = 512;
