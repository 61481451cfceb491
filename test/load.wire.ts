/**
 * `holdline load` against a server, and against fakes that lose, double, refuse and cut off: what
 * it says must be what happened.
 */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, test } from 'vitest';
import { WebSocketServer, type WebSocket } from 'ws';
import type { LoadReport } from '../src/tools/load/report/report.js';
import { fakes, load, startLoad, words, type Ended } from './support/load.js';
import { hostedForTest, sharedHosted } from './support/hosted.js';
import { serverForTest } from './support/server.js';

const listen = fakes();

const FLAWLESS = { lost: 0, doubled: 0, outOfOrder: 0, gaps: 0 };

/** The members of the report in their order, each with what its value is. */
const KINDS = {
  transport: 'string',
  url: 'string',
  connections: 'number',
  checkedClients: 'number',
  ratePerSecond: 'number',
  sizeBytes: 'number',
  durationSeconds: 'number',
  pollIntervalSeconds: 'number',
  connectSeconds: 'number',
  flawless: 'boolean',
  gaveUp: 'null',
  unknownClients: 'number',
  published: 'number',
  expected: 'number',
  delivered: 'number',
  lost: 'number',
  gapLost: 'number',
  doubled: 'number',
  outOfOrder: 'number',
  gaps: 'number',
  clientsHit: { losing: 'number', doubling: 'number', disordered: 'number', mostLost: 'number' },
  requests: 'number',
  requestsPerClientMinute: 'number',
  emptyAnswers: 'number',
  emptyShare: 'number',
  bytesReceived: 'number',
  bytesPerClient: 'number',
  compression: 'null',
  latencyMs: { p50: 'number', p90: 'number', p99: 'number', p999: 'number', max: 'number' },
  latencyCurve: 'array',
  mix: 'null',
  herd: 'null',
  clientCpuSeconds: 'number',
  clientBusyShare: 'number',
  clientLimited: 'boolean',
  clientProcesses: 'array',
  publisher: {
    cpuSeconds: 'number',
    busyShare: 'number',
    latenessMs: { p99: 'number', max: 'number' },
  },
  server: {
    pids: 'array',
    rssBytesBefore: 'number',
    rssBytesMost: 'number',
    cpuShare: 'number',
    tcpBytesMost: 'number',
  },
  serverUnknown: 'null',
  timeline: { spanSeconds: 'number', moments: 'array' },
  remarks: 'array',
  machine: {
    cpu: 'string',
    cores: 'number',
    memoryBytes: 'number',
    system: 'string',
    glibc: 'string',
    node: 'string',
    holdline: 'string',
  },
  startedAt: 'string',
};

function kindsOf(value: object): Record<string, unknown> {
  const kindOf = (one: unknown): unknown => {
    if (one === null) return 'null';
    if (Array.isArray(one)) return 'array';
    return typeof one === 'object' ? kindsOf(one) : typeof one;
  };
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, kindOf(one)]));
}

