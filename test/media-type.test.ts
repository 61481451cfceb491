/** What a Content-Type says of a body: every name in use is read as meant, or refused in words. */
import { describe, expect, test } from 'vitest';
import { bodyKindOf, NDJSON_TYPES } from '../src/http/media-type.js';

const unsupported = (words: string): unknown =>
  expect.objectContaining({
    code: 'HOLDLINE_UNSUPPORTED_MEDIA_TYPE',
    message: expect.stringContaining(words) as string,
  });

test.each([
  ...NDJSON_TYPES,
  'APPLICATION/X-NDJSON;x=y',
  'application/ndjson; charset=UTF-8',
  'Application/JSONL ; charset="utf-8"',
  'application/x-jsonlines',
  'application/json-lines',
])('%s is a batch', (type) => {
  expect(bodyKindOf(type)).toBe('batch');
});

test.each([
  'application/json',
  'Application/JSON; charset=utf-8',
  ' application/json',
  'text/json',
  'application/x-json',
  'application/cloudevents+json; charset=UTF-8',
  'application/problem+JSON',
  'application/json;profile="a;charset=latin1"',
])('%s is JSON', (type) => {
  expect(bodyKindOf(type)).toBe('json');
});

test.each([
  '',
  'text/plain',
  'text/plain;charset=UTF-8',
  'application/x-www-form-urlencoded',
  'application/octet-stream',
  'application/xml',
  'text/html',
  'text/csv',
  'text/css',
  'application/yaml',
  'application/javascript',
])('%j is text', (type) => {
  expect(bodyKindOf(type)).toBe('text');
});

describe('a charset', () => {
  test.each([
    'utf-8',
    'UTF-8',
    'Utf-8',
    '"utf-8"',
    '"UTF\\-8"',
    "'utf-8'",
    'utf8',
    'us-ascii',
    'US-ASCII',
  ])('%s is read', (charset) => {
    for (const type of ['text/plain', 'application/json', 'application/x-ndjson'])
      expect(() => bodyKindOf(`${type}; charset=${charset}`)).not.toThrow();
    expect(() => bodyKindOf(`text/plain;x=1;CharSet=${charset};y=2`)).not.toThrow();
  });

  test.each([
    'iso-8859-1',
    'ISO-8859-1',
    '"iso-8859-1"',
    'latin1',
    'windows-1252',
    'utf-16',
    'utf-16le',
    'utf-7',
    'utf-8x',
    '',
    '""',
  ])('%j is refused with 415, whatever the type', (charset) => {
    for (const type of ['text/plain', 'application/json', 'application/jsonl', 'image/png'])
      expect(() => bodyKindOf(`${type}; charset=${charset}`)).toThrow(unsupported('send UTF-8'));
    expect(() => bodyKindOf(`text/plain; charset=utf-8; charset=${charset}`)).toThrow(/send UTF-8/);
    expect(() => bodyKindOf(`text/plain; CHARSET=${charset}`)).toThrow(/send UTF-8/);
  });
});

test.each([
  ['application/jsno', 'did you mean application/json?'],
  ['aplication/jsn', 'did you mean application/json?'],
  ['application/json5', 'did you mean application/json?'],
  ['application/jsonp', 'did you mean application/json?'],
  ['application/x-ndjosn', 'did you mean application/x-ndjson?'],
  ['application/x-ndjsn', 'did you mean application/x-ndjson?'],
  ['application/json-seq', 'send application/x-ndjson'],
  ['application/geo+json-seq', 'send application/x-ndjson'],
  ['application/vnd.x+jsonl', 'send application/x-ndjson'],
  ['application/x-json-stream', 'send application/x-ndjson'],
  ['text/x-jsonlines', 'send application/x-ndjson'],
  ['text/plain; charset = utf-16', 'send UTF-8'],
  ["text/plain; charset*=utf-16''x", 'send UTF-8'],
  ['multipart/form-data; boundary=x', 'send the data alone'],
  ['json', 'is not type/subtype'],
  [';', 'is not type/subtype'],
  ['text/', 'is not type/subtype'],
  ['text/plain, application/json', 'is not type/subtype'],
])('%s is refused in words', (type, words) => {
  expect(() => bodyKindOf(type)).toThrow(unsupported(words));
});

test('a refusal leaves what was read before and after as it is', () => {
  expect(bodyKindOf('application/json')).toBe('json');
  expect(() => bodyKindOf('text/plain; charset=latin1')).toThrow(/send UTF-8/);
  expect(bodyKindOf('')).toBe('text');
  expect(bodyKindOf('application/json')).toBe('json');
  expect(() => bodyKindOf('text/plain; charset=latin1')).toThrow(/send UTF-8/);
});
