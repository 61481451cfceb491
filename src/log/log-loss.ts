/**
 * What a log reports when it has lost what it had kept. It is told always, where a throttle leaves
 * out other faults.
 */
import { HoldlineError } from '../errors.js';

export class LogLoss extends HoldlineError {
  constructor(words: string) {
    super('HOLDLINE_LOG_UNAVAILABLE', words);
  }
}
