/**
 * Who may: every credential with every action over every transport, allowed or refused with the
 * documented code. The channel holds a marked event, and nobody who is refused gets a byte of it.
 */
import { createHash, createHmac, generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createServer, type Server } from '../dist/index.js';
import { SseLine } from './support/line.js';
import { frameBytes, handshakeBytes } from './support/websocket.js';
import {
  codeOf,
  HttpClient,
  jsonOf,
  RawConnection,
  requestBytes,
  type Answer,
  type RequestParts,
} from './support/wire.js';

const MARKER = 'only-for-those-who-may';
const SECRET = 'a secret of thirty-two bytes or more'.replaceAll(' ', '-');
const OLD_SECRET = `old-${SECRET}`;
const ROOM = 'room-1';
const AUDIENCE = 'https://events.example';
const ISSUER = 'https://login.example';

type Fields = Readonly<Record<string, string>>;

/** How a request shows a credential. */
interface Shown {
  readonly headers?: Fields;
  readonly query?: string;
}

const sha256 = (key: string): string => createHash('sha256').update(key).digest('hex');
const bearer = (text: string): Shown => ({ headers: { Authorization: `Bearer ${text}` } });
const cookie = (text: string): Shown => ({ headers: { Cookie: `theme=dark; session=${text}` } });
const ticket = (text: string): Shown => ({ query: `ticket=${text}` });

/** Each request comes from an address of its own: one that sends many wrong keys gets 429. */
let addresses = 0;
async function connectTo(to: number): Promise<RawConnection> {
  const address = ++addresses;
  const localAddress = `127.1.${address >> 8}.${address & 255}`;
  const socket = connect({ port: to, host: '127.0.0.1', localAddress });
  await once(socket, 'connect');
  return new RawConnection(socket, to);
}

async function request(
  to: number,
  method: string,
  path: string,
  parts: RequestParts,
): Promise<Answer> {
  const client = new HttpClient(await connectTo(to), to);
  try {
    return await client.request(method, path, parts);
  } finally {
    client.close();
  }
}

const nowSeconds = (): number => Math.floor(Date.now() / 1000);
const RIGHTS = { subscribe: ['room-*'], publish: [ROOM], delete: [ROOM] };
const claims = (): Record<string, unknown> => ({
  sub: 'ada',
  aud: AUDIENCE,
  iss: ISSUER,
  iat: nowSeconds(),
  exp: nowSeconds() + 600,
  holdline: RIGHTS,
});

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A token of HS256 whose claims are changed as given; undefined takes one out. */
async function token(changes: Record<string, unknown> = {}, secret = SECRET): Promise<string> {
  const all = { ...claims(), ...changes };
  for (const [name, value] of Object.entries(all)) if (value === undefined) delete all[name];
  return new SignJWT(all).setProtectedHeader({ alg: 'HS256' }).sign(bytes(secret));
}

