/** When what NATS does not answer is given up: the publisher with a clock of the test's own. */
import type { Msg, NatsConnection } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
import { NATS_SILENT_MS_MAX } from '../src/limits.js';
import { Publisher } from '../src/log/nats/publisher.js';
import type { OutgoingMessage } from '../src/log/nats/record.js';
import { FakeClock } from './support/fake-clock.js';

const MESSAGE = { subject: 'holdline.a', data: Buffer.from('x') } as unknown as OutgoingMessage;

/** A NATS that answers when it is told to. */
function setUp() {
  const clock = new FakeClock();
  const replies: string[] = [];
  let callback: (error: null, message: Msg) => void = () => {};
  const nats = {
    subscribe: (_subject: string, options: { callback: typeof callback }) => {
      ({ callback } = options);
      return { unsubscribe: () => {} };
    },
    publish: (_subject: string, _data: Uint8Array, { reply }: { reply: string }) => {
      replies.push(reply);
    },
  } as unknown as NatsConnection;
  let silences = 0;
  const publisher = new Publisher(nats, clock, {
    isConnected: () => true,
    silent: () => silences++,
    nobody: () => {},
  });
  const answer = (seq: number): void => {
    const subject = replies.shift()!;
    callback(null, { subject, json: () => ({ seq }) } as unknown as Msg);
  };
  const passInSteps = (ms: number): void => {
    for (let passed = 0; passed < ms; passed += 50) {
      clock.pass(50);
      clock.runTimers();
    }
  };
  return { clock, publisher, answer, passInSteps, silences: () => silences };
}

test('a loop that was held is no silence of NATS: the answer that waits is read first', async () => {
  const { clock, publisher, answer, silences } = setUp();
  const published = publisher.publish([MESSAGE]);
  clock.pass(3 * NATS_SILENT_MS_MAX);
  clock.runTimers();
  answer(7);
  expect(await published).toEqual([{ id: 7, isRepeat: false }]);
  expect(silences()).toBe(0);
});

test('a NATS that is silent while the loop turns is given up in time, also after the loop was held', async () => {
  const { clock, publisher, passInSteps, silences } = setUp();
  const published = publisher.publish([MESSAGE]);
  published.catch(() => {});
  clock.pass(3 * NATS_SILENT_MS_MAX);
  clock.runTimers();
  passInSteps(NATS_SILENT_MS_MAX - 200);
  expect(silences()).toBe(0);
  passInSteps(400);
  expect(silences()).toBe(1);
  await expect(published).rejects.toMatchObject({ code: 'HOLDLINE_OUTCOME_UNKNOWN' });
});
