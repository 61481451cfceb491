/** Figures of several workers as one: JSON, metrics, subscribers, owners. */
import { expect, test } from 'vitest';
import { SYSTEM_CLOCK } from '../src/clock.js';
import { withRatio } from '../src/core/channel-compression.js';
import type { Channel } from '../src/core/channel.js';
import { detailsOf, listChannels, recentEventsOf } from '../src/core/channel-listing.js';
import { Channels } from '../src/core/channels.js';
import { Elsewhere } from '../src/core/elsewhere.js';
import { RateWindows } from '../src/core/event-rates.js';
import type { Group } from '../src/core/group.js';
import { Histogram } from '../src/core/histogram.js';
import { Owners } from '../src/core/owners.js';
import { Subscribers } from '../src/core/subscribers.js';
import { makeCounters } from '../src/counters.js';
import { Query } from '../src/http/query.js';
import { checkChannelName } from '../src/http/request.js';
import { GONE_CHANNELS_MAX, LISTED_OVER_WORKERS_MAX } from '../src/limits.js';
import type { OpsPage } from '../src/ops/page.js';
import { channelOfAll, idOfAll, idWithin, pagesOfAll } from '../src/workers/all-pages.js';
import { GoneFigures, ownFigures } from '../src/workers/gone-figures.js';
import { countersOf, sumMetrics, withGone } from '../src/workers/metric-sums.js';
import { answersOf } from '../src/workers/questions.js';
import { isOwnerKey, OwnerCounts, ownerListener } from '../src/workers/owner-counts.js';
import { plus, sumOf } from '../src/workers/sums.js';
import type { Question } from '../src/workers/talk.js';
import { Random } from './support/random.js';

test('numbers add up, or count once by their path; null is nothing', () => {
  const rules = { head: 'max', 'sockets.options': 'first', delay: 'max' } as const;
  const one = {
    head: 5,
    draining: false,
    lines: { open: 2, by: { sse: 2 } },
    sockets: { open: 1, options: { size: 7 } },
    delay: { p50: 1, p99: 9 },
    budget: null,
    problems: ['a'],
    name: 'x',
  };
  const other = {
    head: 3,
    draining: true,
    lines: { open: 3, by: { sse: 1, poll: 2 } },
    sockets: { open: 4, options: { size: 7 } },
    delay: { p50: 4, p99: 2 },
    budget: { bytes: 4 },
    problems: ['b'],
    name: 'y',
  };
  expect(sumOf([one, other], rules)).toEqual({
    head: 5,
    draining: true,
    lines: { open: 5, by: { sse: 3, poll: 2 } },
    sockets: { open: 5, options: { size: 7 } },
    delay: { p50: 4, p99: 9 },
    budget: { bytes: 4 },
    problems: ['a'],
    name: 'x',
  });
  expect(sumOf([null, null])).toBeNull();
});

function text(samples: Record<string, number>, types: Record<string, string>): string {
  const families = Object.entries(types).map(([name, type]) => {
    const own = Object.entries(samples).filter(([sample]) => sample.startsWith(name));
    const lines = own.map(([sample, value]) => `${sample} ${value}\n`).join('');
    return `# HELP ${name} what "it" is\n# TYPE ${name} ${type}\n${lines}`;
  });
  return families.join('\n');
}

