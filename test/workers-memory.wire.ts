/**
 * `--memory-budget` with `--workers`: one budget for all processes of the server, whichever of them
 * takes the memory.
 */
import { expect, onTestFinished, test } from 'vitest';
import type { MemoryReport } from '../src/ops/memory/report.js';
import { NdjsonLine } from './support/line.js';
import { runHoldline, serverForTest, type TestServer } from './support/server.js';
import { codeOf } from './support/wire.js';
import { linesOnAll, page, until, workerOf, type Connections } from './support/workers.js';

const MiB = 2 ** 20;
/** Lines of one worker that stall, each with some 100 KB in the kernel. */
const STALLED = 400;

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
    Array.from({ length: 16 }, () =>
      server.request('GET', '/calm?since=latest&wait=1', { headers: { Prefer: 'wait=1' } }),
    ),
  );
  return asked.map((answer) => (answer.status === 204 ? 'waited' : codeOf(answer)));
}

test('a crowd that stalls on one worker fills the budget of both; a worker that dies is replaced nevertheless', async () => {
  const empty = await serverForTest({ workers: 2, 'ops-key': 'ops' });
  const { rssBytes, supervisorRssBytes } = await memoryOf(empty);
  empty.kill();
  const budgetMiB = Math.ceil((rssBytes + supervisorRssBytes) / MiB) + 40;
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
  for (let i = 0; i < 8; i++) await server.publish('flood', body);
  await server.statsUntil('the budget is used up', ({ memory }) => {
    return memory.budgetUsedBytes! > budgetBytes;
  });
  // They hear of each other once a second.
  await until('both refuse', async () =>
    (await answers(server)).every((answer) => answer === 'HOLDLINE_MEMORY_FULL'),
  );
  const full = await memoryOf(server);
  expect(full.budget).toMatchObject({ bytes: budgetBytes, full: true });
  // Of all processes and the sockets of the port, and no worker reads them twice.
  const { usedBytes } = full.budget!;
  const allBytes = full.rssBytes + full.supervisorRssBytes + full.kernel!.tcpBytes!;
  expect(usedBytes).toBeGreaterThan(full.rssBytes);
  expect(usedBytes).toBeLessThan(allBytes + 32 * MiB);

  // Those that were there, and publishers, notice nothing.
  const last = await server.publish('calm', 'x');
  for (const line of calm) await line.waitForId(last);
  const { workers } = await page(server, 'stats');
  const [, other] = workers.pids;
  process.kill(other!, 'SIGKILL');
  await until('another one serves', async () => {
    const now = (await page(server, 'stats')).workers;
    return now.serving === 2 && now.restarts === 1;
  });
  for (const line of crowd) line.close();
  await until('there is room on both again', async () =>
    (await answers(server)).every((answer) => answer === 'waited'),
  );
  expect((await memoryOf(server)).budget).toMatchObject({ full: false });
});

test('one that all processes fill together, and not one alone, is refused at the start', () => {
  const { status, stderr } = runHoldline([
    'serve',
    '--port=0',
    '--open-publish',
    '--workers=2',
    '--memory-budget=110MiB',
  ]);
  expect(stderr).toMatch(
    /memory budget of 110\.0 MiB .* workers and supervisor take about \d+\.\d MiB before the first/,
  );
  expect(status).toBe(2);
});
