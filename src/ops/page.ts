/** A page under `/-/`: who may ask for it, and what it answers. */
import type { Headers } from '../http/answer.js';
import type { Query } from '../http/query.js';

/** What a page is given of the request and the server. */
export interface OpsRequest {
  readonly query: Query;
  readonly draining: boolean;
  /** What follows the name of a page that answers for every path below it; undecoded. */
  readonly rest: string;
  /** Channels to tell of, in place of those that are busiest here; for the metrics of a worker. */
  readonly channels?: readonly string[];
}

export interface OpsAnswer {
  /** 200 where it is left out. */
  readonly status?: number;
  readonly contentType: string;
  readonly body: string | Uint8Array;
  readonly headers?: Headers;
}

export interface OpsPage {
  /**
   * `key`: clients with the ops key; `host`: requests whose Host is the server's own; `open`: all.
   */
  readonly access: 'key' | 'host' | 'open';
  /** Code without state, for pages of every origin that may listen. */
  readonly isForPages?: true;
  /** Throws HOLDLINE_BAD_QUERY as `answer` does, and looks at nothing but the request. */
  check?(request: OpsRequest): void;
  /** Answers a GET. Throws or rejects with HOLDLINE_BAD_QUERY. */
  answer(request: OpsRequest): OpsAnswer | Promise<OpsAnswer>;
}

/**
 * Pages by their path behind `/-/`. One whose name ends in a slash answers for every path below it
 * that is no page of its own.
 */
export type OpsPages = ReadonlyMap<string, OpsPage>;

/** The name of the page at a path behind `/-/`. */
export function pageNameOf(path: string): string {
  const slash = path.indexOf('/');
  return slash < 0 || slash === path.length - 1 ? path : path.slice(0, slash + 1);
}

/** The path of a page, as people are shown it. */
export function shownPathOf(name: string): string {
  return `/-/${name}${name.endsWith('/') ? 'NAME' : ''}`;
}

/** An answer in JSON. */
export function jsonAnswer(value: object): OpsAnswer {
  return { contentType: 'application/json', body: JSON.stringify(value) };
}
