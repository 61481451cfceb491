/** Client kinds: what counts as an EventSource, and what as a client built on fetch. */
import { describe, expect, test } from 'vitest';
import { clientKindOf, type ClientKind } from '../src/http/client-kind.js';
import { Head } from '../src/http/head.js';
import { Query } from '../src/http/query.js';
import type { HttpRequest } from '../src/native/uws.js';

function kindOf(headers: Readonly<Record<string, string>>, query = ''): ClientKind {
  const request = {
    getCaseSensitiveMethod: () => 'GET',
    getUrl: () => '/c',
    getQuery: () => query,
    forEach: (take: (name: string, value: string) => void) => {
      for (const [name, value] of Object.entries(headers)) take(name, value);
    },
  };
  return clientKindOf(new Head(request as unknown as HttpRequest), new Query(query));
}

const BROWSER = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)';

describe('without a word in the query', () => {
  test.each<[string, Readonly<Record<string, string>>, ClientKind]>([
    [
      'EventSource in Chromium',
      { 'user-agent': BROWSER, 'sec-fetch-mode': 'cors', 'cache-control': 'no-cache' },
      'eventsource',
    ],
    [
      'EventSource to an origin that is not trustworthy',
      { 'user-agent': BROWSER, 'cache-control': 'no-cache' },
      'eventsource',
    ],
    ['fetch in Chromium', { 'user-agent': BROWSER, 'sec-fetch-mode': 'cors' }, 'fetch'],
    ['fetch to an origin that is not trustworthy', { 'user-agent': BROWSER }, 'fetch'],
    ['fetch in Node', { 'user-agent': 'node', 'sec-fetch-mode': 'cors' }, 'fetch'],
    [
      'fetch with its cache switched off',
      { 'user-agent': 'node', 'sec-fetch-mode': 'cors', 'cache-control': 'No-Cache' },
      'eventsource',
    ],
    [
      'fetch with another Cache-Control',
      { 'sec-fetch-mode': 'cors', 'cache-control': 'max-age=0' },
      'fetch',
    ],
    ['curl', { 'user-agent': 'curl/7.88.1', accept: '*/*' }, 'eventsource'],
    ['nothing at all', {}, 'eventsource'],
  ])('%s', (_what, headers, kind) => expect(kindOf(headers)).toBe(kind));
});

test('client in the query beats what the request looks like', () => {
  expect(kindOf({ 'sec-fetch-mode': 'cors' }, 'client=eventsource')).toBe('eventsource');
  expect(kindOf({ 'cache-control': 'no-cache' }, 'last=3&client=fetch')).toBe('fetch');
});

test('any other value is refused with the two that there are', () => {
  expect(() => kindOf({}, 'client=python')).toThrow(
    'the query parameter client must be eventsource or fetch (got "python")',
  );
});
