/** Polls in the hub, turn by turn: what is found, what waits, and that no position that a poll is told skips an event. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { NewEvent } from '../src/core/event.js';
import type { Way } from '../src/core/feed.js';
import { NDJSON } from '../src/core/frame.js';
import { Hub } from '../src/core/hub.js';
import { LIVE, type Position } from '../src/core/position.js';
import { makeCounters } from '../src/counters.js';
import { MemoryLog } from '../src/log/memory.js';
import { FakeClock } from './support/fake-clock.js';

const WAIT_MS = 10_000;

/** A poll that waits, and what it was answered. */
interface Waiting {
  handle: number;
  answer: { readonly body: Uint8Array | undefined; readonly position: number } | undefined;
}

/** A way that only takes note: one for each limit. */
function wayOf(limit: number): Way<Waiting> {
  return {
    transport: 'poll',
    dialect: NDJSON,
    limit,
    port: {
      kind: 'poll',
      answer: (socket, body, position) => {
        if (socket.answer !== undefined) throw new Error('answered twice');
        socket.answer = { body, position };
      },
    },
  };
}

const SINGLE = wayOf(0);

let clock: FakeClock;
let counters: ReturnType<typeof makeCounters>;
let hub: Hub<Waiting>;
beforeEach(() => {
  clock = new FakeClock();
  counters = makeCounters();
  hub = new Hub<Waiting>(new MemoryLog(clock, counters, 1), clock, counters, {
    replay: { events: 10_000, bytes: 2 ** 24 },
    replayTotalBytes: 2 ** 28,
    heartbeatMs: 1_000_000,
    flushIntervalMs: 0,
    slow: 'gap',
  });
});

const after = (id: number): Position => ({ kind: 'after', id });

function publish(channel: string, count = 1): Promise<{ readonly ids: readonly number[] }> {
  const event: NewEvent = { channel, type: undefined, data: Buffer.from('x'), json: false };
  return hub.publish(
    channel,
    Array.from({ length: count }, () => event),
  );
}

async function settle(): Promise<void> {
  do await clock.turn();
  while (!clock.isIdle);
}

/** Waits from where a poll at this position finds nothing. */
function wait(path: string, position: Position, way = SINGLE): Waiting {
  const names = path.split(',');
  const { answer, start } = hub.poll(names, position, way.limit ?? 0);
  expect(answer, 'nothing is there yet').toBeUndefined();
  const waiting: Waiting = { handle: -1, answer: undefined };
  waiting.handle = hub.wait(waiting, names, way, start, WAIT_MS);
  return waiting;
}

/** Ids in an answer's body. */
function idsOf(body: Uint8Array | undefined): number[] {
  if (body === undefined) return [];
  const value = JSON.parse(Buffer.from(body).toString()) as { id: number } | { id: number }[];
  return [value].flat().map(({ id }) => id);
}

/** Polls until nothing more comes, without waiting. */
function rest(path: string, from: number): number[] {
  const ids: number[] = [];
  for (let position = from; ;) {
    const { answer } = hub.poll(path.split(','), after(position), 100);
    if (answer === undefined) return ids;
    ids.push(...idsOf(answer.body));
    position = answer.lastId;
  }
}

describe('events on their way', () => {
  test('a batch larger than a turn holds back what came behind it; an empty answer meanwhile does not skip it', async () => {
    await publish('b');
    await settle();
    const big = publish('a', 3000);
    const behind = publish('b');
    const { answer, emptyPosition } = hub.poll(['b'], LIVE, 0);
    expect(answer).toBeUndefined();
    await settle();
    const [id] = (await behind).ids;
    expect((await big).ids.at(-1)).toBeLessThan(id!);
    expect(rest('b', emptyPosition)).toEqual([id]);
  });

  test('one that begins to wait meanwhile is answered with it', async () => {
    const big = publish('a', 3000);
    const behind = publish('b');
    const waiters = [wait('b', LIVE), wait('b', after(0)), wait('b,c', LIVE)];
    await settle();
    await big;
    const { ids } = await behind;
    for (const waiting of waiters) expect(idsOf(waiting.answer?.body)).toEqual(ids);
  });

  test('one that is answered in the middle of a batch goes on where its answer ends', async () => {
    const waiting = wait('a', LIVE, wayOf(7));
    const all = publish('a', 3000);
    await settle();
    const { ids } = await all;
    expect(idsOf(waiting.answer!.body)).toEqual(ids.slice(0, 7));
    expect([...idsOf(waiting.answer!.body), ...rest('a', waiting.answer!.position)]).toEqual(ids);
  });
});

