/**
 * A JetStream cluster of three: with one server away all goes on; with two away publishes are
 * refused and lines are held; when they are back nothing is missing. With NATS_CLUSTER=long the
 * leader of the stream goes, too.
 */
import { jetstreamManager } from '@nats-io/jetstream';
import { expect, onTestFinished, test } from 'vitest';
import { NATS_SILENT_MS_MAX } from '../src/limits.js';
import { SseLine } from './support/line.js';
import { natsCluster, type NatsServer } from './support/nats.js';
import { serverForTest } from './support/server.js';
import { codeOf, jsonOf, type Answer } from './support/wire.js';
import { until } from './support/until.js';

/** The server that leads the stream, and the others. */
async function ledBy(cluster: readonly NatsServer[]): Promise<readonly NatsServer[]> {
  const manager = await jetstreamManager(await cluster[0]!.client());
  const { cluster: raft } = await manager.streams.info('HOLDLINE');
  const leader = cluster.find(({ name }) => name === raft!.leader)!;
  return [leader, ...cluster.filter((server) => server !== leader)];
}

/** How the servers go, of which the first leads the stream. */
const CASES: readonly (readonly [string, readonly number[]])[] = [
  // The leader of the stream stays, and goes on answering questions.
  ['two that follow', [1, 2]],
  ['the leader and one that follows', [0, 1]],
];
const isLong = process.env['NATS_CLUSTER'] === 'long';

test.each(isLong ? CASES : CASES.slice(0, 1))(
  '%s go: all goes on, then publishes are refused quickly; nothing is missing',
  async (_name, places) => {
    const cluster = await natsCluster(3);
    const server = await serverForTest({
      log: `nats://${cluster.map(({ url }) => url).join(',')}`,
      'nats-replicas': 3,
      'ops-key': 'ops',
      heartbeat: '200ms',
    });
    const ids = new Map<string, number>();
    /** Under a key of its own: it is there once, whatever was answered before. */
    const publish = async (text: string): Promise<Answer> => {
      const answer = await server.post('a', text, { headers: { 'Idempotency-Key': text } });
      if (answer.status === 200) ids.set(text, (jsonOf(answer) as { id: number }).id);
      return answer;
    };
    const insist = (text: string): Promise<unknown> =>
      until(text, async () => (await publish(text)).status === 200, 15_000);
    const isDegraded = async (): Promise<boolean> => {
      const answer = await server.request('GET', '/-/ready');
      expect(answer.status).toBe(200);
      return (jsonOf(answer) as { status: string }).status === 'degraded';
    };
    await insist('first');
    const line = await SseLine.open(server.port, '/a?since=0');
    onTestFinished(() => line.close());
    const leaderFirst = await ledBy(cluster);
    const [one, other] = places.map((place) => leaderFirst[place]!);
    await one!.kill();
    await insist('with two of three');
    await line.waitForId(ids.get('with two of three')!);
    await other!.kill();

    const refusals: string[] = [];
    let longestMs = 0;
    await until('it is known', async () => {
      const beganMs = performance.now();
      const answer = await publish('meanwhile');
      longestMs = Math.max(longestMs, performance.now() - beganMs);
      refusals.push(codeOf(answer));
      return (await isDegraded()) && refusals.at(-1) === 'HOLDLINE_LOG_UNAVAILABLE';
    });
    expect(longestMs).toBeLessThan(NATS_SILENT_MS_MAX + 500);
    const beganMs = performance.now();
    for (let i = 0; i < 20; i++) {
      refusals.push(codeOf(await publish('meanwhile')));
      expect(await isDegraded()).toBe(true);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(performance.now() - beganMs, 'at once').toBeLessThan(2_000);
    expect([...ids.keys()]).toEqual(['first', 'with two of three']);
    // Until the leader knows that it is alone, they are on their way.
    const unknown = refusals.filter((code) => code === 'HOLDLINE_OUTCOME_UNKNOWN').length;
    expect(unknown).toBeLessThanOrEqual(3);
    expect(new Set(refusals.slice(unknown))).toEqual(new Set(['HOLDLINE_LOG_UNAVAILABLE']));
    const { heartbeats_total: before } = (await server.stats()).counters;
    await server.statsUntil('heartbeats', ({ counters }) => counters.heartbeats_total > before);

    await Promise.all([one!.startAgain(), other!.startAgain()]);
    await insist('meanwhile');
    await insist('last');
    await line.waitForId(ids.get('last')!);
    expect([line.ids, line.gaps, line.closed]).toEqual([[...ids.values()], [], false]);
    await until('it is ready', async () => !(await isDegraded()));
  },
  60_000,
);
