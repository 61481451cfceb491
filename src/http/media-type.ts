/** Media types: the names of those that are understood, and what a Content-Type says of a body. */
import { HoldlineError } from '../errors.js';
import { nearestName } from '../spelling.js';

/** Lines of JSON have no registered name, so all that are in use are read. */
export const NDJSON_TYPES: ReadonlySet<string> = new Set([
  'application/x-ndjson',
  'application/ndjson',
  'application/jsonl',
  'application/x-jsonl',
  'application/jsonlines',
  'application/x-jsonlines',
  'application/json-lines',
  'application/x-json-lines',
  'application/json-stream',
  'application/stream+json',
  'text/ndjson',
  'text/x-ndjson',
  'text/jsonl',
]);

export const JSON_TYPES: ReadonlySet<string> = new Set([
  'application/json',
  'application/x-json',
  'text/json',
  'text/x-json',
]);

/** How a body is read, by its Content-Type. */
export type BodyKind = 'text' | 'json' | 'batch';

/** `type/subtype`, and parameters behind it (RFC 9110, 8.3.1). */
const MEDIA_TYPE = /^([!#$%&'*+.^`|~\w-]+)\/([!#$%&'*+.^`|~\w-]+)[ \t]*(?:;(.*))?$/;

/**
 * A parameter, whose value may be in quotation marks; blanks beside `=` are read, too. A name
 * begins behind what is none: else a long text without `=` is tried from each of its characters.
 */
const PARAMETER =
  /(?<![!#$%&'*+.^`|~\w-])([!#$%&'*+.^`|~\w-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))/g;

/** The names of UTF-8 that are in use, and of its subset. */
const CHARSETS: ReadonlySet<string> = new Set(['utf-8', 'utf8', 'us-ascii', 'ascii']);

/** The last Content-Type and what it means: publishers of one kind all send the same. */
let lastContentType = '';
let lastKind: BodyKind = 'text';

/**
 * How a body is read; without a Content-Type as text. Throws HOLDLINE_UNSUPPORTED_MEDIA_TYPE for
 * what would be read as something else: another charset than UTF-8, forms with files, and a
 * mistyped name of JSON.
 */
export function bodyKindOf(contentType: string): BodyKind {
  if (contentType === '') return 'text';
  if (contentType !== lastContentType) {
    lastKind = readContentType(contentType);
    lastContentType = contentType;
  }
  return lastKind;
}

function readContentType(contentType: string): BodyKind {
  const [, type = '', subtype = '', parameters = ''] = MEDIA_TYPE.exec(contentType.trim()) ?? [];
  if (type === '') throw unsupported(contentType, 'is not type/subtype, such as text/plain');
  checkCharset(contentType, parameters);
  const name = `${type}/${subtype}`.toLowerCase();
  if (NDJSON_TYPES.has(name)) return 'batch';
  // RFC 6839, 3.1: whatever else it is, it is JSON.
  if (JSON_TYPES.has(name) || name.endsWith('+json')) return 'json';
  if (name.startsWith('multipart/')) {
    throw unsupported(
      contentType,
      'is not supported, because a body in parts would be published with its borders; send the data alone',
    );
  }
  if (MANY_JSON.test(subtype)) {
    throw unsupported(contentType, 'is not supported; send application/x-ndjson, one event a line');
  }
  const near = nearestName(subtype, MISTYPED);
  if (near !== undefined)
    throw unsupported(contentType, `is not known; did you mean application/${near}?`);
  return 'text';
}

/** Further names of many JSON texts in one body, which as a text would be one event. */
const MANY_JSON = /ndjson|json-?(?:l$|lines|seq|stream)/i;

/** Subtypes that are looked for in a name that is not known. */
const MISTYPED = ['json', 'x-ndjson', 'jsonl'];

function checkCharset(contentType: string, parameters: string): void {
  for (const [, name = '', quoted, plain = ''] of parameters.matchAll(PARAMETER)) {
    if (!/^charset\*?$/i.test(name)) continue;
    const charset = quoted?.replaceAll(/\\(.)/g, '$1') ?? plain.replace(/^'(.*)'$/, '$1');
    if (!CHARSETS.has(charset.toLowerCase()))
      throw unsupported(contentType, 'is not supported; send UTF-8');
  }
}

function unsupported(contentType: string, problem: string): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_UNSUPPORTED_MEDIA_TYPE',
    `the Content-Type ${JSON.stringify(contentType.slice(0, 64))} ${problem}`,
  );
}
