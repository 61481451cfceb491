/**
 * Ends that are not the client's doing: at a time, for age, and at once. Nothing that was owed is
 * lost, nobody who is revoked is given more, and the loop is held by none of it.
 */
import { describe, expect, test } from 'vitest';
import { NOBODY, type Owner } from '../src/core/owners.js';
import { LIVE } from '../src/core/position.js';
import { ENDS, type CloseReason } from '../src/errors.js';
import {
  DELETED_ENDS_PER_TURN_MAX,
  END_RETRY_MS_MIN,
  LATE_END_SECONDS_MAX,
  LATE_EXPIRED_SECONDS_MAX,
} from '../src/limits.js';
import { FakeHub, ids, idsOf, type FakeLine } from './support/fake-hub.js';

const MODES = ['sse', 'sse-env', 'ndjson', 'websocket'] as const;

/** The end event in a mode, as a pattern; `retry` is told first where the client may come back. */
function endOf(mode: (typeof MODES)[number], code: keyof typeof ENDS): RegExp {
  const { reconnect } = ENDS[code];
  const body = `{"code":"${code}","reconnect":${reconnect}}`;
  return mode.startsWith('sse')
    ? new RegExp(`\\n\\n${reconnect ? 'retry: (\\d+)\\n' : ''}event: end\\ndata: ${body}\\n\\n$`)
    : new RegExp(`(?:^|\\n)\\{"end":${body}\\}\\n$`);
}

function ending(fake: FakeHub, ms: number, endsWith: Owner['endsWith'] = 'expired'): Owner {
  return { ...NOBODY, endsAtMs: fake.clock.wallMs() + ms, endsWith };
}

const ofUser = (user: string): Owner => ({ ...NOBODY, user });

/** Time passes in steps of 10 ms, the lines reading on. */
async function pass(fake: FakeHub, ms: number, ...lines: FakeLine[]): Promise<void> {
  for (let passed = 0; passed < ms; passed += 10) {
    await fake.clock.turn(10);
    for (const line of lines) fake.read(line);
  }
}

describe('a line whose credential expires', () => {
  test.each(
    MODES.flatMap((mode) =>
      (['expired', 'ticket-expired'] as const).map((code) => [mode, code] as const),
    ),
  )(
    'on %s is ended with %s in the second that follows, after all that was published before',
    async (mode, code) => {
      const fake = new FakeHub();
      const line = fake.join('c', LIVE, Infinity, mode, ending(fake, 3_000, code));
      const other = fake.join('c', LIVE, Infinity, mode);
      for (let i = 0; i < 29; i++) {
        await fake.publish('c', `event ${i}`);
        await pass(fake, 100, line, other);
      }
      expect(line.socket.ended, 'not before its time').toBe(false);
      await fake.publish('c', 'the last');
      await pass(fake, 1_500, line, other);
      expect([line.socket.endCode, other.socket.ended]).toEqual([code, false]);
      expect(idsOf(line.text)).toEqual(ids(1, 30));
      const [, retry] = endOf(mode, code).exec(line.text) ?? expect.fail(line.text.slice(-200));
      if (retry !== undefined) expect(Number(retry)).toBeLessThanOrEqual(500);
      expect(fake.counters).toMatchObject({ lines_ended_total: 1, lines_closed_total: 1 });
      expect(fake.counters.closed[code]).toBe(1);
    },
  );

  test('is ended at once when it has expired before it opened', async () => {
    const fake = new FakeHub();
    const line = fake.join('c', LIVE, Infinity, 'sse', ending(fake, -60_000));
    await pass(fake, 1_100);
    expect(line.socket.endCode).toBe('expired');
  });

  test('and that polls is answered empty, at the position where nothing is missing', async () => {
    const fake = new FakeHub();
    await fake.publish('c', 'before');
    await pass(fake, 100);
    const poll = fake.poll('c', LIVE, { waitMs: 60_000, owner: ending(fake, 2_000) });
    await pass(fake, 1_500);
    expect(poll.answer).toBeUndefined();
    await pass(fake, 1_500);
    expect(poll.answer).toEqual({ body: undefined, position: 1 });
    expect(fake.counters.closed.expired).toBe(1);
    expect(fake.hub.lines.open).toBe(0);
  });

  test('and that takes no bytes is ended a second later', async () => {
    const fake = new FakeHub();
    const line = fake.join('c', LIVE, 500, 'sse', ending(fake, 2_000));
    for (let i = 0; i < 5; i++) {
      await fake.publish('c', 'x'.repeat(1_000));
      await pass(fake, 10);
    }
    expect(fake.hub.figures.gauges.linesStalled).toBe(1);
    await pass(fake, 1_950 + 1_000 * LATE_EXPIRED_SECONDS_MAX);
    expect(line.socket.ended).toBe(false);
    await pass(fake, 1_100);
    expect(line.socket.endCode).toBe('expired');
  });
});

