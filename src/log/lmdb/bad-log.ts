/** What is thrown for a log on disk, or a copy of one, that cannot be used. */
import { HoldlineError } from '../../errors.js';

export function badLog(words: string): HoldlineError {
  return new HoldlineError('HOLDLINE_BAD_LOG', words);
}
