/** The C library's allocator, through `koffi`, an optional dependency. */

/**
 * Loads malloc_trim(3) of glibc, which gives back to the system what was freed; by itself the
 * allocator keeps most of it. Takes about
 * 0.1 ms a megabyte. Undefined where there is no koffi or no glibc. native-notes/freed-memory-stays.md
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
