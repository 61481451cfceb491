/**
 * Lines that the server ends: for their age, and because the program says so. What was acknowledged
 * before is delivered before, and the hooks hear why.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { createServer, type ClosedLineInfo, type LineInfo, type Server } from '../dist/index.js';
import { NdjsonLine, SseLine } from './support/line.js';
import { readMetrics } from './support/prometheus.js';
import { hostedForTest } from './support/hosted.js';
import { KERNEL_BUFFERS } from './support/server.js';
import { closeBytes, WebSocketLine } from './support/websocket.js';
import { HttpClient, jsonOf, request, type Answer } from './support/wire.js';

type Given = NonNullable<Parameters<typeof createServer>[0]>;
type Line = SseLine | NdjsonLine | WebSocketLine;

const servers: Server[] = [];
const lines: Line[] = [];

/** A server in this process, and what its hooks were told. */
async function listening(options: Given = {}): Promise<{
  server: Server;
  port: number;
  opened: LineInfo[];
  closed: ClosedLineInfo[];
}> {
  const opened: LineInfo[] = [];
  const closed: ClosedLineInfo[] = [];
  const server = createServer({
    port: 0,
    firstId: 1,
    opsKey: 'ops',
    onOpen: (line) => opened.push(line),
    onClose: (line) => closed.push(line),
    ...options,
  });
  servers.push(server);
  const { port } = await server.listen();
  return { server, port, opened, closed };
}

afterEach(async () => {
  for (const line of lines.splice(0)) line.connection.destroy();
  await Promise.all(servers.splice(0).map((server) => server.close({ drainMs: 0 })));
});

const OPENERS = {
  sse: (port: number, path: string) => SseLine.open(port, path),
  ndjson: (port: number, path: string) => NdjsonLine.open(port, path),
  websocket: (port: number, path: string) => WebSocketLine.open(port, path),
} as const;

const TRANSPORTS = Object.keys(OPENERS) as (keyof typeof OPENERS)[];

async function open(transport: keyof typeof OPENERS, port: number, path: string): Promise<Line> {
  const line = await OPENERS[transport](port, path);
  lines.push(line);
  return line;
}

/** What a line was told at its end, once its connection or its body is complete. */
async function endOf(line: Line): Promise<string | undefined> {
  if (line instanceof WebSocketLine) {
    await line.waitFor('the close', () => line.closed);
    expect(line.closeFrame?.reason).toBe(line.end?.code);
    return line.end?.code;
  }
  await line.waitForEnd();
  expect(line.complete, 'the chunked body has its last chunk').toBe(true);
  return line.endCode;
}

const CLOSE_CODES = { disconnected: 1012, aged: 1012, expired: 3000 };

describe('--max-age', () => {
  test('ends each line with a short retry, after all that was acknowledged before; nobody misses an event over it', async () => {
    // The whole time is held, however fast this machine publishes.
    const server = await hostedForTest({
      ...KERNEL_BUFFERS,
      'max-age': '1s',
      'replay-events': 1_000_000,
      'replay-bytes': '64MiB',
    });
    const given = await Promise.all(TRANSPORTS.map((one) => OPENERS[one](server.port, '/c')));
    lines.push(...given);
    let acknowledged = 0;
    const isOver = (line: Line): boolean => line.connection.closed || lastEnd(line) !== undefined;
    const least = new Map<Line, number>();
    while (!given.every(isOver)) {
      // An event that was acknowledged in a turn in which a line was open is on that line.
      const still = given.filter((line) => !isOver(line));
      acknowledged = await server.publish('c', `after ${acknowledged}`);
      for (const line of still) if (!isOver(line)) least.set(line, acknowledged);
    }
    for (const line of given) {
      expect(await endOf(line)).toBe('aged');
      expect(line.ids).toEqual(line.ids.map((_, i) => i + 1));
      // One publish may be acknowledged to the test before the line's end has been read.
      expect(line.ids.length).toBeGreaterThanOrEqual((least.get(line) as number) - 1);
    }
    const [sse, , websocket] = given as [SseLine, NdjsonLine, WebSocketLine];
    expect(websocket.closeFrame?.code).toBe(CLOSE_CODES.aged);
    const end = sse.blocks.at(-1)!;
    expect(end.retry).toBeGreaterThanOrEqual(100);
    expect(end.retry).toBeLessThanOrEqual(500);
    const again = await SseLine.open(server.port, `/c?last_event_id=${sse.lastId}`);
    lines.push(again);
    await again.waitFor('the rest', () => again.lastId === acknowledged);
    expect([...sse.ids, ...again.ids]).toEqual(
      Array.from({ length: acknowledged }, (_, i) => i + 1),
    );
    const { counters } = await server.stats();
    expect(counters.closed.aged).toBe(3);
  });
});

