/**
 * Reads of the past when NATS stops amid a pull, is slow, or leaves something out: with a NATS and
 * a clock of the test's own.
 */
import type { ConsumerConfig, JetStreamManager } from '@nats-io/jetstream';
import type { Msg, NatsConnection } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
import {
  NATS_PULL_SILENT_MS,
  NATS_READ_MS_MAX,
  NATS_READING_KEPT_MS,
  NATS_READINGS_KEPT_MAX,
} from '../src/limits.js';
import { Past } from '../src/log/nats/past.js';
import { FakeClock } from './support/fake-clock.js';

const LAST_ID = 10;
const ALL = Array.from({ length: LAST_ID }, (_, index) => index + 1);
const TOO_LARGE = 409;

interface Asked {
  readonly batch: number;
  readonly max_bytes?: number;
}

/** How the n-th consumer answers a pull; it sends what it is asked for where nothing is said. */
type Answer = (asked: Asked, consumer: Consumer) => void;

/** A consumer of the messages 1 to LAST_ID from an id on. */
class Consumer {
  next: number;
  #place = 0;
  readonly #end: number;
  readonly #hand: (message: Msg) => void;

  constructor(next: number, end: number, hand: (message: Msg) => void) {
    this.next = next;
    this.#end = end;
    this.#hand = hand;
  }

