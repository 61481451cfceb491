/**
 * What a program gets of its channels. Part of the public types: it imports nothing whose types
 * need those of Node.
 */
import type { EndCode } from '../errors.js';

/** An event as the program gets it. */
export interface ReceivedEvent {
  readonly id: number;
  readonly channel: string;
  /** Event type; absent where it was published without one. */
  readonly event?: string;
  /**
   * What was published: a string where it was text or bytes, the value where it was JSON, as
   * `JSON.parse` reads it (a number beyond 2^53 is rounded).
   */
  readonly data: unknown;
  /** No gap notice: tells the two apart. */
  readonly gap?: undefined;
}

/** Events that were lost: those after `after` and before `before`. */
export interface Gap {
  /** The position; null when it is no id of this log. */
  readonly after: number | null;
  /** Id of the event that comes next; null when none is held. */
  readonly before: number | null;
}

/** Stands in the place of events that are no longer held. */
export interface GapNotice {
  readonly gap: Gap;
  readonly id?: undefined;
  readonly channel?: undefined;
  readonly event?: undefined;
  readonly data?: undefined;
}

/** Why the server ended a line, and whether a new one may be opened. */
export interface LineEnd {
  readonly code: EndCode;
  readonly reconnect: boolean;
}
