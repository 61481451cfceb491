/**
 * A JetStream cluster of three that is divided: a node at the server that is alone, another at the
 * two that go on. What is alone takes nothing, tells nothing false, and has everything when the
 * cluster is whole again. With NATS_CLUSTER=long, since it waits for elections.
 */
import { jetstreamManager } from '@nats-io/jetstream';
import { expect, onTestFinished, test } from 'vitest';
import { SseLine } from './support/line.js';
import { DivisibleCluster, type NatsServer } from './support/nats.js';
import { serverForTest, type TestServer } from './support/server.js';
import { codeOf, jsonOf } from './support/wire.js';
import { until } from './support/until.js';

/** As long as an election of NATS takes at the most, and what follows it. */
const ELECTION_MS = 30_000;

/** Has the stream led by this server, or not led by it. */
async function lead(server: NatsServer, leads: boolean): Promise<void> {
  const nats = await server.client();
  const manager = await jetstreamManager(nats, { checkAPI: false });
  await until(
    `${server.name} ${leads ? 'leads' : 'follows'}`,
    async () => {
      const { cluster } = await manager.streams.info('HOLDLINE');
      if ((cluster?.leader === server.name) === leads) return true;
      await nats.request('$JS.API.STREAM.LEADER.STEPDOWN.HOLDLINE', '');
      return false;
    },
    ELECTION_MS,
  );
}

const isDegraded = async (server: TestServer): Promise<boolean> =>
  (jsonOf(await server.request('GET', '/-/ready')) as { status: string }).status === 'degraded';

/** A line of a reader that has just been at another node, with an id of there. */
async function hop(server: TestServer, lastId: number): Promise<SseLine> {
  const line = await SseLine.open(server.port, '/a', {
    headers: { 'Last-Event-ID': String(lastId) },
  });
  onTestFinished(() => line.close());
  return line;
}

const isLong = process.env['NATS_CLUSTER'] === 'long';
const CASES = [
  ['leads the stream', true],
  ['follows', false],
] as const;

test.runIf(isLong).each(CASES)(
  'a server that %s is cut off with its node: nothing false is told, and nothing is missing',
  async (_name, leads) => {
    const cluster = await DivisibleCluster.start();
    const [alone, ...others] = cluster.servers as [NatsServer, NatsServer, NatsServer];
    const node = (servers: readonly NatsServer[]): Promise<TestServer> =>
      serverForTest({
        log: `nats://${servers.map(({ url }) => url).join(',')}`,
        'nats-replicas': 3,
        'ops-key': 'ops',
        heartbeat: '200ms',
      });
    const [far, near] = await Promise.all([node([alone]), node(others)]);
    const ids: number[] = [];
    const texts: string[] = [];
    /** Until it is taken, always under the same key: it is there once. */
    const publish = (server: TestServer, text: string): Promise<unknown> =>
      until(
        text,
        async () => {
          const answer = await server.post('a', text, { headers: { 'Idempotency-Key': text } });
          if (answer.status !== 200) return false;
          ids.push((jsonOf(answer) as { id: number }).id);
          texts.push(text);
          return true;
        },
        ELECTION_MS,
      );
    await publish(near, 'first');
    const lines = await Promise.all(
      [far, near].map((server) => SseLine.open(server.port, '/a?since=0')),
    );
    for (const line of lines) onTestFinished(() => line.close());
    await Promise.all(lines.map((line) => line.waitForId(ids[0]!)));
    await lead(alone, leads);

    cluster.part(alone);
    const refusals = new Set<string>();
    const hoppers: SseLine[] = [];
    for (let at = 0; at < 3; at++) {
      await publish(near, `near ${at}`);
      const answer = await far.post('a', 'far', { headers: { 'Idempotency-Key': 'far' } });
      refusals.add(codeOf(answer));
      hoppers.push(await hop(far, ids.at(-1)!));
    }
    await until('the node that is alone says so', () => isDegraded(far));
    for (const code of refusals)
      expect(['HOLDLINE_LOG_UNAVAILABLE', 'HOLDLINE_OUTCOME_UNKNOWN']).toContain(code);
    await until('the other node goes on', async () => !(await isDegraded(near)));
    const [held, other] = lines as [SseLine, SseLine];
    await other.waitForId(ids.at(-1)!);
    expect([held.ids, held.gaps, held.closed]).toEqual([[ids[0]], [], false]);

    cluster.heal();
    await publish(far, 'far');
    await publish(near, 'last');
    for (const line of lines) await line.waitForId(ids.at(-1)!, ELECTION_MS);
    const back = await hop(far, ids[1]!);
    await back.waitForId(ids.at(-1)!);
    // Those that were held, or told to come again.
    for (const hopper of hoppers)
      await until('it has all', () => hopper.closed || hopper.lastId >= ids.at(-1)!);
    for (const line of lines) {
      expect([line.ids, line.gaps, line.closed]).toEqual([ids, [], false]);
      expect(line.events.map(({ data }) => data)).toEqual(texts);
    }
    expect([back.ids, back.gaps]).toEqual([ids.slice(2), []]);
    for (const [at, hopper] of hoppers.entries()) {
      const missed = ids.slice(at + 2);
      expect([hopper.ids, hopper.gaps]).toEqual([hopper.closed ? [] : missed, []]);
    }
    await until('it is ready', async () => !(await isDegraded(far)));
  },
  120_000,
);