test('metrics add up; those that are the same for all, or say how one is, do not', () => {
  const types = {
    holdline_writes_total: 'counter',
    holdline_head_id: 'gauge',
    holdline_log_up: 'gauge',
    holdline_delivery_seconds: 'histogram',
    holdline_channel_lines: 'gauge',
  };
  const one = text(
    {
      holdline_writes_total: 3,
      holdline_head_id: 9,
      holdline_log_up: 1,
      'holdline_delivery_seconds_bucket{le="+Inf"}': 2,
      holdline_delivery_seconds_sum: 0.5,
      'holdline_channel_lines{channel="a"}': 4,
      'holdline_channel_lines{channel="b"}': 1,
    },
    types,
  );
  const other = text(
    {
      holdline_writes_total: 4,
      holdline_head_id: 8,
      holdline_log_up: 0,
      'holdline_delivery_seconds_bucket{le="+Inf"}': 5,
      holdline_delivery_seconds_sum: 0.25,
      'holdline_channel_lines{channel="a"}': 1,
      'holdline_channel_lines{channel="c"}': 2,
    },
    types,
  );
  const sum = sumMetrics([one, other], 2);
  expect(sum).toBe(
    text(
      {
        holdline_writes_total: 7,
        holdline_head_id: 9,
        holdline_log_up: 0,
        'holdline_delivery_seconds_bucket{le="+Inf"}': 7,
        holdline_delivery_seconds_sum: 0.75,
        'holdline_channel_lines{channel="a"}': 5,
        'holdline_channel_lines{channel="c"}': 2,
      },
      types,
    ),
  );
  expect(countersOf(sum)).not.toContain('head_id');
  expect(countersOf(sum)).toContain('holdline_writes_total 7');
});

test('of open files the fullest worker counts, since the limit is that of one process', () => {
  const types = { process_open_fds: 'gauge', process_max_fds: 'gauge' };
  const one = text({ process_open_fds: 600, process_max_fds: 1024 }, types);
  const other = text({ process_open_fds: 500, process_max_fds: 1024 }, types);
  expect(sumMetrics([one, other])).toBe(one);
});

test('lines of a worker that has ended are behind no more', () => {
  const lag = text(
    { 'holdline_line_lag_events_bucket{le="+Inf"}': 3, holdline_line_lag_events_count: 3 },
    { holdline_line_lag_events: 'histogram' },
  );
  expect(withGone('', lag)).not.toContain('holdline_line_lag_events');
  expect(sumMetrics([lag, lag])).toContain('holdline_line_lag_events_count 6\n');
});

test('seconds add up to the same sum in whatever order, so that it does not fall when a worker ends', () => {
  const name = 'holdline_compress_seconds_total';
  const random = new Random(1);
  const metrics = (seconds: number): string => text({ [name]: seconds }, { [name]: 'counter' });
  const valueIn = (metric: string): number =>
    Number(/^holdline_compress_seconds_total (.*)$/m.exec(metric)?.[1]);
  let inexact = 0;
  for (let round = 0; round < 1000; round++) {
    const seconds = Array.from({ length: 4 }, () => (random.next() / 3) * 10 ** random.below(6));
    const [one, two, three, four] = seconds as [number, number, number, number];
    if (one + two + three + four !== four + three + (two + one)) inexact++;
    const before = sumMetrics(seconds.map(metrics));
    const gone = sumMetrics([sumMetrics(['', metrics(three)]), metrics(one)]);
    const after = sumMetrics([metrics(four), metrics(two), gone]);
    expect(valueIn(after)).toBe(valueIn(before));
    expect(valueIn(after)).toBeCloseTo(one + two + three + four, 5);
    const counters = seconds.map((value) => ({ compress_seconds_total: value, writes_total: 3 }));
    const sum = sumOf(counters) as { compress_seconds_total: number };
    expect(sum).toEqual({ compress_seconds_total: valueIn(before), writes_total: 12 });
  }
  expect(inexact, 'which plain addition does not do').toBeGreaterThan(100);
  expect(plus(2 ** 52, 2 ** 52 - 1), 'whole numbers stay what they are').toBe(2 ** 53 - 1);
});

test('compression of a channel adds up over workers, and its ratio is that of the sums', () => {
  const shown = {
    name: 'c',
    lines: 3,
    newestId: 9,
    heldEvents: 1,
    heldBytes: 10,
    eventsPerSecond: 1,
    bytesPerSecond: 1,
  };
  const one = { ...shown, compression: withRatio({ lines: 2, plainBytes: 1000, bytes: 100 }) };
  const two = { ...shown, compression: withRatio({ lines: 1, plainBytes: 1000, bytes: 400 }) };
  const none = { ...shown, compression: null };
  expect(channelOfAll([one, none, two])).toEqual({
    ...shown,
    lines: 9,
    compression: { lines: 3, plainBytes: 2000, bytes: 500, ratio: 4 },
  });
  expect(channelOfAll([none, none]).compression).toBeNull();
  const types = {
    holdline_channel_lines: 'gauge',
    holdline_channel_compress_bytes_total: 'counter',
  };
  const metrics = (bytes: number): string =>
    text(
      {
        'holdline_channel_lines{channel="c"}': 2,
        'holdline_channel_compress_bytes_total{channel="c"}': bytes,
      },
      types,
    );
  expect(sumMetrics([metrics(100), metrics(400)])).toContain(
    'holdline_channel_compress_bytes_total{channel="c"} 500\n',
  );
});