describe('a line that ages', () => {
  test('is ended in the last fifth of its time, and those that opened together spread over it', async () => {
    const fake = new FakeHub({ maxAgeMs: 60_000 });
    const lines = Array.from({ length: 1_200 }, () => fake.join('c'));
    const poll = fake.poll('c', LIVE, { waitMs: 60_000 });
    const openBySecond: number[] = [];
    for (let second = 1; second <= 62; second++) {
      for (let i = 0; i < 10; i++) await fake.clock.turn(100);
      openBySecond.push(fake.hub.figures.gauges.linesByTransport.sse);
    }
    expect(openBySecond[46]).toBe(1_200);
    expect(openBySecond.at(-1)).toBe(0);
    const ended = openBySecond.map((open, i) => (openBySecond[i - 1] ?? 1_200) - open);
    // 100 a second are even.
    expect(Math.max(...ended)).toBeLessThan(200);
    expect(lines.every(({ socket }) => socket.endCode === 'aged')).toBe(true);
    expect(fake.counters.closed).toMatchObject({ aged: 1_200, answered: 1 });
    expect(poll.answer, 'a poll waits its time').toBeDefined();
  });

  test('is ended for its credential where that expires earlier', async () => {
    const fake = new FakeHub({ maxAgeMs: 10_000 });
    const early = fake.join('c', LIVE, Infinity, 'sse', ending(fake, 5_000));
    const late = fake.join('c', LIVE, Infinity, 'sse', ending(fake, 15_000));
    await pass(fake, 12_000);
    expect([early.socket.endCode, late.socket.endCode]).toEqual(['expired', 'aged']);
  });

  test('and has stalled is ended after it has caught up', async () => {
    const fake = new FakeHub({ maxAgeMs: 5_000 });
    const line = fake.join('c', LIVE, 500);
    for (let i = 0; i < 50; i++) await fake.publish('c', 'x'.repeat(1_000));
    await pass(fake, 1_000 * (4 + LATE_END_SECONDS_MAX));
    expect([line.socket.ended, fake.hub.figures.gauges.linesStalled]).toEqual([false, 1]);
    await pass(fake, 2_000, line);
    expect(line.socket.endCode).toBe('aged');
    expect(idsOf(line.text)).toEqual(ids(1, 50));
  });

  test('and never reads is ended all the same, and misses nothing when it comes back', async () => {
    const fake = new FakeHub({ maxAgeMs: 5_000 });
    const line = fake.join('c', LIVE, 500);
    for (let i = 0; i < 50; i++) await fake.publish('c', 'x'.repeat(1_000));
    await pass(fake, 1_000 * (6 + LATE_END_SECONDS_MAX));
    expect(line.socket.endCode).toBe('aged');
    for (let i = 0; i < 200; i++) fake.read(line);
    const last = idsOf(line.text).at(-1) as number;
    expect(last).toBeLessThan(50);
    const again = fake.join('c', { kind: 'after', id: last });
    await pass(fake, 1_000, again);
    expect(idsOf(line.text + again.text)).toEqual(ids(1, 50));
  });

  test.each([0, undefined])('does so only where a time is set (%s)', async (maxAgeMs) => {
    const fake = new FakeHub(maxAgeMs === undefined ? {} : { maxAgeMs });
    const line = fake.join('c');
    expect(fake.clock.timerCount, 'the heartbeat').toBe(1);
    await fake.clock.turn(400 * 24 * 3_600_000);
    await pass(fake, 2_000);
    expect(line.socket.ended).toBe(false);
  });

  test('in a month, longer than a timer of Node', async () => {
    const fake = new FakeHub({ maxAgeMs: 30 * 24 * 3_600_000, heartbeatMs: 600_000 });
    const line = fake.join('c');
    for (let hour = 0; hour < 23 * 24; hour++) await fake.clock.turn(3_600_000);
    expect(line.socket.ended).toBe(false);
    for (let hour = 0; hour < 7 * 24 + 2; hour++) await fake.clock.turn(3_600_000);
    expect(line.socket.endCode).toBe('aged');
  });
});

