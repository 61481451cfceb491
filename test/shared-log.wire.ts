/** Two servers on one NATS: what is done on one counts on the other, and both outlast it. */
import type { Msg } from '@nats-io/transport-node';
import { SignJWT } from 'jose';
import { describe, expect, test } from 'vitest';
import { SseLine } from './support/line.js';
import { NatsServer } from './support/nats.js';
import { serverForTest, type Flags, type TestServer } from './support/server.js';
import { until } from './support/until.js';
import { codeOf, jsonOf } from './support/wire.js';

const SECRET = 'a-secret-of-thirty-two-bytes-or-more';

async function twoServers(flags: Flags = {}): Promise<[NatsServer, TestServer, TestServer]> {
  const nats = await NatsServer.start();
  const all: Flags = { log: `nats://${nats.url}`, 'ops-key': 'ops', heartbeat: '200ms', ...flags };
  return [nats, await serverForTest(all), await serverForTest(all)];
}

async function bearer(user: string, ageS = 10): Promise<{ headers: Record<string, string> }> {
  const iat = Math.floor(Date.now() / 1000) - ageS;
  const token = await new SignJWT({
    sub: user,
    iat,
    exp: iat + 600,
    holdline: { subscribe: ['**'] },
  })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(new TextEncoder().encode(SECRET));
  return { headers: { Authorization: `Bearer ${token}` } };
}

