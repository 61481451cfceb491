/**
 * What operators are told under `/-/`: memory, connections and metrics; and that a memory budget
 * refuses new lines, and only those.
 */
import { describe, expect, onTestFinished, test } from 'vitest';
import { COUNTER_MEANINGS } from '../src/counters.js';
import type { LineFigures } from '../src/core/line-ranking.js';
import { OWNER_BYTES } from '../src/core/owners.js';
import { TABLE_ROW_BYTES } from '../src/core/line-table.js';
import { HANDLE_BYTES } from '../src/core/lines.js';
import { CORK_WRITE_BYTES_MAX } from '../src/limits.js';
import { streamWriteBytesMax } from '../src/native/builds.js';
import { KEPT_LINE_BYTES } from '../src/ops/memory/line-cost.js';
import type { MemoryReport } from '../src/ops/memory/report.js';
import { NdjsonLine, SseLine, stalledLine } from './support/line.js';
import { readMetrics, type Metric } from './support/prometheus.js';
import { serverForTest, sharedServer, TestServer } from './support/server.js';
import { openWebSocket } from './support/websocket.js';
import {
  codeOf,
  HttpClient,
  jsonOf,
  RawConnection,
  request,
  requestBytes,
  type Answer,
} from './support/wire.js';

const MiB = 2 ** 20;
const SSE = { Accept: 'text/event-stream' };

const shared = sharedServer({
  'ops-key': 'ops-secret',
  'publish-key': 'sesame',
  'open-publish': false,
});

function ask(server: TestServer, page: string, method = 'GET'): Promise<Answer> {
  return server.request(method, `/-/${page}`, { headers: server.opsHeaders });
}

async function memoryOf(server: TestServer): Promise<MemoryReport> {
  const answer = await ask(server, 'memory');
  expect(answer.status).toBe(200);
  return jsonOf(answer) as MemoryReport;
}

async function metricsOf(server: TestServer): Promise<Map<string, Metric>> {
  return readMetrics((await ask(server, 'metrics')).text);
}

/** Opens lines that are only held. */
async function holdLines(server: TestServer, count: number): Promise<RawConnection[]> {
  const bytes = requestBytes(server.port, 'GET', '/held', { headers: SSE });
  const lines: RawConnection[] = [];
  for (let opened = 0; opened < count; opened += 100) {
    const some = await Promise.all(
      Array.from({ length: Math.min(100, count - opened) }, () => RawConnection.open(server.port)),
    );
    for (const line of some) line.send(bytes);
    lines.push(...some);
  }
  onTestFinished(() => lines.forEach((line) => line.destroy()));
  await server.statsUntil('the lines are open', (stats) => stats.lines.open >= count);
  return lines;
}

/** Publishes so many bytes, in events of 60 KB to channels of which each keeps less than a MiB. */
async function fillRings(server: TestServer, name: string, bytes: number): Promise<string[]> {
  const client = await HttpClient.open(server.port);
  const body = Buffer.alloc(60_000, 'x');
  const channels: string[] = [];
  for (let published = 0, event = 0; published < bytes; published += body.length, event++) {
    const channel = `${name}${Math.floor(event / 16)}`;
    if (event % 16 === 0) channels.push(channel);
    expect((await client.request('POST', `/${channel}`, { body })).status).toBe(200);
  }
  client.close();
  return channels;
}

describe.each([
  ['memory', 'application/json', 'GET, HEAD'],
  ['connections', 'application/json', 'GET, HEAD, DELETE'],
  ['channels', 'application/json', 'GET, HEAD'],
  ['metrics', 'text/plain; version=0.0.4; charset=utf-8', 'GET, HEAD'],
])('/-/%s', (page, contentType, allowed) => {
  test('needs the ops key: without one and with the key in the query it is 401, with the publish key 403', async () => {
    const server = shared();
    for (const [query, headers, refused] of [
      ['', {}, [401, 'HOLDLINE_UNAUTHORIZED']],
      ['', { Authorization: 'Bearer sesame' }, [403, 'HOLDLINE_FORBIDDEN']],
      ['?key=ops-secret', {}, [401, 'HOLDLINE_UNAUTHORIZED']],
    ] as const) {
      const answer = await server.request('GET', `/-/${page}${query}`, { headers });
      expect([answer.status, codeOf(answer)]).toEqual(refused);
    }
  });

  test('answers GET, and HEAD with the same head and no body; other methods are 405', async () => {
    const server = shared();
    const answer = await ask(server, page);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe(contentType);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    const head = await ask(server, page, 'HEAD');
    expect([head.status, head.text, head.headers.get('content-type')]).toEqual([
      200,
      '',
      contentType,
    ]);
    const posted = await ask(server, page, 'POST');
    expect([posted.status, codeOf(posted), posted.headers.get('allow')]).toEqual([
      405,
      'HOLDLINE_METHOD_NOT_ALLOWED',
      allowed,
    ]);
  });

  test('is named by the landing page and by the 404 of what is not there', async () => {
    const server = shared();
    expect((await server.request('GET', '/')).text).toContain(`/-/${page}`);
    const missing = await ask(server, 'memories');
    expect([missing.status, codeOf(missing)]).toEqual([404, 'HOLDLINE_NOT_FOUND']);
    expect(missing.text).toContain(`/-/${page}`);
  });
});

