/** The C library's allocator, through `koffi`, an optional dependency. */

/** glibc's. */
export interface Allocator {
  /**
   * malloc_trim(3): gives freed memory back to the system, in about 0.1 ms a megabyte; by itself
   * the allocator keeps most of it. native-notes/freed-memory-stays.md
   */
  trim(): void;
  /**
   * mallinfo2(3): what is given out and not freed, and what is held for it, bytes. It walks the
   * lists of free blocks, in 0.1 to 0.5 ms.
   */
  usage(): AllocatorUsage;
}

export interface AllocatorUsage {
  readonly usedBytes: number;
  readonly heldBytes: number;
}

/** All are size_t; the names are the manual page's. */
const MALLINFO2_FIELDS = [
  'arena',
  'ordblks',
  'smblks',
  'hblks',
  'hblkhd',
  'usmblks',
  'fsmblks',
  'uordblks',
  'fordblks',
  'keepcost',
] as const;

type Mallinfo2 = Readonly<Record<(typeof MALLINFO2_FIELDS)[number], number>>;

// A type has one name in koffi, for the whole process.
let loading: Promise<Allocator | undefined> | undefined;

/** Undefined without koffi, without glibc, or with one older than 2.33. */
export function loadAllocator(): Promise<Allocator | undefined> {
  return (loading ??= load());
}

async function load(): Promise<Allocator | undefined> {
  try {
    const { default: koffi } = await import('koffi');
    // Null: what is loaded already, whatever the C library's file is called.
    const libc = koffi.load(null);
    koffi.struct('mallinfo2', Object.fromEntries(MALLINFO2_FIELDS.map((f) => [f, 'size_t'])));
    const trim = libc.func('int malloc_trim(size_t)');
    const mallinfo2 = libc.func('mallinfo2 mallinfo2()') as unknown as () => Mallinfo2;
    return {
      trim: () => void trim(0),
      usage: () => {
        // `hblkhd` are blocks that are mappings of their own.
        const { arena, hblkhd, uordblks } = mallinfo2();
        return { usedBytes: uordblks + hblkhd, heldBytes: arena + hblkhd };
      },
    };
  } catch {
    return undefined;
  }
}
