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
  /** The user of the key, token or ticket; undefined where none was shown or it names none. */
  readonly user: string | undefined;
}

/** An answer of `authorize` that says more than yes or no. */
export interface AuthorizeAnswer {
  /** True lets the request through, false answers 403 HOLDLINE_FORBIDDEN. */
  readonly allow: boolean;
  /**
   * Who the line belongs to, or whose the Idempotency-Key of a publish is, 1 to 128 characters that
   * can be printed; without it the user of the credential.
   */
  readonly user?: string;
  /**
   * When the line ends, with `end {"code":"expired","reconnect":true}`: a Date, or milliseconds
   * since the epoch. The credential's own end counts if it is earlier.
   */
  readonly expiresAt?: Date | number;
  /**
   * Other channels for those asked for, by name: `{ me: 'user-42' }` gives whoever asks for `/me`
   * the channel `user-42`. What is not named stays. For `subscribe` only.
   */
  readonly channels?: Readonly<Record<string, string>>;
}

/**
 * True lets the request through, false answers 403 HOLDLINE_FORBIDDEN; an object says more.
 * Anything else also answers 403, and `onError` gets it as a fault. If it throws or rejects, the
 * answer is 500. It runs after keys, tokens and tickets have been checked, and can only refuse.
 */
export type Authorize = (
  request: AuthorizeRequest,
) => boolean | AuthorizeAnswer | Promise<boolean | AuthorizeAnswer>;
