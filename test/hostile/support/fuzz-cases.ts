/**
 * Cases for the fuzzer: what may come over one connection, made from a seed; some of it right, most
 * of it not quite.
 */
import type { Random } from '../../support/random.js';

export interface FuzzCase {
  readonly name: string;
  /** Sent one after the other. */
  readonly pieces: readonly Buffer[];
}

const MOST_LEVELS = 20_000;
const MASK = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);

/** Characters that mean something to somebody. */
const ODD = [
  '\\',
  '"',
  '\0',
  '\r',
  '\n',
  '\r\n',
  ' ',
  '\u2028',
  'é',
  '😀',
  '\ud800',
  '\ufeff',
  '%00',
  '\\u0000',
  '\\ud800',
  '𝒳',
];

/** A text as JSON, with letters as escapes now and then. */
function jsonText(random: Random, text: string): string {
  const escaped = (char: string): string =>
    random.chance(0.2)
      ? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
      : JSON.stringify(char).slice(1, -1);
  return `"${random.chance(0.7) ? JSON.stringify(text).slice(1, -1) : Array.from(text, escaped).join('')}"`;
}

function word(random: Random): string {
  const length = random.chance(0.05) ? random.between(100, 70_000) : random.below(12);
  const letters = Array.from({ length: Math.min(length, 12) }, () =>
    random.chance(0.2) ? random.pick(ODD) : String.fromCharCode(random.between(32, 126)),
  ).join('');
  return letters.repeat(Math.max(1, Math.ceil(length / 12)));
}

/** A JSON value; deep, huge, with names twice, or what is none. */
function json(random: Random, levels = 4): string {
  switch (random.below(levels > 0 ? 12 : 8)) {
    case 0:
      return random.pick([
        'null',
        'true',
        'false',
        '0',
        '-0',
        '1e400',
        '-1E-400',
        '1.0',
        '12345678901234567890.10',
      ]);
    case 1:
      return String(random.below(1_000));
    case 2:
      return jsonText(random, word(random));
    case 3:
      return jsonText(
        random,
        random.pick(['data', 'event', 'publish', '__proto__', 'constructor', '']),
      );
    case 4: {
      const depth = random.chance(0.3) ? random.between(100, MOST_LEVELS) : random.below(140);
      const [open, close] = random.pick([
        ['[', ']'],
        ['{"a":', '}'],
        ['[[1],', ']'],
        ['{"\\u0061":', '}'],
      ] as const);
      const isClosed = random.chance(0.9);
      return `${open.repeat(depth)}1${isClosed ? close.repeat(depth) : ''}`;
    }
    case 5:
      return random.pick([
        '{',
        '[',
        '"',
        '{"a"',
        '[1,',
        '{"a":1,}',
        '[,]',
        "{'a':1}",
        'NaN',
        'undefined',
        '01',
        '1 2',
        '',
      ]);
    case 6:
      return `[${'1,'.repeat(random.chance(0.1) ? 100_000 : random.below(50))}1]`;
    case 7:
      return `${' '.repeat(random.below(20))}${random.below(9)}${random.pick(['', ' ', '\t', '\n', '\r', '\f'])}`;
    case 8:
    case 9:
      return `[${Array.from({ length: random.below(5) }, () => json(random, levels - 1)).join(random.pick([',', ' , ']))}]`;
    default: {
      const names = Array.from({ length: random.below(5) }, () =>
        jsonText(
          random,
          random.chance(0.5)
            ? random.pick(['data', 'event', 'a', '__proto__', 'toString'])
            : word(random),
        ),
      );
      return `{${names.map((name) => `${name}${random.pick([':', ' : '])}${json(random, levels - 1)}`).join(',')}}`;
    }
  }
}

/**
 * An object with these names; each maybe escaped, twice, missing, or with a value of the wrong
 * kind.
 */
function object(random: Random, names: Readonly<Record<string, () => string>>): string {
  const members = Object.entries(names).flatMap(([name, value]) => {
    if (random.chance(0.1)) return [];
    const member = (): string =>
      `${jsonText(random, name)}:${random.chance(0.15) ? json(random) : value()}`;
    return random.chance(0.1) ? [member(), member()] : [member()];
  });
  if (random.chance(0.1)) members.push(`${jsonText(random, word(random))}:${json(random)}`);
  return random.chance(0.03)
    ? `{${members.join(',')}`
    : `{${members.join(random.pick([',', ' , ', ',\t']))}}`;
}

const typeOf = (random: Random): string =>
  jsonText(random, random.pick(['notice', 'gap', 'end', word(random)]));

