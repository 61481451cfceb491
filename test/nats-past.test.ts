/** Reads of the past when NATS stops amid a pull: with a NATS and a clock of the test's own. */
import type { ConsumerConfig, JetStreamManager } from '@nats-io/jetstream';
import type { Msg, NatsConnection } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
import { NATS_PULL_SILENT_MS, NATS_READ_MS_MAX } from '../src/limits.js';
import { Past } from '../src/log/nats/past.js';
import { FakeClock } from './support/fake-clock.js';

const LAST_ID = 10;

/** A stream of messages 1 to LAST_ID, whose n-th consumer stops after `stopsAfter[n]` messages. */
function setUp(stopsAfter: readonly number[], { forgetsFrom = Infinity } = {}) {
  const clock = new FakeClock();
  const madeFrom: number[] = [];
  const ended: string[] = [];
  const places: number[] = [];
  let callback: (error: null, message: Msg) => void = () => {};
  const manager = {
    consumers: {
      add: async (_stream: string, { opt_start_seq: first = 1 }: Partial<ConsumerConfig>) => {
        madeFrom.push(first);
        places.push(first);
        return {
          name: `c${places.length - 1}`,
          num_pending: first < forgetsFrom ? LAST_ID - first + 1 : 0,
          delivered: { stream_seq: first - 1 },
        };
      },
    },
  } as unknown as JetStreamManager;
  const nats = {
    subscribe: (_inbox: string, options: { callback: typeof callback }) => {
      ({ callback } = options);
      return { unsubscribe: () => {} };
    },
    publish: (subject: string, data?: string) => {
      const consumer = Number(/c(\d+)$/.exec(subject)![1]);
      if (subject.includes('DELETE')) {
        ended.push(`c${consumer}`);
        return;
      }
      const { batch } = JSON.parse(data!) as { batch: number };
      const most = Math.min(batch, stopsAfter[consumer] ?? Infinity);
      for (let sent = 0; sent < most; sent++) callback(null, messageOf(places[consumer]!++));
    },
  } as unknown as NatsConnection;
  return { clock, past: new Past(nats, manager, 'S', clock), madeFrom, ended };
}

function messageOf(id: number): Msg {
  const pending = LAST_ID - id;
  return {
    subject: 'holdline.a',
    data: Buffer.from(String(id)),
    reply: `$JS.ACK.S.c.1.${id}.${id}.1700000000000000000.${pending}`,
    headers: undefined,
  } as unknown as Msg;
}

/** Resolves once the clock has run so far that the read is over. */
async function over<Found>(clock: FakeClock, reading: Promise<Found>): Promise<Found> {
  let isOver = false;
  const done = reading.finally(() => (isOver = true));
  done.catch(() => {});
  for (let step = 0; step < 1_000 && !isOver; step++) {
    await new Promise(setImmediate);
    clock.pass(NATS_PULL_SILENT_MS / 2);
    clock.runTimers();
  }
  return done;
}

async function idsOf(clock: FakeClock, past: Past): Promise<number[]> {
  const reading = await past.read('holdline.a', 0);
  const ids: number[] = [];
  for (;;) {
    const messages = await over(clock, reading.next(100, 0));
    if (messages.length === 0) break;
    ids.push(...messages.map(({ id }) => id));
  }
  reading.end();
  return ids;
}

const ALL = Array.from({ length: LAST_ID }, (_, index) => index + 1);

test('a consumer that stops amid a pull is left, and another goes on behind its last message', async () => {
  const { clock, past, madeFrom, ended } = setUp([3, 0, 4]);
  expect(await idsOf(clock, past)).toEqual(ALL);
  expect(madeFrom).toEqual([1, 4, 4, 8]);
  expect(ended).toEqual(['c0', 'c1', 'c2', 'c3']);
  expect(clock.nowMs()).toBeLessThan(10 * NATS_PULL_SILENT_MS);
});

test('what was counted and then forgotten is the end of the read', async () => {
  const { clock, past, madeFrom } = setUp([7], { forgetsFrom: 8 });
  expect(await idsOf(clock, past)).toEqual(ALL.slice(0, 7));
  expect(madeFrom).toEqual([1, 8]);
});

test('while messages come nothing is left', async () => {
  const { clock, past, madeFrom } = setUp([]);
  expect(await idsOf(clock, past)).toEqual(ALL);
  expect(madeFrom).toEqual([1]);
});

test('when none of them sends anything the read fails in time', async () => {
  const { clock, past } = setUp(Array.from({ length: 1_000 }, () => 0));
  const reading = await past.read('holdline.a', 0);
  await expect(over(clock, reading.next(100, 0))).rejects.toThrow('NATS does not answer a read');
  expect(clock.nowMs()).toBeLessThan(2 * NATS_READ_MS_MAX);
});