describe('/-/memory', () => {
  test('accounts for lines and rings by class, and the rest stays what it is', async () => {
    const server = await serverForTest();
    const before = await memoryOf(server);
    expect(before.lines).toBe(0);
    const held = await holdLines(server, 2_000);
    await fillRings(server, 'ring', 48 * MiB);
    const after = await memoryOf(server);
    const { classes } = after;
    const sum = Object.values(classes).reduce((bytes, { bytes: one }) => bytes + one, 0);
    expect(sum).toBeCloseTo(after.rssBytes, 0);
    expect(after.rssBytes).toBeGreaterThan(before.rssBytes + 48 * MiB);
    expect(after.lines).toBe(held.length);
    // Of typed arrays that may be twice as long.
    const lineBytes = TABLE_ROW_BYTES + HANDLE_BYTES + OWNER_BYTES;
    expect(classes.tables.bytes - before.classes.tables.bytes).toBeGreaterThanOrEqual(
      2_000 * lineBytes,
    );
    expect(classes.tables.bytes - before.classes.tables.bytes).toBeLessThan(4_100 * lineBytes);
    expect(classes.rings.heldBytes).toBeGreaterThan(48 * MiB);
    expect(classes.rings.heldBytes).toBeLessThan(50 * MiB);
    expect(classes.rings.bytes).toBeGreaterThan(48 * MiB);
    expect(classes.rings.bytes).toBeLessThanOrEqual(
      classes.rings.recordBytes + classes.rings.frameBytes,
    );
    expect(classes.native.bytesPerLine).toBeGreaterThan(300);
    expect(classes.native.bytesPerLine).toBeLessThan(2_000);
    expect(classes.native.bytes).toBeCloseTo(2_000 * classes.native.bytesPerLine!, 0);
    // What is in no other class has not become more: 50 MB are accounted for.
    expect(Math.abs(classes.other.bytes - before.classes.other.bytes)).toBeLessThan(16 * MiB);
  });

  test('has the kernel’s totals of its own port, read once in ten seconds', async () => {
    const server = await serverForTest();
    await holdLines(server, 1_000);
    await holdLines(await serverForTest(), 1_000);
    const { kernel } = await memoryOf(server);
    // Of a busy machine others' sockets may have the number of the port, too, at another address;
    // both ends would be 2,000.
    expect(kernel!.port!.sockets).toBeGreaterThan(980);
    expect(kernel!.port!.sockets).toBeLessThan(1_900);
    expect(kernel!.tcpBytes).toBeGreaterThanOrEqual(0);
    expect(kernel!.ageMs).toBeLessThan(5_000);
    const again = await memoryOf(server);
    expect(again.kernel!.ageMs).toBeGreaterThanOrEqual(kernel!.ageMs);
    expect(again.kernel!.port).toEqual(kernel!.port);
  });

  test('shows what a stalled reader leaves in the kernel’s queue and in the process', async () => {
    const server = await serverForTest();
    const line = await stalledLine(server);
    onTestFinished(() => line.close());
    const { kernel, classes } = await memoryOf(server);
    expect(kernel!.port!.sendQueueBytes).toBeGreaterThan(30_000);
    expect(classes.backlog.bytes).toBe(CORK_WRITE_BYTES_MAX + streamWriteBytesMax());
  });

  test('a server with a thread that reads closes in order', async () => {
    const server = await serverForTest();
    const raw = await RawConnection.open(server.port);
    raw.send(requestBytes(server.port, 'GET', '/-/memory', { headers: server.opsHeaders }));
    raw.destroy();
    expect(await server.stop()).toBe(0);
    expect(server.errorOutput).toBe('');
  });
});

