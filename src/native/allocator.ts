/** The C library's allocator, through `koffi`, an optional dependency. */

/**
 * Loads malloc_trim(3) of glibc, which gives freed memory back to the system, in about 0.1 ms a
 * megabyte; by itself the allocator keeps most of it. Undefined without koffi or without glibc.
 * native-notes/freed-memory-stays.md
 */
export async function loadTrim(): Promise<(() => void) | undefined> {
  try {
    const { default: koffi } = await import('koffi');
    // Null: what is loaded already, whatever the C library's file is called.
    const trim = koffi.load(null).func('int malloc_trim(size_t)');
    return () => void trim(0);
  } catch {
    return undefined;
  }
}
