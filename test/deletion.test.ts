/**
 * The deletion of a channel in the hub: when it takes effect, who is ended and who stays, and what
 * comes right after it.
 */
import { describe, expect, test } from 'vitest';
import type { NewEvent } from '../src/core/event.js';
import { HoldlineError } from '../src/errors.js';
import { LIVE, type Position } from '../src/core/position.js';
import { GRACE_MS, DELETED_ENDS_PER_TURN_MAX } from '../src/limits.js';
import { Publishing } from '../src/transports/publish.js';
import { settlePromises } from './support/fake-clock.js';
import { FakeHub, ids, idsOf, type FakeLine } from './support/fake-hub.js';
import type { ModeName } from './support/fake-port.js';

const WAIT_MS = 20_000;
const OLDEST: Position = { kind: 'after', id: 0 };
const after = (id: number): Position => ({ kind: 'after', id });
/**
 * One byte of work a sweep: an event of this size fits the in-flight window, and a second one waits
 * for the sweep.
 */
const LITTLE_ROOM = { sweepWorkBytes: 1 };
const LARGE = 'x'.repeat(10_000);

/** The end on a line, by its delivery mode. */
const END: Record<ModeName, string> = {
  sse: 'event: end\ndata: {"code":"deleted","reconnect":false}\n\n',
  'sse-env': 'event: end\ndata: {"code":"deleted","reconnect":false}\n\n',
  ndjson: '{"end":{"code":"deleted","reconnect":false}}\n',
  websocket: '{"end":{"code":"deleted","reconnect":false}}\n',
};
const MODES = Object.keys(END) as ModeName[];

const codeOf = (error: unknown): string => (error as HoldlineError).code;

function isEnded(line: FakeLine, mode: ModeName = 'sse'): boolean {
  return line.socket.ended && line.socket.endCode === 'deleted' && line.text.endsWith(END[mode]);
}