function batch(random: Random): string {
  const count = random.chance(0.05) ? random.between(1_000, 11_000) : random.below(8);
  const line = object(random, { event: () => typeOf(random), data: () => json(random) });
  const others = count > 100 ? Array<string>(count).fill('{"data":1}') : [];
  const lines =
    count > 100
      ? [line, ...others]
      : Array.from({ length: count }, () =>
          random.chance(0.1)
            ? json(random)
            : object(random, { event: () => typeOf(random), data: () => json(random) }),
        );
  return lines.join(random.pick(['\n', '\r\n', '\n\n', '\n \n']));
}

function message(random: Random): string {
  if (random.chance(0.1)) return json(random);
  const publish = (): string =>
    object(random, {
      event: () => typeOf(random),
      data: () => json(random),
      channel: () => jsonText(random, random.pick(['f', 'g', 'a..b', '', word(random)])),
    });
  return object(random, {
    publish,
    ref: () => random.pick([json(random, 1), jsonText(random, word(random)), '1']),
  });
}

const CHANNELS = [
  'f',
  'f,g',
  'f,f',
  'a..b',
  '',
  '.',
  '%66',
  'f/g',
  '-/health',
  '-/stats',
  '-/x',
  'é',
  'f'.repeat(129),
];
const METHODS = [
  'GET',
  'POST',
  'POST',
  'POST',
  'DELETE',
  'HEAD',
  'OPTIONS',
  'PUT',
  'PoSt',
  'get',
  'BREW',
];
const TYPES = [
  'text/plain',
  'application/json',
  'application/x-ndjson',
  'APPLICATION/JSON; charset=x',
  '',
  '/',
  'x'.repeat(300),
];

function query(random: Random): string {
  if (random.chance(0.5)) return '';
  const names = [
    'since',
    'last',
    'wait',
    'limit',
    'event',
    'envelope',
    'last_event_id',
    'lastEventId',
    'x',
    '',
  ];
  const values = [
    '0',
    '1',
    'latest',
    '-1',
    '9007199254740992',
    '1e9',
    '%00',
    '%',
    '%E2%80%A6',
    'notice',
    '',
    'x'.repeat(500),
  ];
  return `?${Array.from({ length: random.between(1, 4) }, () => `${random.pick(names)}=${random.pick(values)}`).join('&')}`;
}

function headers(random: Random): string[] {
  const known: Readonly<Record<string, readonly string[]>> = {
    Accept: [
      'text/event-stream',
      'application/x-ndjson',
      'application/json',
      '*/*',
      'text/event-stream;q=x',
      ',',
    ],
    'Last-Event-ID': ['1', '0', 'x', '\xe2\x80\xa6', '1\xff', '-1', '99999999999999999999', ''],
    Connection: ['close', 'keep-alive', 'TE, close', 'Upgrade', ''],
    Origin: ['http://localhost', 'null', 'http://evil.example', ''],
    Authorization: ['Bearer x', 'Bearer', 'Basic eDp4', '', `Bearer ${'x'.repeat(2_000)}`],
    'Idempotency-Key': ['a', 'b', '', 'x'.repeat(129), '\xff'],
    'Content-Encoding': ['identity', 'gzip', 'deflate', ''],
    Expect: ['100-continue', 'x'],
    'Sec-Fetch-Site': ['cross-site', 'same-origin', 'x'],
    'Access-Control-Request-Headers': ['authorization', ','],
  };
  return random
    .some(Object.keys(known), random.below(4))
    .map(
      (name) => `${random.chance(0.2) ? name.toUpperCase() : name}: ${random.pick(known[name]!)}`,
    );
}

/** A body in chunks: as it should be, or with something wrong. */
function chunked(random: Random, body: Buffer): Buffer {
  const pieces: Buffer[] = [];
  for (let at = 0; at < body.length;) {
    const size = random.chance(0.1) ? 1 : random.between(1, Math.max(1, body.length - at));
    const end = Math.min(body.length, at + size);
    const line = `${random.chance(0.05) ? ' ' : ''}${(end - at).toString(16)}${random.chance(0.05) ? ';a=b' : ''}`;
    pieces.push(
      Buffer.from(`${line}\r\n`),
      body.subarray(at, end),
      Buffer.from(random.chance(0.03) ? 'XY' : '\r\n'),
    );
    at = end;
  }
  const end = random.chance(0.8)
    ? '0\r\n\r\n'
    : random.pick(['0\r\nX-T: 1\r\n\r\n', '0\r\nXY', '\r\n\r\n', '0;a\r\n\r\n', '']);
  return Buffer.concat([...pieces, Buffer.from(end)]);
}