function writesText(writes: number): string {
  return text({ holdline_writes_total: writes }, { holdline_writes_total: 'counter' });
}

test('a sum never falls when a worker ends', () => {
  const gone = new GoneFigures<object>();
  const workers = [{}, {}];
  for (const worker of workers) {
    gone.shown(worker, { page: 'metrics' }, writesText(5));
    gone.shown(worker, { page: 'stats' }, JSON.stringify({ counters: { writes_total: 5 } }));
    gone.shown(worker, { page: 'memory' }, '{}');
  }
  for (const worker of workers) gone.ended(worker);
  gone.ended({});
  const { counters, metrics } = gone.report([]);
  expect(counters).toEqual({ writes_total: 10 });
  expect(metrics).toContain('holdline_writes_total 10\n');
});

test('a sum never falls when a worker does not answer, nor when it ends after that', () => {
  const gone = new GoneFigures<object>();
  const [one, two] = [{}, {}];
  for (const worker of [one, two]) {
    gone.shown(worker, { page: 'metrics' }, writesText(5));
    gone.shown(worker, { page: 'stats' }, JSON.stringify({ counters: { writes_total: 5 } }));
  }
  const sum = (answering: object[], silent: object[]): readonly number[] => {
    const { counters, metrics } = gone.report(silent);
    const all = sumMetrics([...answering.map(() => writesText(5)), metrics ?? '']);
    const { writes_total: writes } = sumOf([
      { writes_total: 5 * answering.length },
      counters ?? null,
    ]) as { writes_total: number };
    return [writes, Number(/^holdline_writes_total (\d+)$/m.exec(all)?.[1])];
  };
  expect(sum([one, two], [])).toEqual([10, 10]);
  expect(sum([one], [two, {}])).toEqual([10, 10]);
  gone.ended(two);
  expect(sum([one], [])).toEqual([10, 10]);
  expect(sum([], [one])).toEqual([10, 10]);
});

/** Metrics of a worker with one channel and its counters. */
function channelText(name: string, lines: number, events: number, bytes: number): string {
  return text(
    {
      [`holdline_channel_lines{channel="${name}"}`]: lines,
      [`holdline_channel_events_total{channel="${name}"}`]: events,
      [`holdline_channel_compress_bytes_total{channel="${name}"}`]: bytes,
    },
    {
      holdline_channel_lines: 'gauge',
      holdline_channel_events_total: 'counter',
      holdline_channel_compress_bytes_total: 'counter',
    },
  );
}

test('counters of a channel do not fall when a worker ends, or has no line on it any more', () => {
  const gone = new GoneFigures<object>();
  const worker = {};
  gone.shown(worker, { page: 'metrics' }, channelText('c', 2, 9, 100));
  gone.ended(worker);
  const sum = sumMetrics([
    channelText('c', 1, 8, 50),
    channelText('c', 0, 8, 30),
    channelText('d', 0, 8, 30),
    gone.report([]).metrics!,
  ]);
  expect(sum).toContain('holdline_channel_events_total{channel="c"} 9\n');
  expect(sum).toContain('holdline_channel_compress_bytes_total{channel="c"} 180\n');
  expect(sum, 'a channel without lines is not told of').not.toContain('channel="d"');
});