describe('/-/connections', () => {
  async function listed(server: TestServer, query: string): Promise<LineFigures[]> {
    return (jsonOf(await ask(server, `connections${query}`)) as { connections: LineFigures[] })
      .connections;
  }

  test('lists lines in the order that is asked for, as many as are asked for', async () => {
    const server = await serverForTest();
    const first = await SseLine.open(server.port, '/a');
    const second = await NdjsonLine.open(server.port, '/a,b');
    onTestFinished(() => [first, second].forEach((line) => line.close()));
    await server.statsUntil('both are open', ({ lines }) => lines.open === 2);
    expect(await listed(server, '?sort=age&limit=1')).toEqual([
      expect.objectContaining({
        channels: ['a'],
        transport: 'sse',
        state: 'healthy',
        lagEvents: 0,
        unsentBytes: 0,
        stalledMs: null,
      }),
    ]);
    for (const query of ['', '?sort=lag', '?sort=bytes&limit=1000']) {
      const found = await listed(server, query);
      expect(found.map(({ transport }) => transport).toSorted()).toEqual(['ndjson', 'sse']);
    }
    const body = jsonOf(await ask(server, 'connections')) as { sort: string };
    expect(body.sort).toBe('lag');
  });

  test.each([
    '?sort=size',
    '?sort=',
    '?limit=0',
    '?limit=1001',
    '?limit=ten',
    '?sort=lag&limit=-1',
  ])('%s is 400', async (query) => {
    const answer = await ask(shared(), `connections${query}`);
    expect([answer.status, codeOf(answer)]).toEqual([400, 'HOLDLINE_BAD_QUERY']);
  });
});

describe('/-/metrics', () => {
  test('has every counter under its name with its meaning, and moves with it', async () => {
    const server = await serverForTest();
    const line = await SseLine.open(server.port, '/c');
    onTestFinished(() => line.close());
    await server.publish('c', 'x');
    await line.waitForEvents(1);
    await request(server.port, 'GET', '/a..b');
    const metrics = await metricsOf(server);
    for (const [name, help] of Object.entries(COUNTER_MEANINGS)) {
      expect(metrics.get(`holdline_${name}`)).toMatchObject({ help, type: 'counter' });
    }
    const valueOf = (name: string, labels = ''): number | undefined =>
      metrics.get(`holdline_${name}`)?.samples.get(labels);
    expect(valueOf('lines_opened_total')).toBe(1);
    expect(valueOf('deliveries_total')).toBe(1);
    expect(valueOf('refused_total')).toBe(1);
    expect(valueOf('refusals_total', 'code="HOLDLINE_BAD_CHANNEL"')).toBe(1);
    expect(valueOf('lines', 'transport="sse"')).toBe(1);
    expect(valueOf('lines', 'transport="poll"')).toBe(0);
    expect(valueOf('lines_stalled')).toBe(0);
    expect(valueOf('channels')).toBe(1);
    expect(valueOf('rings')).toBe(1);
    expect(valueOf('memory_line_bytes', 'source="kept"')).toBe(KEPT_LINE_BYTES.sse);
    // Counters do not start over between two scrapes, and count on.
    await server.publish('c', 'y');
    const later = await metricsOf(server);
    expect(later.get('holdline_events_accepted_total')?.samples.get('')).toBe(2);
    expect(later.get('holdline_requests_total')!.samples.get('')).toBeGreaterThan(
      valueOf('requests_total')!,
    );
  });

  test('has gauges in bytes and seconds; the classes of memory add up; what there is not has no sample', async () => {
    const server = await serverForTest({ 'max-connections': 77 });
    const first = await metricsOf(server);
    for (const [name, { help, type }] of first) {
      expect(name).toMatch(/^(?:holdline|nodejs|process)_[a-z0-9_]+$/);
      expect(help).not.toMatch(/^$|^[A-Z]|\.$/);
      expect(type === 'counter').toBe(name.endsWith('_total'));
    }
    expect(first.get('holdline_lines_cap')?.samples.get('')).toBe(77);
    expect(first.get('holdline_info')?.samples.size).toBe(1);
    expect(first.get('holdline_memory_budget_bytes')?.samples.size).toBe(0);
    const classes = [...first.get('holdline_memory_bytes')!.samples.values()];
    const rss = first.get('holdline_memory_rss_bytes')!.samples.get('')!;
    expect(Math.abs(classes.reduce((sum, bytes) => sum + bytes, 0) - rss)).toBeLessThan(10);
    // A scrape does not wait for the kernel: it begins a reading, which the next one has.
    expect(first.get('holdline_kernel_sockets')?.samples.size).toBe(0);
    await memoryOf(server);
    const second = await metricsOf(server);
    expect(second.get('holdline_kernel_sockets')?.samples.get('')).toBeGreaterThan(0);
    expect([...second.get('holdline_kernel_queue_bytes')!.samples.keys()]).toEqual([
      'direction="send"',
      'direction="receive"',
    ]);
  });

  test('many scrapes at once are each whole', async () => {
    const server = shared();
    const texts = await Promise.all(Array.from({ length: 20 }, () => ask(server, 'metrics')));
    for (const { text } of texts)
      expect(readMetrics(text).size).toBe(readMetrics(texts[0]!.text).size);
  });
});

