/** An event before and after the log gave it an id, and the rules for its type. */
import { HoldlineError } from '../errors.js';
import { EVENT_TYPE_CHARS_MAX } from '../limits.js';

/** An event to be published. */
export interface NewEvent {
  readonly channel: string;
  /** Event type; absent means the client's default, `message`. */
  readonly type: string | undefined;
  /** Valid UTF-8. Must not be changed after the event was handed over. */
  readonly data: Uint8Array;
  /** True when `data` is a JSON text, which is embedded unchanged where JSON is sent. */
  readonly json: boolean;
}

/** An event of the log. Ids rise over all channels of a server. */
export interface LoggedEvent extends NewEvent {
  readonly id: number;
}

/** The end of a channel's history: whoever asks from now on gets nothing from before it. */
export interface Deletion {
  readonly channel: string;
  readonly isDeletion: true;
}

/** What a log keeps: events and deletions, in one order. */
export type NewEntry = NewEvent | Deletion;

/** An entry of the log; ids rise over all entries. */
export type LoggedEntry = LoggedEvent | (Deletion & { readonly id: number });

/** Tells the two kinds of entries apart. */
export function isDeletion<Entry extends NewEntry>(
  entry: Entry,
): entry is Extract<Entry, Deletion> {
  return 'isDeletion' in entry;
}

/**
 * Types with another meaning on the wire: our own in-band events, and two that a page would mistake
 * for those of EventSource. native-notes/eventsource-clients.md
 */
const RESERVED_TYPES: ReadonlySet<string> = new Set(['gap', 'end', 'open', 'error']);

/**
 * No control, format, surrogate, private or unassigned characters, and no Unicode line separators.
 */
const PRINTABLE = /^[^\p{C}\p{Zl}\p{Zp}]+$/u;

/**
 * Returns `type`, or throws HOLDLINE_BAD_EVENT_TYPE. Among the unprintable characters, CR, LF and
 * NUL would end the field (HTML Standard, 9.2.6 "interpreting an event stream").
 */
export function checkEventType(type: string): string {
  if (type.length < 1 || type.length > EVENT_TYPE_CHARS_MAX || !PRINTABLE.test(type)) {
    throw new HoldlineError(
      'HOLDLINE_BAD_EVENT_TYPE',
      `the event type must be 1 to ${EVENT_TYPE_CHARS_MAX} printable characters (got ${JSON.stringify(type.slice(0, EVENT_TYPE_CHARS_MAX))})`,
    );
  }
  if (RESERVED_TYPES.has(type)) {
    throw new HoldlineError(
      'HOLDLINE_BAD_EVENT_TYPE',
      `the event type "${type}" is reserved (${[...RESERVED_TYPES].join(', ')}); use another`,
    );
  }
  return type;
}