describe('a deletion', () => {
  test.each(MODES)(
    'ends a line on the channel alone when it has been given everything: %s',
    async (mode) => {
      const fake = new FakeHub();
      const line = fake.join('a', LIVE, Infinity, mode);
      await fake.publish('a', 'one', 'two');
      const deleted = fake.hub.deleteChannel('a');
      await fake.settle(line);
      expect(await deleted).toEqual({ ids: [3], subscribers: 1 });
      expect(idsOf(line.text)).toEqual([1, 2]);
      expect(isEnded(line, mode)).toBe(true);
      expect(fake.hub.lines.open).toBe(0);
      expect(fake.counters).toMatchObject({
        lines_ended_total: 1,
        deletions_entered_total: 1,
        events_accepted_total: 2,
        gaps_total: 0,
      });
    },
  );

  test('that waits for room is not carried out once its credential is revoked', async () => {
    const fake = new FakeHub();
    await fake.publish('a', 'one');
    let read: (events: readonly NewEvent[]) => void = () => {};
    // While one is read, what comes behind it waits.
    const reading = fake.hub.submit('a', {
      reservation: fake.hub.reserve('a'),
      read: () => new Promise((resolve) => (read = resolve)),
    });
    let isRevoked = false;
    const checkGrant = (): void => {
      if (isRevoked) throw new HoldlineError('HOLDLINE_REVOKED', 'the user is revoked');
    };
    const publishing = new Publishing(
      { hub: fake.hub, guard: { checkGrant } } as never,
      LARGE.length,
    );
    const answers: string[] = [];
    const exchange = { watch() {}, gone: false, answerJson: (text: string) => answers.push(text) };
    const deleted = publishing.delete(exchange as never, 'a', {} as never).catch(codeOf);
    await settlePromises();
    isRevoked = true;
    read([{ channel: 'a', type: undefined, data: Buffer.from('two'), json: false }]);
    await reading;
    await fake.settle();
    expect([await deleted, answers]).toEqual(['HOLDLINE_REVOKED', []]);
    const later = fake.join('a', OLDEST);
    await fake.settle(later);
    expect(idsOf(later.text)).toEqual([1, 2]);
  });

  test('has an id among those of the events, and is no event', async () => {
    const fake = new FakeHub();
    const line = fake.join('a,b');
    const asked = [fake.publish('a', 'x'), fake.hub.deleteChannel('a'), fake.publish('a', 'y')];
    await fake.settle(line);
    expect((await Promise.all(asked)).map((published) => published.ids)).toEqual([[1], [2], [3]]);
    expect(idsOf(line.text)).toEqual([1, 3]);
    expect(fake.hub.head).toBe(3);
  });

  test('of a channel that nobody knows is one, too', async () => {
    const fake = new FakeHub();
    expect(await fake.hub.deleteChannel('a')).toEqual({ ids: [1], subscribers: 0 });
    expect(fake.hub.isDeleted(['a'])).toBe(true);
    expect(await fake.hub.deleteChannel('a')).toEqual({ ids: [2], subscribers: 0 });
    expect(fake.counters.deletions_entered_total).toBe(2);
  });

  test('waits until healthy lines have been given what was published before, by whatever group they are on', async () => {
    // 5 ms a cork and 30 lines on four groups: a sweep of all of them takes many turns.
    const fake = new FakeHub(LITTLE_ROOM, 5);
    const lines = MODES.flatMap((mode) =>
      Array.from({ length: 5 }, () => fake.join('a', LIVE, Infinity, mode)),
    );
    const several = Array.from({ length: 10 }, () => fake.join('a,b'));
    const batch = fake.publish('a', LARGE, LARGE, LARGE);
    const deleted = fake.hub.deleteChannel('a');
    await settlePromises();
    expect(fake.counters.deletions_entered_total).toBe(0);
    expect(fake.hub.isDeleted(['a'])).toBe(false);
    await fake.settle(...lines, ...several);
    expect((await batch).ids).toEqual([1, 2, 3]);
    expect((await deleted).ids).toEqual([4]);
    for (const line of [...lines, ...several]) expect(idsOf(line.text)).toEqual([1, 2, 3]);
    for (const [i, line] of lines.entries())
      expect(isEnded(line, MODES[Math.floor(i / 5)])).toBe(true);
    expect(several.some((line) => line.socket.ended)).toBe(false);
    expect(fake.counters.gaps_total).toBe(0);
  });

  test('is not held up by a flush interval', async () => {
    const fake = new FakeHub({ flushIntervalMs: 10_000 });
    const line = fake.join('a');
    await fake.publish('a', 'x');
    void fake.hub.deleteChannel('a');
    await fake.clock.run(20);
    fake.read(line);
    expect(idsOf(line.text)).toEqual([1]);
    expect(isEnded(line)).toBe(true);
  });

  test('is not held up by lines that are stalled or still catching up, and ends them as well', async () => {
    const fake = new FakeHub();
    const stalled = fake.join('a', LIVE, 1000);
    for (let i = 0; i < 5; i++) {
      await fake.publish('a', LARGE);
      await fake.clock.turn();
    }
    await fake.clock.turn(GRACE_MS);
    const late = fake.join('a', OLDEST);
    expect(fake.hub.figures.gauges.linesStalled).toBe(1);
    await fake.hub.deleteChannel('a');
    expect(fake.counters.deletions_entered_total).toBe(1);
    await fake.settle(stalled, late);
    for (const line of [stalled, late]) expect(isEnded(line)).toBe(true);
    expect(idsOf(stalled.text).length).toBeLessThan(5);
    expect(fake.hub.figures.gauges).toMatchObject({ linesOpen: 0, linesStalled: 0 });
  });

  test('is in the order of its channel’s publishes: what was accepted before is gone, what was accepted after stays', async () => {
    const fake = new FakeHub(LITTLE_ROOM);
    const line = fake.join('a,b');
    const asked = [
      fake.publish('a', LARGE, LARGE),
      fake.hub.deleteChannel('a'),
      fake.publish('a', 'after'),
      fake.hub.deleteChannel('b'),
      fake.publish('b', 'after, too'),
    ];
    await fake.settle(line);
    const [before, deleted, next, deletedOther, nextOther] = (await Promise.all(asked)).map(
      (published) => published.ids,
    );
    expect(before).toEqual([1, 2]);
    expect(deleted![0]).toBeGreaterThan(2);
    expect(deleted![0]).toBeLessThan(next![0]!);
    expect(deletedOther![0]).toBeLessThan(nextOther![0]!);
    expect(idsOf(line.text)).toEqual([
      1,
      2,
      ...[next![0]!, nextOther![0]!].toSorted((x, y) => x - y),
    ]);
    for (const [name, held] of [['a', next] as const, ['b', nextOther] as const]) {
      expect(idsOf(fake.read(fake.join(name, OLDEST)))).toEqual(held);
    }
    expect(fake.counters.gaps_total).toBe(0);
  });
});