describe('the end of the wait', () => {
  test('it is answered empty, once, in its time, with a position behind everything that has entered', async () => {
    const waiters = Array.from({ length: 200 }, () => wait('a', LIVE));
    await publish('other', 5);
    await clock.run(0.9 * WAIT_MS - 1);
    expect(waiters.filter(({ answer }) => answer !== undefined)).toEqual([]);
    await clock.run(0.05 * WAIT_MS);
    const early = waiters.filter(({ answer }) => answer !== undefined).length;
    expect(early).toBeGreaterThan(20);
    expect(early).toBeLessThan(180);
    await clock.run(0.05 * WAIT_MS + 25);
    expect(waiters.map(({ answer }) => answer)).toEqual(waiters.map(() => ({ body: undefined, position: 5 })));
    expect(hub.lines.open).toBe(0);
    expect(counters).toMatchObject({ polls_waited_total: 200, polls_empty_total: 200, polls_answered_total: 0 });
  });

  test('an event in the same turn is in the answer', async () => {
    const waiting = wait('a', LIVE);
    clock.pass(WAIT_MS + 100);
    await publish('a');
    clock.runTimers();
    expect(idsOf(waiting.answer?.body)).toEqual([1]);
    await settle();
    expect(hub.lines.open).toBe(0);
  });

  test('one that has been answered, or has gone, is not answered again when its time would be over', async () => {
    const answered = wait('a', LIVE);
    await publish('a');
    await settle();
    expect(idsOf(answered.answer?.body)).toEqual([1]);
    const gone = wait('a', LIVE);
    hub.left(gone.handle, gone);
    expect(hub.lines.open).toBe(0);
    await clock.run(WAIT_MS + 100);
    expect(gone.answer).toBeUndefined();
    expect(clock.timerCount, 'only the heartbeat’s is left').toBe(1);
  });
});

describe('those who wait together', () => {
  test('are given one and the same body', async () => {
    const waiters = Array.from({ length: 100 }, () => wait('a', LIVE));
    await publish('a', 3);
    await settle();
    const bodies = new Set(waiters.map(({ answer }) => answer?.body));
    expect(bodies.size).toBe(1);
    expect(idsOf([...bodies][0])).toEqual([1]);
    expect(counters).toMatchObject({ polls_answered_total: 100, deliveries_total: 100 });
  });

  test('and those at other positions, limits and channels are given theirs', async () => {
    await publish('a');
    await settle();
    const waiters = [
      wait('a', after(1)),
      wait('a', LIVE),
      wait('a', LIVE, wayOf(2)),
      wait('a,b', LIVE, wayOf(5)),
      wait('b', LIVE),
    ];
    await publish('a', 3);
    await settle();
    expect(waiters.map(({ answer }) => idsOf(answer?.body))).toEqual([[2], [2], [2, 3], [2, 3, 4], []]);
    expect(hub.lines.open).toBe(1);
  });
});

describe('a deletion', () => {
  test('answers those who wait empty; what is published in the same turn comes after the position they are told', async () => {
    const waiters = Array.from({ length: 300 }, () => wait('a', LIVE));
    const [deletion, next] = await Promise.all([hub.deleteChannel('a'), publish('a')]);
    await settle();
    expect(deletion.ids[0]).toBe(1);
    for (const { answer } of waiters) {
      expect(answer?.body).toBeUndefined();
      expect(rest('a', answer!.position)).toEqual(next.ids);
    }
    expect(hub.lines.open).toBe(0);
  });

  test('lets those on several channels wait on, and what comes is no gap', async () => {
    await publish('a', 3);
    await settle();
    const waiting = wait('a,b', LIVE);
    await hub.deleteChannel('a');
    await settle();
    expect(waiting.answer).toBeUndefined();
    await publish('a');
    await settle();
    expect(Buffer.from(waiting.answer!.body!).toString()).toBe('{"id":5,"channel":"a","data":"x"}');
  });
});
