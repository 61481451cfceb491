/** How far all lines are behind, as a histogram: a walk over the tables with a bounded cost. */
import { LINE_LAG_BOUNDS, LINE_LAG_LOOKUPS_MAX } from '../limits.js';
import type { Group } from './group.js';
import { Histogram } from './histogram.js';
import { Lag } from './line-ranking.js';

/**
 * Lines by the events held that they are owed. A line at the head costs a comparison; for the
 * others the rings are asked, LINE_LAG_LOOKUPS_MAX times at most. Past it one line in so many is
 * measured and stands for those behind it, so that the lines still add up.
 */
export function lineLag(groups: readonly Group[]): Histogram {
  const histogram = new Histogram(LINE_LAG_BOUNDS);
  const behind: Group[] = [];
  let lookups = 0;
  for (const group of groups) {
    const count = countBehind(group);
    histogram.observe(0, group.table.count - count);
    lookups += count * group.channels.length;
    if (count > 0) behind.push(group);
  }
  const stride = Math.max(1, Math.ceil(lookups / LINE_LAG_LOOKUPS_MAX));
  let passed = 0;
  let lagEvents = 0;
  for (const group of behind) {
    const { cursors, count } = group.table;
    const newest = group.set.newestId;
    const lag = new Lag(group);
    for (let row = 0; row < count; row++) {
      const cursor = cursors[row] as number;
      if (cursor >= newest) continue;
      if (passed++ % stride === 0) {
        lag.measure(cursor);
        lagEvents = lag.events;
      }
      histogram.observe(lagEvents);
    }
  }
  return histogram;
}

function countBehind({ table, set }: Group): number {
  const { cursors, count } = table;
  const newest = set.newestId;
  let behind = 0;
  for (let row = 0; row < count; row++) if ((cursors[row] as number) < newest) behind++;
  return behind;
}
