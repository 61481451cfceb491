/**
 * Publishing at most once for an idempotency key. The same over HTTP is in idempotency.wire.ts, how
 * long it lasts in kept-receipts.test.ts.
 */
import assert from 'node:assert/strict';
import { fc } from './support/properties.js';
import { describe, expect, test } from 'vitest';
import { Idempotency } from '../src/core/idempotency.js';
import { PublishMemory, Reservation } from '../src/core/publish-memory.js';
import { makeCounters } from '../src/counters.js';
import { makeHeldBytes } from '../src/core/held-bytes.js';
import { HoldlineError, type RefusalCode } from '../src/errors.js';
import { WAITING_DUPLICATES_MAX } from '../src/limits.js';
import type { KeptReceipt, Receipt, RequestKey } from '../src/core/event-log.js';

const mismatch: unknown = expect.objectContaining({ code: 'HOLDLINE_IDEMPOTENCY_MISMATCH' });
const busy: unknown = expect.objectContaining({ code: 'HOLDLINE_PUBLISH_BUSY' });

const codeOf = (error: unknown): string | undefined => (error as Partial<HoldlineError>).code;

/** Lets every promise that is resolved by now run. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A publish that has begun and is ended by the test. */
interface Attempt {
  readonly request: RequestKey;
  succeed(): void;
  fail(code?: RefusalCode): void;
}

function aReservation(): Reservation {
  return new Reservation(new PublishMemory(makeHeldBytes()), { heldBytes: 0 });
}

/** Requests against a log that keeps receipts for ever, and publishes that the test ends. */
class Publisher {
  readonly counters = makeCounters();
  readonly attempts: Attempt[] = [];
  /** Ids given so far. */
  published = 0;
  readonly #kept = new Map<string, KeptReceipt>();
  readonly #idempotency = new Idempotency(
    { kept: (key) => Promise.resolve(this.#kept.get(key)) },
    this.counters,
  );

  ask(key: string, digest = 'd', reservation = aReservation()): Promise<Receipt> {
    const request = { key, digest };
    return this.#idempotency.once(request, reservation, () => this.#publish(request));
  }

  #publish(request: RequestKey): Promise<Receipt> {
    return new Promise((resolve, reject) => {
      const succeed = (): void => {
        const id = ++this.published;
        const receipt = { firstId: id, lastId: id, count: 1, subscribers: 0 };
        this.#kept.set(request.key, { digest: request.digest, receipt });
        resolve(receipt);
      };
      const fail = (code: RefusalCode = 'HOLDLINE_PUBLISH_BUSY'): void =>
        reject(new HoldlineError(code, 'no room'));
      this.attempts.push({ request, succeed, fail });
    });
  }
}

describe('a request', () => {
  test('again gets the first receipt, and nothing is published', async () => {
    const publisher = new Publisher();
    const first = publisher.ask('k');
    await settled();
    publisher.attempts[0]!.succeed();
    const again = [await first, await publisher.ask('k'), await publisher.ask('k')];
    expect(again.map(({ firstId }) => firstId)).toEqual([1, 1, 1]);
    expect(publisher.attempts.length).toBe(1);
    expect(publisher.counters.idempotent_repeats_total).toBe(2);
  });

  test('with the key of another is refused, before and after the other has ended', async () => {
    const publisher = new Publisher();
    const first = publisher.ask('k', 'one body');
    const duplicate = publisher.ask('k', 'another body');
    await settled();
    publisher.attempts[0]!.succeed();
    await expect(duplicate).rejects.toThrow(mismatch);
    await expect(publisher.ask('k', 'another body')).rejects.toThrow(mismatch);
    expect((await first).firstId).toBe(1);
    expect((await publisher.ask('k', 'one body')).firstId, 'which is kept all the same').toBe(1);
    expect(publisher.attempts.length).toBe(1);
    expect(publisher.counters.idempotent_repeats_total).toBe(1);
  });

  test('with another key waits for nobody', async () => {
    const publisher = new Publisher();
    const asked = [publisher.ask('k'), publisher.ask('l')];
    await settled();
    expect(publisher.attempts.length).toBe(2);
    publisher.attempts[1]!.succeed();
    publisher.attempts[0]!.succeed();
    expect((await Promise.all(asked)).map(({ firstId }) => firstId)).toEqual([2, 1]);
  });
});