function lastEnd(line: Line): string | undefined {
  return line instanceof WebSocketLine ? line.end?.code : line.endCode;
}

test('a line that expires is ended after all that was published before, on every transport; a waiting poll is answered empty', async () => {
  // Later than all of them are open, on a machine that does other things beside.
  const expiresAt = Date.now() + 1_500;
  const { server, port, closed } = await listening({
    authorize: () => ({ allow: true, user: 'ada', expiresAt }),
  });
  const given = await Promise.all(TRANSPORTS.map((one) => open(one, port, '/c')));
  const poller = await HttpClient.open(port);
  let answer: Answer | undefined;
  void poller.request('GET', '/quiet?since=latest').then((one) => (answer = one));
  await expect.poll(() => server.stats().lines.open).toBe(4);
  let last = 0;
  // A millisecond apart: the clients are in this process, and must find time to read.
  while (given.some((line) => lastEnd(line) === undefined && !line.connection.closed)) {
    last = await server.channel('c').publish({ data: 'x' });
    await sleep(1);
  }
  for (const line of given) {
    expect(await endOf(line)).toBe('expired');
    expect(line.ids).toEqual(line.ids.map((_, i) => i + 1));
  }
  // The last that was published when a line was still open may have come after the end of some.
  const counts = given.map(({ ids }) => ids.length);
  expect(Math.max(...counts)).toBeLessThanOrEqual(last);
  expect(Math.min(...counts)).toBeGreaterThan(0);
  expect(Date.now()).toBeGreaterThanOrEqual(expiresAt);
  const [sse, , websocket] = given as [SseLine, NdjsonLine, WebSocketLine];
  expect(sse.blocks.at(-1)!.retry).toBeLessThanOrEqual(500);
  expect(websocket.closeFrame?.code).toBe(CLOSE_CODES.expired);
  await expect.poll(() => answer?.status).toBe(204);
  await expect.poll(() => closed.length).toBe(3);
  for (const line of closed) expect(line).toMatchObject({ user: 'ada', reason: 'expired' });
  expect(server.stats().counters.closed.expired).toBe(4);
  poller.connection.destroy();
});

describe('server.disconnect', () => {
  test('by user ends a thousand lines of his and no other, and a control line misses nothing', async () => {
    const { server, port, opened, closed } = await listening({
      authorize: ({ query }) => ({ allow: true, user: query.includes('eve') ? 'eve' : 'ada' }),
    });
    const control = await open('sse', port, '/c?ada=1');
    for (let batch = 0; batch < 10; batch++)
      await Promise.all(Array.from({ length: 100 }, () => open('sse', port, '/c?eve=1')));
    await expect.poll(() => opened.length).toBe(1_001);
    expect(server.disconnect({ user: 'eve' })).toBe(1_000);
    const id = await server.channel('c').publish({ data: 'x' });
    await control.waitFor('the event', () => control.lastId === id);
    await expect.poll(() => closed.length).toBe(1_000);
    expect(new Set(closed.map(({ user, reason }) => `${user} ${reason}`))).toEqual(
      new Set(['eve disconnected']),
    );
    expect(server.stats().lines.open).toBe(1);
    expect(server.disconnect({ user: 'eve' })).toBe(0);
    expect(server.disconnect({ user: 'ada' })).toBe(1);
    expect(await endOf(control)).toBe('disconnected');
  });

  test.each(TRANSPORTS)(
    'by id ends one line on %s, after what was published before',
    async (transport) => {
      const { server, port, opened, closed } = await listening();
      const line = await open(transport, port, '/c');
      const other = await open(transport, port, '/c');
      await expect.poll(() => opened.length).toBe(2);
      expect(opened[0]).toMatchObject({ id: 1, user: undefined, channels: ['c'], transport });
      await server.channel('c').publishAll([{ data: 'one' }, { data: 'two' }]);
      await line.waitFor('two events', () => line.eventCount === 2);
      expect(server.disconnect({ id: 1 })).toBe(1);
      expect(await endOf(line)).toBe('disconnected');
      if (line instanceof WebSocketLine)
        expect(line.closeFrame?.code).toBe(CLOSE_CODES.disconnected);
      await expect.poll(() => closed).toEqual([{ ...opened[0], reason: 'disconnected' }]);
      await server.channel('c').publish({ data: 'three' });
      await other.waitFor('the third event', () => other.eventCount === 3);
      expect(line.eventCount).toBe(2);
      expect(server.disconnect({ id: 1 })).toBe(0);
    },
  );

  test('by channel ends every line on it, and waiting polls are answered empty with the position', async () => {
    const { server, port, closed } = await listening();
    const on = await Promise.all(
      TRANSPORTS.flatMap((one) => ['/a', '/a,b'].map((path) => open(one, port, path))),
    );
    const off = await open('sse', port, '/b');
    const id = await server.channel('a').publish({ data: 'x' });
    const poller = await HttpClient.open(port);
    let answer: Answer | undefined;
    void poller.request('GET', `/a?since=${id}`).then((given) => (answer = given));
    await expect.poll(() => server.stats().lines.byTransport.poll).toBe(1);
    expect(server.disconnect({ channel: 'a' })).toBe(7);
    for (const line of on) expect([await endOf(line), line.ids]).toEqual(['disconnected', [id]]);
    await expect.poll(() => answer?.status).toBe(204);
    expect(answer?.headers.get('holdline-position')).toBe(String(id));
    await expect.poll(() => closed.length).toBe(6);
    expect(new Set(closed.map(({ reason }) => reason))).toEqual(new Set(['disconnected']));
    expect(server.stats().lines.open).toBe(1);
    expect(lastEnd(off)).toBeUndefined();
    const { counters } = server.stats();
    expect(counters.closed).toMatchObject({ disconnected: 7 });
    poller.connection.destroy();
  });

  test.each([
    [[], 'undefined'],
    [[{}], '{}'],
    [[{ id: 1, user: 'ada' }], "user: 'ada'"],
    [[{ id: 0 }], 'id: 0'],
    [[{ id: '1' }], "id: '1'"],
    [[{ id: 1.5 }], 'id: 1.5'],
    [[{ user: '' }], "user: ''"],
    [[{ user: 7 }], 'user: 7'],
    [[{ channels: 'c' }], 'did you mean channel?'],
    [['ada'], "'ada'"],
    [[null], 'null'],
    [[{ id: 1 }, { id: 2 }], 'id: 2'],
  ])('refuses %j in words', (given, words) => {
    const server = createServer({ port: 0 });
    const disconnect = (...args: unknown[]): number =>
      (server as { disconnect(...args: unknown[]): number }).disconnect(...args);
    expect(() => disconnect(...given)).toThrow(
      expect.objectContaining({
        name: 'HoldlineError',
        code: 'HOLDLINE_BAD_ARGUMENT',
        message: expect.stringContaining(words) as string,
      }),
    );
  });

  test('refuses a name that no channel can have', () => {
    const server = createServer({ port: 0 });
    expect(() => server.disconnect({ channel: 'a b' })).toThrow(
      expect.objectContaining({ code: 'HOLDLINE_BAD_CHANNEL' }),
    );
    expect(server.disconnect({ user: 'nobody' })).toBe(0);
  });
});

