/**
 * What takes seconds in which nothing happens, such as the end of a silent line: it is begun before
 * the tests of a file, which run meanwhile, and looked at by one of the last.
 */
import { afterAll, beforeAll } from 'vitest';

/** Takes what is to be called at the end of the file, the last one first. */
export type AtEnd = (end: () => void | Promise<void>) => void;

/** What was begun, and how long it may still take. */
export interface Begun<T> {
  readonly value: T;
  /** What is left of a time that has passed since it was begun; a second at least, ms. */
  readonly leftMs: (ms: number) => number;
}

/** Begins something before the tests of the file; what is returned gives it to the one about it. */
export function begunBefore<T>(begin: (atEnd: AtEnd) => Promise<T>): () => Begun<T> {
  const ends: (() => void | Promise<void>)[] = [];
  let begun: Begun<T>;
  beforeAll(async () => {
    const value = await begin((end) => void ends.push(end));
    const atMs = performance.now();
    begun = { value, leftMs: (ms) => Math.max(1_000, ms - (performance.now() - atMs)) };
  });
  afterAll(async () => {
    for (const end of ends.toReversed()) await end();
  });
  return () => begun;
}
