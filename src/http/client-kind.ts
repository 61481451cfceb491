/**
 * Client kinds: an EventSource and a client built on fetch need different event streams and
 * different refusals (test/CLIENTS.md).
 */
import type { Head } from './head.js';
import { badParameter, type Query } from './query.js';

/**
 * - `eventsource` takes its position from blocks without data, and gives up for good on any status
 *   but 200 (HTML Standard, 9.2.3). native-notes/eventsource-clients.md
 * - `fetch` may hand its program every block, and ends, or asks again at once, after a 200 that
 *   ends.
 */
export type ClientKind = 'eventsource' | 'fetch';

/**
 * What `client` in the query says; without it, what the request looks like. Every EventSource asks
 * with `Cache-Control: no-cache`, and a fetch does not unless its cache is switched off. A request
 * counts as a fetch if it comes from a browser or has Fetch Metadata, and lacks that field.
 * Browsers send Fetch Metadata to trustworthy origins only, Node's fetch always. Throws
 * HOLDLINE_BAD_QUERY.
 */
export function clientKindOf(head: Head, query: Query): ClientKind {
  const named = query.get('client');
  if (named === 'eventsource' || named === 'fetch') return named;
  if (named !== undefined) throw badParameter('client', 'eventsource or fetch', named);
  const mayBeFetch =
    head.find('sec-fetch-mode') !== undefined || head.get('user-agent').startsWith('Mozilla/');
  return mayBeFetch && !/no-cache/i.test(head.get('cache-control')) ? 'fetch' : 'eventsource';
}