test('of workers that have ended the channels told of last are kept, so many at the most', () => {
  const name = 'holdline_channel_events_total';
  const samples = Array.from({ length: GONE_CHANNELS_MAX }, (_, i): [string, number] => [
    `${name}{channel="c${i}"}`,
    1,
  ]);
  const first = text(Object.fromEntries(samples), { [name]: 'counter' });
  const gone = withGone(withGone('', first), channelText(`c${GONE_CHANNELS_MAX}`, 1, 1, 1));
  expect(gone).not.toContain(`channel="c${GONE_CHANNELS_MAX - 1}"`);
  expect(gone).toContain('channel="c0"');
  expect(gone).toContain(`holdline_channel_events_total{channel="c${GONE_CHANNELS_MAX}"} 1\n`);
  expect(gone.split('\n').filter((line) => line.startsWith(name))).toHaveLength(GONE_CHANNELS_MAX);
});

/** Workers with lines on these channels, each asked as a real one is. */
function workersWith(linesOf: (index: number) => readonly number[], count: number) {
  const windows = new RateWindows(SYSTEM_CLOCK);
  const inAll = new Map<string, number>();
  for (let i = 0; i < count; i++)
    inAll.set(
      `c${i}`,
      linesOf(i).reduce((sum, one) => sum + one, 0),
    );
  return linesOf(0).map((_none, place) => {
    const channels = new Channels(
      makeCounters(),
      { replay: { events: 1, bytes: 1 }, replayTotalBytes: 1 },
      0,
    );
    for (let i = 0; i < count; i++) {
      const lines = linesOf(i)[place]!;
      if (lines > 0) channels.placeForLine(`c${i}`)!.lineCount = lines;
    }
    const { get } = channels as unknown as { get: (name: string) => Channel<Group> | undefined };
    const of = (name: string) => get.call(channels, name);
    const linesInAll = (name: string) => inAll.get(name) ?? 0;
    const figures: Parameters<typeof answersOf>[0]['hub']['figures'] = {
      listChannels: (order, limit, after) =>
        listChannels(channels as never, windows, order, limit, after, ({ name }) =>
          linesInAll(name),
        ),
      linesInAll,
      channelDetails: (name) => of(name) && detailsOf(of(name)!, windows),
      recentEvents: (name) => recentEventsOf(of(name)!, windows.current),
    };
    const hub = { figures, disconnect: () => 0 };
    return answersOf({ pages: new Map(), hub, spawn: place, revoke() {} });
  });
}

const NOTHING = { counters: undefined, metrics: undefined };
const REPORT = {
  workers: 2,
  serving: 2,
  restarts: 0,
  supervisorPid: 1,
  supervisorRssBytes: 1,
  supervisorCpuSeconds: 2,
};

function everyoneOf(answering: readonly ((question: Question) => unknown)[]) {
  return {
    async askEveryone(question: Question) {
      const answers = await Promise.all(
        answering.map(async (answer, index) => ({
          place: index + 1,
          spawn: index + 1,
          pid: 1,
          isSilent: false,
          answer: await answer(question),
        })),
      );
      return { answers, report: { ...REPORT, own: NOTHING, gone: NOTHING } };
    },
  };
}

test.each<[string, string, Parameters<typeof workersWith>[0]]>([
  ['lines', 'in one worker or the other', (i) => (i % 2 === 0 ? [1, 0] : [0, 1])],
  ['lines', 'in both', () => [1, 1]],
  ['lines', 'in both or in one', (i) => (i < 1_500 ? [3, 0] : [2, 2])],
  ['lines', 'in all of sixteen', () => Array.from({ length: 16 }, () => 1)],
  [
    'lines',
    'in one of sixteen',
    (i) => Array.from({ length: 16 }, (_, at) => Number(at === i % 16)),
  ],
  ['rate', 'in both', () => [1, 1]],
])('pages of channels by %s go through all, with lines %s', async (sort, _where, linesOf) => {
  const page: OpsPage = { access: 'key', answer: () => expect.unreachable('asked of one') };
  const everyone = everyoneOf(workersWith(linesOf, 3_000));
  const list = pagesOfAll(new Map([['channels', page]]), everyone).get('channels')!;
  const seen: string[] = [];
  let next: string | null = '';
  while (next !== null) {
    const query = new Query(`sort=${sort}&limit=500${next === '' ? '' : `&after=${next}`}`);
    const { body } = await list.answer({ query, draining: false, rest: '' });
    const shown = JSON.parse(String(body)) as { channels: { name: string }[]; next: string | null };
    seen.push(...shown.channels.map(({ name }) => name));
    next = shown.next;
  }
  expect(seen).toHaveLength(3_000);
  expect(new Set(seen).size).toBe(3_000);
});