describe('to disconnect', () => {
  test.each(MODES)('a user ends every line of his on %s, and nobody else’s', async (mode) => {
    const fake = new FakeHub();
    const reasons: [number, CloseReason][] = [];
    fake.hub.onLeave = ({ id }, reason) => reasons.push([id, reason]);
    const lines = ['ada', 'bob', 'ada'].map((user) =>
      fake.join('c', LIVE, Infinity, mode, ofUser(user)),
    );
    const nobody = fake.join('c', LIVE, Infinity, mode);
    expect(fake.hub.owners.linesOfUser('ada')).toBe(2);
    expect(fake.hub.disconnect({ user: 'ada' }, 'disconnected')).toBe(2);
    await fake.settle(...lines, nobody);
    expect(lines.map(({ socket }) => socket.endCode)).toEqual([
      'disconnected',
      undefined,
      'disconnected',
    ]);
    expect(lines[0]!.text).toMatch(endOf(mode, 'disconnected'));
    expect(reasons).toEqual([
      [1, 'disconnected'],
      [3, 'disconnected'],
    ]);
    expect([fake.hub.owners.linesOfUser('ada'), fake.hub.lines.open]).toEqual([0, 2]);
    expect(fake.hub.disconnect({ user: 'ada' }, 'disconnected')).toBe(0);
  });

  test('an id ends one, a channel all that are on it, polls among them', async () => {
    const fake = new FakeHub();
    const lines = ['a', 'b', 'a,b', 'a,c'].map((path) => fake.join(path));
    const poll = fake.poll('b', LIVE, { waitMs: 60_000 });
    const id = fake.hub.owners.idOf(lines[3]!.handle);
    expect(fake.hub.disconnect({ id }, 'disconnected')).toBe(1);
    await fake.settle(...lines);
    expect(lines.map(({ socket }) => socket.ended)).toEqual([false, false, false, true]);
    expect(fake.hub.disconnect({ channel: 'b' }, 'disconnected')).toBe(3);
    await fake.settle(...lines);
    expect(lines.map(({ socket }) => socket.ended)).toEqual([false, true, true, true]);
    expect(poll.answer?.body).toBeUndefined();
    expect(poll.answer).toBeDefined();
    for (const which of [{ id }, { id: 99 }, { channel: 'nobody' }, { user: 'nobody' }])
      expect(fake.hub.disconnect(which, 'disconnected')).toBe(0);
  });

  test('a line with events to come ends it, and it finds them when it comes back', async () => {
    const fake = new FakeHub();
    const line = fake.join('c');
    await fake.publish('c', 'one');
    fake.hub.disconnect({ channel: 'c' }, 'disconnected');
    await fake.publish('c', 'two');
    await fake.settle(line);
    const given = idsOf(line.text);
    const again = fake.join('c', { kind: 'after', id: given.at(-1) ?? 0 });
    await fake.settle(again);
    expect([...given, ...idsOf(again.text)]).toEqual([1, 2]);
  });
});

