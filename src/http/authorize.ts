/**
 * What a program's `authorize` hook is asked, and what it answers. Part of the public types: it
 * needs none of Node's.
 */

/** What `authorize` gets to know of a request. */
export interface AuthorizeRequest {
  readonly action: 'subscribe' | 'publish' | 'delete';
  /** Each name once: one for a publish or a deletion, all of a line's, all of a batch's. */
  readonly channels: readonly string[];
  /** By lower-case name; where a name repeats, its values are joined (RFC 9110, 5.3). */
  readonly headers: Readonly<Record<string, string>>;
  /** Undecoded, without the question mark; empty if there is none. */
  readonly query: string;
}

/**
 * True lets the request through, false answers 403 HOLDLINE_FORBIDDEN. Anything else also answers
 * 403, and `onError` gets it as a fault. If it throws or rejects, the answer is 500. It runs after
 * the keys have been checked.
 */
export type Authorize = (request: AuthorizeRequest) => boolean | Promise<boolean>;