test('many channels on many workers are asked for in answers that fit a frame', async () => {
  const workers = 16;
  const asked: number[] = [];
  const answering = Array.from({ length: workers }, (_none, place) => (question: Question) => {
    if ('list' in question) {
      const names = Array.from(
        { length: question.count },
        (_one, i) => `users/${place}-${i}`,
      ).sort();
      return { names, end: { value: 1, name: names.at(-1) } };
    }
    const names = 'channels' in question ? (question.channels ?? []) : [];
    if (place === 0) asked.push(names.length * workers);
    const linesOf = (name: string) => Number(name.startsWith(`users/${place}-`));
    return names.map((name) => ({ name, lines: linesOf(name), linesInAll: 1, compression: null }));
  });
  const page: OpsPage = { access: 'key', answer: () => expect.unreachable('asked of one') };
  const list = pagesOfAll(new Map([['channels', page]]), everyoneOf(answering)).get('channels')!;
  const { body } = await list.answer({ query: new Query('limit=1000'), draining: false, rest: '' });
  const { channels, next } = JSON.parse(String(body)) as { channels: object[]; next: string };
  expect(channels).toHaveLength(1_000);
  expect(channels[0]).toMatchObject({ name: 'users/0-0', lines: 1 });
  expect(next).toBe('1:users/0-999');
  expect(Math.max(...asked)).toBeLessThanOrEqual(LISTED_OVER_WORKERS_MAX);
});

test('a channel that has moved meanwhile ends no list: the page goes as far as all are named', async () => {
  const named = [
    { names: ['b'], end: { value: 5, name: 'b' } },
    { names: ['c'], end: { value: 4, name: 'c' } },
  ];
  // b has more lines now, and belongs to the page before; c stands behind what is named.
  const lines: Record<string, number> = { b: 9, c: 4 };
  const answering = named.map((answer) => (question: Question) => {
    if ('list' in question) return answer;
    const names = 'channels' in question ? (question.channels ?? []) : [];
    return names.map((name) => ({ name, lines: 1, linesInAll: lines[name], compression: null }));
  });
  const page: OpsPage = { access: 'key', answer: () => expect.unreachable('asked of one') };
  const list = pagesOfAll(new Map([['channels', page]]), everyoneOf(answering)).get('channels')!;
  const query = new Query('limit=1&after=6:a');
  const { body } = await list.answer({ query, draining: false, rest: '' });
  expect(JSON.parse(String(body))).toMatchObject({ channels: [], next: '5:b' });
});

/** Two workers that answer a page with these texts. */
async function pageOfTwo(name: string, ...bodies: [object, object]): Promise<unknown> {
  const page: OpsPage = { access: 'key', answer: () => expect.unreachable('asked of one') };
  const everyone = everyoneOf(bodies.map((body) => () => JSON.stringify(body)));
  const found = pagesOfAll(new Map([[name, page]]), everyone).get(name)!;
  const { body } = await found.answer({ query: new Query(''), draining: false, rest: 'c' });
  return JSON.parse(String(body));
}

test('what a line takes is the sum of bytes by the sum of lines, and no sum itself', async () => {
  const report = (lines: number, bytes: number) => {
    const bytesPerLine = lines === 0 ? null : bytes / lines;
    const native = { bytes: 800 * lines, bytesPerLine: 800, source: 'kept', spreadLines: 0 };
    const classes = { v8Heap: { bytes, bytesPerLine, usedBytes: 1 }, native };
    return {
      rssBytes: 2 * bytes,
      rssBytesPerLine: bytesPerLine && 2 * bytesPerLine,
      lines,
      classes,
    };
  };
  expect(await pageOfTwo('memory', report(1, 1_000), report(3, 1_000))).toMatchObject({
    lines: 4,
    rssBytesPerLine: 1_000,
    classes: { v8Heap: { bytes: 2_000, bytesPerLine: 500 }, native: { bytesPerLine: 800 } },
  });
  expect(await pageOfTwo('memory', report(0, 1_000), report(0, 1_000))).toMatchObject({
    rssBytesPerLine: null,
    classes: { v8Heap: { bytesPerLine: null }, native: { bytesPerLine: 800 } },
  });
});

