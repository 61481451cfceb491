/**
 * `--memory-budget` with `--workers`: one budget for all processes of the server, whichever of them
 * takes the memory.
 */
import { once } from 'node:events';
import { connect, createServer as createNetServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { freePort } from '../bench/ports.js';
import { makeCounters } from '../dist/counters.js';
import { createWorkerServer } from '../dist/server/server.js';
import type { Parent } from '../dist/workers/parent.js';
import { Elsewhere } from '../src/core/elsewhere.js';
import { readPortTotals } from '../src/linux/sockets.js';
import type { MemoryReport } from '../src/ops/memory/report.js';
import { KeepingLog, KeepingStore } from './support/keeping-log.js';
import { NdjsonLine } from './support/line.js';
import { runHoldline, serverForTest, type TestServer } from './support/server.js';
import { codeOf, DEADLINE_MS, request, type Answer } from './support/wire.js';
import { linesOnAll, page, workerOf, type Connections } from './support/workers.js';
import { until } from './support/until.js';

const MiB = 2 ** 20;
/** Lines of one worker that stall, each with some 100 KB in the kernel. */
const STALLED = 350;

type Memory = MemoryReport & { readonly supervisorRssBytes: number };

async function memoryOf(server: TestServer): Promise<Memory> {
  return (await page(server, 'memory')) as unknown as Memory;
}

/** So many lines on a channel that are all of one worker. */
async function linesOfOne(server: TestServer, count: number): Promise<NdjsonLine[]> {
  const lines = new Map<string, NdjsonLine>();
  onTestFinished(() => lines.forEach((line) => line.close()));
  await Promise.all(
    Array.from({ length: 2.5 * count }, async (_none, i) => {
      lines.set(`mark${i}`, await NdjsonLine.open(server.port, `/flood,mark${i}`, { keep: false }));
    }),
  );
  const listed = (await page(server, 'connections?limit=1000')) as unknown as Connections;
  const crowd: NdjsonLine[] = [];
  for (const connection of listed.connections) {
    const mark = connection.channels.find((name) => name.startsWith('mark'));
    if (mark === undefined) continue;
    const line = lines.get(mark)!;
    if (workerOf(connection) === 1 && crowd.length < count) crowd.push(line);
    else line.close();
  }
  return crowd;
}

/** How connections of their own are answered, enough of them that each worker has some. */
async function answers(server: TestServer): Promise<string[]> {
  const asked = await Promise.all(
    Array.from({ length: 16 }, () => server.request('GET', '/calm?since=latest&wait=1')),
  );
  return asked.map((answer) => (answer.status === 204 ? 'waited' : codeOf(answer)));
}

/** What a budget is refused with that the processes fill before the first line. */
function refusedStart(budgetMiB: number): { readonly takenMiB: number; readonly status: unknown } {
  const args = ['serve', '--port=0', '--open-publish', '--workers=2'];
  const { status, stderr } = runHoldline([...args, `--memory-budget=${budgetMiB}MiB`]);
  const taken =
    /\(--memory-budget\) has no room for a line: workers and supervisor take about (\d+\.\d) MiB/;
  return { takenMiB: Number(taken.exec(stderr)?.[1]), status };
}

test('it has room for all of them or is refused; a crowd that stalls on one worker fills it for both', async () => {
  // More than one process takes, and less than three.
  const { takenMiB, status } = refusedStart(110);
  expect(status).toBe(2);
  const budgetMiB = Math.ceil(takenMiB) + 40;
  const budgetBytes = budgetMiB * MiB;
  const server = await serverForTest({
    workers: 2,
    'ops-key': 'ops',
    'memory-budget': `${budgetMiB}MiB`,
  });
  const calm = await linesOnAll(server, 'calm', 4);
  const crowd = await linesOfOne(server, STALLED);
  expect(crowd).toHaveLength(STALLED);
  const body = 'x'.repeat(60_000);
  for (const line of crowd) line.connection.socket.pause();
  // Its lines take nothing: a publish may have to be tried again.
  for (let i = 0; i < 8; i++)
    await until('a publish', async () => (await server.post('flood', body)).status === 200);
  await server.statsUntil('the budget is used up', ({ memory }) => {
    return memory.budgetUsedBytes! > budgetBytes;
  });
  // They hear of each other once a second.
  await until('both refuse', async () =>
    (await answers(server)).every((answer) => answer === 'HOLDLINE_MEMORY_FULL'),
  );
  const full = await memoryOf(server);
  expect(full.budget).toMatchObject({ bytes: budgetBytes, full: true });
  // Of all processes and the sockets of the port, and no worker reads them twice. The parts are
  // read at different times.
  await until('each is counted once', async () => {
    const { budget, rssBytes, supervisorRssBytes, kernel } = await memoryOf(server);
    const allBytes = rssBytes + supervisorRssBytes + kernel!.tcpBytes!;
    return budget!.usedBytes > rssBytes && budget!.usedBytes < allBytes + 32 * MiB;
  });

  // Those that were there, and publishers, notice nothing.
  const last = await server.publish('calm', 'x');
  for (const line of calm) await line.waitForId(last);
});

/**
 * Sockets of a port that nobody listens on any more, with bytes that their readers do not take:
 * more than twice what a collection may free of this process meanwhile.
 */
async function queueOn(port: number): Promise<number> {
  const body = Buffer.alloc(16 * MiB);
  const server = createNetServer((socket) => socket.on('error', () => {}).write(body));
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const readers = Array.from({ length: 60 }, () => connect(port, '127.0.0.1').pause());
  onTestFinished(() => readers.forEach((reader) => reader.on('error', () => {}).destroy()));
  const queued = (): number => readPortTotals(port)?.sendQueueBytes ?? 0;
  await until('bytes wait in the kernel', () => Promise.resolve(queued() > 128 * MiB));
  server.close();
  return queued();
}

test('one that takes the place of another admits no line before it knows what is held for all', async () => {
  const port = await freePort();
  const queuedBytes = await queueOn(port);
  const elsewhere = new Elsewhere();
  const memoryBudgetBytes = 4096 * MiB;
  // One of several processes, as its supervisor would tell it.
  const parent = {
    log: new KeepingLog(new KeepingStore(1)),
    welcome: { count: 2, spawn: 3 },
    linesMax: 100,
    startingCount: undefined,
    // With what the kernel holds the budget is used up.
    elsewhereBytes: memoryBudgetBytes - process.memoryUsage.rss() - queuedBytes / 2,
    elsewhere,
    owners: elsewhere,
    share: () => ({ hasRoom: true }),
    linesChanged: () => {},
  } as unknown as Parent;
  const options = { host: '127.0.0.1', port, opsKey: 'ops', memoryBudgetBytes };
  const server = createWorkerServer(options, makeCounters(), parent);
  onTestFinished(() => server.close({ drainMs: 0 }));
  const listening = server.listen();
  const ask = (): Promise<Answer> => request(port, 'GET', '/c?since=latest&wait=1');
  const first = await until('the port answers', ask, DEADLINE_MS);
  expect(first.status).toBe(503);
  expect(codeOf(first)).toBe('HOLDLINE_MEMORY_FULL');
  await listening;
});
