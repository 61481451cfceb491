/**
 * Text that a client chose never becomes a header, a line of the log, or a block of an event
 * stream: names of channels, queries, header fields, users of tokens, and addresses passed on.
 */
import { SignJWT } from 'jose';
import { describe, expect, onTestFinished, test } from 'vitest';
import { NdjsonLine, SseLine } from './support/line.js';
import { sharedServer } from './support/server.js';
import { openWebSocket } from './support/websocket.js';
import { codeOf, jsonOf, request, requestBytes, exchange, type Answer } from './support/wire.js';

const SECRET = 'a-secret-of-thirty-two-bytes-or-more';
const MARK = 'Injected';
const APP = 'https://app.example';

const shared = sharedServer({
  'log-level': 'debug',
  'allow-origin': [APP, '*'],
  'publish-key': 'sesame',
  'open-publish': false,
  'jwt-secret': SECRET,
  'jwt-audience': 'events',
  'open-subscribe': true,
  'ticket-secret': SECRET,
  'trusted-proxies': '127.0.0.1',
});
const KEY = { Authorization: 'Bearer sesame' };

/** What ends a line or a block somewhere, percent-encoded: CR, LF, both, NUL, NEL, LS, ESC. */
const BREAKS = ['%0d', '%0a', '%0d%0a', '%0d%0a%0d%0a', '%00', '%c2%85', '%e2%80%a8', '%1b[2J'];

/** No header is ours to give away: neither a field nor a body may have begun with the mark. */
function expectWhole(answer: Answer): void {
  expect([...answer.headers.keys()].filter((name) => name.includes('inject'))).toEqual([]);
  expect(answer.raw).not.toContain(MARK);
  // A body of refusals is one line of JSON, in which each break is an escape.
  // oxlint-disable-next-line no-control-regex -- what must not be there
  expect(answer.text).not.toMatch(/[\u0000-\u001f]/);
}

async function token(claims: Record<string, unknown>): Promise<string> {
  return new SignJWT({ aud: 'events', holdline: { subscribe: ['**'], publish: ['**'] }, ...claims })
    .setProtectedHeader({ alg: 'HS256' })
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(new TextEncoder().encode(SECRET));
}

describe.each(BREAKS)('%s', (broken) => {
  const tail = `${broken}X-${MARK}:%201`;

  test('in the name of a channel is refused, whatever is asked', async () => {
    const { port } = shared();
    for (const [method, accept] of [
      ['GET', 'text/event-stream'],
      ['GET', 'application/x-ndjson'],
      ['GET', 'application/json'],
      ['POST', '*/*'],
      ['DELETE', '*/*'],
    ] as const) {
      const headers = { ...KEY, Accept: accept };
      const body = method === 'POST' ? { body: 'x' } : {};
      const answer = await request(port, method, `/a${tail}`, { headers, ...body });
      expect([method, answer.status, codeOf(answer)]).toEqual([
        method,
        400,
        'HOLDLINE_BAD_CHANNEL',
      ]);
      expectWhole(answer);
    }
    const under = await request(port, 'GET', `/-/nonesuch${tail}`, {});
    expect(under.status).toBe(404);
    expectWhole(under);
  });

  test('in a query is refused or means nothing', async () => {
    const { port } = shared();
    const headers = { Accept: 'application/json' };
    for (const [query, code] of [
      [`since=${tail}`, 'HOLDLINE_BAD_POSITION'],
      [`last_event_id=${tail}&wait=0&since=x`, 'HOLDLINE_BAD_POSITION'],
      [`wait=${tail}`, 'HOLDLINE_BAD_QUERY'],
      [`ticket=${tail}`, 'HOLDLINE_UNAUTHORIZED'],
      [`nonesuch${tail}=1&wait=x`, 'HOLDLINE_BAD_QUERY'],
    ] as const) {
      // Many wrong tickets of one address are held back.
      const from = { 'X-Forwarded-For': `192.0.2.${BREAKS.indexOf(broken) + 1}` };
      const answer = await request(port, 'GET', `/c?${query}`, {
        headers: { ...headers, ...from },
      });
      expect([query, codeOf(answer)]).toEqual([query, code]);
      expectWhole(answer);
    }
    const typed = await request(port, 'POST', `/c?event=a${tail}`, { headers: KEY, body: 'x' });
    expect([typed.status, codeOf(typed)]).toEqual([400, 'HOLDLINE_BAD_EVENT_TYPE']);
    expectWhole(typed);
  });

  test('in a name of a batch or a ticket is refused, and nothing is published', async () => {
    const { port } = shared();
    const channel = `a${decodeURIComponent(broken)}id: 9`;
    const before = (await shared().stats()).counters.events_accepted_total;
    const batch = await request(port, 'POST', '/-/publish', {
      headers: { ...KEY, 'Content-Type': 'application/x-ndjson' },
      body: `{"channel":"c","data":1}\n${JSON.stringify({ channel, data: 1 })}\n`,
    });
    expect(batch.status).toBe(400);
    expectWhole(batch);
    const made = await request(port, 'POST', '/-/tickets', {
      headers: { Authorization: `Bearer ${await token({ sub: 'ada' })}` },
      body: JSON.stringify({ channels: [channel] }),
    });
    expect([made.status, codeOf(made)]).toEqual([400, 'HOLDLINE_BAD_CHANNEL']);
    expectWhole(made);
    expect((await shared().stats()).counters.events_accepted_total).toBe(before);
  });

  test('in the user of a token or a ticket is refused', async () => {
    const { port } = shared();
    const user = `ada${decodeURIComponent(broken)}${MARK}`;
    const from = { 'X-Forwarded-For': `192.0.2.${100 + BREAKS.indexOf(broken)}` };
    for (const claims of [{ sub: user }, { holdline: { subscribe: ['**'], user } }]) {
      const headers = {
        Accept: 'application/json',
        Authorization: `Bearer ${await token(claims)}`,
        ...from,
      };
      const answer = await request(port, 'GET', '/c?wait=0', { headers });
      expect([answer.status, codeOf(answer)]).toEqual([401, 'HOLDLINE_UNAUTHORIZED']);
      expectWhole(answer);
    }
    const made = await request(port, 'POST', '/-/tickets', {
      headers: shared().opsHeaders,
      body: JSON.stringify({ channels: ['c'], user }),
    });
    expect([made.status, codeOf(made)]).toEqual([400, 'HOLDLINE_BAD_TICKET']);
    expectWhole(made);
  });

  test('in published data stays data, on every transport', async () => {
    const server = shared();
    const [sse, ndjson, websocket] = await Promise.all([
      SseLine.open(server.port, '/data'),
      NdjsonLine.open(server.port, '/data'),
      openWebSocket(server, '/data'),
    ]);
    onTestFinished(() => [sse, ndjson].forEach((line) => line.close()));
    const data = `a${decodeURIComponent(broken)}id: 99999${decodeURIComponent(broken)}event: end`;
    const type = { 'Content-Type': 'text/plain' };
    const answer = await server.post('data', data, { headers: type });
    const { id } = jsonOf(answer) as { id: number };
    await Promise.all([sse.waitForId(id), ndjson.waitForId(id), websocket.waitForId(id)]);
    // The readers are strict: a block or a line of another shape would have failed them.
    // An event stream knows one break only.
    expect(sse.events.at(-1)!.data).toBe(data.replaceAll(/\r\n|\r/g, '\n'));
    for (const { events } of [ndjson, websocket]) expect(events.at(-1)).toMatchObject({ id, data });
    for (const line of [sse, ndjson, websocket]) expect(line.gaps).toEqual([]);
    expect([sse.endCode, ndjson.endCode, websocket.end]).toEqual([undefined, undefined, undefined]);
  });
});