describe('a run', () => {
  const shared = sharedHosted();

  it.concurrent.each(['sse', 'ndjson', 'ws', 'long-poll', 'short-poll'] as const)(
    'over %s delivers everything once and in order, with plausible figures',
    async (transport) => {
      const url = `${shared().url}/run-${transport}`;
      const { status, report } = await load(
        words(
          `--url ${url} --transport ${transport} --connections 20 --rate 20 --duration 2s --size 300 --poll-interval 500ms`,
        ),
      );
      expect({ status, report }).toMatchObject({
        status: 0,
        report: { ...FLAWLESS, transport, url, published: 40, expected: 800, delivered: 800 },
      });
      const isPoll = transport.endsWith('poll');
      const { latencyMs } = report;
      expect(kindsOf(report)).toEqual({
        ...KINDS,
        pollIntervalSeconds: transport === 'short-poll' ? 'number' : 'null',
      });
      expect(report).toMatchObject({
        connections: 20,
        ratePerSecond: 20,
        sizeBytes: 300,
        durationSeconds: 2,
      });
      expect(report.pollIntervalSeconds).toBe(transport === 'short-poll' ? 0.5 : null);
      expect(report.bytesPerClient).toBe(Math.round(report.bytesReceived / 20));
      expect(new Date(report.startedAt).toISOString()).toBe(report.startedAt);
      const latencies = [
        0,
        latencyMs.p50!,
        latencyMs.p90!,
        latencyMs.p99!,
        latencyMs.p999!,
        latencyMs.max!,
      ];
      expect(latencies).toEqual(latencies.toSorted((a, b) => a - b));
      // Published and framed, it is more than the data; an answer's head for each event is the most
      // there can be.
      expect(report.bytesPerClient).toBeGreaterThan(40 * 300);
      expect(report.bytesPerClient).toBeLessThan(40 * 900);
      expect(report.emptyShare).toBeLessThan(1);
      if (!isPoll) expect([report.requests, report.emptyAnswers]).toEqual([0, 0]);
      // Each event can come with an answer of its own; each client needs one at least.
      if (transport === 'long-poll') expect(report.requests).toBeGreaterThanOrEqual(20);
      // On a clock it is two a second, give or take the one that a window of about 2.5 s begins or
      // ends with.
      if (transport === 'short-poll') {
        expect(report.requestsPerClientMinute).toBeGreaterThan(90);
        expect(report.requestsPerClientMinute).toBeLessThan(150);
        // An event waits for half of the interval on average.
        expect(latencyMs.p50).toBeGreaterThan(100);
      }
    },
  );

  it.concurrent.each([
    ['long-poll', 'last_event_id=0'],
    ['long-poll', 'x=1&since=0'],
    ['ws', 'Last-Event-ID=0&x=1'],
    ['ws', 'since=0'],
  ])('over %s at a URL with %s goes on where its clients are', async (transport, query) => {
    const url = `${shared().url}/from-${transport}-${query.length}`;
    await fetch(url, { method: 'POST', body: 'before' });
    const herd = transport === 'ws' ? '--herd 300ms' : '';
    const { status, report } = await load(
      words(
        `--url ${url}?${query} --publish-url ${url} --transport ${transport} --connections 5 --rate 20 --duration 1s ${herd}`.trim(),
      ),
    );
    expect({ status, report }).toMatchObject({
      status: 0,
      report: { ...FLAWLESS, published: 20, delivered: 100 },
    });
  });

  it('prints a table for people, and takes the key from the environment', async () => {
    const server = await hostedForTest({ 'open-publish': false, 'publish-key': 'hush' });
    const args = words(`--url ${server.url}/c --connections 3 --rate 10 --duration 500ms`);
    const { status, stdout, stderr } = await startLoad(args, { HOLDLINE_PUBLISH_KEY: 'hush' })
      .ended;
    expect({ status, stderr: stderr.replace(/.*bottleneck.*\n/, '') }).toEqual({
      status: 0,
      stderr: '',
    });
    expect(stdout).toMatch(/sse, 3 clients, 10 events\/s of 256 B/);
    for (const row of [
      'events published +│ +5',
      'deliveries expected +│ +15',
      'delivered +│ +15',
      'lost +│ +0',
      'latency p99.9 +│ +[\\d.]+ ms',
    ]) {
      expect(stdout).toMatch(new RegExp(row));
    }
    expect(stdout + stderr).not.toContain('hush');
  });

  it('is ended early by Ctrl-C, and prints what it has', async () => {
    const server = await hostedForTest();
    const { child, ended } = startLoad(
      words(`--url ${server.url}/c --connections 5 --rate 50 --duration 1h --json --quiet`),
    );
    onTestFinished(() => void child.kill('SIGKILL'));
    // The server of a test counts its ids from 1.
    await server.statsUntil('some events', ({ head }) => head > 5);
    child.kill('SIGINT');
    const { status, stdout, stderr } = await ended;
    const report = JSON.parse(stdout) as LoadReport;
    expect({ status, report }).toMatchObject({ status: 0, report: FLAWLESS });
    expect(report.published).toBeGreaterThan(5);
    expect(report.durationSeconds).toBeLessThan(60);
    expect(stderr).toContain('holdline: the run was ended early\n');
  });
});