function request(random: Random, port: number): Buffer {
  const body = Buffer.from(
    random.pick([() => batch(random), () => json(random), () => word(random), () => ''])(),
    random.chance(0.1) ? 'latin1' : 'utf8',
  );
  const lines = [
    `${random.pick(METHODS)} /${random.pick(CHANNELS)}${query(random)} HTTP/1.${random.chance(0.02) ? '0' : '1'}`,
    `Host: ${random.chance(0.95) ? `127.0.0.1:${port}` : random.pick(['evil.example', '', '[::1]'])}`,
    `Content-Type: ${random.pick(TYPES)}`,
    ...headers(random),
  ];
  let sent: Buffer = body;
  switch (random.below(8)) {
    case 0:
    case 1:
      lines.push(
        `Transfer-Encoding: ${random.chance(0.9) ? 'chunked' : random.pick(['identity', 'xchunked', '', 'chunked, x'])}`,
      );
      sent = chunked(random, body);
      break;
    case 2:
      lines.push(
        `Content-Length: ${random.pick([body.length + 1, body.length - 1, -1, '0x1', '', `+${body.length}`])}`,
      );
      break;
    case 3:
      lines.push(
        `Content-Length: ${body.length}`,
        `Content-Length: ${random.pick([body.length, 0, body.length + 5])}`,
      );
      break;
    default:
      lines.push(`Content-Length: ${body.length}`);
  }
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), sent]);
}

function frame(random: Random, payload: Buffer, opcode: number, fin: boolean): Buffer {
  const head = Buffer.alloc(payload.length < 126 ? 2 : payload.length < 65_536 ? 4 : 10);
  head[0] = (fin ? 0x80 : 0) | (random.chance(0.02) ? 0x40 : 0) | opcode;
  head[1] = 0x80 | (payload.length < 126 ? payload.length : payload.length < 65_536 ? 126 : 127);
  if (head.length === 4) head.writeUInt16BE(payload.length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(payload.length), 2);
  return Buffer.concat([head, MASK, payload.map((byte, i) => byte ^ MASK[i % 4]!)]);
}

/** A handshake and what follows it, in the same segment or in another. */
function webSocket(random: Random, port: number): Buffer[] {
  const handshake = Buffer.from(
    `GET /${random.pick(['f', 'f', 'f,g', 'a..b'])}${query(random)} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\n` +
      `Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: ${random.chance(0.95) ? 13 : 8}\r\n\r\n`,
  );
  const sent = Array.from({ length: random.between(1, 8) }, () => {
    const payload = Buffer.from(message(random), random.chance(0.05) ? 'latin1' : 'utf8');
    if (random.chance(0.2)) {
      const cut = random.below(payload.length + 1);
      return Buffer.concat([
        frame(random, payload.subarray(0, cut), 1, false),
        ...(random.chance(0.3) ? [frame(random, Buffer.from('p'), 9, true)] : []),
        frame(random, payload.subarray(cut), 0, random.chance(0.9)),
      ]);
    }
    const control = payload.subarray(0, random.chance(0.9) ? 125 : 200);
    if (random.chance(0.15)) return frame(random, control, random.pick([8, 9, 10, 3, 11]), true);
    return frame(random, payload, random.chance(0.9) ? 1 : 2, random.chance(0.97));
  });
  return random.chance(0.2) ? [Buffer.concat([handshake, ...sent])] : [handshake, ...sent];
}

/** Bytes that were right and are not any more. */
function broken(random: Random, bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  const changes = random.between(1, 4);
  for (let i = 0; i < changes && copy.length > 0; i++)
    copy[random.below(copy.length)] = random.below(256);
  return random.chance(0.3) ? copy.subarray(0, random.below(copy.length + 1)) : copy;
}

/** Cut anywhere: how bytes come in pieces must change nothing. */
function inPieces(random: Random, bytes: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  let at = 0;
  for (let i = random.below(4); i > 0 && at < bytes.length; i--) {
    const end = random.between(at, bytes.length);
    pieces.push(bytes.subarray(at, end));
    at = end;
  }
  return [...pieces, bytes.subarray(at)];
}

/** The case of this generator. */
export function makeCase(random: Random, port: number): FuzzCase {
  const kind = random.below(10);
  if (kind < 4) return { name: 'a WebSocket', pieces: webSocket(random, port) };
  if (kind < 5)
    return {
      name: 'a WebSocket, broken',
      pieces: webSocket(random, port).flatMap((piece) => broken(random, piece)),
    };
  const bytes = Buffer.concat(
    Array.from({ length: random.chance(0.8) ? 1 : random.between(2, 5) }, () =>
      request(random, port),
    ),
  );
  if (kind < 9) return { name: 'requests', pieces: inPieces(random, bytes) };
  return { name: 'requests, broken', pieces: inPieces(random, broken(random, bytes)) };
}
