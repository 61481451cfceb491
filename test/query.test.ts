/** Names in a query: which are known, which are refused as mistyped ones, and which pass. */
import { describe, expect, test } from 'vitest';
import { Query, type QueryMethod } from '../src/http/query.js';
import { QUERY_PARAMETERS_MAX } from '../src/limits.js';

const checked = (method: QueryMethod, query: string) => (): void =>
  new Query(query).checkNames(method);

const refused = (words: string): unknown =>
  expect.objectContaining({
    code: 'HOLDLINE_BAD_QUERY',
    message: expect.stringContaining(words) as string,
  });

describe('a name', () => {
  test.each<[QueryMethod, string]>([
    ['GET', 'since=4&last=1&wait=1&limit=1&envelope=1'],
    ['GET', 'last_event_id=4'],
    ['GET', 'lastEventId=4'],
    ['GET', 'lastEventID=4'],
    ['GET', 'Last-Event-ID=4'],
    ['GET', 'last-event-id=4'],
    ['POST', 'event=notice'],
  ])('that a %s takes passes: ?%s', (method, query) => {
    expect(checked(method, query)).not.toThrow();
  });

  test.each([
    ['evnt', 'event'],
    ['Event', 'event'],
    ['EVENT', 'event'],
    ['events', 'event'],
    ['evetn', 'event'],
    ['event[]', 'event'],
    ['%20event', 'event'],
    ['sinc', 'since'],
    ['Since', 'since'],
    ['sicne', 'since'],
    ['since_', 'since'],
    ['lastEventIds', 'last_event_id'],
    ['last_even_id', 'last_event_id'],
    ['lasteventd', 'last_event_id'],
    ['Last', 'last'],
    ['lsat', 'last'],
    ['wiat', 'wait'],
    ['limits', 'limit'],
    ['limt', 'limit'],
    ['envelop', 'envelope'],
    ['amp;since', 'since'],
    ['last_event', 'last_event_id'],
    ['evt', 'event'],
    ['lst', 'last'],
    ['lim', 'limit'],
  ])('near one is refused by every method: ?%s=1 is near %s', (name, near) => {
    for (const method of ['GET', 'POST', 'DELETE'] as const)
      expect(checked(method, `x=1&${name}=1`)).toThrow(refused(`did you mean ${near}?`));
  });

  test.each<[QueryMethod, string, string]>([
    ['GET', 'event=notice', '"event" means nothing to a GET, which takes since'],
    ['POST', 'since=4', '"since" means nothing to a POST, which takes event'],
    ['POST', 'Last-Event-ID=4', '"Last-Event-ID" means nothing to a POST'],
    ['DELETE', 'event=notice', '"event" means nothing to a DELETE, which takes none'],
    ['DELETE', 'last=1', '"last" means nothing to a DELETE'],
  ])('of another method is refused: %s ?%s', (method, query, words) => {
    expect(checked(method, query)).toThrow(refused(words));
  });

  test.each([
    '',
    '_=1700000000000',
    't=1&ts=2&v=3&cb=4&r=5',
    'nocache=1&rand=0.5&timestamp=1',
    'utm_source=a&utm_medium=b&gclid=c&fbclid=d',
    'token=a&access_token=b&ticket=c&key=d&user=e&tenant=f&session=g&jwt=h&auth=i',
    'id=1&page=2&offset=3&cursor=4&from=5&after=6&sort=7&filter=8&lang=de&q=x',
    'lat=1&lng=2',
    'client_id=1&clientId=2&event_id=3&last_seen=4',
    'traceparent=1&request_id=2&x-b3-traceid=3',
    '漢=1&%F0%9F%98%80=1&__proto__=1&constructor=1',
    'x'.repeat(5_000),
  ])('of somebody else passes: ?%s', (query) => {
    for (const method of ['GET', 'POST', 'DELETE'] as const)
      expect(checked(method, query)).not.toThrow();
  });
});

test('a query has a bounded number of parameters', () => {
  const many = (count: number): string => Array.from({ length: count }, () => 'abcd=1').join('&');
  expect(checked('GET', many(QUERY_PARAMETERS_MAX))).not.toThrow();
  expect(checked('GET', many(QUERY_PARAMETERS_MAX + 1))).toThrow(
    refused(`at most ${QUERY_PARAMETERS_MAX} parameters`),
  );
});

test('a page under /-/ names its own', () => {
  const names = ['sort', 'limit'];
  expect(() => new Query('sort=lag&limit=1&x=1').checkNamesAmong(names)).not.toThrow();
  expect(() => new Query('srot=lag').checkNamesAmong(names)).toThrow(refused('did you mean sort?'));
});