describe('a header field', () => {
  test.each([
    `${APP}\nX-${MARK}: 1`,
    `${APP}%0d%0aX-${MARK}: 1`,
    `${APP}\u0085X-${MARK}: 1`,
    `${APP}\tX-${MARK}: 1`,
    `${APP}, ${MARK}`,
  ])('Origin %j comes back in no header', async (origin) => {
    const { port } = shared();
    for (const method of ['GET', 'POST', 'OPTIONS']) {
      const headers = {
        Accept: 'application/json',
        Origin: origin,
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': `X-A, X-B\tX-${MARK}: 1, a b, X:${MARK}, \u0085`,
      };
      const answer = await exchange(port, requestBytes(port, method, '/c?wait=0', { headers }));
      expect(answer.headers.get('access-control-allow-origin') ?? '*').toBe('*');
      expect(answer.raw).not.toContain(MARK);
      // A break in a head is the end of that head, and of the connection.
      if (origin.includes('\n')) expect([400, 403]).toContain(answer.status);
      else if (method === 'OPTIONS' && answer.status === 204)
        expect(answer.headers.get('access-control-allow-headers')).not.toMatch(/[^\w, -]/);
    }
  });
});

describe('the log', () => {
  test('has one entry a line, and nothing of what clients sent; an address is an address', async () => {
    const server = shared();
    const { port } = server;
    const before = server.logs.length;
    const addresses = [
      `192.0.2.7\\n{"level":60,"msg":"${MARK}"}`,
      `"},{"msg":"${MARK}`,
      `192.0.2.8%0a${MARK}`,
      `\u009b31m${MARK}`,
      `192.0.2.9, ${MARK}`,
      `[2001:db8::1%25${MARK}]:80`,
      MARK.repeat(500),
    ];
    for (const address of addresses) {
      const headers = {
        'X-Forwarded-For': address,
        'User-Agent': `${MARK} %0a`,
        Referer: `http://${MARK}/`,
        Host: `${MARK}.example`,
        Cookie: `${MARK}=1`,
        Accept: 'application/json',
      };
      const path = `/c%0a${MARK}?since=${MARK}&token=${MARK}`;
      await exchange(port, requestBytes(port, 'GET', path, { headers }));
    }
    const last = `/c?since=${MARK}-last`;
    const from = { 'X-Forwarded-For': '192.0.2.200', Accept: 'application/json' };
    await request(port, 'GET', last, { headers: from });
    const written = await server.waitFor('the last refusal', () => {
      const logs = server.logs.slice(before);
      return logs.some(({ address }) => address === '192.0.2.200') && logs;
    });
    // A line that is no JSON would stand there as text.
    expect(written.filter((log) => 'text' in log)).toEqual([]);
    expect(written.filter(({ level }) => Number(level) >= 50)).toEqual([]);
    const refused = written.filter(({ msg }) => msg === 'refused');
    expect(refused.length).toBeGreaterThanOrEqual(addresses.length);
    for (const { address } of refused) expect(String(address)).toMatch(/^[\da-f.:]+$/);
    const told = written.filter((log) => JSON.stringify(log).includes(MARK));
    expect(told).toEqual([]);
  });
});