describe('positions after a deletion', () => {
  test('before the last event are gaps; the last event’s and those after it are none', async () => {
    const fake = new FakeHub();
    await fake.publish('a', 'one', 'two', 'three');
    const { ids: deleted } = await fake.hub.deleteChannel('a');
    await fake.publish('a', 'five');
    const textFrom = (position: Position): string =>
      fake.read(fake.join('a', position, Infinity, 'ndjson'));
    const five = '{"id":5,"channel":"a","data":"five"}\n';
    expect(deleted).toEqual([4]);
    expect(textFrom(after(1))).toBe(`\n{"gap":{"after":1,"before":5}}\n${five}`);
    expect(textFrom(after(2))).toBe(`\n{"gap":{"after":2,"before":5}}\n${five}`);
    for (const position of [after(3), after(4), OLDEST, { kind: 'last', count: 9 } as const])
      expect(textFrom(position)).toBe(`\n${five}`);
    expect(fake.poll('a', after(2)).text).toBe(
      `{"gap":{"after":2,"before":5},${five.slice(1, -1)}`,
    );
    expect(fake.poll('a', after(3)).text).toBe(five.slice(0, -1));
  });

  test('on several channels are gaps where the deleted one has lost something', async () => {
    const fake = new FakeHub();
    await fake.publish('a', 'one');
    await fake.publish('b', 'two');
    await fake.publish('a', 'three');
    await fake.publish('b', 'four');
    await fake.hub.deleteChannel('a');
    const line = fake.join('a,b', after(1), Infinity, 'ndjson');
    expect(fake.read(line)).toContain('\n{"gap":{"after":1,"before":4}}\n{"id":2,');
    expect(idsOf(line.text)).toEqual([2, 4]);
    expect(fake.poll('a,b', after(3)).text).toBe('{"id":4,"channel":"b","data":"four"}');
  });

  test('it tells a line on several channels that was behind, and has lost what it was owed', async () => {
    const fake = new FakeHub();
    const line = fake.join('a,b', LIVE, 1000);
    while (fake.hub.figures.gauges.linesStalled === 0) {
      await fake.publish('a', 'x'.repeat(700));
      await fake.clock.turn();
    }
    const given = fake.hub.head;
    await fake.publish('b', 'kept');
    await fake.publish('a', 'lost');
    await fake.clock.turn(GRACE_MS);
    await fake.hub.deleteChannel('a');
    const { ids: next } = await fake.publish('a', 'next');
    await fake.settle(line);
    expect(line.text).toContain(`event: gap\ndata: {"after":${given},"before":${next[0]}}\n\n`);
    expect(idsOf(line.text)).toEqual([...ids(1, given), given + 1, next[0]]);
    expect(line.socket.ended).toBe(false);
  });
});

describe('until something is published again', () => {
  test('the channel is deleted for who asks for it alone', async () => {
    const fake = new FakeHub();
    await fake.publish('a', 'x');
    expect(fake.hub.isDeleted(['a'])).toBe(false);
    await fake.hub.deleteChannel('a');
    expect(fake.hub.isDeleted(['a'])).toBe(true);
    expect(fake.hub.isDeleted(['a', 'b'])).toBe(false);
    expect(fake.hub.isDeleted(['b'])).toBe(false);
    await fake.publish('a', 'x');
    expect(fake.hub.isDeleted(['a'])).toBe(false);
  });

  test('its row stays, whoever comes and goes', async () => {
    const fake = new FakeHub();
    await fake.hub.deleteChannel('a');
    fake.leave(fake.join('a', LIVE, Infinity, 'ndjson'));
    fake.abort(fake.poll('a', LIVE, { waitMs: WAIT_MS }));
    expect(fake.hub.isDeleted(['a'])).toBe(true);
  });
});

