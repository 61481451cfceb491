/**
 * Polls: what an answer holds, who shares it, and, turn by turn in the hub, that no position that a
 * poll is told skips an event.
 */
import assert from 'node:assert/strict';
import { fc } from './support/properties.js';
import { describe, expect, test } from 'vitest';
import { Channel, type ChannelSettings } from '../src/core/channel.js';
import type { Replay } from '../src/core/channel-rings.js';
import { ChannelSet } from '../src/core/channel-set.js';
import type { LoggedEvent } from '../src/core/event.js';
import { LossClock } from '../src/core/loss-clock.js';
import { PollAnswers, type OwedGap } from '../src/core/poll.js';
import { LIVE, type Position } from '../src/core/position.js';
import { CORK_WRITE_BYTES_MAX, POLL_BODY_BYTES_MAX, SWEEP_WORK_BYTES_MAX } from '../src/limits.js';
import { FakeHub, ids } from './support/fake-hub.js';
import type { FakePoll } from './support/fake-poll.js';

const after = (id: number): Position => ({ kind: 'after', id });
const OLDEST = after(0);

const settingsOf = (replay: Replay): ChannelSettings => ({
  rules: { replay, slow: 'gap' },
  clock: { nowMs: () => 0 },
  sweepWorkBytes: SWEEP_WORK_BYTES_MAX,
  writeBytesMax: CORK_WRITE_BYTES_MAX,
  lossClock: new LossClock(),
});

/** Channels of a set, and what they hold, kept naively. */
class Held {
  readonly channels = ['a', 'b'].map(
    (name) => new Channel(name, settingsOf({ events: 6, bytes: 4 * POLL_BODY_BYTES_MAX }), 0),
  );
  readonly #events: LoggedEvent[] = [];
  #lastId = 0;

  get lastId(): number {
    return this.#lastId;
  }