/** A token with this head, signed or not, by hand. */
function rawToken(head: object, sign: (text: string) => string): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part(head)}.${part(claims())}`;
  return `${text}.${sign(text)}`;
}

/** A ticket by hand: `v1.PAYLOAD.MAC`. */
function rawTicket(secret: string, { channels = ['room-*'], inSeconds = 300 } = {}): string {
  const payload = { c: channels, u: 'ada', i: nowSeconds() - 600, e: nowSeconds() + inSeconds };
  const text = `v1.${Buffer.from(JSON.stringify(payload)).toString('base64url')}`;
  return `${text}.${createHmac('sha256', secret).update(`holdline-ticket:${text}`).digest('base64url')}`;
}

const flipped = (text: string): string =>
  text.slice(0, -2) + (text.at(-2) === 'A' ? 'B' : 'A') + text.at(-1)!;

const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const otherEc = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const PEM = ec.publicKey.export({ type: 'spki', format: 'pem' }) as string;
const es256 = (key: typeof ec.privateKey): Promise<string> =>
  new SignJWT(claims()).setProtectedHeader({ alg: 'ES256' }).sign(key);

const OPTIONS = {
  port: 0,
  firstId: 1,
  retryMs: 50,
  publishKey: 'publish-secret',
  opsKey: 'ops-secret',
  jwtAudience: AUDIENCE,
  jwtIssuer: ISSUER,
  authCookie: 'session',
  allowOrigin: ['https://app.example'],
  ticketSecret: [SECRET, OLD_SECRET],
  keys: [
    { name: 'reader', sha256: sha256('reader-key'), subscribe: ['room-*'] },
    { name: 'desk', sha256: sha256('desk-key'), publish: ['room-*'], ops: true },
  ],
  policies: [{ channels: 'lobby', read: 'open' }],
} as const;

let server: Server;
let port: number;
/** The same with public keys in place of a secret. */
let publicServer: Server;
let publicPort: number;

beforeAll(async () => {
  server = createServer({ ...OPTIONS, jwtSecret: SECRET });
  publicServer = createServer({ ...OPTIONS, jwtPublicKey: PEM });
  ({ port } = await server.listen());
  ({ port: publicPort } = await publicServer.listen());
  for (const one of [server, publicServer])
    for (const channel of [ROOM, 'vault', 'lobby'])
      await one.channel(channel).publish({ data: MARKER });
});
afterAll(async () => {
  await Promise.all([server, publicServer].map((one) => one.close({ drainMs: 0 })));
});

/** What is answered: the status, and the code of a refusal. */
type Outcome = string;

function outcomeOf(status: number, body: string): Outcome {
  const code = /"code":"HOLDLINE_(\w+)"/.exec(body)?.[1];
  return code === undefined ? String(status) : `${status} ${code}`;
}

const READINGS: Readonly<Record<string, { readonly query: string; readonly headers: Fields }>> = {
  sse: { query: 'since=0', headers: { Accept: 'text/event-stream' } },
  ndjson: { query: 'since=0', headers: { Accept: 'application/x-ndjson' } },
  poll: { query: 'since=0&wait=0', headers: { Accept: 'application/json' } },
  websocket: { query: 'since=0', headers: {} },
};

/**
 * Reads a channel until the marked event has come, or all of a refusal. The marker in what a
 * refused client was sent is a failure.
 */
async function read(
  to: number,
  transport: string,
  shown: Shown,
  channels = ROOM,
): Promise<Outcome> {
  const { query, headers } = READINGS[transport]!;
  const path = `/${channels}?${[query, shown.query].filter(Boolean).join('&')}`;
  const fields = { ...headers, ...shown.headers };
  const connection = await connectTo(to);
  try {
    connection.send(
      transport === 'websocket'
        ? handshakeBytes(to, path, fields)
        : requestBytes(to, 'GET', path, { headers: fields }),
    );
    const status = await connection.waitFor('an answer', () => {
      const found = /^HTTP\/1\.1 (\d+)/.exec(connection.text)?.[1];
      if (found === undefined) return false;
      const isOpen = found === '200' || found === '101';
      return (isOpen ? connection.text.includes(MARKER) : connection.text.endsWith('}}')) && found;
    });
    const { text } = connection;
    const isOpen = status === '200' || status === '101';
    expect([status, text.includes(MARKER)]).toEqual([status, isOpen]);
    if (status === '401') expect(text).toMatch(/\r\nWWW-Authenticate: Bearer/);
    return isOpen ? 'ok' : outcomeOf(Number(status), text);
  } finally {
    connection.destroy();
  }
}

const outcome = (answer: Answer): Outcome =>
  answer.status === 200 ? 'ok' : outcomeOf(answer.status, answer.text);

const withQuery = (path: string, { query }: Shown): string => (query ? `${path}?${query}` : path);

const ACTIONS: Readonly<Record<string, (to: number, shown: Shown) => Promise<Outcome>>> = {
  publish: async (to, shown) =>
    outcome(
      await request(to, 'POST', withQuery(`/${ROOM}`, shown), {
        body: MARKER,
        headers: { ...shown.headers },
      }),
    ),
  delete: async (to, shown) =>
    outcome(
      await request(to, 'DELETE', withQuery('/room-9', shown), { headers: { ...shown.headers } }),
    ),
  stats: async (to, shown) =>
    outcome(
      await request(to, 'GET', withQuery('/-/stats', shown), { headers: { ...shown.headers } }),
    ),
  tickets: async (to, shown) =>
    outcome(
      await request(to, 'POST', withQuery('/-/tickets', shown), {
        body: JSON.stringify({ channels: [ROOM] }),
        headers: { ...shown.headers },
      }),
    ),
};

/** Publishes a batch that names its channels. */
async function batch(to: number, shown: Shown, channels: readonly string[]): Promise<Outcome> {
  const lines = channels.map((channel) => JSON.stringify({ channel, data: MARKER }));
  const headers = { 'Content-Type': 'application/x-ndjson', ...shown.headers };
  const path = withQuery('/-/publish', shown);
  return outcome(await request(to, 'POST', path, { headers, body: lines.join('\n') }));
}

const MISSING = '401 UNAUTHORIZED';
const NO_RIGHT = '403 FORBIDDEN';

/** What is expected of: reading, publishing, deleting, operating, making tickets. */
type Row = readonly [
  name: string,
  shown: () => Shown | Promise<Shown>,
  read: Outcome,
  publish: Outcome,
  remove: Outcome,
  stats: Outcome,
  tickets: Outcome,
];

const isGood = ['ok', 'ok', NO_RIGHT, NO_RIGHT, 'ok'] as const;
const isBad = [MISSING, MISSING, MISSING, MISSING, MISSING] as const;
/** For reading alone: whatever else takes the header finds none. */
const readsOnly = ['ok', MISSING, MISSING, MISSING, MISSING] as const;

const ROWS: readonly Row[] = [
  ['none', () => ({}), ...isBad],
  ['an unknown key', () => bearer('nonesuch'), ...isBad],
  [
    'a key in another scheme',
    () => ({ headers: { Authorization: 'Basic cmVhZGVyLWtleQ==' } }),
    ...isBad,
  ],
  ['a key without Bearer', () => ({ headers: { Authorization: 'reader-key' } }), ...isBad],
  ['a key in the query', () => ({ query: 'key=reader-key&authorization=reader-key' }), ...isBad],
  ['the publish key', () => bearer('publish-secret'), NO_RIGHT, 'ok', NO_RIGHT, NO_RIGHT, NO_RIGHT],
  ['the ops key', () => bearer('ops-secret'), NO_RIGHT, NO_RIGHT, 'ok', 'ok', 'ok'],
  ['a key that reads', () => bearer('reader-key'), 'ok', NO_RIGHT, NO_RIGHT, NO_RIGHT, 'ok'],
  [
    'a key that publishes and operates',
    () => bearer('desk-key'),
    NO_RIGHT,
    'ok',
    NO_RIGHT,
    'ok',
    'ok',
  ],
  ['a key in the cookie', () => cookie('reader-key'), ...readsOnly],
  ['a wrong key in the cookie', () => cookie('reader-kex'), ...isBad],
  ['a token', async () => bearer(await token()), ...isGood],
  [
    'a token, the scheme in lower case',
    async () => ({ headers: { Authorization: `bearer ${await token()}` } }),
    ...isGood,
  ],
  [
    'a token without the claim',
    async () => bearer(await token({ holdline: undefined })),
    NO_RIGHT,
    NO_RIGHT,
    NO_RIGHT,
    NO_RIGHT,
    NO_RIGHT,
  ],
  [
    'a token for another channel',
    async () => bearer(await token({ holdline: { subscribe: ['vault'] } })),
    NO_RIGHT,
    NO_RIGHT,
    NO_RIGHT,
    NO_RIGHT,
    NO_RIGHT,
  ],
  [
    'an expired token',
    async () => bearer(await token({ exp: nowSeconds() - 60, iat: nowSeconds() - 120 })),
    ...isBad,
  ],
  [
    'a token that is not valid yet',
    async () => bearer(await token({ nbf: nowSeconds() + 60 })),
    ...isBad,
  ],
  ['a token without exp', async () => bearer(await token({ exp: undefined })), ...isBad],
  ['a token without iat', async () => bearer(await token({ iat: undefined })), ...isBad],
  [
    'a token for another audience',
    async () => bearer(await token({ aud: 'https://other.example' })),
    ...isBad,
  ],
  [
    'a token of another issuer',
    async () => bearer(await token({ iss: 'https://other.example' })),
    ...isBad,
  ],
  ['a token with the wrong key', async () => bearer(await token({}, OLD_SECRET)), ...isBad],
  ['a token with alg none', () => bearer(rawToken({ alg: 'none' }, () => '')), ...isBad],
  [
    'a token with alg NONE and a signature',
    () => bearer(rawToken({ alg: 'NONE' }, () => 'c2ln')),
    ...isBad,
  ],
  ['a token that is cut off', async () => bearer((await token()).slice(0, -4)), ...isBad],
  [
    'a token whose user has a line break',
    async () => bearer(await token({ sub: 'ada\r\nX-Injected: 1' })),
    ...isBad,
  ],
  [
    'a token with a channel that has one',
    async () => bearer(await token({ holdline: { subscribe: ['room-1\r\n'] } })),
    ...isBad,
  ],
  ['a token in the cookie', async () => cookie(await token()), ...readsOnly],
  [
    'an expired token in the cookie',
    async () => cookie(await token({ exp: nowSeconds() - 60, iat: nowSeconds() - 90 })),
    ...isBad,
  ],
  [
    'two cookies of the name',
    async () => ({ headers: { Cookie: `session=${await token()}; session=reader-key` } }),
    ...isBad,
  ],
  ['a ticket', () => ticket(rawTicket(SECRET)), ...readsOnly],
  ['a ticket of the secret before', () => ticket(rawTicket(OLD_SECRET)), ...readsOnly],
  ['a ticket of another secret', () => ticket(rawTicket(`other-${SECRET}`)), ...isBad],
  [
    'a ticket for another channel',
    () => ticket(rawTicket(SECRET, { channels: ['vault'] })),
    NO_RIGHT,
    MISSING,
    MISSING,
    MISSING,
    MISSING,
  ],
  ['a ticket that was changed', () => ticket(flipped(rawTicket(SECRET))), ...isBad],
  ['a ticket as a key', () => bearer(rawTicket(SECRET)), ...isBad],
  ['a token as a ticket', async () => ticket(await token()), ...isBad],
  [
    'a good token and a bad ticket',
    async () => ({ ...bearer(await token()), query: 'ticket=x' }),
    MISSING,
    ...(isGood.slice(1) as unknown as readonly [string, string, string, string]),
  ],
  [
    'a bad key and a good ticket',
    () => ({ ...bearer('x'), query: `ticket=${rawTicket(SECRET)}` }),
    ...isBad,
  ],
  [
    'a good key and a bad cookie',
    () => ({ headers: { ...bearer('reader-key').headers, ...cookie('x').headers } }),
    MISSING,
    NO_RIGHT,
    NO_RIGHT,
    NO_RIGHT,
    'ok',
  ],
];

describe.each(ROWS)('%s', (_name, show, reads, ...others) => {
  test.each(Object.keys(READINGS))(`over %s: ${reads}`, async (transport) => {
    expect(await read(port, transport, await show())).toBe(reads);
    // A list is allowed only if each of its channels is.
    const both = await read(port, transport, await show(), `${ROOM},vault`);
    expect(both).toBe(reads === 'ok' ? NO_RIGHT : reads);
  });

  test(`publish, delete, stats, tickets: ${others.join(', ')}`, async () => {
    const shown = await show();
    const seen: Outcome[] = [];
    for (const act of Object.values(ACTIONS)) seen.push(await act(port, shown));
    expect(seen).toEqual(others);
    expect(await batch(port, shown, [ROOM])).toBe(others[0]);
  });
});

describe('a server with a public key', () => {
  const rows: readonly (readonly [string, () => Promise<string>, Outcome])[] = [
    ['ES256', () => es256(ec.privateKey), 'ok'],
    ['ES256 with another key', () => es256(otherEc.privateKey), MISSING],
    ['HS256 with the PEM as the secret', () => token({}, PEM), MISSING],
    ['HS256 with a secret', () => token(), MISSING],
    ['alg none', () => Promise.resolve(rawToken({ alg: 'none' }, () => '')), MISSING],
  ];
  test.each(rows)('%s', async (_name, make, expected) => {
    const shown = bearer(await make());
    for (const transport of Object.keys(READINGS))
      expect([transport, await read(publicPort, transport, shown)]).toEqual([transport, expected]);
    expect(await ACTIONS['publish']!(publicPort, shown)).toBe(expected);
  });
});

test('a channel that a policy opens is read without a credential, but not with a bad one', async () => {
  for (const transport of Object.keys(READINGS)) {
    expect(await read(port, transport, {}, 'lobby')).toBe('ok');
    expect(await read(port, transport, bearer('reader-key'), 'lobby')).toBe('ok');
    expect(await read(port, transport, bearer('x'), 'lobby')).toBe(MISSING);
    expect(await read(port, transport, {}, `lobby,${ROOM}`)).toBe(MISSING);
  }
});

/** The data of the end event of a line, when it comes. */
async function endOf(line: SseLine): Promise<unknown> {
  const end = await line.waitFor('the end', () => line.blocks.find(({ event }) => event === 'end'));
  return JSON.parse(end.data!);
}

test('a batch is published only if each of its channels may be, and none of it otherwise', async () => {
  const accepted = (): number => server.stats().counters.events_accepted_total;
  const before = accepted();
  for (const shown of [bearer(await token()), bearer('desk-key')])
    expect(await batch(port, shown, [ROOM, 'vault'])).toBe(NO_RIGHT);
  expect(accepted()).toBe(before);
  expect(await batch(port, bearer('publish-secret'), [ROOM, 'vault'])).toBe('ok');
  expect(accepted()).toBe(before + 2);
});

describe('words and headers of a refusal', () => {
  test('none, a key and a token are told apart, and nothing that was shown comes back', async () => {
    const marked = `${'x'.repeat(10)}-secret-mark`;
    for (const [shown, words, challenge] of [
      [
        {},
        'the cookie session, or ?ticket= with a ticket; the request has no credential',
        'Bearer',
      ],
      [bearer(marked), 'the key in the header Authorization', 'Bearer error="invalid_token"'],
      [cookie(marked), 'the key in the cookie session', 'Bearer error="invalid_token"'],
      [bearer(`${marked}.${marked}.x`), 'the token', 'Bearer error="invalid_token"'],
      [ticket(marked), 'the ticket', 'Bearer error="invalid_token"'],
      [
        { headers: { Authorization: marked } },
        'does not begin with Bearer',
        'Bearer error="invalid_token"',
      ],
    ] as readonly (readonly [Shown, string, string])[]) {
      const headers = { Accept: 'application/json', ...shown.headers };
      const answer = await request(port, 'GET', withQuery(`/${ROOM}`, shown), { headers });
      expect([answer.status, codeOf(answer)]).toEqual([401, 'HOLDLINE_UNAUTHORIZED']);
      expect(answer.headers.get('www-authenticate')).toBe(challenge);
      expect(answer.text).toContain(words);
      expect(answer.text + answer.raw).not.toContain('secret-mark');
    }
  });
});

describe('tickets', () => {
  async function make(shown: Shown, body: unknown): Promise<Answer> {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    return request(port, 'POST', '/-/tickets', { headers: { ...shown.headers }, body: text });
  }

  test('a token makes one that reads its channels, for its user, no longer than itself', async () => {
    const shown = bearer(await token({ exp: nowSeconds() + 60 }));
    const before = server.stats().counters.tickets_made_total;
    const answer = await make(shown, { channels: [ROOM], seconds: 3600, user: 'ada' });
    const { ticket: made, expiresAt } = jsonOf(answer) as { ticket: string; expiresAt: number };
    expect(expiresAt).toBeLessThanOrEqual(Date.now() + 66_000);
    expect(server.stats().counters.tickets_made_total).toBe(before + 1);
    for (const transport of Object.keys(READINGS)) {
      expect(await read(port, transport, ticket(made))).toBe('ok');
      expect(await read(port, transport, ticket(made), 'room-2')).toBe(NO_RIGHT);
    }
  });

  test.each([
    ['another user', { channels: [ROOM], user: 'bob' }, NO_RIGHT],
    ['a channel that it may not read', { channels: [ROOM, 'vault'] }, NO_RIGHT],
    ['a pattern', { channels: ['room-*'] }, '400 BAD_CHANNEL'],
    ['no channels', { channels: [] }, '400 BAD_TICKET'],
    ['too many', { channels: Array.from({ length: 100 }, () => ROOM) }, '400 BAD_TICKET'],
    ['more than an hour', { channels: [ROOM], seconds: 3601 }, '400 BAD_TICKET'],
    ['another member', { channels: [ROOM], admin: true }, '400 BAD_TICKET'],
    ['an array', [ROOM], '400 BAD_TICKET'],
    ['what is not JSON', '{', '400 BAD_JSON'],
    ['nothing', '', '400 BAD_JSON'],
    ['too much', 'x'.repeat(20_000), '413 TOO_LARGE'],
  ])('a token makes none for %s', async (_what, body, expected) => {
    expect(outcome(await make(bearer(await token()), body))).toBe(expected);
  });

  test('an operator makes them for anybody, and for patterns', async () => {
    const answer = await make(bearer('ops-secret'), { channels: ['room-*'], user: 'bob' });
    const { ticket: made } = jsonOf(answer) as { ticket: string };
    expect(await read(port, 'sse', ticket(made))).toBe('ok');
    expect(await read(port, 'sse', ticket(made), 'vault')).toBe(NO_RIGHT);
  });

  test('one that has expired ends an EventSource in its stream, for good; others get 401', async () => {
    const shown = ticket(rawTicket(SECRET, { inSeconds: -60 }));
    const line = await SseLine.open(port, withQuery(`/${ROOM}`, shown));
    onTestFinished(() => line.close());
    expect(await endOf(line)).toEqual({ code: 'ticket-expired', reconnect: false });
    expect(line.text).not.toContain(MARKER);
    for (const transport of ['ndjson', 'poll', 'websocket'])
      expect(await read(port, transport, shown)).toBe(MISSING);
    const headers = { 'Sec-Fetch-Mode': 'cors' };
    expect((await request(port, 'GET', withQuery(`/${ROOM}`, shown), { headers })).status).toBe(
      401,
    );
  });

  test('one that expires while the program decides ends as one that had expired', async () => {
    let expiresAtMs = 0;
    const authorize = async (): Promise<boolean> => {
      // One may expire a moment later, by the timer's clock.
      while (Date.now() < expiresAtMs) await sleep(expiresAtMs - Date.now());
      return true;
    };
    const slow = createServer({ ...OPTIONS, jwtSecret: SECRET, authorize });
    onTestFinished(() => slow.close({ drainMs: 0 }));
    const { port: other } = await slow.listen();
    await slow.channel(ROOM).publish({ data: MARKER });
    const shown = ticket(rawTicket(SECRET, { inSeconds: 2 }));
    expiresAtMs = (nowSeconds() + 2) * 1000;
    const reading = ['ndjson', 'poll', 'websocket'].map((transport) =>
      read(other, transport, shown),
    );
    const line = await SseLine.open(other, withQuery(`/${ROOM}`, shown));
    onTestFinished(() => line.close());
    expect(await endOf(line)).toEqual({ code: 'ticket-expired', reconnect: false });
    expect(line.text).not.toContain(MARKER);
    expect(await Promise.all(reading)).toEqual([MISSING, MISSING, MISSING]);
    const { counters } = slow.stats();
    expect(counters).toMatchObject({ refused_ended_total: 1, lines_opened_total: 0 });
  });

  test('without a secret there are none', async () => {
    const without = createServer({ ...OPTIONS, ticketSecret: [], jwtSecret: SECRET });
    onTestFinished(() => without.close({ drainMs: 0 }));
    const { port: other } = await without.listen();
    expect(await ACTIONS['tickets']!(other, bearer('ops-secret'))).toBe('404 NOT_FOUND');
    expect(await read(other, 'sse', ticket(rawTicket(SECRET)))).toBe(MISSING);
  });
});

describe('a WebSocket publishes what the header of its handshake may', () => {
  /** Publishes to a channel over a WebSocket, and gives `ok` or the code of the refusal. */
  async function publish(shown: Shown, channel: string): Promise<string> {
    const connection = await connectTo(port);
    onTestFinished(() => connection.destroy());
    const path = withQuery('/lobby', shown);
    connection.send(handshakeBytes(port, path, { ...shown.headers }));
    await connection.waitFor('the handshake', () => connection.text.includes('101 '));
    connection.send(frameBytes(JSON.stringify({ publish: { data: 'x', channel }, ref: 1 })));
    await connection.waitFor('a reply', () => /\{"(?:ok|error)":.*\}/.test(connection.text));
    return /"code":"HOLDLINE_(\w+)"/.exec(connection.text)?.[1] ?? 'ok';
  }

  test.each([
    ['none', () => ({}), 'UNAUTHORIZED', 'UNAUTHORIZED'],
    ['the publish key', () => bearer('publish-secret'), 'ok', 'ok'],
    ['a key that reads', () => bearer('reader-key'), 'FORBIDDEN', 'FORBIDDEN'],
    ['a key with a pattern', () => bearer('desk-key'), 'ok', 'FORBIDDEN'],
    ['a token', async () => bearer(await token()), 'ok', 'FORBIDDEN'],
    ['a token in the cookie', async () => cookie(await token()), 'UNAUTHORIZED', 'UNAUTHORIZED'],
    ['a ticket', () => ticket(rawTicket(SECRET)), 'UNAUTHORIZED', 'UNAUTHORIZED'],
  ] as readonly (readonly [string, () => Shown | Promise<Shown>, string, string])[])(
    '%s',
    async (_name, show, toRoom, toVault) => {
      expect(await publish(await show(), ROOM)).toBe(toRoom);
      expect(await publish(await show(), 'vault')).toBe(toVault);
    },
  );
});

describe('pages of other origins', () => {
  const EVIL = { Origin: 'https://evil.example', 'Sec-Fetch-Site': 'cross-site' };

  test('a cookie that the browser sends by itself reads nothing for them', async () => {
    const { headers } = cookie(await token());
    for (const transport of Object.keys(READINGS)) {
      expect(await read(port, transport, { headers: { ...headers, ...EVIL } })).toBe(
        '403 CROSS_SITE',
      );
      // Such as an image, which has no Origin.
      const embedded = { ...headers, 'Sec-Fetch-Site': 'cross-site' };
      expect(await read(port, transport, { headers: embedded })).toBe('403 CROSS_SITE');
    }
    // A person who follows a link.
    const followed = { ...headers, 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate' };
    expect(await read(port, 'sse', { headers: followed })).toBe('ok');
  });

  test('an origin that is listed by name reads with the cookie', async () => {
    const { headers } = cookie(await token());
    const listed = { Origin: 'https://app.example', 'Sec-Fetch-Site': 'cross-site' };
    for (const transport of Object.keys(READINGS))
      expect(await read(port, transport, { headers: { ...headers, ...listed } })).toBe('ok');
  });

  test('a ticket or a token of their own is theirs to use, but not for a WebSocket', async () => {
    const shown = { ...ticket(rawTicket(SECRET)), headers: EVIL };
    expect(await read(port, 'sse', shown)).toBe('ok');
    expect(await read(port, 'websocket', shown)).toBe('403 CROSS_SITE');
  });

  test('they make no tickets and publish nothing, whatever they send', async () => {
    const headers = { ...bearer(await token()).headers, ...EVIL };
    for (const act of Object.values(ACTIONS))
      expect(await act(port, { headers })).toBe('403 CROSS_SITE');
  });

  test('a name that resolves to this address has no cookie of it, and reads nothing', async () => {
    const headers = { Host: 'rebound.example', Origin: 'http://rebound.example' };
    for (const transport of Object.keys(READINGS))
      expect(await read(port, transport, { headers })).toBe(MISSING);
    expect(await ACTIONS['publish']!(port, { headers })).toBe(MISSING);
  });
});

describe('the end of a line', () => {
  test('comes with that of its token, after all that was published, and it may come back', async () => {
    // Tokens are accepted for five seconds more (the clocks of others).
    const headers = bearer(await token({ exp: nowSeconds() - 3, iat: nowSeconds() - 60 })).headers!;
    const line = await SseLine.open(port, '/room-2', { headers });
    onTestFinished(() => line.close());
    await server.channel('room-2').publish({ data: 'before the end' });
    expect(await endOf(line)).toEqual({ code: 'expired', reconnect: true });
    expect(line.text).toContain('before the end');
  });

  test('comes with that of its ticket, for good', async () => {
    const shown = ticket(rawTicket(SECRET, { inSeconds: 2 }));
    const line = await SseLine.open(port, withQuery('/room-3', shown));
    onTestFinished(() => line.close());
    expect(await endOf(line)).toEqual({ code: 'ticket-expired', reconnect: false });
  });
});

test('the idempotency key of a user outlives the token', async () => {
  const publish = async (shown: Shown): Promise<unknown> =>
    jsonOf(
      await request(port, 'POST', `/${ROOM}`, {
        headers: { ...shown.headers, 'Idempotency-Key': 'order-7' },
        body: 'once',
      }),
    );
  const first = await publish(bearer(await token()));
  expect(await publish(bearer(await token({ exp: nowSeconds() + 900 })))).toEqual(first);
  expect(await publish(bearer(await token({ sub: 'bob' })))).not.toEqual(first);
  expect(await publish(bearer('publish-secret'))).not.toEqual(first);
});

test('whoever may not publish makes no channel, whatever the body', async () => {
  const known = server.stats().channels.known;
  for (const shown of [{}, bearer(await token()), bearer(await token({}, OLD_SECRET))])
    expect(
      (await request(port, 'POST', '/unheard-of', { headers: { ...shown.headers }, body: 'x' }))
        .status,
    ).toBeOneOf([401, 403]);
  expect(server.stats().channels.known).toBe(known);
});