describe('on two servers', () => {
  test('a reader that moves misses nothing, a repeated publish is published once, a deletion holds', async () => {
    const [, one, other] = await twoServers();
    const first = await one.publish('a', 'first');
    const headers = { 'Idempotency-Key': 'order-7', 'Content-Type': 'text/plain' };
    const second = await one.post('a', 'second', { headers });
    const repeated = await other.post('a', 'second', { headers });
    expect([repeated.status, jsonOf(repeated)]).toEqual([200, jsonOf(second)]);
    const moved = { headers: { 'Last-Event-ID': String(first) } };
    const line = await SseLine.open(other.port, '/a', moved);
    await line.waitForEvents(1);
    const third = await one.publish('a', 'third');
    await line.waitForId(third);
    expect([line.ids.length, line.gaps]).toEqual([2, []]);
    line.close();
    await one.deleteChannel('a');
    await expect
      .poll(async () => (await other.request('GET', '/a?since=0&limit=9&wait=0')).status)
      .toBe(204);
  });

  test('the same requests to both at once are published and counted once', async () => {
    const [, ...servers] = await twoServers();
    const keys = Array.from({ length: 40 }, (_, index) => `order-${index}`);
    await Promise.all(
      keys.map(async (key) => {
        const options = { headers: { 'Idempotency-Key': key } };
        const answers = await Promise.all(servers.map((one) => one.post('a', key, options)));
        expect(answers.map(({ status }) => status)).toEqual([200, 200]);
        expect(jsonOf(answers[0]!)).toEqual(jsonOf(answers[1]!));
      }),
    );
    const all = await Promise.all(servers.map((server) => server.stats()));
    const sumOf = (name: 'events_accepted_total' | 'idempotent_repeats_total'): number =>
      all.reduce((sum, { counters }) => sum + counters[name], 0);
    expect([sumOf('events_accepted_total'), sumOf('idempotent_repeats_total')]).toEqual([40, 40]);
  });

  test('a channel that was deleted is deleted to a server that starts later', async () => {
    const [nats, one, other] = await twoServers();
    const before = await one.publish('a', 'first');
    await one.deleteChannel('a');
    const third = await serverForTest({ log: `nats://${nats.url}` });
    for (const server of [one, other, third]) {
      const headers = { Accept: 'text/event-stream', 'Last-Event-ID': String(before) };
      await expect
        .poll(async () => (await server.request('HEAD', '/a', { headers })).status)
        .toBe(204);
      expect((await server.request('GET', '/a', { headers })).status).toBe(204);
    }
    const again = await other.publish('a', 'again');
    const line = await SseLine.open(third.port, '/a?since=0');
    await line.waitForId(again);
    line.close();
  });

  test('a reader of a quiet channel is told of no gap when retention takes what others had', async () => {
    const [, one, other] = await twoServers({ 'log-events': 20, 'replay-events': 1 });
    const first = await one.publish('quiet', 'first');
    const noise = Array.from({ length: 20 }, (_, i) => ({ data: i }));
    await one.publishBatch('noise', noise);
    await one.publish('quiet', 'second');
    const third = await one.publish('quiet', 'third');
    const { last } = await one.publishBatch('noise', noise.slice(0, 10));
    for (const server of [one, other]) {
      // `first` is not kept any more, and `second` in no ring.
      await server.statsUntil('it has all', ({ head }) => head === last);
      const line = await SseLine.open(server.port, `/quiet?since=${first}`);
      await line.waitForId(third);
      expect([line.ids.length, line.gaps]).toEqual([2, []]);
      line.close();
      const noisy = await SseLine.open(server.port, `/noise?since=${first}`);
      await noisy.waitForId(last);
      expect([noisy.ids[0], noisy.gaps.length]).toEqual([last - 9 - 2 - 8, 1]);
      noisy.close();
    }
  });

  test('a user who is revoked on one is out on both, and on a third that starts later', async () => {
    const [nats, one, other] = await twoServers({ 'jwt-secret': SECRET });
    const reader = await bearer('ada');
    const line = await SseLine.open(other.port, '/a', reader);
    const path = '/-/connections?user=ada';
    const revoked = await one.request('DELETE', path, { headers: one.opsHeaders });
    expect([revoked.status, jsonOf(revoked)]).toEqual([200, { ended: 0, user: 'ada' }]);
    await line.waitFor('the end', () => line.endCode === 'revoked');
    const third = await serverForTest({ log: `nats://${nats.url}`, 'jwt-secret': SECRET });
    for (const server of [one, other, third])
      expect(codeOf(await server.request('GET', '/a?wait=0', reader))).toBe('HOLDLINE_REVOKED');
  });

  test('a revocation that comes again ends no line that was opened with a newer token', async () => {
    const [nats, one, other] = await twoServers({ 'jwt-secret': SECRET });
    const client = await nats.client();
    const rows: Msg[] = [];
    client.subscribe('_holdline_rows.>', { callback: (_error, row) => void rows.push(row) });
    await client.flush();
    const revoke = async (user: string): Promise<void> => {
      const path = `/-/connections?user=${user}`;
      const { status } = await one.request('DELETE', path, { headers: one.opsHeaders });
      expect(status).toBe(200);
    };
    const old = await SseLine.open(other.port, '/a', await bearer('ada'));
    await revoke('ada');
    await old.waitFor('the end', () => old.endCode === 'revoked');
    // A token of the second of the revocation is refused, too: this one is of the next.
    const line = await SseLine.open(other.port, '/a', await bearer('ada', -1));
    const bob = await SseLine.open(other.port, '/a', await bearer('bob'));
    const row = await until('the row', () => rows[0]);
    client.publish(row.subject, row.data);
    await client.flush();
    await revoke('bob');
    await bob.waitFor('the end', () => bob.endCode === 'revoked');
    expect(line.endCode).toBeUndefined();
    line.close();
  });

  test('while NATS is away lines are held, publishes are refused quickly, and all goes on', async () => {
    const [nats, one, other] = await twoServers();
    const first = await one.publish('a', 'first');
    const line = await SseLine.open(other.port, '/a?since=0');
    await line.waitForId(first);
    await nats.kill();
    await one.statsUntil('the log is down', ({ log: { up } }) => !up);
    const beganMs = performance.now();
    const refused = await one.post('a', 'refused');
    expect([refused.status, codeOf(refused)]).toEqual([503, 'HOLDLINE_LOG_UNAVAILABLE']);
    // A connection that is back within a second was not lost (NATS_SILENT_MS_MAX); one on which
    // nobody answers would be waited for five (NATS_ACK_MS_MAX).
    expect(performance.now() - beganMs).toBeLessThan(4_000);
    expect(jsonOf(await one.request('GET', '/-/ready'))).toEqual({
      status: 'degraded',
      log: 'down',
      problem: 'NATS cannot be reached',
    });
    const { heartbeats_total: before } = (await other.stats()).counters;
    await other.statsUntil('heartbeats', ({ counters }) => counters.heartbeats_total > before);
    await nats.startAgain();
    for (const server of [one, other])
      await server.statsUntil('the log is up', ({ log: { up } }) => up, 10_000);
    const last = await one.publish('a', 'last');
    await line.waitForId(last);
    expect([line.ids, line.gaps, line.closed]).toEqual([[first, last], [], false]);
    line.close();
  });
});
