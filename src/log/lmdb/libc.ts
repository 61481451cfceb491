/** Functions of the C library that Node lacks, through `koffi`, an optional dependency. */
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';

export interface LogLibc {
  /** flock(2), exclusive and without waiting; false when another has the lock. */
  lock(this: void, descriptor: number): boolean;
  /** Gives that lock back, as closing the descriptor does. */
  unlock(this: void, descriptor: number): void;
  /**
   * Takes the pages of a mapped file out of the memory of this process, where they count; they stay
   * in the kernel's cache, and are mapped again when they are read (madvise(2), MADV_DONTNEED).
   */
  unmapPages(this: void, path: string): void;
  /**
   * Gives a file blocks for a range of bytes, and makes it as long (fallocate(2)); false where the
   * system or the file system cannot. Throws what it says of the disk, as `node:fs` does.
   */
  allocate(this: void, descriptor: number, start: number, bytes: number): boolean;
}

const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;
const MADV_DONTNEED = 4;

/** Undefined if koffi does not load. */
export async function loadLogLibc(): Promise<LogLibc | undefined> {
  try {
    const { default: koffi } = await import('koffi');
    const library = koffi.load(null);
    const flock = library.func('int flock(int, int)');
    const madvise = library.func('int madvise(uintptr_t, size_t, int)');
    return {
      lock: (descriptor) => flock(descriptor, LOCK_EX | LOCK_NB) === 0,
      unlock: (descriptor) => void flock(descriptor, LOCK_UN),
      unmapPages: (path) => {
        for (const { start, bytes } of mappingsOf(path)) madvise(start, bytes, MADV_DONTNEED);
      },
      allocate: allocateOf(koffi),
    };
  } catch {
    return undefined;
  }
}

type Koffi = (typeof import('koffi'))['default'];

const CANNOT: ReadonlySet<number> = new Set([constants.errno.EOPNOTSUPP, constants.errno.ENOSYS]);

function allocateOf(koffi: Koffi): LogLibc['allocate'] {
  let fallocate: (descriptor: number, mode: number, start: number, bytes: number) => number;
  try {
    fallocate = koffi.load(null).func('int fallocate(int, int, int64_t, int64_t)');
  } catch {
    // Linux has it; others do not.
    return () => false;
  }
  return (descriptor, start, bytes) => {
    while (fallocate(descriptor, 0, start, bytes) !== 0) {
      const errno = koffi.errno();
      if (errno === constants.errno.EINTR) continue;
      if (CANNOT.has(errno)) return false;
      const [code] = Object.entries(constants.errno).find(([, value]) => value === errno) ?? [];
      throw Object.assign(new Error(`fallocate: errno ${errno}`), {
        errno,
        code: code ?? `${errno}`,
      });
    }
    return true;
  };
}

/** Where a file is mapped, shared, in this process (proc(5)). */
function mappingsOf(path: string): { readonly start: bigint; readonly bytes: number }[] {
  let maps: string;
  try {
    maps = readFileSync('/proc/self/maps', 'utf8');
  } catch {
    return [];
  }
  return maps.split('\n').flatMap((line) => {
    const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) r..s /.exec(line) ?? [];
    if (from === undefined || to === undefined || !line.endsWith(` ${path}`)) return [];
    const start = BigInt(`0x${from}`);
    return { start, bytes: Number(BigInt(`0x${to}`) - start) };
  });
}
