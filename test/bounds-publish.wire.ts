/**
 * What publishes under way may take: bodies in the smallest pieces, and batches of the smallest
 * events, all at once.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { BATCH_EVENTS_MAX, NAMED_BATCH_BYTES_MAX, PUBLISH_BYTES_MAX } from '../src/limits.js';
import { serverForTest, type TestServer } from './support/server.js';

const MiB = 2 ** 20;

/** The heap that none of these may exhaust. */
const SMALL_HEAP = { NODE_OPTIONS: '--max-old-space-size=512' };

/** The most that the process ever had resident. */
function peakBytes(server: TestServer): number {
  const status = readFileSync(`/proc/${server.child.pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

const HEAD = 'POST /c HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n';

test('bodies in chunks of one byte take their bytes and no more', { timeout: 60_000 }, async () => {
  const server = await serverForTest({}, SMALL_HEAP);
  const before = peakBytes(server);
  const bodyBytes = MiB;
  const chunks = Buffer.from('1\r\nx\r\n'.repeat(64 * 1024));
  const send = async (): Promise<void> => {
    const socket: Socket = connect(server.port, '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    socket.on('error', () => {});
    socket.write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
    for (let sent = 0; sent < bodyBytes && !socket.destroyed; sent += 64 * 1024) {
      if (!socket.write(chunks)) await Promise.race([once(socket, 'drain'), once(socket, 'close')]);
    }
  };
  await Promise.all([send(), send(), send()]);
  // Never ended: what has come is held.
  const { lines } = await server.stats();
  expect(lines.open).toBe(0);
  const grown = peakBytes(server) - before;
  console.log(`bodies: peak grown ${grown / MiB} MiB for ${(3 * bodyBytes) / MiB} MiB`);
  expect(grown).toBeLessThan(40 * MiB);
});

test(
  'batches of the smallest events stay within the memory of publishes',
  { timeout: 60_000 },
  async () => {
    const server = await serverForTest({}, SMALL_HEAP);
    const before = peakBytes(server);
    const body = '{"data":1}\n'.repeat(BATCH_EVENTS_MAX);
    const statuses = await Promise.all(
      Array.from(
        { length: 110 },
        async () =>
          (await server.post('c', body, { headers: { 'Content-Type': 'application/x-ndjson' } }))
            .status,
      ),
    );
    const grown = peakBytes(server) - before;
    console.log(
      `batches: peak grown ${grown / MiB} MiB, ${statuses.filter((status) => status === 200).length} of 110 taken`,
    );
    expect(statuses.every((status) => status === 200 || status === 503)).toBe(true);
    expect(statuses).toContain(200);
    expect(grown).toBeLessThan(PUBLISH_BYTES_MAX + 48 * MiB);
  },
);

test(
  'batches over several channels stay within a room of their own, and leave that of others free',
  { timeout: 60_000 },
  async () => {
    const server = await serverForTest({}, SMALL_HEAP);
    const before = peakBytes(server);
    const body = Array.from(
      { length: BATCH_EVENTS_MAX },
      (_, i) => `{"channel":"c${i % 100}","data":1}\n`,
    );
    // All but the last byte, so that all are held at once, and each of a credential of its own.
    const whole = body.join('');
    const sockets = Array.from({ length: 60 }, (_, i) => {
      const socket: Socket = connect(server.port, '127.0.0.1');
      onTestFinished(() => void socket.destroy());
      socket.on('error', () => {});
      socket.write(
        `POST /-/publish HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${i}\r\nContent-Type: application/x-ndjson\r\nContent-Length: ${whole.length}\r\n\r\n${whole.slice(0, -1)}`,
      );
      return socket;
    });
    const statuses = sockets.map(async (socket) => {
      let text = '';
      for await (const piece of socket) {
        text += String(piece);
        if (text.includes('\r\n\r\n')) break;
      }
      return Number(text.slice(9, 12));
    });
    await server.statsUntil('all have come', ({ counters }) => counters.requests_total >= 60);
    expect((await server.post('c', 'x')).status).toBe(200);
    for (const socket of sockets) socket.write('\n');
    const answered = await Promise.all(statuses);
    const grown = peakBytes(server) - before;
    console.log(
      `named batches: peak grown ${grown / MiB} MiB, ${answered.filter((status) => status === 200).length} of 60 taken`,
    );
    expect(answered.every((status) => status === 200 || status === 503)).toBe(true);
    expect(answered).toContain(200);
    expect(grown).toBeLessThan(NAMED_BATCH_BYTES_MAX + 64 * MiB);
  },
);
