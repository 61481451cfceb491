/**
 * Clients that poll in a loop while events are published at the worst moments: right behind an
 * answer, between two polls, at deadlines, in bursts. Nothing may be lost, come twice or out of
 * order. A seed replays the choices, not the timing: POLL_SEED=7 npx vitest run
 * test/poll-loop.wire.ts
 */
import { expect, onTestFinished, test } from 'vitest';
import { Poller } from './support/poll.js';
import { Random } from './support/random.js';
import { hostedForTest } from './support/hosted.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import { HttpClient, jsonOf } from './support/wire.js';

const EVENTS = 10_000;
const SEEDS = (process.env['POLL_SEED'] ?? '1,2,3').split(',').map(Number);
/**
 * How long a client may go on after the last publish; it has some thousand polls to make by then at
 * the most.
 */
const CATCH_UP_MS = 15_000;

/** Ways to poll: what is asked for, and what the next poll goes on from. */
const WAYS: readonly {
  readonly path: string;
  readonly limit: string;
  readonly by: 'header' | 'id';
}[] = [
  { path: '/a', limit: '', by: 'header' },
  { path: '/a', limit: '', by: 'id' },
  { path: '/b', limit: '&limit=1', by: 'header' },
  { path: '/b', limit: '&limit=7', by: 'id' },
  { path: '/c', limit: '&limit=100', by: 'header' },
  { path: '/c', limit: '&limit=3', by: 'id' },
  { path: '/a,b', limit: '&limit=20', by: 'header' },
  { path: '/b,c', limit: '', by: 'id' },
  { path: '/a,b,c', limit: '&limit=1000', by: 'header' },
];

/** Publishes numbered events until there were enough, over connections that are kept. */
class Publisher {
  /** Ids by channel, and the data that belongs to each. */
  readonly published = new Map<number, { channel: string; data: string }>();
  readonly #server: ServerUnderTest;
  readonly #idle: HttpClient[] = [];
  readonly #pending = new Set<Promise<void>>();
  #begun = 0;

  constructor(server: ServerUnderTest) {
    this.#server = server;
  }

  get isDone(): boolean {
    return this.#begun === EVENTS && this.#pending.size === 0;
  }

  get left(): number {
    return EVENTS - this.#begun;
  }

  /**
   * Publishes up to `count` events, one alone or several as a batch; resolves when the server has
   * answered.
   */
  publish(channel: string, count = 1): Promise<void> {
    const events = Array.from({ length: Math.min(count, this.left) }, () => ({
      data: `${channel}${++this.#begun}`,
    }));
    if (events.length === 0) return Promise.resolve();
    const sent = this.#send(channel, events).finally(() => this.#pending.delete(sent));
    this.#pending.add(sent);
    return sent;
  }

  async settle(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }

  async #send(channel: string, events: readonly { data: string }[]): Promise<void> {
    const client = this.#idle.pop() ?? (await HttpClient.open(this.#server.port));
    const isBatch = events.length > 1;
    const answer = await client.request('POST', `/${channel}`, {
      headers: { 'Content-Type': isBatch ? 'application/x-ndjson' : 'text/plain' },
      body: isBatch ? events.map((event) => JSON.stringify(event)).join('\n') : events[0]!.data,
    });
    if (answer.status !== 200) throw new Error(`publish: ${answer.status} ${answer.text}`);
    const { id, first = id! } = jsonOf(answer) as { id?: number; first?: number };
    for (const [i, { data }] of events.entries()) this.published.set(first + i, { channel, data });
    this.#idle.push(client);
  }
}

/**
 * Polls until it has everything that is published to its channels; gives what it saw, an event a
 * line.
 */