describe('a user who is revoked', () => {
  test.each(MODES)(
    'is given nothing more on %s, though a thousand lines take their time',
    async (mode) => {
      const fake = new FakeHub({}, 0.02);
      const lines = Array.from({ length: 1_000 }, () =>
        fake.join('c', LIVE, Infinity, mode, ofUser('eve')),
      );
      const ada = fake.join('c', LIVE, Infinity, mode, ofUser('ada'));
      await fake.publish('c', 'for both');
      await fake.settle(ada);
      expect(fake.hub.disconnect({ user: 'eve' }, 'revoked')).toBe(1_000);
      const { id } = { id: (await fake.publish('c', 'for ada')).ids[0] as number };
      await fake.clock.turn(1);
      expect(fake.hub.lines.open, 'they are ended in several turns').toBeGreaterThan(500);
      await fake.publish('c', 'for ada, too');
      await fake.settle(ada);
      expect(fake.hub.lines.open).toBe(1);
      expect(idsOf(fake.read(ada))).toEqual([1, id, 3]);
      for (const line of lines) {
        expect(idsOf(fake.read(line))).toEqual([1]);
        expect(line.socket.endCode).toBe('revoked');
      }
      expect(lines[0]!.text).toMatch(endOf(mode, 'revoked'));
    },
  );

  test('and polls is answered empty at his own position, whatever came meanwhile', async () => {
    const fake = new FakeHub();
    const polls = Array.from({ length: 50 }, () =>
      fake.poll('c', LIVE, { waitMs: 60_000, owner: ofUser('eve') }),
    );
    // An answer takes a while, so that they are ended in several turns; the event comes between.
    for (const poll of polls) poll.onAnswer = () => fake.clock.pass(0.2);
    expect(fake.hub.disconnect({ user: 'eve' }, 'revoked')).toBe(50);
    await fake.publish('c', 'secret');
    await fake.settle();
    for (const poll of polls) expect(poll.answer?.body).toBeUndefined();
    for (const poll of polls)
      expect(poll.answer?.position, 'where the secret is not behind it').toBe(0);
    expect(fake.counters.closed.revoked).toBe(50);
  });

  test('and polls is answered empty also when the time of his poll is over before its end', async () => {
    const fake = new FakeHub();
    const poll = fake.poll('c', LIVE, { waitMs: 1_000, owner: ofUser('eve') });
    fake.hub.disconnect({ user: 'eve' }, 'revoked');
    await fake.publish('c', 'secret');
    fake.clock.pass(1_100);
    fake.clock.runTimers();
    expect(poll.answer).toEqual({ body: undefined, position: 0 });
    await fake.settle();
    expect(fake.counters).toMatchObject({ polls_answered_total: 0, polls_empty_total: 1 });
    expect(fake.counters.closed.revoked).toBe(1);
  });

  test('and polls a channel that is deleted meanwhile is given nothing of what follows', async () => {
    const fake = new FakeHub();
    const count = 2 * DELETED_ENDS_PER_TURN_MAX;
    const polls = Array.from({ length: count }, () =>
      fake.poll('c', LIVE, { waitMs: 1_000, owner: ofUser('eve') }),
    );
    await fake.hub.deleteChannel('c');
    fake.hub.disconnect({ user: 'eve' }, 'revoked');
    fake.clock.runSoon();
    expect(fake.hub.lines.open, 'they are ended in several turns').toBeGreaterThan(0);
    await fake.publish('c', 'secret');
    fake.clock.pass(1_100);
    fake.clock.runTimers();
    await fake.settle();
    for (const poll of polls) expect(poll.answer).toEqual({ body: undefined, position: 1 });
  });

  test('stays revoked when he is disconnected, too', async () => {
    const fake = new FakeHub();
    const line = fake.join('c', LIVE, Infinity, 'sse', ofUser('eve'));
    fake.hub.disconnect({ user: 'eve' }, 'revoked');
    fake.hub.disconnect({ channel: 'c' }, 'disconnected');
    await fake.settle(line);
    expect(line.socket.endCode).toBe('revoked');
  });

  test('and has stalled is ended without the backlog of the ring', async () => {
    const fake = new FakeHub();
    const line = fake.join('c', LIVE, 500, 'sse', ofUser('eve'));
    for (let i = 0; i < 50; i++) await fake.publish('c', 'x'.repeat(1_000));
    await pass(fake, 100);
    fake.hub.disconnect({ user: 'eve' }, 'revoked');
    const written = line.socket.writes;
    await pass(fake, 100, line);
    expect([line.socket.endCode, line.socket.writes]).toEqual(['revoked', written]);
  });
});

