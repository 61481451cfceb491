/**
 * Servers of tests that share a process: each is as one of its own would be, and what ends the
 * process is said in words.
 */
import { expect, test } from 'vitest';
import { HostedServer, hostedForTest } from './support/hosted.js';
import { SseLine } from './support/line.js';

test('two have ids, counters, options and logs of their own', async () => {
  const [first, second] = [
    await hostedForTest(),
    await hostedForTest(
      { 'first-id': false, 'max-event-bytes': '1KiB' },
      { HOLDLINE_FIRST_ID: '7' },
    ),
  ];
  const line = await SseLine.open(first.port, '/c');
  expect([await first.publish('c', 'x'), await second.publish('c', 'x')]).toEqual([1, 7]);
  await line.waitForId(1);
  line.close();
  expect((await second.post('c', 'x'.repeat(2000))).status).toBe(413);
  const counts = await Promise.all([first.stats(), second.stats()]);
  expect(counts.map(({ counters }) => counters.lines_opened_total)).toEqual([1, 0]);
  expect(counts.map(({ counters }) => counters.refused_total)).toEqual([0, 1]);
  expect(first.opsKey).not.toBe(second.opsKey);
  for (const { logs, port } of [first, second])
    expect(logs.filter(({ msg }) => msg === 'listening')).toMatchObject([{ port }]);
});

test('one drains in order, and another goes on', async () => {
  const [drained, other] = [await hostedForTest(), await hostedForTest()];
  const line = await SseLine.open(drained.port, '/c');
  await drained.drain();
  await line.waitForEnd();
  expect(line.endCode).toBe('draining');
  await expect(SseLine.open(drained.port, '/c')).rejects.toThrow('ECONNREFUSED');
  expect(await other.publish('c', 'x')).toBe(1);
});

test('one that does not start says why', async () => {
  await expect(HostedServer.start({ 'max-connections': 'many' })).rejects.toThrow(
    /--max-connections must be /,
  );
});

test('the end of the process fails what waits, and the next server has another one', async () => {
  const server = await HostedServer.start();
  const waiting = server.waitFor('what never comes', () => false);
  server.killHost();
  await expect(waiting).rejects.toThrow('the process of the servers ended with SIGKILL');
  await server.end();
  expect(await (await hostedForTest()).publish('c', 'x')).toBe(1);
});
