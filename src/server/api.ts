/** The shapes of the library: what a program gives to `createServer`, and what it gets. */
import type { EventSchemas } from '../core/serialize.js';
import type { Authorize } from '../http/authorize.js';
import type { RefusalInfo } from '../http/refusals.js';
import type { Stats } from '../ops/stats.js';
import type { Gap, GapNotice, LineEnd, ReceivedEvent } from '../transports/received.js';

/** What a program may add to the options. None of these functions can end the process. */
export interface Hooks {
  /** Decides over every subscribe, publish and delete that comes over the network. */
  readonly authorize?: Authorize;
  /** Called after a stream, a WebSocket or a subscription opened; not for polls. */
  readonly onOpen?: (line: LineInfo) => void;
  /** Called after one of them closed, whoever closed it, with the reason. */
  readonly onClose?: (line: ClosedLineInfo) => void;
  /**
   * JSON Schemas by event type, for data that the program publishes as objects. They are compiled
   * once, by fast-json-stringify: members that are not declared are left out.
   */
  readonly eventSchemas?: EventSchemas;
  /**
   * Called with every fault that is not a client's: what a hook threw, and errors of Holdline
   * itself. Without it faults go to stderr, at most one a second.
   */
  readonly onError?: (error: unknown) => void;
  /**
   * Called with a sentence about what an operator should know and what is no fault of the server:
   * wrong keys and what a log says of itself, each at most once a second; that the log is down or
   * back; that the keys of `jwtJwks` could not be fetched; and that request heads may have fewer
   * bytes than `maxHeaderBytes`.
   */
  readonly onWarning?: (words: string) => void;
  /**
   * Called after each request and message that was refused, with why and where it came from: for a
   * log. It has no header, query or body of the client.
   */
  readonly onRefusal?: (refusal: RefusalInfo) => void;
}

/** A held connection, as hooks see it. */
export interface LineInfo {
  /** Unique in the life of the process, an integer counted up from 1; `disconnect` takes it. */
  readonly id: number;
  /** The person or program behind it, where a credential or `authorize` said so. */
  readonly user: string | undefined;
  /** Names, for `onOpen` in the order of the path, for `onClose` in the order of the names. */
  readonly channels: readonly string[];
  /** `library`: `channel.subscribe` of the program itself. */
  readonly transport: 'sse' | 'ndjson' | 'websocket' | 'poll' | 'library';
  /** The client's address, where it is known. */
  readonly remoteAddress?: string;
}

/** A connection that has closed. */
export interface ClosedLineInfo extends LineInfo {
  /**
   * Why. The server ended it, and told the client this code: `draining` (it shuts down), `slow`
   * (with `slow: 'close'`), `deleted` (its channel was), `expired` (its credential has),
   * `ticket-expired`, `aged` (`maxAgeMs`), `revoked` (its user was), `disconnected` (by
   * `disconnect` or an operator). Or without a word: `client`, by the client or the network;
   * `stalled`, by either while it took no bytes, mostly the server after ten seconds of that;
   * `refused`, by the server for what a WebSocket sent or left unread.
   */
  readonly reason:
    | 'draining'
    | 'slow'
    | 'deleted'
    | 'expired'
    | 'ticket-expired'
    | 'aged'
    | 'revoked'
    | 'disconnected'
    | 'client'
    | 'stalled'
    | 'refused';
}

/** An event to publish. */
export interface LibraryEvent {
  /**
   * Event type, 1 to 64 printable characters other than a reserved type; without one, clients
   * dispatch `message`.
   */
  readonly event?: string;
  /**
   * A string, or bytes of UTF-8 (Uint8Array), which are copied: both go out as text. Anything else
   * goes out as JSON; a promise, a Map or a Set, of which JSON keeps nothing, is refused. At most
   * `maxEventBytes` (option, bytes) when it is encoded.
   */
  readonly data: unknown;
}

/** What a channel holds after a position. */
export interface History {
  /** In the order of their ids. */
  readonly events: readonly ReceivedEvent[];
  /** Events between the position and the first of `events` were lost; absent where none were. */
  readonly gap?: Gap;
  /** The id to go on from: `history({ after: position })` or `subscribe({ after: position })`. */
  readonly position: number;
}

/** What ends a subscription: an `AbortSignal`. */
export interface Signal {
  readonly aborted: boolean;
}

/**
 * A line of the program itself, to be read with `for await`. While it is not read it holds about
 * 64 KiB or one larger event; beyond that it is a position in the channel, and what is evicted
 * meanwhile is told in a {@link GapNotice}. The iteration ends when the server ends the line, after
 * what was sent before; `break`, `return()` and the signal close the line at once. Nothing of it
 * rejects.
 */
export interface Subscription {
  /** The next event or gap notice; waits for one. Several calls are answered in their order. */
  next(): Promise<IteratorResult<ReceivedEvent | GapNotice, undefined>>;
  /** Closes the line; what was not read is dropped. */
  return(): Promise<IteratorResult<ReceivedEvent | GapNotice, undefined>>;
  [Symbol.asyncIterator](): Subscription;
  /** The id to go on from: of the event read last, or where the line began. */
  readonly position: number;
  /** Why the server ended the line; undefined while it is open, or if the program closed it. */
  readonly end: LineEnd | undefined;
}

