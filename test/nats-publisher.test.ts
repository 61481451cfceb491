/**
 * The publisher to NATS with a clock of the test's own: when what NATS does not answer is given up,
 * and in which order channels send.
 */
import type { Msg, NatsConnection } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
import { APPEND_WINDOW_BYTES_MIN, NATS_ACK_MS_MAX, NATS_SILENT_MS_MAX } from '../src/limits.js';
import { Publisher } from '../src/log/nats/publisher.js';
import type { OutgoingMessage } from '../src/log/nats/record.js';
import { FakeClock } from './support/fake-clock.js';

const message = (subject: string, text: string): OutgoingMessage =>
  ({ subject, data: Buffer.from(text) }) as unknown as OutgoingMessage;
const MESSAGE = message('holdline.a', 'x');

/** A NATS that answers when it is told to. */
function setUp() {
  const clock = new FakeClock();
  const replies: string[] = [];
  const sent: string[] = [];
  let callback: (error: null, message: Msg) => void = () => {};
  const nats = {
    subscribe: (_subject: string, options: { callback: typeof callback }) => {
      ({ callback } = options);
      return { unsubscribe: () => {} };
    },
    publish: (subject: string, data: Uint8Array, { reply }: { reply: string }) => {
      replies.push(reply);
      sent.push(`${subject} ${Buffer.from(data).toString('latin1', 0, 8)}`);
    },
  } as unknown as NatsConnection;
  let silences = 0;
  let isConnected = true;
  const publisher = new Publisher(nats, clock, {
    isConnected: () => isConnected,
    silent: () => silences++,
    nobody: () => {},
  });
  const answer = (seq: number): void => {
    const subject = replies.shift()!;
    callback(null, { subject, json: () => ({ seq }) } as unknown as Msg);
  };
  const say = (json: object, code?: number): void => {
    const headers = code === undefined ? undefined : { code };
    callback(null, { subject: replies.shift()!, headers, json: () => json } as unknown as Msg);
  };
  const lose = (): void => void replies.splice(0);
  const setConnected = (is: boolean): void => void (isConnected = is);
  const refuse = (): void => {
    const json = () => ({ error: { description: 'full' } });
    callback(null, { subject: replies.shift()!, json } as unknown as Msg);
  };
  const passInSteps = (ms: number): void => {
    for (let passed = 0; passed < ms; passed += 50) {
      clock.pass(50);
      clock.runTimers();
    }
  };
  const answerAll = (): void => {
    for (let seq = 1; replies.length > 0; seq++) answer(seq);
  };
  return {
    clock,
    publisher,
    answer,
    answerAll,
    say,
    refuse,
    lose,
    setConnected,
    passInSteps,
    sent,
    silences: () => silences,
  };
}

const IN_PROCESS = {
  error: { err_code: 10_158, description: 'duplicate message id is in process' },
};
const NO_ID = { seq: 0, duplicate: true };

test.each([
  ['in words', IN_PROCESS],
  ['with an id of 0', NO_ID],
])('a message that NATS has not decided on, %s, is asked for again', async (_how, answer) => {
  const { publisher, say, passInSteps, sent } = setUp();
  const published = publisher.publish([MESSAGE], 'a');
  say(answer);
  passInSteps(200);
  expect(sent).toHaveLength(2);
  say({ seq: 7, duplicate: true });
  expect(await published).toEqual([{ id: 7, isRepeat: true, isResent: true }]);
  expect(publisher.isIdle).toBe(true);
});

test('what stays undecided is not known, and no success', async () => {
  const { publisher, say, passInSteps } = setUp();
  const published = publisher.publish([MESSAGE], 'a');
  published.catch(() => {});
  for (let passed = 0; passed <= NATS_ACK_MS_MAX; passed += 200) {
    say(NO_ID);
    passInSteps(200);
  }
  await expect(published).rejects.toMatchObject({ code: 'HOLDLINE_OUTCOME_UNKNOWN' });
});

test('what was sent again may be there: nobody there and refusals say nothing of the first time', async () => {
  const { publisher, say, refuse, passInSteps, sent } = setUp();
  const [kept, refused] = ['a', 'b'].map((channel) => publisher.publish([MESSAGE], channel));
  refused!.catch(() => {});
  say({}, 503);
  await expect(kept).rejects.toMatchObject({ code: 'HOLDLINE_LOG_UNAVAILABLE' });
  const again = publisher.publish([MESSAGE], 'a');
  publisher.resend();
  expect(sent).toHaveLength(5);
  say({}, 503);
  say({}, 503);
  passInSteps(200);
  expect(sent).toHaveLength(7);
  refuse();
  say({ seq: 9, duplicate: true });
  void refused;
  await expect(refused).rejects.toMatchObject({ code: 'HOLDLINE_OUTCOME_UNKNOWN' });
  expect(await again).toMatchObject([{ id: 9 }]);
});

test('a loop that was held is no silence of NATS: the answer that waits is read first', async () => {
  const { clock, publisher, answer, silences } = setUp();
  const published = publisher.publish([MESSAGE], 'a');
  clock.pass(3 * NATS_SILENT_MS_MAX);
  clock.runTimers();
  answer(7);
  expect(await published).toMatchObject([{ id: 7, isRepeat: false }]);
  expect(silences()).toBe(0);
});

test('a pause of the process gives up none of many messages: each has its time for an answer again', async () => {
  const { clock, publisher, passInSteps, answer } = setUp();
  const published = ['a', 'b', 'c'].map((channel) => publisher.publish([MESSAGE], channel));
  clock.pass(2 * NATS_ACK_MS_MAX);
  clock.runTimers();
  for (const [index, one] of published.entries()) {
    passInSteps(NATS_SILENT_MS_MAX / 2);
    answer(index);
    expect(await one).toMatchObject([{ id: index }]);
  }
});

