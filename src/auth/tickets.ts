/**
 * Tickets: signed text that a page puts into the URL of an event stream, where it cannot set a
 * header. A ticket reads some channels, for one user, for at most an hour.
 */
import type { Rights } from './rights.js';

/** What a ticket is made of. */
export interface TicketParts {
  /** Names or patterns. */
  readonly channels: readonly string[];
  readonly user: string | undefined;
  /** When the credential behind it was issued: what revokes that revokes the ticket. */
  readonly issuedAtMs: number | undefined;
  /** The wanted end; it comes earlier where TICKET_LIFETIME_MS_MAX says so. */
  readonly expiresAtMs: number;
}

export class Tickets {
  /** New tickets are signed with the first secret; all are accepted. */
  constructor(secrets: readonly string[], nowMs: () => number = Date.now) {
    void secrets;
    void nowMs;
  }

  /** Throws HOLDLINE_BAD_QUERY for channels that are no patterns, none, or too many. */
  make(parts: TicketParts): { readonly ticket: string; readonly expiresAtMs: number } {
    void parts;
    throw new Error();
  }

  /** Throws HOLDLINE_UNAUTHORIZED for one that is wrong or expired. */
  verify(ticket: string): Rights {
    void ticket;
    throw new Error();
  }
}
