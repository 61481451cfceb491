/** The tail of the stream where ids are missing: what it asks NATS, and what it tells as lost. */
import type { JetStreamManager } from '@nats-io/jetstream';
import type { Msg, NatsConnection } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
import { NATS_HEARTBEAT_MS, NATS_HEARTBEATS_MISSED_MAX } from '../src/limits.js';
import { Tail } from '../src/log/nats/tail.js';
import { FakeClock } from './support/fake-clock.js';

/** A tail behind id 0 that is given messages, of a stream whose oldest id is `oldestId`. */
function tailOf(oldestId: () => number) {
  const clock = new FakeClock();
  let give: (error: null, message: Msg) => void = () => {};
  let place = 0;
  const asked = { looks: 0, consumers: 0 };
  const got: (number | string)[] = [];
  const manager = {
    streams: {
      info: async () => {
        asked.looks++;
        return { state: { first_seq: oldestId(), last_seq: 1e6 }, cluster: undefined };
      },
    },
    consumers: {
      add: async () => {
        asked.consumers++;
        return { name: 'c', delivered: { stream_seq: 0 } };
      },
    },
  } as unknown as JetStreamManager;
  const nats = {
    subscribe: (_inbox: string, { callback }: { callback: typeof give }) => {
      give = callback;
      return { unsubscribe: () => {} };
    },
    publish: () => {},
  } as unknown as NatsConnection;
  const tail = new Tail(nats, manager, 'S', 0, clock, {
    isConnected: () => true,
    arrived: (messages) => void got.push(...messages.map(({ id }) => id)),
    lost: (throughId) => void got.push(`lost through ${throughId}`),
    streamMissing: async () => {},
    streamIsBehind: () => {},
  });
  const arrive = (ids: readonly number[]): void => {
    for (const id of ids) {
      const reply = `$JS.ACK.S.c.1.${id}.${++place}.0.0`;
      give(null, { subject: 'h.c', data: new Uint8Array(1), reply } as unknown as Msg);
    }
  };
  /** Until everything that has arrived was handed over. */
  const settle = async (): Promise<void> => {
    do await clock.turn(1);
    while (!clock.isIdle);
  };
  return { clock, tail, arrive, settle, got, asked };
}

test('a thousand holes between messages that are here take one look, and are no loss', async () => {
  const { tail, arrive, settle, got, asked } = tailOf(() => 1);
  await tail.restart();
  asked.looks = 0;
  const odd = Array.from({ length: 1_000 }, (_, i) => 2 * i + 1);
  arrive(odd);
  await settle();
  expect(got).toEqual(odd);
  expect(asked.looks).toBe(1);
});

test('what comes after a look may have been forgotten since: there is another look', async () => {
  let oldestId = 1;
  const { tail, arrive, settle, got, asked } = tailOf(() => oldestId);
  await tail.restart();
  asked.looks = 0;
  arrive([1, 3]);
  await settle();
  oldestId = 9;
  arrive([10, 12]);
  await settle();
  expect(got).toEqual([1, 3, 'lost through 8', 10, 12]);
  expect(asked.looks).toBe(2);
});

test('holes below the oldest id are lost, those above it were never anything', async () => {
  const { tail, arrive, settle, got } = tailOf(() => 6);
  await tail.restart();
  arrive([1, 4, 6, 9]);
  await settle();
  expect(got).toEqual([1, 'lost through 3', 4, 'lost through 5', 6, 9]);
});

test('a loop that was held makes no consumer silent; one that says nothing after that is made again', async () => {
  const { clock, tail, settle, asked } = tailOf(() => 1);
  await tail.restart();
  await settle();
  clock.pass(60_000);
  // What came meanwhile is read after the timers.
  clock.runTimers();
  expect([tail.isLive, asked.consumers]).toEqual([true, 1]);
  await clock.run((NATS_HEARTBEATS_MISSED_MAX + 1) * NATS_HEARTBEAT_MS);
  expect([tail.isLive, asked.consumers]).toEqual([true, 2]);
  tail.close();
});

test('a consumer that NATS never makes is given up at its time, in the words of NATS', async () => {
  const clock = new FakeClock();
  const manager = {
    consumers: { add: () => Promise.reject(new Error('maximum consumers limit reached')) },
  } as unknown as JetStreamManager;
  const nats = { subscribe: () => ({ unsubscribe: () => {} }) } as unknown as NatsConnection;
  const tail = new Tail(nats, manager, 'S', 0, clock, {
    isConnected: () => true,
    arrived: () => {},
    lost: () => {},
    streamMissing: async () => {},
    streamIsBehind: () => {},
  });
  let outcome: unknown;
  void tail.restart(clock.nowMs() + 1_000).catch((error: unknown) => (outcome = error));
  let passed = 0;
  for (; passed < 3_000 && outcome === undefined; passed += 50) await clock.turn(50);
  expect(String(outcome)).toContain('maximum consumers limit reached');
  expect(passed).toBeGreaterThanOrEqual(1_000);
  tail.close();
});