  enter(index: number, event: Omit<LoggedEvent, 'id' | 'channel'>): void {
    const channel = this.channels[index]!;
    const logged = { ...event, id: (this.#lastId += 3), channel: channel.name };
    this.#events.push(logged);
    channel.enter(logged);
  }

  /** What an answer over the first `count` channels has to say, straightforwardly. */
  expected(
    count: number,
    cursor: number,
    limit: number,
    gap: OwedGap | undefined,
  ): { body: string; ids: number[] } | undefined {
    const lost = this.channels.slice(0, count).map((channel) => channel.lostThrough);
    const held = this.#events.filter(({ id, channel }) =>
      this.channels
        .slice(0, count)
        .some(({ name }, i) => name === channel && id > (lost[i] as number)),
    );
    const owed = held.filter(({ id }) => id > cursor);
    if (owed.length === 0) return undefined;
    const parts: string[] = [];
    const given: number[] = [];
    for (const { id, channel, type, data, json } of owed.slice(0, Math.max(1, limit))) {
      const text = Buffer.from(data).toString();
      const event = type === undefined ? '' : `"event":${JSON.stringify(type)},`;
      let part = `{"id":${id},"channel":"${channel}",${event}"data":${json ? text : JSON.stringify(text)}}`;
      if (given.length === 0 && gap !== undefined) {
        const before =
          held.find((one) => one.id > Math.max(cursor, gap.through, ...lost))?.id ?? null;
        part = `{"gap":${JSON.stringify({ after: gap.after, before })},${part.slice(1)}`;
      }
      const body = `[${[...parts, part].join(',')}]`;
      if (given.length > 0 && Buffer.byteLength(body) > POLL_BODY_BYTES_MAX) break;
      parts.push(part);
      given.push(id);
    }
    return { body: limit === 0 ? (parts[0] as string) : `[${parts.join(',')}]`, ids: given };
  }
}

describe('an answer', () => {
  const sizes = fc.oneof(
    { weight: 20, arbitrary: fc.nat(40) },
    { weight: 1, arbitrary: fc.integer({ min: 100_000, max: 400_000 }) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        POLL_BODY_BYTES_MAX - 40,
        POLL_BODY_BYTES_MAX,
        POLL_BODY_BYTES_MAX + 1,
      ),
    },
  );
  const step = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        enter: fc.nat(1),
        size: sizes,
        type: fc.option(fc.constantFrom('t', '"')),
        json: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ drop: fc.nat(1) }) },
    {
      weight: 6,
      arbitrary: fc.record({
        channels: fc.integer({ min: 1, max: 2 }),
        back: fc.nat(30),
        limit: fc.constantFrom(0, 0, 1, 2, 5, 1000),
        gap: fc.option(fc.constantFrom(null, 1, 17), { freq: 3 }),
        isGap: fc.boolean(),
      }),
    },
  );

  test('is what follows its position, whatever was asked, entered, evicted and dropped before', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60, size: 'max' }), (steps) => {
        const held = new Held();
        const answers = new PollAnswers();
        const sets = [1, 2].map((count) => new ChannelSet(held.channels.slice(0, count)));
        for (const one of steps) {
          if ('enter' in one) {
            const text = 'é'.repeat(one.size % 7) + 'x'.repeat(one.size);
            const data = Buffer.from(one.json ? JSON.stringify({ text }) : text);
            held.enter(one.enter, { type: one.type ?? undefined, data, json: one.json });
          } else if ('drop' in one) {
            held.channels[one.drop]!.drop();
          } else {
            const set = sets[one.channels - 1]!;
            const cursor = Math.max(0, held.lastId - one.back);
            const gap = one.isGap ? { after: one.gap, through: set.lostThrough } : undefined;
            const expected = held.expected(one.channels, cursor, one.limit, gap);
            const answer = answers.find(set, cursor, one.limit, gap);
            assert.equal(
              answer === undefined ? undefined : Buffer.from(answer.body).toString(),
              expected?.body,
            );
            assert.equal(answer?.lastId, expected?.ids.at(-1));
            assert.equal(answer?.events, expected?.ids.length);
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  test('is one and the same buffer for all who ask for the same, until something enters or goes', () => {
    const held = new Held();
    const answers = new PollAnswers();
    const [set] = [new ChannelSet(held.channels.slice(0, 1))];
    const enter = (): void =>
      held.enter(0, { type: undefined, data: Buffer.from('x'), json: false });
    for (let i = 0; i < 3; i++) enter();
    const first = answers.find(set, 3, 0, undefined);
    expect(answers.find(set, 3, 0, undefined)).toBe(first);
    expect(answers.find(set, 5, 0, undefined), 'from another position, and the same follows').toBe(
      first,
    );
    for (const [cursor, limit] of [
      [3, 1],
      [6, 0],
      [0, 0],
    ] as const) {
      const other = answers.find(set, cursor, limit, undefined);
      expect(other).not.toBe(first);
      expect(answers.find(set, cursor, limit, undefined)).toBe(other);
    }
    const all = answers.find(set, 0, 10, undefined);
    expect(all?.events).toBe(3);
    enter();
    expect(answers.find(set, 0, 10, undefined)?.events, 'of what is there now').toBe(4);
    held.channels[0]!.drop();
    expect(answers.find(set, 0, 10, undefined)).toBeUndefined();
    enter();
    expect(answers.find(set, 0, 10, undefined)?.events).toBe(1);
  });

  test('with a gap is nobody else’s', () => {
    const held = new Held();
    const answers = new PollAnswers();
    const set = new ChannelSet(held.channels.slice(0, 1));
    held.enter(0, { type: undefined, data: Buffer.from('x'), json: false });
    const plain = answers.find(set, 0, 0, undefined);
    const gapped = answers.find(set, 0, 0, { after: 1, through: 2 });
    expect(Buffer.from(gapped!.body).toString()).toBe(
      '{"gap":{"after":1,"before":3},"id":3,"channel":"a","data":"x"}',
    );
    expect(answers.find(set, 0, 0, undefined)).toBe(plain);
  });

  test(`holds up to ${POLL_BODY_BYTES_MAX} bytes, brackets and commas among them, and one event however large it is`, () => {
    const sizeOf = (bodies: readonly number[]): number[] => {
      const channel = new Channel('a', settingsOf({ events: 10, bytes: 2 ** 30 }), 0);
      for (const [i, bytes] of bodies.entries()) {
        const data = Buffer.from('x'.repeat(bytes - '{"id":1,"channel":"a","data":""}'.length));
        channel.enter({ id: i + 1, channel: 'a', type: undefined, data, json: false });
      }
      const bodySizes: number[] = [];
      for (let cursor = 0; ;) {
        const answer = new PollAnswers().find(new ChannelSet([channel]), cursor, 1000, undefined);
        if (answer === undefined) return bodySizes;
        bodySizes.push(answer.body.length);
        cursor = answer.lastId;
      }
    };
    expect(sizeOf([POLL_BODY_BYTES_MAX - 1_003, 1_000])).toEqual([POLL_BODY_BYTES_MAX]);
    expect(sizeOf([POLL_BODY_BYTES_MAX - 1_002, 1_000])).toEqual([
      POLL_BODY_BYTES_MAX - 1_000,
      1_002,
    ]);
    expect(sizeOf([3 * POLL_BODY_BYTES_MAX, 100, 3 * POLL_BODY_BYTES_MAX])).toEqual([
      3 * POLL_BODY_BYTES_MAX + 2,
      102,
      3 * POLL_BODY_BYTES_MAX + 2,
    ]);
  });
});

const WAIT_MS = 10_000;

/** A hub that keeps enough for every poll here. */
const roomy = (): FakeHub => new FakeHub({ replay: { events: 10_000, bytes: 2 ** 24 } });

const xs = (count: number): string[] => Array.from({ length: count }, () => 'x');

/** Ids in an answer's body. */
function idsIn(poll: FakePoll): number[] {
  if (poll.text === undefined) return [];
  return [JSON.parse(poll.text) as { id: number } | { id: number }[]].flat().map(({ id }) => id);
}

/** Polls until nothing more comes, without waiting. */
function rest(fake: FakeHub, path: string, from: number): number[] {
  const all: number[] = [];
  for (let position = from; ;) {
    const poll = fake.poll(path, after(position), { limit: 100 });
    if (poll.text === undefined) return all;
    all.push(...idsIn(poll));
    position = poll.answer!.position;
  }
}

function wait(fake: FakeHub, path: string, position = LIVE, limit = 0): FakePoll {
  const poll = fake.poll(path, position, { waitMs: WAIT_MS, limit });
  expect(poll.answer, 'nothing is there yet').toBeUndefined();
  return poll;
}

describe('events on their way', () => {
  test('a batch larger than a turn holds back what came behind it; an empty answer meanwhile does not skip it', async () => {
    const fake = roomy();
    await fake.publish('a', 'x');
    await fake.settle();
    const big = fake.publish('a', ...xs(3000));
    const behind = fake.publish('a', 'x');
    const poll = fake.poll('a');
    expect(poll.text).toBeUndefined();
    const { position } = poll.answer!;
    expect(position).toBeLessThan((await big).ids.at(-1)!);
    await fake.settle();
    const [id] = (await behind).ids;
    expect(rest(fake, 'a', position)).toEqual(ids(position + 1, id!));
  });

  test('a batch larger than a turn holds back nothing on another channel, nor on both', async () => {
    const fake = roomy();
    void fake.publish('a', ...xs(3000));
    const [id] = (await fake.publish('b', 'x')).ids;
    expect(idsIn(fake.poll('b', OLDEST))).toEqual([id]);
    expect(fake.poll('b').answer!.position).toBe(id);
    const both = fake.poll('a,b', OLDEST, { limit: 1000 });
    expect(idsIn(both)).toEqual(ids(1, 1000));
    expect(rest(fake, 'a,b', 1000), 'what waits for its ring is read, too').toEqual(ids(1001, id!));
    expect(fake.hub.figures.gauges.queueEvents).toBeGreaterThan(0);
  });

  test('one that begins to wait on another channel meanwhile is answered at once', async () => {
    const fake = roomy();
    void fake.publish('a', ...xs(3000));
    const polls = [wait(fake, 'b'), wait(fake, 'b', OLDEST), wait(fake, 'b,c')];
    const behind = fake.publish('b', 'x');
    await fake.clock.turn();
    expect(fake.hub.figures.gauges.queueEvents).toBeGreaterThan(0);
    for (const poll of polls) expect(idsIn(poll)).toEqual((await behind).ids);
  });

  test('one that is answered in the middle of a batch goes on where its answer ends', async () => {
    const fake = roomy();
    const poll = wait(fake, 'a', LIVE, 7);
    const all = fake.publish('a', ...xs(3000));
    await fake.settle();
    const { ids: published } = await all;
    expect(idsIn(poll)).toEqual(published.slice(0, 7));
    expect([...idsIn(poll), ...rest(fake, 'a', poll.answer!.position)]).toEqual(published);
  });

  test('a position that was told and has not entered yet is no gap, and nothing up to it is given again', async () => {
    const fake = roomy();
    const all = fake.publish('a', ...xs(3000));
    const { ids: published } = await all;
    const poll = wait(fake, 'a', after(2999));
    await fake.settle();
    expect(poll.text).toBe('{"id":3000,"channel":"a","data":"x"}');
    expect(published.at(-1)).toBe(3000);
  });
});

describe('the end of the wait', () => {
  test('it is answered empty, once, in its time, with a position behind everything that has entered', async () => {
    const fake = roomy();
    const polls = Array.from({ length: 200 }, () => wait(fake, 'a'));
    await fake.publish('other', ...xs(5));
    await fake.clock.run(0.9 * WAIT_MS - 1);
    expect(polls.filter(({ answer }) => answer !== undefined)).toEqual([]);
    await fake.clock.run(0.05 * WAIT_MS);
    const early = polls.filter(({ answer }) => answer !== undefined).length;
    expect(early).toBeGreaterThan(20);
    expect(early).toBeLessThan(180);
    await fake.clock.run(0.05 * WAIT_MS + 25);
    expect(polls.map(({ answer }) => answer)).toEqual(
      polls.map(() => ({ body: undefined, position: 5 })),
    );
    expect(fake.hub.lines.open).toBe(0);
    expect(fake.counters).toMatchObject({
      polls_waited_total: 200,
      polls_empty_total: 200,
      polls_answered_total: 0,
    });
  });

  test('an event in the same turn is in the answer', async () => {
    const fake = roomy();
    const poll = wait(fake, 'a');
    fake.clock.pass(WAIT_MS + 100);
    await fake.publish('a', 'x');
    fake.clock.runTimers();
    expect(idsIn(poll)).toEqual([1]);
    await fake.settle();
    expect(fake.hub.lines.open).toBe(0);
  });

  test('one that has been answered, or has gone, is not answered again when its time would be over', async () => {
    const fake = roomy();
    const answered = wait(fake, 'a');
    await fake.publish('a', 'x');
    await fake.settle();
    expect(idsIn(answered)).toEqual([1]);
    const gone = wait(fake, 'a');
    fake.abort(gone);
    expect(fake.hub.lines.open).toBe(0);
    await fake.clock.run(WAIT_MS + 100);
    expect(gone.answer).toBeUndefined();
    expect(fake.clock.timerCount, 'only the heartbeat’s is left').toBe(1);
  });

  test('those who wait are not written to by the heartbeat', async () => {
    const fake = new FakeHub({ heartbeatMs: 100 });
    wait(fake, 'a');
    await fake.clock.run(WAIT_MS / 2);
    expect(fake.counters.heartbeats_total).toBe(0);
  });

  test('an orderly end answers those who are owed nothing, and leaves the others to their events', async () => {
    const fake = roomy();
    await fake.publish('b', 'x');
    const quiet = wait(fake, 'a');
    const owed = wait(fake, 'b');
    const second = fake.publish('b', 'y');
    expect(fake.hub.endSome(10, 'draining')).toBe(1);
    expect(quiet.answer).toEqual({ body: undefined, position: 2 });
    await second;
    await fake.settle();
    expect(idsIn(owed)).toEqual([2]);
  });
});

describe('those who wait together', () => {
  test('are given one and the same body', async () => {
    const fake = roomy();
    const polls = Array.from({ length: 100 }, () => wait(fake, 'a'));
    await fake.publish('a', ...xs(3));
    await fake.settle();
    const bodies = new Set(polls.map(({ answer }) => answer?.body));
    expect(bodies.size).toBe(1);
    expect(idsIn(polls[0]!)).toEqual([1]);
    expect(fake.counters).toMatchObject({ polls_answered_total: 100, deliveries_total: 100 });
  });

  test('and those at other positions, limits and channels are given theirs', async () => {
    const fake = roomy();
    await fake.publish('a', 'x');
    await fake.settle();
    const polls = [
      wait(fake, 'a', after(1)),
      wait(fake, 'a'),
      wait(fake, 'a', LIVE, 2),
      wait(fake, 'a,b', LIVE, 5),
      wait(fake, 'b'),
    ];
    await fake.publish('a', ...xs(3));
    await fake.settle();
    expect(polls.map(idsIn)).toEqual([[2], [2], [2, 3], [2, 3, 4], []]);
    expect(fake.hub.lines.open).toBe(1);
  });

  test('count as subscribers and as open lines, by their transport', async () => {
    const fake = roomy();
    for (let i = 0; i < 3; i++) wait(fake, 'a', LIVE, i);
    wait(fake, 'a,b');
    expect(fake.hub.figures.gauges).toMatchObject({
      linesOpen: 4,
      linesByTransport: { sse: 0, ndjson: 0, websocket: 0, poll: 4 },
    });
    expect((await fake.publish('a', 'x')).subscribers).toBe(4);
    expect((await fake.publish('b', 'x')).subscribers).toBe(1);
    await fake.settle();
    expect(fake.hub.figures.gauges).toMatchObject({ linesOpen: 0, linesByTransport: { poll: 0 } });
  });

  test('cost a channel no frames', async () => {
    const fake = roomy();
    await fake.publish('a', 'x'.repeat(50_000));
    const { ringBytes } = fake.hub.figures.gauges;
    wait(fake, 'a');
    await fake.publish('a', 'x');
    expect(fake.hub.figures.memory.rings.frameBytes).toBe(0);
    fake.join('a', OLDEST, Infinity, 'ndjson');
    expect(fake.hub.figures.gauges.ringBytes, 'nor does a line, before something comes').toBe(
      ringBytes,
    );
    await fake.publish('a', 'x');
    expect(fake.hub.figures.memory.rings.frameBytes).toBeGreaterThan(0);
  });
});

describe('a gap', () => {
  const gapOf = (poll: FakePoll): unknown =>
    (JSON.parse(poll.text ?? 'null') as { gap?: unknown }[])[0]?.gap;

  test('is told with the first event of the answer', async () => {
    const fake = new FakeHub({ replay: { events: 2, bytes: 2 ** 20 } });
    await fake.publish('a', ...xs(5));
    expect(fake.poll('a', after(1)).text).toBe(
      '{"gap":{"after":1,"before":4},"id":4,"channel":"a","data":"x"}',
    );
    expect(fake.poll('a', { kind: 'foreign' }).text).toBe(
      '{"gap":{"after":null,"before":4},"id":4,"channel":"a","data":"x"}',
    );
    expect(fake.poll('a', after(77)).text).toBe(
      '{"gap":{"after":77,"before":4},"id":4,"channel":"a","data":"x"}',
    );
    expect(gapOf(fake.poll('a', after(1), { limit: 9 }))).toEqual({ after: 1, before: 4 });
    expect(fake.poll('a', after(3)).text).toBe('{"id":4,"channel":"a","data":"x"}');
    expect(fake.poll('a', OLDEST).text).toBe('{"id":4,"channel":"a","data":"x"}');
    expect(fake.counters).toMatchObject({ gaps_total: 4, gaps_at_join_total: 4 });
  });

  test('on several channels reaches past all that is lost, though another one holds older events', async () => {
    const fake = new FakeHub();
    await fake.publish('a', 'one', 'two');
    await fake.publish('b', 'three');
    fake.hub.dropChannel('b');
    await fake.publish('b', 'four');
    const all = fake.poll('a,b', after(1), { limit: 9 });
    expect(gapOf(all)).toEqual({ after: 1, before: 4 });
    expect(idsIn(all)).toEqual([2, 4]);
    const first = fake.poll('a,b', after(1));
    expect(first.text).toBe('{"gap":{"after":1,"before":4},"id":2,"channel":"a","data":"two"}');
    // Again until the position is past it: that is an id, and cannot say what was told.
    const second = fake.poll('a,b', after(2));
    expect(second.text).toBe('{"gap":{"after":2,"before":4},"id":4,"channel":"b","data":"four"}');
    expect(fake.poll('a,b', after(4)).text).toBeUndefined();
  });

  test.each<[string, number, Position]>([
    ['a position from before what is held', 1, after(1)],
    ['a position of no log', 1, { kind: 'foreign' }],
    ['a position that no log here has given', 1, after(2000)],
    ['a position from before the log', 1000, after(1)],
    ['a position of no log', 1000, { kind: 'foreign' }],
    ['a position that no log here has given', 1000, after(2000)],
  ])(
    'that nothing can be told with is owed on, over empty answers: %s, first id %i',
    async (_what, firstId, position) => {
      const fake = new FakeHub({}, 0, firstId);
      await fake.publish('a', ...xs(3));
      fake.hub.dropChannel('a');
      for (const waitMs of [0, WAIT_MS]) {
        let poll = fake.poll('a', position, { waitMs });
        await fake.clock.run(waitMs);
        for (let again = 0; again < 3; again++) {
          expect(poll.answer).toMatchObject({ body: undefined });
          poll = fake.poll('a', after(poll.answer!.position), { waitMs });
          // The log passes a position that was ahead of it.
          await fake.publish('b', ...xs(400));
          await fake.clock.run(waitMs);
        }
        expect(poll.answer).toMatchObject({ body: undefined });
        poll = fake.poll('a', after(poll.answer!.position), { waitMs: WAIT_MS });
        const { ids: next } = await fake.publish('a', 'x');
        await fake.settle();
        expect(JSON.parse(poll.text!)).toMatchObject({ gap: { before: next[0] }, id: next[0] });
        fake.hub.dropChannel('a');
      }
    },
  );

  test('is not told where a log from the first id on has lost nothing', async () => {
    const fake = new FakeHub();
    const poll = fake.poll('a', { kind: 'foreign' });
    await fake.publish('a', ...xs(2));
    expect(idsIn(fake.poll('a', after(poll.answer!.position), { limit: 9 }))).toEqual(ids(1, 2));
  });

  test('that was owed is not told to the next who has its handle', async () => {
    const fake = new FakeHub();
    await fake.publish('a', ...xs(3));
    fake.hub.dropChannel('a');
    for (const end of [
      (poll: FakePoll) => Promise.resolve(fake.abort(poll)),
      () => fake.clock.run(WAIT_MS + 50),
    ]) {
      await end(wait(fake, 'a', after(1)));
      const next = wait(fake, 'b');
      await fake.publish('b', 'x');
      await fake.settle();
      expect(next.text).not.toContain('gap');
    }
  });
});
