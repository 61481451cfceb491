/** The refusal of a credential that was shown and is worth nothing. */
import { HoldlineError } from '../errors.js';

/**
 * HOLDLINE_UNAUTHORIZED for a key, token or ticket that is wrong or expired. It is answered with
 * `error="invalid_token"` (RFC 6750, 3.1), and a wrong one counts as a guess.
 */
export class BadCredential extends HoldlineError {
  /** True for one that was right until its time was over: no guess. */
  readonly isExpired: boolean;
  readonly isTicket: boolean;

  constructor(
    message: string,
    { isExpired = false, isTicket = false }: { isExpired?: boolean; isTicket?: boolean } = {},
  ) {
    super('HOLDLINE_UNAUTHORIZED', message);
    this.isExpired = isExpired;
    this.isTicket = isTicket;
  }
}