/** A channel of a server. Its promises reject with a {@link HoldlineError}. */
export interface ServerChannel {
  readonly name: string;
  /**
   * Lines on the channel now, of all transports: those on several channels, waiting polls and the
   * program's own subscriptions are among them.
   */
  readonly subscribers: number;
  /**
   * Publishes an event; resolves to its id, an integer from 1 to 2^53 − 1. Rejects with
   * HOLDLINE_BAD_ARGUMENT for what is no event or has an unknown member, HOLDLINE_BAD_EVENT_TYPE,
   * HOLDLINE_NOT_UTF8, HOLDLINE_BAD_JSON, HOLDLINE_TOO_LARGE or HOLDLINE_DRAINING; with
   * HOLDLINE_PUBLISH_BUSY, HOLDLINE_CHANNELS_FULL or HOLDLINE_LOG_UNAVAILABLE it may be tried
   * again; HOLDLINE_OUTCOME_UNKNOWN: the log (option `log`) did not say whether it has the event.
   * Before `listen` it opens the log, and rejects as that does.
   */
  publish(event: LibraryEvent): Promise<number>;
  /** Publishes several events, all or none; resolves to their ids. Rejects as `publish` does. */
  publishAll(events: readonly LibraryEvent[]): Promise<readonly number[]>;
  /**
   * Deletes the channel's history and ends the lines that are on this channel only, as DELETE does;
   * resolves to the id of the deletion. Rejects with HOLDLINE_DRAINING, HOLDLINE_PUBLISH_BUSY,
   * HOLDLINE_CHANNELS_FULL, HOLDLINE_LOG_UNAVAILABLE or HOLDLINE_OUTCOME_UNKNOWN.
   */
  delete(): Promise<number>;
  /**
   * Resolves to what the channel holds after the position `after` (an id; 0 for all), else to its
   * newest events: at most `limit` (1 to 1000; default 100) and 1 MiB of JSON, but one event at
   * least. The channel is read to its end when `events` is empty. Rejects with
   * HOLDLINE_BAD_ARGUMENT, HOLDLINE_DRAINING or HOLDLINE_LOG_UNAVAILABLE.
   */
  history(options?: { readonly after?: number; readonly limit?: number }): Promise<History>;
  /**
   * Opens a line at once, and not with the first `next`: it gets what follows the position `after`
   * (an id; 0 for all that is held), else what is published from now on. It counts among the lines
   * of the server, by transport as `library`, and stays open until the iteration ends, also when
   * nobody reads it. Throws HOLDLINE_BAD_ARGUMENT, and where a client would be refused
   * HOLDLINE_DRAINING, HOLDLINE_LINES_FULL, HOLDLINE_MEMORY_FULL, HOLDLINE_ACCEPT_RATE or
   * HOLDLINE_CHANNELS_FULL; where the log has to be opened or read first, `next` rejects with that,
   * once.
   */
  subscribe(options?: { readonly after?: number; readonly signal?: Signal }): Subscription;
}

/** Where a server listens. */
export interface Address {
  /** Empty for a unix socket. */
  readonly host: string;
  /** 0 for a unix socket. */
  readonly port: number;
  /** The path of the unix socket. */
  readonly unixSocket?: string;
  /** The port of operations, with `opsListen`. */
  readonly opsPort: number | undefined;
}

/** A server, made by `createServer`. All that it throws or rejects with is a HoldlineError. */
export interface Server {
  /**
   * The channel of that name: 1 to 128 characters of A–Z a–z 0–9 . _ ~ - : @ in segments between
   * slashes (`org/7/alerts`), none of which is empty or has a leading, trailing or double dot, and
   * not under `-/`. Throws HOLDLINE_BAD_CHANNEL, HOLDLINE_BAD_ARGUMENT for no name.
   */
  channel(name: string): ServerChannel;
  /**
   * Opens the log and listens; resolves to the address, with the port that the system chose for
   * port 0. Rejects with HOLDLINE_BAD_LOG for a log that cannot be used, HOLDLINE_NO_LIBRARY if a
   * package of it is not installed, HOLDLINE_LISTEN if the address cannot be had or this server has
   * listened before, HOLDLINE_NATIVE if no binary of uWebSockets.js loads, and HOLDLINE_BAD_OPTION
   * if the memory budget is less than the process takes.
   */
  listen(): Promise<Address>;
  /**
   * Serves another certificate from now on, or the renewed one in the same files; open connections
   * keep the one that they have. Rejects with HOLDLINE_BAD_OPTION for files that cannot be served
   * and for a server without TLS, with HOLDLINE_LISTEN if the server does not listen, and with
   * HOLDLINE_BAD_ARGUMENT; then the certificate before is served on.
   */
  changeCertificate(files: { readonly tlsCert: string; readonly tlsKey: string }): Promise<void>;
  /**
   * The key of the pages under `/-/`: the option, or the one that was made. Not enumerable, so that
   * it does not get into a log with the server.
   */
  readonly opsKey: string;
  /**
   * Ends the line of an id (see {@link LineInfo}), all lines of a user, or all on a channel,
   * waiting polls among them, in the next turns of the event loop; returns how many. Streams and
   * WebSockets get the end `disconnected` and may come back with their position, unless `authorize`
   * refuses them then. Throws HOLDLINE_BAD_ARGUMENT for anything else, HOLDLINE_BAD_CHANNEL for a
   * name that no channel can have.
   */
  disconnect(
    lines: { readonly user: string } | { readonly id: number } | { readonly channel: string },
  ): number;
  /** The figures of `/-/stats`, at this moment. */
  stats(): Stats;
  /**
   * Takes nothing new, sends what was accepted, ends every line with an end event, and closes.
   * Resolves after `drainMs` at the latest (ms; default: the option). Another call waits for the
   * same end. Rejects only with HOLDLINE_BAD_ARGUMENT, for another argument; then nothing ends.
   */
  close(options?: { readonly drainMs?: number }): Promise<void>;
}