describe('many lines of a deleted channel', () => {
  const MANY = 3 * DELETED_ENDS_PER_TURN_MAX + 7;

  test('are ended a few in a turn, also those that come back are not; all are counted until they have ended', async () => {
    const fake = new FakeHub();
    const lines = Array.from({ length: MANY }, (_, i) =>
      fake.join('a', LIVE, Infinity, MODES[i % 4]),
    );
    const quiet = fake.join('b');
    const before = fake.hub.figures.gauges.linesByTransport;
    await fake.hub.deleteChannel('a');
    expect(fake.hub.figures.gauges, 'nobody is ended in the turn of the publisher').toMatchObject({
      linesOpen: MANY + 1,
      linesByTransport: before,
    });
    const back: FakeLine[] = [];
    for (let ended = 0; ended < MANY;) {
      await fake.clock.turn();
      const now = lines.filter((line) => line.socket.ended).length;
      expect(now - ended).toBeGreaterThan(0);
      expect(now - ended).toBeLessThanOrEqual(DELETED_ENDS_PER_TURN_MAX);
      ended = now;
      back.push(fake.join('a', LIVE, Infinity, 'ndjson'));
      expect(fake.hub.lines.open).toBe(MANY - ended + 1 + back.length);
      const { linesByTransport, linesOpen } = fake.hub.figures.gauges;
      expect(Object.values(linesByTransport).reduce((sum, count) => sum + count, 0)).toBe(
        linesOpen,
      );
    }
    const { ids: next, subscribers } = await fake.publish('a', 'x');
    expect(subscribers).toBe(back.length);
    await fake.settle(...back, quiet, ...lines);
    for (const line of back) expect(idsOf(line.text)).toEqual(next);
    for (const line of lines) expect(idsOf(line.text)).toEqual([]);
    expect(quiet.socket.ended).toBe(false);
  });

  test('are no more in a turn when many channels are deleted, before the first ones are done as well', async () => {
    const fake = new FakeHub();
    const names = Array.from({ length: 6 }, (_, i) => `c${i}`);
    const lines = names.flatMap((name) => Array.from({ length: MANY }, () => fake.join(name)));
    await fake.clock.turn();
    for (const name of names.slice(0, 3)) void fake.hub.deleteChannel(name);
    for (let ended = 0, turns = 0; ended < lines.length; turns++) {
      if (turns < 6) void fake.hub.deleteChannel(names[turns % names.length] as string);
      await fake.clock.turn();
      const now = lines.filter((line) => line.socket.ended).length;
      expect(now - ended).toBeGreaterThan(0);
      expect(now - ended).toBeLessThanOrEqual(DELETED_ENDS_PER_TURN_MAX);
      ended = now;
    }
  });

  test('are given nothing that is published while they are being ended; who comes back is, with no gap', async () => {
    const fake = new FakeHub();
    const lines = Array.from({ length: MANY }, () => fake.join('a'));
    await fake.publish('a', 'x');
    const asked = Promise.all([fake.hub.deleteChannel('a'), fake.publish('a', 'y')]);
    while (fake.counters.deletions_entered_total === 0) await fake.clock.turn();
    expect((await asked).map((published) => published.ids)).toEqual([[2], [3]]);
    expect(fake.hub.lines.open).toBe(MANY);
    const back = fake.join('a', after(1));
    await fake.clock.turn();
    const { ids: third } = await fake.publish('a', 'z');
    await fake.settle(...lines, back);
    for (const line of lines) {
      expect(idsOf(line.text)).toEqual([1]);
      expect(isEnded(line)).toBe(true);
    }
    expect(idsOf(back.text)).toEqual([3, ...third]);
    expect(fake.counters.gaps_total).toBe(0);
  });

  test('may leave, stall and drain while they are being ended', async () => {
    const fake = new FakeHub();
    const lines = Array.from({ length: MANY }, () => fake.join('a', LIVE, 300));
    for (let i = 0; i < 3; i++) {
      await fake.publish('a', 'x'.repeat(200));
      await fake.clock.turn();
    }
    expect(fake.hub.figures.gauges.linesStalled).toBe(MANY);
    await fake.hub.deleteChannel('a');
    for (const line of lines.slice(0, 50)) fake.leave(line);
    await fake.clock.turn();
    for (const line of lines.slice(50)) fake.read(line);
    expect(fake.hub.isSettled || !fake.clock.isIdle).toBe(true);
    await fake.settle(...lines.slice(50));
    expect(lines.slice(50).every((line) => line.socket.ended)).toBe(true);
    expect([fake.hub.lines.open, fake.hub.figures.gauges.linesStalled, fake.hub.isSettled]).toEqual(
      [0, 0, true],
    );
    expect(fake.counters.lines_opened_total).toBe(fake.counters.lines_closed_total);
  });

  test('of two deletions, one right after the other, all end once', async () => {
    const fake = new FakeHub();
    const first = Array.from({ length: MANY }, () => fake.join('a'));
    void fake.hub.deleteChannel('a');
    const second = Array.from({ length: MANY }, () => fake.join('a'));
    const other = fake.join('b');
    await fake.publish('a', 'x');
    void fake.hub.deleteChannel('b');
    void fake.hub.deleteChannel('a');
    await fake.settle(...first, ...second, other);
    for (const line of first) expect(idsOf(line.text)).toEqual([]);
    for (const line of second) expect(idsOf(line.text)).toEqual([2]);
    for (const line of [...first, ...second, other]) expect(isEnded(line)).toBe(true);
    expect(fake.counters.lines_ended_total).toBe(2 * MANY + 1);
    expect(fake.hub.lines.open).toBe(0);
  });
});