test('an event that waits in the queues of two workers is one, and a log that one cannot reach is shown', async () => {
  const channel = { name: 'c', lines: 1, queuedEvents: 7, compression: null };
  expect(await pageOfTwo('channels/', channel, { ...channel, queuedEvents: 5 })).toMatchObject({
    lines: 2,
    queuedEvents: 7,
  });
  const up = { log: { kind: 'nats', up: true, problem: null }, counters: {} };
  const down = { log: { kind: 'nats', up: false, problem: 'NATS is away' }, counters: {} };
  expect(await pageOfTwo('stats', up, down)).toMatchObject({ log: down.log });
});

test.each(['stats', 'memory', 'connections', 'channels', 'channels/'])(
  '%s is refused for now when no worker answers',
  async (name) => {
    const everyone = {
      askEveryone: () =>
        Promise.resolve({
          answers: [1, 2].map((place) => ({ place, spawn: place, pid: 1, isSilent: true })),
          report: { ...REPORT, own: NOTHING, gone: NOTHING },
        }),
    };
    const page: OpsPage = { access: 'key', answer: () => expect.unreachable('asked of one') };
    const answer = pagesOfAll(new Map([[name, page]]), everyone)
      .get(name)!
      .answer({
        query: new Query(''),
        draining: false,
        rest: 'c',
      });
    await expect(answer).rejects.toMatchObject({ code: 'HOLDLINE_LOG_UNAVAILABLE' });
  },
);

test('every worker is asked for the metrics of the same channels: those that any has most of', async () => {
  const asked: unknown[] = [];
  const everyone = {
    askEveryone: (question: Question) => {
      asked.push(question);
      const answers = [
        ['a', 'b'],
        ['b', 'c'],
      ].map((names, index) => ({
        place: index + 1,
        spawn: index + 1,
        pid: 1,
        isSilent: false,
        answer: 'list' in question ? { names, end: null } : '',
      }));
      return Promise.resolve({
        answers,
        report: { ...REPORT, own: NOTHING, gone: NOTHING },
      });
    },
  };
  const page: OpsPage = {
    access: 'key',
    check({ query }) {
      if (query.get('sort') === 'x') throw new Error('no such order');
    },
    // It is asked with the others: figures since the page before would be gone then.
    answer: () => expect.unreachable('asked for its own figures beforehand'),
  };
  const metrics = pagesOfAll(new Map([['metrics', page]]), everyone).get('metrics')!;
  const { body } = await metrics.answer({ query: new Query(''), draining: false, rest: '' });
  expect(String(body)).toContain('\nholdline_supervisor_cpu_seconds_total 2\n');
  expect(asked.at(-1)).toMatchObject({ page: 'metrics', channels: ['a', 'b', 'c'] });
  asked.length = 0;
  await expect(
    metrics.answer({ query: new Query('sort=x'), draining: false, rest: '' }),
  ).rejects.toThrow('no such order');
  expect(asked, 'a query that is refused').toEqual([]);
});

test('what the log counts in the supervisor is part of the sum', () => {
  const counters = makeCounters();
  counters.idempotency_evicted_total = 3;
  const times = { commit: new Histogram([1, 2]), read: new Histogram([1]) };
  times.commit.observe(1.5, 4);
  const own = ownFigures(counters, times).metrics ?? '';
  const worker = text(
    { holdline_idempotency_evicted_total: 1 },
    { holdline_idempotency_evicted_total: 'counter' },
  );
  const sum = sumMetrics([worker, own]);
  expect(sum).toContain('holdline_idempotency_evicted_total 4\n');
  expect(sum).toContain('holdline_log_commit_seconds_bucket{le="2"} 4\n');
  expect(sum).toContain('holdline_log_commit_seconds_sum 6\n');
});