describe('a concurrent duplicate', () => {
  test('that comes while the first is under way waits for it and gets its receipt', async () => {
    const publisher = new Publisher();
    const asked = Array.from({ length: 5 }, () => publisher.ask('k'));
    await settled();
    expect(publisher.attempts.length).toBe(1);
    publisher.attempts[0]!.succeed();
    expect((await Promise.all(asked)).map(({ firstId }) => firstId)).toEqual([1, 1, 1, 1, 1]);
    expect(publisher.attempts.length).toBe(1);
    expect(publisher.counters.idempotent_repeats_total).toBe(4);
  });

  test('ends with the first when nobody knows whether that was published', async () => {
    const publisher = new Publisher();
    const answers = Promise.allSettled(Array.from({ length: 4 }, () => publisher.ask('k')));
    await settled();
    publisher.attempts[0]!.fail('HOLDLINE_OUTCOME_UNKNOWN');
    const reason: unknown = expect.objectContaining({ code: 'HOLDLINE_OUTCOME_UNKNOWN' });
    expect(await answers).toEqual(
      Array.from({ length: 4 }, () => ({ status: 'rejected', reason })),
    );
    expect(publisher.attempts.length).toBe(1);
  });

  test('publishes itself when the first has failed, one duplicate at a time', async () => {
    const publisher = new Publisher();
    const answers = Promise.allSettled(Array.from({ length: 4 }, () => publisher.ask('k')));
    await settled();
    publisher.attempts[0]!.fail();
    await settled();
    expect(publisher.attempts.length).toBe(2);
    publisher.attempts[1]!.fail();
    await settled();
    expect(publisher.attempts.length).toBe(3);
    publisher.attempts[2]!.succeed();
    expect(
      (await answers).map((answer) =>
        answer.status === 'fulfilled' ? answer.value.firstId : 'failed',
      ),
    ).toEqual(['failed', 'failed', 1, 1]);
    expect(publisher.published).toBe(1);
    expect((await publisher.ask('k')).firstId).toBe(1);
  });

  test(`is one of ${WAITING_DUPLICATES_MAX} at the most, over all keys; the next is refused at once, and there is place again later`, async () => {
    const publisher = new Publisher();
    const firsts = [publisher.ask('k'), publisher.ask('l')];
    const waitingDuplicates = Array.from({ length: WAITING_DUPLICATES_MAX }, (_, i) =>
      publisher.ask(i % 2 === 0 ? 'k' : 'l'),
    );
    await expect(publisher.ask('k')).rejects.toThrow(busy);
    await expect(publisher.ask('l')).rejects.toThrow(String(WAITING_DUPLICATES_MAX));
    const other = publisher.ask('m');
    await settled();
    expect(publisher.attempts.length, 'who waits for nobody is not refused').toBe(3);
    for (const attempt of publisher.attempts) attempt.succeed();
    expect(
      new Set(
        (await Promise.all([...firsts, ...waitingDuplicates, other])).map(({ firstId }) => firstId),
      ),
    ).toEqual(new Set([1, 2, 3]));
    const again = publisher.ask('n');
    const duplicate = publisher.ask('n');
    await settled();
    publisher.attempts.at(-1)!.succeed();
    expect(await duplicate).toEqual(await again);
  });
});

test('random requests, ends and failures: at most one success a key, under way at most once, and everybody is told the same', async () => {
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        ask: fc.constantFrom('k', 'l', 'm'),
        digest: fc.constantFrom('d', 'd', 'd', 'e'),
      }),
    },
    { weight: 3, arbitrary: fc.record({ end: fc.nat(), succeeds: fc.boolean() }) },
    { weight: 1, arbitrary: fc.constant('wait' as const) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async (steps) => {
      const publisher = new Publisher();
      const underWay = new Map<string, Attempt>();
      const successes = new Map<string, { readonly digest: string; readonly id: number }>();
      const answers: {
        readonly key: string;
        readonly digest: string;
        readonly answer: Promise<Receipt>;
      }[] = [];
      let looked = 0;
      const look = async (): Promise<void> => {
        await settled();
        for (; looked < publisher.attempts.length; looked++) {
          const attempt = publisher.attempts[looked]!;
          assert.ok(!underWay.has(attempt.request.key), 'two are under way with one key');
          assert.ok(!successes.has(attempt.request.key), 'published again');
          underWay.set(attempt.request.key, attempt);
        }
      };
      const end = (attempt: Attempt, succeeds: boolean): void => {
        const { key, digest } = attempt.request;
        underWay.delete(key);
        if (succeeds) {
          attempt.succeed();
          successes.set(key, { digest, id: publisher.published });
        } else {
          attempt.fail();
        }
      };
      for (const one of steps) {
        if (one === 'wait') {
          await look();
        } else if ('ask' in one) {
          const answer = publisher.ask(one.ask, one.digest);
          answer.catch(() => {});
          answers.push({ key: one.ask, digest: one.digest, answer });
        } else {
          await look();
          const attempt = [...underWay.values()][one.end % Math.max(1, underWay.size)];
          if (attempt !== undefined) end(attempt, one.succeeds);
        }
      }
      for (await look(); underWay.size > 0; await look())
        for (const attempt of underWay.values()) end(attempt, true);
      for (const { key, digest, answer } of answers) {
        const [told] = await Promise.allSettled([answer]);
        const kept = successes.get(key)!;
        if (told.status === 'fulfilled')
          assert.deepEqual([told.value.firstId, digest], [kept.id, kept.digest]);
        else if (codeOf(told.reason) === 'HOLDLINE_IDEMPOTENCY_MISMATCH')
          assert.notEqual(digest, kept.digest);
        else assert.equal(codeOf(told.reason), 'HOLDLINE_PUBLISH_BUSY');
      }
      assert.equal(publisher.published, successes.size);
    }),
    { numRuns: 200 },
  );
});

test('a concurrent duplicate that leaves waits no longer, holds no place and publishes nothing', async () => {
  const publisher = new Publisher();
  const first = publisher.ask('k');
  const leaving = Array.from({ length: 2 * WAITING_DUPLICATES_MAX }, () => {
    const reservation = aReservation();
    const asked = publisher.ask('k', 'd', reservation);
    reservation.release();
    return asked;
  });
  const outcomes = await Promise.allSettled(leaving);
  expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(leaving.length);
  const stays = publisher.ask('k');
  await Promise.resolve();
  publisher.attempts[0]!.succeed();
  expect(await stays).toEqual(await first);
  expect([publisher.attempts.length, publisher.published]).toEqual([1, 1]);
});
