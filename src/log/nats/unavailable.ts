/** What is thrown while the log in NATS takes nothing, or does not answer. */
import { asError, HoldlineError } from '../../errors.js';

/** `problem`: in words, or what NATS's client has thrown. */
export function unavailable(problem: unknown): HoldlineError {
  const words = typeof problem === 'string' ? problem : asError(problem).message;
  return new HoldlineError('HOLDLINE_LOG_UNAVAILABLE', `the log is not available: ${words}`);
}
