/** Compressed lines, and how many of them are in step: a walk with a bounded cost. */
import { IN_STEP_LOOKUPS_MAX } from '../limits.js';
import type { Group } from './group.js';
import { READING, type LineTable } from './line-table.js';
import { firstInWindow } from './plain-frames.js';

/** Open lines that are given gzip blocks. */
export interface CompressedLines {
  readonly lines: number;
  /** Those that can be given the smallest block that follows their cursor: what most share. */
  readonly inStep: number;
}

/**
 * Lines that a sweep left at one cursor stand beside each other, so that the ring is asked only
 * where the cursor changes, IN_STEP_LOOKUPS_MAX times at most. Past it the lines behind one change
 * in so many stand for all.
 */
export function compressedLines(groups: readonly Group[]): CompressedLines {
  const compressed = groups.filter((group) => group.compressed !== undefined);
  let lines = 0;
  let changes = 0;
  for (const { table } of compressed) {
    lines += table.count;
    changes += changesIn(table);
  }
  // Odd, since rows that take turns mostly do so in twos and fours.
  const stride = Math.ceil(changes / IN_STEP_LOOKUPS_MAX) | 1;
  let passed = 0;
  let looked = 0;
  let inStep = 0;
  for (const group of compressed) {
    const { cursors, states, count } = group.table;
    const clean = group.table.clean as Float64Array;
    let cursor = Number.NaN;
    let first = 0;
    let isLookedAt = false;
    for (let row = 0; row < count; row++) {
      if (cursors[row] !== cursor) {
        cursor = cursors[row] as number;
        isLookedAt = passed++ % stride === 0;
        if (isLookedAt) first = firstInWindow(group, cursor);
      }
      if (!isLookedAt) continue;
      looked++;
      if ((clean[row] as number) < first && states[row] !== READING) inStep++;
    }
  }
  return { lines, inStep: looked === 0 ? 0 : Math.round((inStep * lines) / looked) };
}

function changesIn({ cursors, count }: LineTable<unknown>): number {
  let changes = 0;
  for (let row = 0, before = Number.NaN; row < count; row++) {
    const cursor = cursors[row] as number;
    if (cursor !== before) changes++;
    before = cursor;
  }
  return changes;
}