test('hooks, metrics and statistics tell why each line closed', async () => {
  const { server, port, opened, closed } = await listening({ openPublish: true });
  const reasons = (): string[] => closed.map(({ reason }) => reason).toSorted();
  const [leaves, breaks, polite, dropped] = await Promise.all([
    open('sse', port, '/a'),
    open('websocket', port, '/b') as Promise<WebSocketLine>,
    open('websocket', port, '/c') as Promise<WebSocketLine>,
    open('sse', port, '/d'),
  ]);
  await expect.poll(() => opened.length).toBe(4);
  leaves.connection.socket.destroy();
  breaks.send('this is no JSON');
  polite.connection.send(closeBytes(1000));
  await server.channel('d').delete();
  expect(await endOf(dropped)).toBe('deleted');
  await expect.poll(reasons).toEqual(['client', 'client', 'deleted', 'refused']);
  expect(closed.find(({ channels }) => channels[0] === 'b')?.reason).toBe('refused');
  const { counters } = server.stats();
  expect(counters.closed).toMatchObject({ client: 2, deleted: 1, refused: 1, stalled: 0 });
  const answer = await request(port, 'GET', '/-/metrics', {
    headers: { Authorization: 'Bearer ops' },
  });
  const { samples } = readMetrics(answer.text).get('holdline_line_closes_total')!;
  expect(samples.get('reason="client"')).toBe(2);
  const sum = [...samples.values()].reduce((total, count) => total + count, 0);
  expect(sum).toBe(counters.lines_closed_total);
});

test('lines that a drain leaves open are closed for it, not by their clients', async () => {
  const { server, port, closed } = await listening();
  await open('sse', port, '/c');
  await expect.poll(() => server.stats().lines.open).toBe(1);
  await server.close({ drainMs: 0 });
  await expect.poll(() => closed.map(({ reason }) => reason)).toEqual(['draining']);
});

test('/-/connections shows the id of each line', async () => {
  const { server, port, opened } = await listening();
  await open('sse', port, '/c');
  await expect.poll(() => opened.length).toBe(1);
  const answer = await request(port, 'GET', '/-/connections', {
    headers: { Authorization: 'Bearer ops' },
  });
  const { connections } = jsonOf(answer) as { connections: { id: number }[] };
  expect(connections).toMatchObject([{ id: 1, user: null, channels: ['c'], transport: 'sse' }]);
  expect(server.disconnect({ id: connections[0]!.id })).toBe(1);
});
