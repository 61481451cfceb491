/**
 * What the log keeps, on the wire: lines and heads of a server that was killed and whose rings hold
 * little of what they ask for. Of event streams and polls more is in durable.wire.ts.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { NdjsonLine, SseLine } from './support/line.js';
import { serverForTest } from './support/server.js';
import { openWebSocket } from './support/websocket.js';
import { codeOf, RawConnection } from './support/wire.js';

const EVENTS = 3000;

test('every transport goes on below the rings, joins what is live, and may leave meanwhile', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'holdline-history-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const flags = {
    log: `lmdb:${join(directory, 'log')}`,
    'log-ballast': '1MiB',
    'replay-events': 20,
    'ops-key': 'ops',
  };
  const killed = await serverForTest(flags);
  const events = Array.from({ length: EVENTS }, (_, i) => ({ data: `n${i}` }));
  const { first, last } = await killed.publishBatch('c', events);
  killed.kill();
  await killed.exited();

  const server = await serverForTest(flags);
  const { port } = server;
  // One that leaves at once.
  const gone = await RawConnection.open(port);
  gone.send(Buffer.from('GET /c?since=0&limit=10 HTTP/1.1\r\nHost: localhost\r\n\r\n'));
  gone.socket.destroy();
  const socket = await openWebSocket(server, `/c?since=${first}`);
  const lines = await NdjsonLine.open(port, '/c?last=2000');
  onTestFinished(() => lines.close());
  const stream = await SseLine.open(port, '/c?since=1h', {
    headers: { Accept: 'text/event-stream' },
  });
  onTestFinished(() => stream.close());
  expect(socket.head.headers.get('holdline-position')).toBe(String(first));
  expect(lines.position).toBe(last - 2000);

  const id = await server.publish('c', 'live');
  for (const line of [socket, lines, stream]) await line.waitForId(id);
  const from = (start: number): number[] => [
    ...Array.from({ length: last - start + 1 }, (_, i) => start + i),
    id,
  ];
  expect(socket.ids).toEqual(from(first + 1));
  expect(lines.ids).toEqual(from(last - 1999));
  expect(stream.ids).toEqual(from(first));
  expect([socket.gaps, lines.gaps, stream.gaps]).toEqual([[], [], []]);

  const head = await server.request('HEAD', '/c?last=2000', {
    headers: { Accept: 'application/x-ndjson' },
  });
  expect(Number(head.headers.get('holdline-position'))).toBe(id - 2000);
  const { counters, lines: held } = await server.stats();
  expect(held.reading).toBe(0);
  expect(counters.gaps_total).toBe(0);
  expect(counters.history_events_total).toBeGreaterThan(EVENTS);
});

test('a time is refused in words where nothing is kept', async () => {
  const server = await serverForTest();
  const answer = await server.request('GET', '/c?since=10m');
  expect([answer.status, codeOf(answer)]).toEqual([400, 'HOLDLINE_BAD_POSITION']);
});