describe('a file that cannot be written', () => {
  it('leaves the figures, and the other file', async () => {
    const server = await hostedForTest();
    const folder = mkdtempSync(join(tmpdir(), 'holdline-load-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const out = join(folder, 'out.json');
    const { status, stderr, report } = await load([
      ...words(`--url ${server.url}/c --connections 2 --duration 200ms --html /dev/full`),
      '--out',
      out,
    ]);
    expect(status).toBe(1);
    expect(stderr).toContain('--html: "/dev/full" cannot be written (ENOSPC');
    expect(JSON.parse(readFileSync(out, 'utf8'))).toEqual(report);
  });
});

describe('a server that dies in the middle', () => {
  it('is told of, with the figures until then', async () => {
    const server = await serverForTest();
    const { ended } = startLoad(
      words(`--url ${server.url}/c --connections 5 --rate 50 --duration 1h --json --quiet`),
    );
    await server.statsUntil('some events', ({ head }) => head > 5);
    server.kill();
    const { status, stdout, stderr } = await ended;
    expect(status).toBe(1);
    const report = JSON.parse(stdout) as LoadReport;
    expect(report.delivered).toBeGreaterThan(20);
    expect(report.gaveUp).toMatch(/^cannot connect to publish: /);
    // Of the hour that was asked for.
    expect(report.durationSeconds).toBeLessThan(600);
    expect(stderr).toMatch(/^holdline: publishing ended early: cannot connect to publish: /m);
    expect(stderr).toMatch(/^holdline: 5 clients were disconnected and missed what came after: /m);
  });
});

describe('a run that cannot be', () => {
  const failed = async (args: readonly string[]): Promise<Ended> =>
    startLoad(['--quiet', ...args]).ended;

  it('says so when it may not publish, with what would help', async () => {
    const server = await hostedForTest({ 'open-publish': false });
    const { status, stdout, stderr } = await failed(words(`--url ${server.url}/c --connections 3`));
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(
      /^holdline: publishing is not allowed \(401 HOLDLINE_UNAUTHORIZED: .*\): give the server's key with --publish-key, or start the server with --open-publish\n$/,
    );
  });

  it('says so when nobody listens', async () => {
    const { status, stderr } = await failed(words('--url http://127.0.0.1:1/c'));
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: 'holdline: cannot connect to 127.0.0.1:1: no server listens there (ECONNREFUSED)\n',
    });
  });

  it('says so when an event is too large', async () => {
    const server = await hostedForTest({ 'max-event-bytes': '1KiB' });
    const { status, stderr } = await failed(
      words(`--url ${server.url}/c --size 2KiB --connections 1`),
    );
    expect(stderr).toMatch(
      /^holdline: an event of 2048 bytes was refused: 413 HOLDLINE_TOO_LARGE: /,
    );
    expect(status).toBe(1);
  });

  it.each([
    [
      'sse',
      /could subscribe, the next could not: refused for now: the stream has no position and ended at once; the server is full/,
    ],
    ['ndjson', /could subscribe, the next could not: refused: 503 HOLDLINE_LINES_FULL: /],
    ['ws', /could subscribe, the next could not: refused: 503 HOLDLINE_LINES_FULL: /],
  ])('says so when the server is full, over %s', async (transport, message) => {
    const server = await hostedForTest({ 'max-connections': 10 });
    const { status, stderr } = await failed(
      words(`--url ${server.url}/c --transport ${transport} --connections 20`),
    );
    expect(stderr).toMatch(message);
    expect(status).toBe(1);
  });

  it.each(['sse', 'ndjson'])('says so when a page answers over %s', async (transport) => {
    const page = createServer((_asked, answer) => {
      answer.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end('<p>Log in</p>');
    });
    const { status, stdout, stderr } = await failed(
      words(`--url ${await listen(page)}/c --transport ${transport} --connections 1`),
    );
    expect({ status, stdout, stderr }).toEqual({
      status: 1,
      stdout: '',
      stderr:
        'holdline: 0 of 1 clients could subscribe, the next could not: the server sent what it should not: ' +
        'Content-Type: text/html; charset=utf-8, where a stream was asked for\n',
    });
  });

  it('says so when it was asked for wrongly, with the exit code for that', async () => {
    const { status, stderr } = await failed(words('--rate 0'));
    expect({ status, stderr }).toEqual({
      status: 2,
      stderr:
        'holdline: --rate must be an integer from 1 to 100000 (got "0") (HOLDLINE_BAD_OPTION)\n',
    });
  });
});

/** An event that was published to a fake. */
interface Taken {
  readonly id: number;
  readonly data: string;
}