describe('--memory-budget', () => {
  test('one below what the process takes is refused at the start, with both figures', async () => {
    // Whatever Node takes by itself, it is more with this.
    const ballast = {
      NODE_OPTIONS: '--import=data:text/javascript,globalThis.ballast=Buffer.alloc(6e7,1)',
    };
    await expect(TestServer.start({ 'memory-budget': '64MiB' }, ballast)).rejects.toThrow(
      /exit 2 at start: .*memory budget of 64\.0 MiB .* takes \d+\.\d MiB before the first one/,
    );
  });

  test('past it each way of being held is refused the temporary mode, lines and publishers notice nothing; below it all are admitted', async () => {
    const budgetBytes = 192 * MiB;
    const server = await serverForTest({ 'memory-budget': '192MiB' });
    const control = await SseLine.open(server.port, '/control');
    onTestFinished(() => control.close());
    const poll = await RawConnection.open(server.port);
    onTestFinished(() => poll.destroy());
    poll.send(requestBytes(server.port, 'GET', '/control?since=latest&wait=60'));
    await server.statsUntil('the poll waits', ({ lines }) => lines.byTransport.poll === 1);
    const filled = await fillRings(server, 'fill', 150 * MiB);
    const full = await server.statsUntil(
      'the budget is used up',
      ({ memory }) => memory.budgetUsedBytes! > budgetBytes,
    );
    expect(full.memory.budgetBytes).toBe(budgetBytes);

    const stream = await request(server.port, 'GET', '/control', { headers: SSE });
    expect([stream.status, stream.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
    expect(stream.text, 'EventSource comes back').toMatch(/^retry: \d+\n\n$/);
    for (const [path, headers] of [
      ['/control', { Accept: 'application/x-ndjson' }],
      ['/control?since=latest&wait=5', {}],
      [
        '/control',
        {
          Connection: 'Upgrade',
          Upgrade: 'websocket',
          'Sec-WebSocket-Version': '13',
          'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
        },
      ],
    ] as const) {
      const answer = await request(server.port, 'GET', path, { headers });
      expect([path, answer.status, codeOf(answer)]).toEqual([path, 503, 'HOLDLINE_MEMORY_FULL']);
      expect(answer.headers.get('retry-after')).toMatch(/^[1-9]$/);
    }
    expect(
      (await request(server.port, 'GET', '/control?since=latest&wait=0')).status,
      'a short-poll holds nothing',
    ).toBe(204);
    expect((await request(server.port, 'GET', '/-/ready')).status).toBe(200);
    expect((await server.stats()).counters).toMatchObject({
      refused: { HOLDLINE_MEMORY_FULL: 4 },
      refused_temporary_total: 1,
    });
    const metrics = await metricsOf(server);
    expect(metrics.get('holdline_memory_budget_bytes')?.samples.get('')).toBe(budgetBytes);
    expect(metrics.get('holdline_memory_budget_full')?.samples.get('')).toBe(1);

    const id = await server.publish('control', 'still here');
    await control.waitForId(id);
    await poll.waitFor('the answer', () => poll.text.includes('still here'));

    for (const channel of filled) await server.deleteChannel(channel);
    // The collector is in no hurry: events of other channels give it something to do.
    const deadlineMs = performance.now() + 30_000;
    for (
      let used = Infinity;
      used >= 0.98 * budgetBytes;
      used = (await server.stats()).memory.budgetUsedBytes!
    ) {
      if (performance.now() > deadlineMs)
        throw new Error(`still used up: ${JSON.stringify(await memoryOf(server))}`);
      for (const channel of await fillRings(server, 'again', 2 * MiB))
        await server.deleteChannel(channel);
    }
    const admitted = await SseLine.open(server.port, '/control');
    onTestFinished(() => admitted.close());
    await openWebSocket(server, '/control');
    const last = await server.publish('control', 'all of them');
    await admitted.waitForId(last);
    await control.waitForId(last);
    expect(control.closed).toBe(false);
  });
});
