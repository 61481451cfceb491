/**
 * A word a second at most: the first is said at once, and what was held back is counted with the
 * next that is said.
 */

/**
 * Wraps `say` so that it is called at most once in `everyMs`; `suppressed` is how many calls were
 * left out before this one.
 */
export function throttle<Word>(
  everyMs: number,
  say: (word: Word, suppressed: number) => void,
  nowMs: () => number = () => performance.now(),
): (word: Word) => void {
  let saidMs = -Infinity;
  let suppressed = 0;
  return (word) => {
    const now = nowMs();
    if (now - saidMs < everyMs) {
      suppressed++;
      return;
    }
    saidMs = now;
    const left = suppressed;
    suppressed = 0;
    say(word, left);
  };
}