/** What a fake does otherwise than a server that works. */
interface Faults {
  /** The answer to the publish that would get this id; by default it is taken. */
  readonly publish?: (id: number, response: ServerResponse) => boolean;
  /** What the nth client gets for an event: by default the event. */
  readonly deliver?: (
    event: Taken,
    client: number,
    taken: readonly Taken[],
  ) => readonly (Taken | 'gap' | 'end')[];
  /** The answer to a poll that would be given no event; by default it is that there is none. */
  readonly poll?: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** Called for each connection. */
  readonly connected?: () => void;
  /** How long an idle keep-alive connection is kept, ms. */
  readonly idleMs?: number;
}

/**
 * A server of one channel on Node's HTTP, with event streams, polls that do not wait, and faults;
 * its URL.
 */
async function fakeServer(faults: Faults): Promise<string> {
  const { publish, poll, deliver = (event: Taken) => [event], idleMs = 60_000 } = faults;
  const taken: Taken[] = [];
  const streams: ServerResponse[] = [];
  const take = (data: string, response: ServerResponse): void => {
    const id = taken.length + 1;
    if (publish?.(id, response)) return;
    const event = { id, data };
    taken.push(event);
    for (const [client, stream] of streams.entries()) {
      for (const given of deliver(event, client, taken)) {
        if (given === 'gap') stream.write('event: gap\ndata: {"after":1,"before":2}\n\n');
        else if (given === 'end')
          stream.end('event: end\ndata: {"code":"slow","reconnect":true}\n\n');
        else stream.write(`id: ${given.id}\ndata: ${given.data}\n\n`);
      }
    }
    response.end(JSON.stringify({ id, subscribers: streams.length }));
  };
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    if (request.method === 'POST') {
      let data = '';
      request.setEncoding('latin1').on('data', (text: string) => (data += text));
      request.on('end', () => take(data, response));
    } else if (request.headers.accept === 'application/json') {
      const since = Number(
        new URL(request.url!, 'http://h').searchParams.get('since') ?? taken.length,
      );
      const events = taken.slice(since).flatMap((event) => deliver(event, 0, taken));
      if (events.length === 0 && poll?.(request, response)) return;
      response.setHeader('Holdline-Position', taken.length);
      response.statusCode = events.length === 0 ? 204 : 200;
      response.end(events.length === 0 ? undefined : JSON.stringify(events));
    } else {
      response.setHeader('Content-Type', 'text/event-stream');
      response.write('retry: 100\nid: 0\n\n');
      streams.push(response);
    }
  };
  const server = createServer({ keepAliveTimeout: idleMs }, answer).on('connection', () =>
    faults.connected?.(),
  );
  return `${await listen(server)}/c`;
}

