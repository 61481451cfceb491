/**
 * What a client writes into a head is read in a time that grows with its length and no faster: a
 * pattern that tries a long text from each of its characters held the loop for 300 ms.
 */
import { describe, expect, test } from 'vitest';
import { Tickets } from '../src/auth/tickets.js';
import { Tokens } from '../src/auth/tokens.js';
import { checkEventType } from '../src/core/event.js';
import { HoldlineError } from '../src/errors.js';
import { clientKindOf } from '../src/http/client-kind.js';
import { acceptsGzip } from '../src/http/content-coding.js';
import { readForwarded, readForwardedFor } from '../src/http/forwarded.js';
import type { Head } from '../src/http/head.js';
import { bodyKindOf } from '../src/http/media-type.js';
import { Origins } from '../src/http/origins.js';
import { Query } from '../src/http/query.js';
import { wantsPage } from '../src/http/refusal-page.js';
import { channelsOf, negotiate, positionOf } from '../src/http/request.js';

/** As much as `--max-header-bytes` lets through. */
const CHARS = 16 * 1024;
/** A hundred times what the slowest of them takes, and a fourth of what was too slow. */
const LONGEST_MS = 60;

function headWith(method: string, value: string): Head {
  const get = (name: string): string => (name === 'host' ? 'localhost' : value);
  return { method, path: '/c', query: value, get, find: get } as unknown as Head;
}

const origins = new Origins(['*']);
const tickets = new Tickets(['a secret of thirty-two characters']);

const READERS: readonly (readonly [string, string, (value: string) => unknown])[] = [
  ['Content-Type', 'text/plain;', bodyKindOf],
  ['Content-Type without a subtype', '', bodyKindOf],
  ['Forwarded', 'for=192.0.2.7;', (value) => [...readForwarded(value)]],
  ['X-Forwarded-For', '192.0.2.7,', (value) => [...readForwardedFor(value)]],
  ['Accept', 'text/html', (value) => negotiate('', value, false)],
  ['Accept of a person', 'text/html', (value) => wantsPage(headWith('GET', value))],
  ['Accept-Encoding', 'gzip', acceptsGzip],
  ['Cache-Control', 'no-cach', (value) => clientKindOf(headWith('GET', value), new Query(''))],
  ['Origin', 'http://a', (value) => origins.checkSite(headWith('POST', value))],
  ['a preflight', 'a', (value) => origins.preflight(headWith('OPTIONS', value), 'GET')],
  ['a token', 'a.b', (value) => Tokens.isToken(value)],
  ['a ticket', 'v1.a', (value) => tickets.verify(value)],
  ['a path', '/a', channelsOf],
  ['a query', 'since=1', (value) => new Query(value).checkNames('GET')],
  ['a position', '', (value) => positionOf(undefined, new Query(`since=${value}`))],
  ['an event type', '', checkEventType],
];

const UNITS = [
  ...'aZ0 .,;:=/"\\*%&+-_~[]()<>@?\t'.split(''),
  'a ',
  ' ;',
  'a=',
  'a=",',
  ';a="\\"',
  'q=0',
  ' , ',
  '\\"',
  'a,',
  '1.',
  'text/html;q=0',
  '%20',
  '&a',
];

/**
 * The milliseconds of the fastest of three, since the machine may do other things; each is told how
 * much to leave out, since some remember what they read last.
 */
function fastestMs(read: (leftOut: number) => unknown): number {
  let fastest = Infinity;
  for (let i = 0; i < 3 && fastest > LONGEST_MS; i++) {
    const beganMs = performance.now();
    try {
      read(i);
    } catch (error) {
      expect(error).toBeInstanceOf(HoldlineError);
    }
    fastest = Math.min(fastest, performance.now() - beganMs);
  }
  return fastest;
}

describe.each(READERS)('%s of 16 KiB is read at once', (_name, begin, read) => {
  test.each(UNITS)('of %j again and again', (unit) => {
    const rest = unit.repeat(CHARS / unit.length);
    // The end makes what was matched so far fail.
    for (const end of ['', '\u0001', '"', '=', 'x'])
      expect(fastestMs((at) => read(`${begin}${rest.slice(at)}${end}`))).toBeLessThan(LONGEST_MS);
  });
});
