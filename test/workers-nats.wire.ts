/** `serve --workers` with `--log nats:`, where each worker tails the stream by itself. */
import { setTimeout as sleep } from 'node:timers/promises';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { expect, onTestFinished, test } from 'vitest';
import { NatsServer } from './support/nats.js';
import { serverForTest, type TestServer } from './support/server.js';
import { jsonOf } from './support/wire.js';
import { Follower, isRunning, linesOnAll, page } from './support/workers.js';
import { until } from './support/until.js';

async function twoWorkers(): Promise<[NatsServer, TestServer]> {
  const nats = await NatsServer.start();
  return [nats, await serverForTest({ log: `nats://${nats.url}`, workers: 2, 'ops-key': 'ops' })];
}

/** It is made again once: each line of both workers has one gap, and goes on. */
async function expectMadeAgain(): Promise<void> {
  const [nats, server] = await twoWorkers();
  const lines = await linesOnAll(server, 'a', 4);
  const ids = [await server.publish('a', 'before')];
  for (const line of lines) await line.waitForId(ids[0]!);
  const manager = await jetstreamManager(await nats.client());
  await manager.streams.delete('HOLDLINE');
  // Either worker may be asked, and each finds the stream again in its own time.
  for (const text of ['after', 'last'])
    await until('a publish', async () => {
      const answer = await server.post('a', text);
      expect([200, 503, 504]).toContain(answer.status);
      if (answer.status !== 200) return false;
      return ids.push((jsonOf(answer) as { id: number }).id);
    });
  for (const line of lines) {
    await line.waitForId(ids.at(-1)!);
    expect([line.ids, line.gaps.length, line.closed]).toEqual([ids, 1, false]);
  }
  expect(ids).toEqual(ids.toSorted((one, other) => one - other));
  // Of 8 connections both workers have some, but once in 128.
  await until(
    'both are up again',
    async () => {
      const asked = Array.from({ length: 8 }, () => server.request('GET', '/-/ready'));
      const answers = (await Promise.all(asked)).map(jsonOf) as { readonly log: string }[];
      return answers.every(({ log }) => log === 'up');
    },
    45_000,
  );
  // A reader that comes back from before is told of the gap, and given what there is.
  const late = new Follower(server, 'a', ids[0]!);
  await until('what there is', async () => late.all.length === 2);
  expect([late.all, late.allGaps]).toEqual([ids.slice(1), 1]);
}

/** It is replaced; its readers go on at the other one and miss nothing. */
async function expectReplaced(): Promise<void> {
  const [nats, server] = await twoWorkers();
  const first = await server.publish('c', 'first');
  const followers = Array.from({ length: 12 }, () => new Follower(server, 'c', first));
  await server.statsUntil('all follow', ({ lines }) => lines.open === followers.length);
  const [stopped] = (await page(server, 'stats')).workers.pids;
  // Straight to the stream: a connection to the server may be one that the hanging worker has.
  const stream = jetstream(await nats.client());
  const ids: number[] = [];
  const publish = async (): Promise<void> => {
    ids.push((await stream.publish('holdline.c', 'x')).seq);
  };
  process.kill(stopped!, 'SIGSTOP');
  onTestFinished(() => {
    if (isRunning(stopped!)) process.kill(stopped!, 'SIGKILL');
  });
  await publish();
  const others = await until('those of the other worker have it', async () => {
    const have = followers.filter((follower) => follower.all.includes(ids[0]!));
    return have.length > 0 && have;
  });
  expect(others.length).toBeLessThan(followers.length);
  while (isRunning(stopped!)) {
    await publish();
    await sleep(20);
  }
  await publish();
  for (const follower of followers) {
    await until('the last event', async () => follower.all.includes(ids.at(-1)!));
    expect([follower.all, follower.allGaps]).toEqual([ids, 0]);
    expect(follower.returns > 0).toBe(!others.includes(follower));
  }
  await until('another one serves', async () => {
    const { workers } = await page(server, 'stats');
    return workers.serving === 2 && workers.restarts === 1;
  });
  expect(server.logs.some(({ msg }) => msg === 'a worker hangs and is ended')).toBe(true);
}

// At once, on a NATS and a server each: a watchdog takes its time.
test('a stream that is deleted under two workers, and a worker that hangs: no line misses anything', async () => {
  await Promise.all([expectMadeAgain(), expectReplaced()]);
}, 120_000);