// What is lost is waited for, so these take seconds in which nothing happens.
describe.concurrent('a server that errs', () => {
  const SMALL = words('--connections 4 --rate 40 --duration 500ms');

  test('is seen to lose, double and disorder events of one client of several, and to tell gaps', async () => {
    const url = await fakeServer({
      deliver: (event, client, taken) => {
        if (client !== 2) return [event];
        const before = taken[event.id - 2]!;
        return (
          { 3: [], 5: [event, event], 7: [], 8: [event, before], 9: ['gap' as const, event] }[
            event.id
          ] ?? [event]
        );
      },
    });
    const { status, report } = await load(['--url', url, ...SMALL]);
    expect({ status, report }).toMatchObject({
      status: 1,
      report: {
        published: 20,
        expected: 80,
        delivered: 79,
        lost: 1,
        doubled: 1,
        outOfOrder: 1,
        gaps: 1,
      },
    });
  });

  test('is seen to lose and double events in polls', async () => {
    const url = await fakeServer({
      deliver: (event) => ({ 3: [], 5: [event, event] })[event.id] ?? [event],
    });
    const { status, report } = await load([
      '--url',
      url,
      ...SMALL,
      '--transport',
      'short-poll',
      '--poll-interval',
      '100ms',
    ]);
    expect({ status, report }).toMatchObject({
      status: 1,
      report: { published: 20, expected: 80, delivered: 76, lost: 4, doubled: 4, outOfOrder: 0 },
    });
    expect(report.emptyAnswers).toBeGreaterThan(0);
    expect(report.emptyShare).toBeCloseTo(report.emptyAnswers / report.requests, 2);
  });

  test('that cuts a client off is named, and what came after is lost', async () => {
    const url = await fakeServer({
      deliver: (event, client) =>
        client === 1 && event.id === 11 ? ['end'] : client === 1 && event.id > 11 ? [] : [event],
    });
    const { status, report, stderr } = await load(['--url', url, ...SMALL]);
    expect({ status, report }).toMatchObject({
      status: 1,
      report: { expected: 80, delivered: 70, lost: 10, doubled: 0 },
    });
    expect(stderr).toContain(
      'holdline: 1 client was disconnected and missed what came after: the server ended the stream: slow\n',
    );
  });

  test('that refuses some publishes for now is counted by what it took', async () => {
    let publishes = 0;
    const url = await fakeServer({
      publish: (_id, response) => {
        if (++publishes % 4 !== 0) return false;
        response.statusCode = 503;
        response.end('{"error":{"code":"HOLDLINE_PUBLISH_BUSY","message":"later"}}');
        return true;
      },
    });
    const { status, report, stderr } = await load(['--url', url, ...SMALL]);
    expect({ status, report }).toMatchObject({
      status: 0,
      report: { ...FLAWLESS, published: 15, expected: 60, delivered: 60 },
    });
    expect(stderr).toContain('holdline: 5 events were refused: 503 HOLDLINE_PUBLISH_BUSY: later\n');
  });

  test.each([
    [504, '504 HOLDLINE_OUTCOME_UNKNOWN: who knows'],
    [502, '502 HOLDLINE_OUTCOME_UNKNOWN: who knows'],
  ])('that does not know of some publishes, %i, is loaded to the end', async (code, told) => {
    let publishes = 0;
    const url = await fakeServer({
      publish: (_id, response) => {
        if (++publishes % 4 !== 0) return false;
        response.statusCode = code;
        response.end('{"error":{"code":"HOLDLINE_OUTCOME_UNKNOWN","message":"who knows"}}');
        return true;
      },
    });
    const { status, report, stderr } = await load(['--url', url, ...SMALL]);
    expect({ status, report }).toMatchObject({
      status: 0,
      report: { ...FLAWLESS, gaveUp: null, published: 15, expected: 60, delivered: 60 },
    });
    expect(stderr).toContain(`holdline: 5 events may not have been published: ${told}\n`);
  });

  test('that takes nothing at all is no success', async () => {
    const url = await fakeServer({
      publish: (_id, response) => (response.writeHead(429).end(), true),
    });
    const { status, report, stderr } = await load(['--url', url, ...SMALL]);
    expect({ status, report }).toMatchObject({
      status: 1,
      report: { published: 0, expected: 0, latencyMs: { p50: null, max: null } },
    });
    expect(stderr).toContain(
      'holdline: the server accepted no event\nholdline: 20 events were refused: 429\n',
    );
  });

  test('that closes the connection of each publish is given the next on another', async () => {
    const url = await fakeServer({
      publish: (_id, response) => (response.setHeader('Connection', 'close'), false),
    });
    // More than one connection after the other can take: the next is due when one is answered.
    const args = words('--connections 4 --rate 1000 --duration 200ms');
    const { status, report, stderr } = await load(['--url', url, '--publish-url', url, ...args]);
    expect({ status, report, stderr }).toMatchObject({
      status: 0,
      report: { ...FLAWLESS, published: 200, delivered: 800 },
      stderr: expect.not.stringContaining('may not have been published') as string,
    });
  });

  test.each([
    ['says so', 'close'],
    ['does not say so', 'keep-alive'],
  ])(
    'that refuses a poll, closes its connection and %s is asked when it wants',
    async (_name, connection) => {
      const refusedAtMs: number[] = [];
      const againAtMs: number[] = [];
      const url = await fakeServer({
        poll: (request, response) => {
          if (!request.url!.includes('since=')) return false;
          if (refusedAtMs.length > againAtMs.length) againAtMs.push(performance.now());
          if (refusedAtMs.length === 3) return false;
          response.writeHead(503, {
            'Retry-After': 1,
            Connection: connection,
            'Content-Length': 0,
          });
          response.end(() => request.socket.end());
          refusedAtMs.push(performance.now());
          return true;
        },
      });
      const args = words(
        '--transport short-poll --poll-interval 100ms --connections 1 --rate 1 --duration 5s',
      );
      const { status, report, stderr } = await load(['--url', url, ...args]);
      expect({ status, report }).toMatchObject({
        status: 0,
        report: { ...FLAWLESS, published: 5, delivered: 5 },
      });
      expect(stderr).toContain('3 polls were refused for a temporary reason and repeated\n');
      // A timer may be a little early.
      for (const [nth, atMs] of againAtMs.entries())
        expect(atMs - refusedAtMs[nth]!).toBeGreaterThan(990);
    },
  );

  test.each(['2147484', '1e9', 'Infinity'])(
    'that refuses a poll for %s s is not asked again at once',
    async (seconds) => {
      let refused = 0;
      const url = await fakeServer({
        poll: (request, response) => {
          if (!request.url!.includes('since=')) return false;
          refused++;
          response.writeHead(503, { 'Retry-After': seconds, 'Content-Length': 0 }).end();
          return true;
        },
      });
      const args = words(
        '--transport short-poll --poll-interval 100ms --connections 1 --rate 1 --duration 1s',
      );
      await load(['--url', url, ...args]);
      expect(refused).toBe(1);
    },
  );

  test('that refuses without a length is told with its status', async () => {
    const server = createServer((request, response) => {
      const refuse = (): void => {
        response.useChunkedEncodingByDefault = false;
        response.writeHead(401, { Connection: 'close' }).end('give a \u001b[2Jkey');
      };
      if (request.method === 'POST') request.resume().on('end', refuse);
      else response.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders();
    });
    const url = `${await listen(server)}/c`;
    const { status, stderr } = await startLoad(['--url', url, '--quiet', ...SMALL]).ended;
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringMatching(
        /^holdline: publishing is not allowed \(401: give a \\u001b\[2Jkey\): /,
      ) as string,
    });
  });

  test('that has not answered a publish by the end is not said to have closed its connection', async () => {
    const url = await fakeServer({ publish: (id) => id === 20 });
    const { report, stderr } = await load(['--url', url, ...SMALL]);
    expect(report.published).toBe(19);
    expect(stderr).toContain(
      'holdline: 1 events were not published, or their publish was not answered, by the end\n',
    );
    expect(stderr).not.toContain('connection was lost');
  });

  test('that closes idle connections makes polls come on new ones, and nothing is lost', async () => {
    let connections = 0;
    // Node keeps a connection for a second longer than it says.
    const url = await fakeServer({ idleMs: 1, connected: () => connections++ });
    const args = words(
      '--transport short-poll --poll-interval 1500ms --connections 4 --rate 10 --duration 2s',
    );
    const { status, report } = await load(['--url', url, ...args]);
    expect({ status, report }).toMatchObject({
      status: 0,
      report: { ...FLAWLESS, published: 20, delivered: 80 },
    });
    // One that looks whether a server is there, the publisher's, and each client's first.
    expect(connections).toBeGreaterThan(6);
  });
});

