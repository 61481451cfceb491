/** A page under `/-/`: who may ask for it, and what it answers. */
import type { Headers } from '../http/answer.js';
import type { Query } from '../http/query.js';

/** What a page is given of the request and the server. */
export interface OpsRequest {
  readonly query: Query;
  readonly draining: boolean;
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
  /** Answers a GET. Throws or rejects with HOLDLINE_BAD_QUERY. */
  answer(request: OpsRequest): OpsAnswer | Promise<OpsAnswer>;
}

/** Pages by the last segment of their path. */
export type OpsPages = ReadonlyMap<string, OpsPage>;