async function pollLoop(
  server: ServerUnderTest,
  publisher: Publisher,
  mode: (typeof WAYS)[number],
  random: Random,
): Promise<readonly string[]> {
  const channels = mode.path.slice(1).split(',');
  const poller = await Poller.open(server);
  const seen: string[] = [];
  const expected = (): number =>
    [...publisher.published.values()].filter((event) => channels.includes(event.channel)).length;
  let position = 0;
  let total: number | undefined;
  let deadlineMs = Infinity;
  while (total === undefined || seen.length < total) {
    if (total === undefined && publisher.isDone) {
      total = expected();
      deadlineMs = performance.now() + CATCH_UP_MS;
      continue;
    }
    if (performance.now() > deadlineMs) break;
    const waitMs = random.chance(0.2) ? 0 : random.between(1, 300);
    if (random.chance(0.2)) {
      const dueMs = waitMs * (0.88 + 0.14 * random.next());
      setTimeout(() => void publisher.publish(random.pick(channels)), dueMs);
    }
    const answer = await poller.poll(
      `${mode.path}?since=${position}&wait=${waitMs / 1000}${mode.limit}`,
    );
    for (const { id, gap, data, channel } of answer.events) {
      if (gap !== undefined || id <= position)
        throw new Error(`id ${id}, gap ${JSON.stringify(gap)} after ${position}`);
      seen.push(`${id} ${channel} ${String(data)}`);
    }
    if (answer.position < position)
      throw new Error(`position ${answer.position} after ${position}`);
    position =
      mode.by === 'header' || answer.status === 204 ? answer.position : answer.events.at(-1)!.id;
    if (random.chance(answer.status === 204 ? 0.6 : 0.1)) {
      const sent = publisher.publish(random.pick(channels), random.chance(0.1) ? 5 : 1);
      // The next poll leaves beside it, or after it.
      if (random.chance(0.5)) await sent;
    }
  }
  return seen;
}

/**
 * What nobody's poll sets off: bursts, streams of single events, several channels at once, and
 * silence for the 204s.
 */
async function publishAll(
  server: ServerUnderTest,
  publisher: Publisher,
  random: Random,
): Promise<void> {
  const waited = async (): Promise<number> => (await server.stats()).counters.polls_waited_total;
  while (publisher.left > 0) {
    const channel = random.pick(['a', 'b', 'c']);
    switch (random.below(6)) {
      case 0:
        await publisher.publish(channel, random.between(50, 500));
        break;
      case 1:
        for (let count = random.between(1, 40); count > 0; count--)
          await publisher.publish(channel);
        break;
      case 2:
        await Promise.all(
          Array.from({ length: 12 }, () => publisher.publish(random.pick(['a', 'b', 'c']))),
        );
        break;
      case 3:
        // More than enters in a turn of the loop: what comes behind it has its id before it can be
        // polled.
        await Promise.all([
          publisher.publish(channel, 1200),
          ...Array.from({ length: 12 }, () => publisher.publish(random.pick(['a', 'b', 'c']))),
        ]);
        break;
      default: {
        // On a slow machine for longer: until each client may have waited.
        const before = await waited();
        await new Promise((resolve) => setTimeout(resolve, random.between(1, 350)));
        const isLong = async (): Promise<boolean> =>
          publisher.left === 0 || (await waited()) >= before + WAYS.length;
        await expect.poll(isLong).toBe(true);
      }
    }
  }
  await publisher.settle();
}

test.each(SEEDS)(
  `seed %i: ${WAYS.length} clients in a loop get each of ${EVENTS} events once, in order, without a gap`,
  async (seed) => {
    const random = new Random(seed);
    const server = await hostedForTest({ 'replay-events': 2 * EVENTS, 'replay-bytes': '64MiB' });
    const publisher = new Publisher(server);
    onTestFinished(() => void publisher.settle().catch(() => undefined));
    const loops = WAYS.map((mode) =>
      pollLoop(server, publisher, mode, new Random(random.below(2 ** 31))),
    );
    await Promise.all([publishAll(server, publisher, random), ...loops]);
    const all = [...publisher.published.entries()].sort(([a], [b]) => a - b);
    expect(all.map(([id]) => id)).toEqual(Array.from({ length: EVENTS }, (_, i) => i + 1));
    for (const [i, loop] of loops.entries()) {
      const channels = WAYS[i]!.path.slice(1).split(',');
      const owed = all
        .filter(([, event]) => channels.includes(event.channel))
        .map(([id, { channel, data }]) => `${id} ${channel} ${data}`);
      expect(await loop, `seed ${seed}, client ${JSON.stringify(WAYS[i])}`).toEqual(owed);
    }
    const { counters, lines } = await server.stats();
    expect(counters.polls_empty_total, '204s in between').toBeGreaterThan(20);
    expect(counters.polls_waited_total, 'polls that waited').toBeGreaterThan(100);
    expect(counters.gaps_total).toBe(0);
    expect(lines).toMatchObject({ open: 0, byTransport: { poll: 0 } });
  },
  60_000,
);
