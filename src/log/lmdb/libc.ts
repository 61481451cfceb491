/** Two functions of the C library that Node lacks, through `koffi`, an optional dependency. */
import { readFileSync } from 'node:fs';

export interface LogLibc {
  /** flock(2), exclusive and without waiting; false when another has the lock. */
  lock(this: void, descriptor: number): boolean;
  /**
   * Takes the pages of a mapped file out of the memory of this process, where they count; they stay
   * in the kernel's cache, and are mapped again when they are read (madvise(2), MADV_DONTNEED).
   */
  unmapPages(this: void, path: string): void;
}

const LOCK_EX = 2;
const LOCK_NB = 4;
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
      unmapPages: (path) => {
        for (const { start, bytes } of mappingsOf(path)) madvise(start, bytes, MADV_DONTNEED);
      },
    };
  } catch {
    return undefined;
  }
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