describe('a WebSocket of another make', () => {
  /** `ws` with a channel on it: each event in fragments, with a ping before it. */
  async function otherServer(): Promise<{ url: string; pongs: string[]; closes: number[] }> {
    const sockets: WebSocket[] = [];
    const pongs: string[] = [];
    const closes: number[] = [];
    let id = 0;
    const server = createServer((request, response) => {
      let data = '';
      request.setEncoding('latin1').on('data', (text: string) => (data += text));
      request.on('end', () => {
        id++;
        const line = `{"id":${id},"channel":"c","data":"${data}"}\n`;
        for (const socket of sockets) {
          socket.ping(`ping ${id}`);
          socket.send(line.slice(0, id), { fin: false });
          socket.send(line.slice(id), { fin: true });
        }
        response.end(`{"id":${id},"subscribers":${sockets.length}}`);
      });
    });
    const upgrades = new WebSocketServer({ server });
    upgrades.on('connection', (socket) => {
      sockets.push(socket);
      socket.on('pong', (payload) => pongs.push(payload.toString()));
      socket.on('close', (code) => closes.push(code));
    });
    return { url: `${await listen(server)}/c`, pongs, closes };
  }

  it('is read, its pings are answered, and it is left with a close', async () => {
    const { url, pongs, closes } = await otherServer();
    const args = words('--transport ws --connections 3 --rate 40 --duration 500ms --size 70000');
    const { status, report } = await load(['--url', url, ...args]);
    expect({ status, report }).toMatchObject({
      status: 0,
      report: { ...FLAWLESS, published: 20, delivered: 60 },
    });
    expect(pongs.filter((pong) => pong === 'ping 20')).toHaveLength(3);
    expect(pongs).toHaveLength(60);
    expect(closes).toEqual([1000, 1000, 1000]);
  });
});
