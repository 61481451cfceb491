/** What a reader should know about a measurement. */

import { SETTLE_STALL_MS } from '../load/processes/settling.js';
import { decimal, percent } from '../report/words.js';
import type { Window } from './profile.js';

/** Share of a core that other processes may use without a remark. */
const OTHERS_SHARE_MAX = 0.1;

/** What a reader should know about the windows of a profile, a sentence each. */
export function remarksOn(windows: readonly Window[], isPinned: boolean): string[] {
  // In the window without lines the other server is at work, which is not another process.
  const othersShare = Math.max(
    ...windows.filter(({ lines }) => lines > 0).map(({ strangerShare }) => strangerShare),
  );
  const sum = (of: (window: Window) => number): number =>
    windows.reduce((total, window) => total + of(window), 0);
  const faults = sum((window) => window.faults);
  const undelivered = sum((window) => window.undelivered ?? 0);
  const awaited = sum(
    ({ acceptedPerSecond, seconds, lines }) => acceptedPerSecond * seconds * lines,
  );
  const full = windows.filter(({ isClientLimited }) => isClientLimited).length;
  return [
    ...(isPinned
      ? []
      : ['server and clients shared their cores: CPU and latency are less reliable']),
    ...(othersShare > OTHERS_SHARE_MAX
      ? [
          `other processes took up to ${percent(othersShare, 0)} of a core: measure again when ` +
            'they are idle',
        ]
      : []),
    ...(full > 0
      ? [
          `in ${full} of ${windows.length} runs the clients were at their limit: the server ` +
            'may be faster than measured',
        ]
      : []),
    ...(undelivered > 0
      ? [
          `${decimal(undelivered)} of ${decimal(awaited, 0)} deliveries had not come when their ` +
            `run ended, after at most ${SETTLE_STALL_MS / 1000} s without one: late, or lost; ` +
            'measure again when the machine is idle',
        ]
      : []),
    ...(faults > 0
      ? [`${decimal(faults)} deliveries were skipped, doubled or out of order: something is wrong`]
      : []),
  ];
}
