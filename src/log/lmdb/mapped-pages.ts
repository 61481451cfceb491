/**
 * Pages of the log's file that this process has read: they stay in its memory, up to the whole
 * file, and count there. So they are unmapped when there may be many; without koffi they are not.
 */
import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import { LOG_TOUCHED_BYTES_MAX } from '../../limits.js';
import { DATA_FILE } from './data-file.js';
import { loadLogLibc, type LogLibc } from './libc.js';

/** What the kernel maps around a page that is read (fault_around_bytes), and a page. */
const FAULT_BYTES = 64 * 1024;
const PAGE_BYTES = 4096;

export class MappedPages {
  readonly #libc: LogLibc | undefined;
  /** As the kernel names it. */
  readonly #path: string;
  #touchedBytes = 0;

  private constructor(libc: LogLibc | undefined, path: string) {
    this.#libc = libc;
    this.#path = path;
  }

  /** Of the log in a directory, which must be there. */
  static async of(directory: string): Promise<MappedPages> {
    return new MappedPages(await loadLogLibc(), realpathSync(join(directory, DATA_FILE)));
  }

  /** So many bytes were read at one place. */
  read(bytes: number): void {
    this.#touchedBytes += FAULT_BYTES + bytes;
  }

  /** So many bytes were committed: what is written is read again when it is changed. */
  wrote(bytes: number): void {
    this.#touchedBytes += PAGE_BYTES + bytes;
  }

  /** To be called where nothing reads. */
  unmapMany(): void {
    if (this.#touchedBytes <= LOG_TOUCHED_BYTES_MAX) return;
    this.#touchedBytes = 0;
    this.#libc?.unmapPages(this.#path);
  }
}
