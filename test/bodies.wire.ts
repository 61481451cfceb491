/**
 * Bodies as they are received: one costs its bytes, in however many pieces it comes, and an aborted
 * one gives them back.
 */
import { expect, onTestFinished, test } from 'vitest';
import { ControlLine } from './support/control.js';
import { serverForTest } from './support/server.js';
import { RawConnection } from './support/wire.js';

const MIB = 1024 * 1024;
const HEAD = 'POST /c HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n';

test('bodies in chunks of one byte that never end cost their bytes, and are told 408', async () => {
  const server = await serverForTest({}, { NODE_OPTIONS: '--max-old-space-size=512' });
  const control = await ControlLine.open(server);
  onTestFinished(() => control.line.close());
  await control.beat();
  const before = server.rssBytes();
  const clients = await Promise.all(
    Array.from({ length: 3 }, () => RawConnection.open(server.port)),
  );
  onTestFinished(() => clients.forEach((client) => client.destroy()));
  const piece = Buffer.from('1\r\nx\r\n'.repeat(16 * 1024));
  let most = 0;
  for (const client of clients) client.send(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
  // 1 MiB of body each.
  for (let sent = 0; sent < MIB; sent += 16 * 1024) {
    for (const client of clients) {
      if (client.socket.writableLength > MIB)
        await client.waitFor('it is taken', () => client.socket.writableLength < MIB, 20_000);
      client.send(piece);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
    most = Math.max(most, server.rssBytes());
  }
  for (const client of clients) {
    await client.waitFor('408', () => client.text.startsWith('HTTP/1.1 408 '), 20_000);
    most = Math.max(most, server.rssBytes());
  }
  expect(most - before).toBeLessThan(40 * MIB);
  expect((await server.stats()).counters.refused['HOLDLINE_BODY_TIMEOUT']).toBe(3);
  await control.noticedNothing();
}, 60_000);

test('bodies that were begun and left are given back: the same number finds room again and again', async () => {
  const server = await serverForTest();
  const body = JSON.stringify({ data: 'x'.repeat(50_000) })
    .concat('\n')
    .repeat(60);
  // A channel holds at most half of the memory of publishes: 30 MB fit once, but not twice.
  for (let round = 0; round < 3; round++) {
    const clients = await Promise.all(
      Array.from({ length: 10 }, () => RawConnection.open(server.port)),
    );
    for (const client of clients)
      client.send(`${HEAD}Content-Length: ${body.length}\r\n\r\n${body.slice(0, -10)}`);
    const begun = (round + 1) * 10;
    await server.statsUntil(
      'their heads have come',
      ({ counters }) => counters.requests_total >= begun,
    );
    for (const client of clients) client.socket.resetAndDestroy();
    await server.statsUntil(
      'they are gone',
      ({ counters }) => counters.publish_aborted_total === begun,
    );
  }
  const answer = await server.post('c', body, {
    headers: { 'Content-Type': 'application/x-ndjson' },
  });
  expect(answer.status).toBe(200);
  expect((await server.stats()).counters.refused['HOLDLINE_PUBLISH_BUSY']).toBeUndefined();
}, 30_000);