test('a NATS that is silent while the loop turns is given up in time, also after the loop was held', async () => {
  const { clock, publisher, passInSteps, silences } = setUp();
  const published = publisher.publish([MESSAGE], 'a');
  published.catch(() => {});
  clock.pass(3 * NATS_SILENT_MS_MAX);
  clock.runTimers();
  passInSteps(NATS_SILENT_MS_MAX - 200);
  expect(silences()).toBe(0);
  passInSteps(400);
  expect(silences()).toBe(1);
  await expect(published).rejects.toMatchObject({ code: 'HOLDLINE_OUTCOME_UNKNOWN' });
});

/** Messages `0 …`, `1 …` and so on of 1 KiB. */
const batch = (subject: string, count: number): OutgoingMessage[] =>
  Array.from({ length: count }, (_, index) => message(subject, `${index}`.padEnd(1_024)));

test('of a large batch a part is on its way at once; another channel stands behind no more', async () => {
  const { publisher, answer, answerAll, sent } = setUp();
  const flood = publisher.publish(batch('flood', 1_000), 'flood');
  expect(sent.length).toBeGreaterThan(1);
  expect(sent.length * 1_024).toBeLessThanOrEqual(APPEND_WINDOW_BYTES_MIN);
  const quiet = publisher.publish([message('quiet', 'q')], 'quiet');
  expect(sent.at(-1)).toBe('quiet q');
  answer(1);
  answerAll();
  expect((await flood).length).toBe(1_000);
  expect((await quiet).length).toBe(1);
  expect(sent.filter((one) => one.startsWith('flood'))).toEqual(
    Array.from({ length: 1_000 }, (_, index) => `flood ${index}`.padEnd(14)),
  );
  expect(publisher.isIdle).toBe(true);
});

test('channels that wait take turns, message by message', async () => {
  const { publisher, setConnected, answerAll, sent } = setUp();
  setConnected(false);
  const all = ['a', 'b', 'c'].map((name) => publisher.publish(batch(name, 100), name));
  setConnected(true);
  publisher.resend();
  const names = sent.map((one) => one[0]!).join('');
  expect(names.length).toBeGreaterThan(3 * 3);
  expect(names).toBe('abc'.repeat(names.length / 3));
  answerAll();
  await Promise.all(all);
});

test('what waits of a batch that NATS refuses is not sent, and what waits behind it is', async () => {
  const { publisher, refuse, answerAll, sent } = setUp();
  const bad = publisher.publish(batch('a', 100), 'a');
  const good = publisher.publish([message('a', 'good')], 'a');
  refuse();
  answerAll();
  await expect(bad).rejects.toThrow(/NATS refuses it \(full\); \d+ of 100 events were published/);
  expect((await good).length).toBe(1);
  expect(sent.length).toBeLessThan(100);
  expect(publisher.isIdle).toBe(true);
});

test('what waits and what is on its way is given up when NATS is silent, and nothing of it stays', async () => {
  const { publisher, passInSteps } = setUp();
  const first = publisher.publish(batch('a', 10), 'a');
  const second = publisher.publish([message('a', 'x')], 'a');
  const outcomes = Promise.allSettled([first, second]);
  passInSteps(2 * NATS_SILENT_MS_MAX);
  expect(await outcomes).toMatchObject([
    { reason: { code: 'HOLDLINE_OUTCOME_UNKNOWN' } },
    { reason: { code: 'HOLDLINE_LOG_UNAVAILABLE' } },
  ]);
  expect(publisher.isIdle).toBe(true);
});

test('a message that is larger than what a channel may have goes alone', async () => {
  const { publisher, answer, sent } = setUp();
  const large = message('a', 'x'.repeat(4 * APPEND_WINDOW_BYTES_MIN));
  const all = publisher.publish([large, large], 'a');
  expect(sent.length).toBe(1);
  answer(1);
  expect(sent.length).toBe(2);
  answer(2);
  expect((await all).length).toBe(2);
});

test('an answer that is lost is given up after a while, and its channel goes on', async () => {
  const { publisher, answer, passInSteps, lose, sent } = setUp();
  const lost = publisher.publish(batch('a', 10), 'a');
  lost.catch(() => {});
  const behind = publisher.publish([message('a', 'behind')], 'a');
  lose();
  for (let ms = 0; ms < NATS_ACK_MS_MAX; ms += 500) {
    const other = publisher.publish([message('b', 'other')], 'b');
    answer(1);
    await other;
    passInSteps(500);
  }
  passInSteps(200);
  await expect(lost).rejects.toMatchObject({ code: 'HOLDLINE_OUTCOME_UNKNOWN' });
  expect(sent.at(-1)).toBe('a behind');
  answer(9);
  expect(await behind).toMatchObject([{ id: 9, isRepeat: false }]);
});

test('while NATS is away all wait, and when it is back what was on its way goes first', async () => {
  const { publisher, setConnected, answerAll, sent } = setUp();
  const first = publisher.publish(batch('a', 10), 'a');
  const onTheirWay = [...sent];
  setConnected(false);
  const second = publisher.publish([message('b', 'b')], 'b');
  expect(sent).toEqual(onTheirWay);
  setConnected(true);
  publisher.resend();
  expect(sent.slice(onTheirWay.length)).toEqual([...onTheirWay, 'b b']);
  answerAll();
  expect([(await first).length, (await second).length]).toEqual([10, 1]);
  expect(publisher.isIdle).toBe(true);
});