test('ids of lines are told apart by the worker', () => {
  const id = idOfAll(12, 65_537);
  expect(idWithin(id, 1)).toBe(12);
  expect(idWithin(id, 2)).toBeUndefined();
});

test('watchers hear of lines here and elsewhere as one number', () => {
  const elsewhere = new Elsewhere();
  const channels = new Channels(
    makeCounters(),
    { replay: { events: 1, bytes: 1 }, replayTotalBytes: 1 },
    0,
  );
  const membership: ConstructorParameters<typeof Subscribers>[1] = { listener: undefined };
  const subscribers = new Subscribers(channels, membership);
  const reported: unknown[] = [];
  const told: unknown[] = [];
  subscribers.countElsewhere(elsewhere, { changed: (...one) => reported.push(one) });
  elsewhere.set(7, 'only-there', 2);
  subscribers.listen({ changed: (...one) => told.push(one) });
  channels.placeForLine('c')!.lineCount = 1;
  membership.listener?.changed('c', 0, 1);
  elsewhere.set(7, 'c', 3);
  elsewhere.set(8, 'c', 1);
  expect(subscribers.get('c')).toEqual({ name: 'c', lineCount: 5 });
  expect([...subscribers]).toEqual([
    { name: 'c', lineCount: 5 },
    { name: 'only-there', lineCount: 2 },
  ]);
  elsewhere.gone(7);
  expect(told).toEqual([
    ['c', 0, 1],
    ['c', 1, 4],
    ['c', 4, 5],
    ['only-there', 2, 0],
    ['c', 5, 2],
  ]);
  expect(reported).toEqual([['c', 0, 1]]);
  subscribers.listen(undefined);
  elsewhere.set(8, 'c', 9);
  expect(told).toHaveLength(5);
});

test('lines of a user and of an address are counted over all, and only where there is a limit', () => {
  const owners = new Owners();
  const told = new Map<string, number>();
  expect(ownerListener({ maxLinesPerUser: 0, maxLinesPerAddress: 0 }, () => {})).toBeUndefined();
  owners.onCount = ownerListener({ maxLinesPerUser: 2, maxLinesPerAddress: 0 }, (key, lines) =>
    told.set(key, lines),
  );
  const owner = {
    user: 'Änne: 1',
    address: '192.0.2.1',
    endsAtMs: Infinity,
    endsWith: 'expired',
  } as const;
  owners.add(1, owner);
  owners.add(2, owner);
  expect([...told.values()]).toEqual([2]);
  const elsewhere = new Elsewhere();
  for (const [key, lines] of told) elsewhere.set(3, key, lines);
  const counts = new OwnerCounts(owners, elsewhere);
  expect(counts.linesOfUser(owner.user)).toBe(4);
  expect(counts.linesOfAddress(owner.address)).toBe(2);
  owners.remove(1);
  owners.remove(2);
  expect([...told.values()]).toEqual([0]);
  expect(counts.linesOfUser(owner.user)).toBe(2);
});

test('no channel is taken for a user or an address, whatever its name', () => {
  const keys: string[] = [];
  const tell = ownerListener({ maxLinesPerUser: 1, maxLinesPerAddress: 1 }, (key) =>
    keys.push(key),
  )!;
  tell('user', 'ann', 1);
  tell('address', '192.0.2.1', 1);
  tell('address', '2001:db8::/64', 1);
  for (const key of keys) {
    expect(isOwnerKey(key)).toBe(true);
    expect(() => checkChannelName(key)).toThrow('is not allowed');
  }
  const isAllowed = (character: string): boolean => {
    try {
      return checkChannelName(`a${character}a`) !== '';
    } catch {
      return false;
    }
  };
  const characters = Array.from({ length: 256 }, (_none, code) => String.fromCharCode(code));
  const allowed = characters.filter(isAllowed);
  expect(allowed).toContain(':');
  for (const character of allowed) expect(isOwnerKey(`a${character}192.0.2.1`)).toBe(false);
});