  /** Each counts, also one that is lost on its way. */
  send(count: number, isLost = false): void {
    for (let sent = 0; sent < count; sent++) {
      const message = messageOf(this.next++, ++this.#place, this.#end);
      if (!isLost) this.#hand(message);
    }
  }

  status(code: number): void {
    this.#hand({ data: Buffer.alloc(0), headers: { code } } as unknown as Msg);
  }
}

function messageOf(id: number, place: number, end: number): Msg {
  return {
    subject: 'holdline.a',
    data: Buffer.from(String(id)),
    reply: `$JS.ACK.S.c.1.${id}.${place}.1700000000000000000.${end - id}`,
    headers: undefined,
  } as unknown as Msg;
}

/** `ends`: of the copy of the stream that the n-th consumer reads; all of it where none is said. */
function setUp(
  answers: readonly Answer[],
  { forgetsFrom = Infinity, ends = [] }: { forgetsFrom?: number; ends?: readonly number[] } = {},
) {
  const clock = new FakeClock();
  const madeFrom: number[] = [];
  const ended: string[] = [];
  const asked: Asked[] = [];
  const consumers: Consumer[] = [];
  let callback: (error: null, message: Msg) => void = () => {};
  const manager = {
    consumers: {
      add: async (_stream: string, { opt_start_seq: first = 1 }: Partial<ConsumerConfig>) => {
        const end = ends[consumers.length] ?? LAST_ID;
        madeFrom.push(first);
        consumers.push(new Consumer(first, end, (message) => callback(null, message)));
        return {
          name: `c${consumers.length - 1}`,
          num_pending: first < forgetsFrom ? Math.max(0, end - first + 1) : 0,
          delivered: { stream_seq: Math.min(first - 1, end) },
        };
      },
    },
    streams: {
      getMessage: async (_stream: string, { seq }: { readonly seq: number }) =>
        seq < forgetsFrom && seq <= LAST_ID ? { seq } : null,
    },
  } as unknown as JetStreamManager;
  const nats = {
    subscribe: (_inbox: string, options: { callback: typeof callback }) => {
      const own = options.callback;
      callback = own;
      return { unsubscribe: () => callback === own && (callback = () => {}) };
    },
    publish: (subject: string, data?: string) => {
      const at = Number(/c(\d+)$/.exec(subject)![1]);
      if (subject.includes('DELETE')) {
        ended.push(`c${at}`);
        return;
      }
      const pull = JSON.parse(data!) as Asked;
      asked.push(pull);
      const answer = answers[at] ?? (({ batch }, consumer) => consumer.send(batch));
      answer(pull, consumers[at]!);
    },
  } as unknown as NatsConnection;
  return { clock, past: new Past(nats, manager, 'S', clock), madeFrom, ended, asked };
}

const sends =
  (count: number): Answer =>
  (_asked, consumer) =>
    consumer.send(count);

/** Resolves once the clock has run so far that the read is over. */
async function over<Found>(clock: FakeClock, reading: Promise<Found>): Promise<Found> {
  let isOver = false;
  const done = reading.finally(() => (isOver = true));
  done.catch(() => {});
  for (let step = 0; step < 1_000 && !isOver; step++) await clock.turn(NATS_PULL_SILENT_MS / 4);
  return done;
}

async function idsOf(clock: FakeClock, past: Past, bytes = 0): Promise<number[]> {
  const reading = await past.read('holdline.a', 0, LAST_ID);
  const ids: number[] = [];
  for (;;) {
    const messages = await over(clock, reading.next(100, bytes));
    if (messages.length === 0) break;
    ids.push(...messages.map(({ id }) => id));
  }
  reading.end();
  return ids;
}

test('a consumer that stops amid a pull is left, and another goes on behind its last message', async () => {
  const { clock, past, madeFrom, ended } = setUp([sends(3), sends(0), sends(4)]);
  expect(await idsOf(clock, past)).toEqual(ALL);
  expect(madeFrom).toEqual([1, 4, 4, 8]);
  expect(ended).toEqual(['c0', 'c1', 'c2', 'c3']);
  expect(clock.nowMs()).toBeLessThan(12 * NATS_PULL_SILENT_MS);
});

test('what was counted and then forgotten is the end of the read', async () => {
  const { clock, past, madeFrom } = setUp([sends(7)], { forgetsFrom: 8 });
  expect(await idsOf(clock, past)).toEqual(ALL.slice(0, 7));
  expect(madeFrom).toEqual([1, 8]);
});

test('a copy of the stream that is behind is not its end: another one is read', async () => {
  const { clock, past, madeFrom, ended } = setUp([], { ends: [4, 2, 7] });
  expect(await idsOf(clock, past)).toEqual(ALL);
  expect(madeFrom).toEqual([1, 5, 5, 8]);
  expect(ended).toEqual(['c0', 'c1', 'c2', 'c3']);
});

test('while all copies are behind, the read fails in time', async () => {
  const { clock, past } = setUp([], { ends: Array.from({ length: 1_000 }, () => 4) });
  await expect(idsOf(clock, past)).rejects.toThrow('NATS does not answer a read');
  expect(clock.nowMs()).toBeLessThan(3 * NATS_READ_MS_MAX);
});

test('while messages come nothing is left, however long they take all together', async () => {
  const clocks: FakeClock[] = [];
  const { clock, past, madeFrom } = setUp([
    (_asked, consumer) => {
      const later = (): void => {
        consumer.send(1);
        if (consumer.next <= LAST_ID) clocks[0]!.later(NATS_PULL_SILENT_MS * 0.9, later);
      };
      later();
    },
  ]);
  clocks.push(clock);
  expect(await idsOf(clock, past)).toEqual(ALL);
  expect(madeFrom).toEqual([1]);
  expect(clock.nowMs()).toBeGreaterThan(5 * NATS_PULL_SILENT_MS);
});

test('a message that takes long on its way is waited for longer each time', async () => {
  const clocks: FakeClock[] = [];
  const late: Answer = ({ batch }, consumer) => {
    clocks[0]!.later(NATS_PULL_SILENT_MS * 6, () => consumer.send(batch));
  };
  const { clock, past } = setUp(Array.from({ length: 20 }, () => late));
  clocks.push(clock);
  expect(await idsOf(clock, past)).toEqual(ALL);
});

test('a loop that was held is no silence: what has come meanwhile is read first', async () => {
  const clocks: FakeClock[] = [];
  const { clock, past, madeFrom } = setUp([
    ({ batch }, consumer) => {
      // In the turn in which the timer runs at last, the answer is read as well.
      void Promise.resolve().then(() => {
        clocks[0]!.pass(10 * NATS_PULL_SILENT_MS);
        clocks[0]!.runTimers();
        consumer.send(batch);
        clocks[0]!.runSoon();
      });
    },
  ]);
  clocks.push(clock);
  expect(await idsOf(clock, past)).toEqual(ALL);
  expect(madeFrom).toEqual([1]);
});

test('a message that is missing among others is asked for again', async () => {
  const { clock, past, madeFrom } = setUp([
    ({ batch }, consumer) => {
      consumer.send(2);
      consumer.send(1, true);
      consumer.send(batch - 3);
    },
  ]);
  expect(await idsOf(clock, past)).toEqual(ALL);
  expect(madeFrom).toEqual([1, 3]);
});

test('one that alone is above the bytes comes alone, also from the consumer that goes on', async () => {
  const large: Answer = ({ max_bytes: bytesMax, batch }, consumer) => {
    if (bytesMax === undefined) consumer.send(batch);
    else consumer.status(TOO_LARGE);
  };
  const { clock, past, asked } = setUp([sends(2), large]);
  expect(await idsOf(clock, past, 1_000)).toEqual(ALL);
  expect(asked.slice(1, 3)).toMatchObject([{ batch: 8, max_bytes: 1_000 }, { batch: 1 }]);
  expect(asked[2]).not.toHaveProperty('max_bytes');
});

test('when none of them sends anything the read fails in time', async () => {
  const { clock, past } = setUp(Array.from({ length: 1_000 }, () => sends(0)));
  const reading = await past.read('holdline.a', 0, LAST_ID);
  await expect(over(clock, reading.next(100, 0))).rejects.toThrow('NATS does not answer a read');
  expect(clock.nowMs()).toBeLessThan(3 * NATS_READ_MS_MAX);
});

// ── pages one after another ──────────────────────────────────────────────────────────────────────

const NOBODY = 503;

/** Reads a page of so many messages, and leaves it as used up to an id. */
async function page(
  { clock, past }: Pick<ReturnType<typeof setUp>, 'clock' | 'past'>,
  after: number,
  count: number,
  used = after + count,
): Promise<number[]> {
  const reading = await past.read('holdline.a', after, LAST_ID);
  expect(reading.startsAfter).toBe(after);
  const messages = await over(clock, reading.next(count, 0));
  past.leave('holdline.a', reading, used);
  return messages.map(({ id }) => id);
}

test('the next page goes on with the reading of the one before', async () => {
  const server = setUp([]);
  expect(await page(server, 0, 3)).toEqual([1, 2, 3]);
  expect(await page(server, 3, 3)).toEqual([4, 5, 6]);
  expect(await page(server, 6, 4)).toEqual([7, 8, 9, 10]);
  expect(server.madeFrom).toEqual([1]);
  // Nothing follows: it is not kept.
  expect(server.ended).toEqual(['c0']);
});

test('a page that begins elsewhere has a reading of its own', async () => {
  const server = setUp([]);
  await page(server, 0, 3);
  expect(await page(server, 2, 2)).toEqual([3, 4]);
  expect(await page(server, 3, 2)).toEqual([4, 5]);
  expect(server.madeFrom).toEqual([1, 3]);
});

test('a reading that has handed out more than was used, or failed, is ended', async () => {
  const server = setUp([]);
  await page(server, 0, 5, 3);
  const reading = await server.past.read('holdline.a', 3, LAST_ID);
  server.past.leave('holdline.a', reading, undefined);
  expect(server.ended).toEqual(['c0', 'c1']);
});

test('a reading that nobody goes on with is ended in time', async () => {
  const server = setUp([]);
  await page(server, 0, 3);
  expect(server.ended).toEqual([]);
  await server.clock.turn(NATS_READING_KEPT_MS + 1);
  expect(server.ended).toEqual(['c0']);
});

test('so many readings are kept at most, and none after the end', async () => {
  const server = setUp([]);
  const { past, ended } = server;
  const reading = (subject: string) => past.read(subject, 0, LAST_ID);
  for (let nth = 0; nth <= NATS_READINGS_KEPT_MAX; nth++)
    past.leave(`holdline.a${nth}`, await reading(`holdline.a${nth}`), 0);
  expect(ended).toEqual(['c0']);
  past.close();
  expect(ended).toHaveLength(NATS_READINGS_KEPT_MAX + 1);
  past.leave('holdline.b', await reading('holdline.b'), 0);
  expect(ended).toHaveLength(NATS_READINGS_KEPT_MAX + 2);
});

test('where nobody answers for the consumer of the page before, another one goes on', async () => {
  const first: Answer = (asked, consumer) => {
    if (consumer.next === 1) consumer.send(asked.batch);
    else consumer.status(NOBODY);
  };
  const server = setUp([first]);
  await page(server, 0, 3);
  expect(await page(server, 3, 7)).toEqual([4, 5, 6, 7, 8, 9, 10]);
  expect(server.madeFrom).toEqual([1, 4]);
});
