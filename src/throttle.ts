/** A throttle for what is said: the first is said at once, later ones at most once in a while. */
import type { Counters } from './counters.js';

/**
 * Returns `say` so limited that it is called at most once in `everyMs`; `suppressed` is the number
 * of calls that were left out since the last one. They are counted, since there may be no next one.
 */
export function throttle<Word>(
  everyMs: number,
  say: (word: Word, suppressed: number) => void,
  counters: Pick<Counters, 'server_log_suppressed_total'>,
  nowMs: () => number = () => performance.now(),
): (word: Word) => void {
  let saidMs = -Infinity;
  let suppressed = 0;
  return (word) => {
    const now = nowMs();
    if (now - saidMs < everyMs) {
      suppressed++;
      counters.server_log_suppressed_total++;
      return;
    }
    saidMs = now;
    const left = suppressed;
    suppressed = 0;
    say(word, left);
  };
}