test('15,000 lines of a channel are ended in slices of 2 ms, and told to come back over seconds', async () => {
  const fake = new FakeHub({}, 0.02);
  const lines = Array.from({ length: 15_000 }, () => fake.join('c'));
  await fake.settle();
  expect(fake.hub.disconnect({ channel: 'c' }, 'disconnected')).toBe(15_000);
  let longestMs = 0;
  for (let turns = 0; fake.hub.lines.open > 0 && turns < 1_000; turns++) {
    const startedMs = fake.clock.nowMs();
    await fake.clock.turn(0);
    longestMs = Math.max(longestMs, fake.clock.nowMs() - startedMs);
  }
  expect(fake.hub.lines.open).toBe(0);
  expect(longestMs).toBeLessThan(5);
  const retries = lines.map((line) =>
    Number(/retry: (\d+)\nevent: end/.exec(fake.read(line))?.[1]),
  );
  expect(Math.min(...retries)).toBeGreaterThanOrEqual(END_RETRY_MS_MIN);
  // 15,000 at 10,000 a second, twice as wide.
  expect(Math.max(...retries)).toBeGreaterThan(2_500);
  expect(Math.max(...retries)).toBeLessThanOrEqual(3_100);
});

test('15,000 lines that expire in one second leave most of the loop to others', async () => {
  const fake = new FakeHub({}, 0.02);
  const owner = ending(fake, 2_000);
  for (let i = 0; i < 15_000; i++) fake.join('c', LIVE, Infinity, 'sse', owner);
  let busyMs = 0;
  let longestMs = 0;
  let sinceMs = 0;
  for (let turns = 0; fake.hub.lines.open > 0 && turns < 10_000; turns++) {
    const startedMs = fake.clock.nowMs();
    await fake.clock.turn(1);
    const tookMs = fake.clock.nowMs() - startedMs - 1;
    if (fake.hub.lines.open < 15_000) sinceMs += 1 + tookMs;
    busyMs += tookMs;
    longestMs = Math.max(longestMs, tookMs);
  }
  expect(fake.hub.lines.open).toBe(0);
  expect(longestMs).toBeLessThan(5);
  expect(busyMs / sinceMs).toBeLessThan(0.3);
  expect(sinceMs).toBeLessThan(5_000);
});

test('operators see whose a line is', () => {
  const fake = new FakeHub();
  fake.join('c', LIVE, Infinity, 'sse', {
    ...ofUser('ada'),
    address: '2001:db8::/64',
    shownAddress: '2001:db8::7',
  });
  fake.join('c');
  const lines = fake.hub.figures.rankLines('age', 10);
  expect(lines.map(({ id, user, address }) => [id, user, address])).toEqual([
    [1, 'ada', '2001:db8::7'],
    [2, null, null],
  ]);
});