describe('polls that wait on a deleted channel', () => {
  test('alone are answered empty with a position from which nothing is missed, however many they are', async () => {
    const fake = new FakeHub();
    const polls = Array.from({ length: 300 }, () => fake.poll('a', LIVE, { waitMs: WAIT_MS }));
    const [deletion, next] = await Promise.all([
      fake.hub.deleteChannel('a'),
      fake.publish('a', 'x'),
    ]);
    await fake.settle();
    expect(deletion.ids[0]).toBe(1);
    for (const { answer } of polls) {
      expect(answer?.body).toBeUndefined();
      expect(fake.poll('a', after(answer!.position)).answer?.position).toBe(next.ids[0]);
    }
    expect(fake.hub.lines.open).toBe(0);
    expect(fake.counters).toMatchObject({ polls_empty_total: 300, gaps_total: 0 });
    await fake.clock.run(WAIT_MS);
    expect(fake.clock.timerCount, 'no deadline is left behind').toBe(1);
  });

  test('and on others wait on, and what comes is no gap', async () => {
    const fake = new FakeHub();
    await fake.publish('a', 'one', 'two', 'three');
    const poll = fake.poll('a,b', LIVE, { waitMs: WAIT_MS });
    await fake.hub.deleteChannel('a');
    await fake.settle();
    expect(poll.answer).toBeUndefined();
    await fake.publish('a', 'x');
    await fake.settle();
    expect(poll.text).toBe('{"id":5,"channel":"a","data":"x"}');
  });

  test('may wait on it again at once, and are answered with what is published next', async () => {
    const fake = new FakeHub();
    await fake.hub.deleteChannel('a');
    const poll = fake.poll('a', LIVE, { waitMs: WAIT_MS });
    expect(poll.answer).toBeUndefined();
    const { ids: next } = await fake.publish('a', 'x');
    await fake.settle();
    expect(poll.answer?.position).toBe(next[0]);
  });
});

describe('publishers', () => {
  test('that waited for room behind a deletion are let in', async () => {
    const fake = new FakeHub(LITTLE_ROOM);
    const line = fake.join('a');
    const events = (text: string): NewEvent[] => [
      { channel: 'a', type: undefined, data: Buffer.from(text), json: false },
    ];
    const answered: string[] = [];
    const note = (name: string, promise: Promise<unknown>): void =>
      void promise.then(() => answered.push(name));
    for (const name of ['one', 'two', 'three']) note(name, fake.hub.publish('a', events(LARGE)));
    note('deletion', fake.hub.deleteChannel('a'));
    for (const name of ['four', 'five']) note(name, fake.hub.publish('a', events(LARGE)));
    await fake.settle(line);
    expect(answered).toEqual(['one', 'two', 'three', 'deletion', 'four', 'five']);
    expect(idsOf(line.text)).toEqual([1, 2, 3]);
    expect(isEnded(line)).toBe(true);
    expect(fake.hub.figures.gauges).toMatchObject({ queueEvents: 0, waitingPublishers: 0 });
  });

  test('of other channels are not held up by a deletion that waits for its lines', async () => {
    const fake = new FakeHub();
    const line = fake.join('a');
    await fake.publish('a', 'x');
    const deleted = fake.hub.deleteChannel('a');
    expect((await deleted).ids, 'it is committed, and waits for its lines').toEqual([2]);
    expect(fake.counters.deletions_entered_total).toBe(0);
    expect((await fake.publish('b', 'y')).ids).toEqual([3]);
    expect(fake.counters.events_entered_total).toBe(2);
    await fake.settle(line);
    expect(fake.counters.deletions_entered_total).toBe(1);
  });
});
