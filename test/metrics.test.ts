/** The metrics: what they are called, that operators find each in docs/operate.md, their size. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Histogram } from '../src/core/histogram.js';
import { makeCounters } from '../src/counters.js';
import { REFUSALS } from '../src/errors.js';
import { CHANNELS_IN_METRICS_MAX } from '../src/limits.js';
import { OpenFiles } from '../src/linux/open-files.js';
import { WORKERS_METRICS } from '../src/workers/workers-rows.js';
import { figuresNow, METRICS, metricsText, type FigureSources } from '../src/ops/metrics.js';
import { Ops } from '../src/ops/ops.js';
import { ProcessFigures } from '../src/ops/process-figures.js';
import { Memory } from '../src/ops/memory/memory.js';
import { KernelMemory } from '../src/ops/memory/kernel-memory.js';
import { makeHeldBytes } from '../src/core/held-bytes.js';
import { LIVE } from '../src/core/position.js';
import { readDocument } from './support/documents.js';
import { FakeHub } from './support/fake-hub.js';
import { readMetrics } from './support/prometheus.js';

function sourcesOf({ hub, clock, counters }: FakeHub): FigureSources {
  const memory = new Memory(
    hub.figures,
    clock,
    new KernelMemory(clock),
    makeHeldBytes(),
    undefined,
  );
  const log = { kind: 'memory', state: { isUp: true, problem: '' } } as const;
  const ops = new Ops(hub.figures, counters, memory, log, { lines: 20_000, sockets: 20_064 });
  onTestFinished(() => ops.stop());
  return { ops, memory, hub: hub.figures };
}

/** Lines of samples. */
function samplesIn(text: string): number {
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length;
}

describe('the text', () => {
  test('of a server with 19,000 lines on 2,000 channels has hardly more samples than that of an idle one', () => {
    const idle = metricsText(figuresNow(sourcesOf(new FakeHub()), false));
    const fake = new FakeHub();
    for (let i = 0; i < 19_000; i++) fake.join(`c${i % 2_000}`, LIVE, Infinity, 'ndjson');
    const text = metricsText(figuresNow(sourcesOf(fake), false));
    const metrics = readMetrics(text);
    expect(metrics.get('holdline_lines')!.samples.get('transport="ndjson"')).toBe(19_000);
    expect(metrics.get('holdline_line_lag_events')!.samples.get('_count')).toBe(19_000);
    expect(metrics.get('holdline_channel_lines')!.samples.size).toBe(CHANNELS_IN_METRICS_MAX);
    expect(samplesIn(text) - samplesIn(idle)).toBe(3 * CHANNELS_IN_METRICS_MAX);
    expect(text.length).toBeLessThan(64 * 1024);
  });

  test('has every metric of the table, with the type and the labels of its row and no other', () => {
    const fake = new FakeHub();
    fake.join('a');
    const metrics = readMetrics(metricsText(figuresNow(sourcesOf(fake), false)));
    expect([...metrics.keys()]).toEqual(Object.keys(METRICS));
    for (const [name, { type, samples }] of metrics) {
      const row = METRICS[name]!;
      expect(type).toBe(row.type);
      const own = row.type === 'histogram' ? ['le'] : [];
      const found = [...samples.keys()].flatMap((key) =>
        [...key.matchAll(/(\w+)="/g)].map(([, label]) => label!),
      );
      const known = new Set([...(row.labels ?? []), ...own]);
      expect({ name, strange: found.filter((label) => !known.has(label)) }).toEqual({
        name,
        strange: [],
      });
    }
  });

  test('has every code of a refusal from the start, so that a rate sees the first one', () => {
    const metrics = readMetrics(metricsText(figuresNow(sourcesOf(new FakeHub()), false)));
    expect([...metrics.get('holdline_refusals_total')!.samples]).toEqual(
      Object.keys(REFUSALS).map((code) => [`code="${code}"`, 0]),
    );
  });

  test('escapes what would end a label', () => {
    const sources = sourcesOf(new FakeHub());
    const name = 'a"b\\c\nd';
    const channels = [
      { name, lines: 1, heldEvents: 0, queuedEvents: 0, events: 0, compression: null },
    ];
    const text = metricsText({ ...figuresNow(sources, false), channels });
    expect(text).toContain('\nholdline_channel_lines{channel="a\\"b\\\\c\\nd"} 1\n');
    readMetrics(text);
  });

  test('of a histogram adds its buckets up, to its count', () => {
    const deliveryTimes = new Histogram([0.5, 1]);
    for (const seconds of [0.1, 0.2, 0.7, 9]) deliveryTimes.observe(seconds);
    const text = metricsText({ ...figuresNow(sourcesOf(new FakeHub()), false), deliveryTimes });
    const { type, samples } = readMetrics(text).get('holdline_delivery_seconds')!;
    expect(type).toBe('histogram');
    expect([...samples]).toEqual([
      ['_bucket{le="0.5"}', 2],
      ['_bucket{le="1"}', 3],
      ['_bucket{le="+Inf"}', 4],
      ['_sum', 10],
      ['_count', 4],
    ]);
  });
});

describe('the table of docs/operate.md', () => {
  const rows = Object.entries(METRICS).map(([name, { type, help, labels }]) => {
    const shown = `${name}${labels === undefined ? '' : `{${labels.join()}}`}`;
    return `| \`${shown}\` | ${type} | ${help} |`;
  });
  const rowsOfWorkers = Object.entries(WORKERS_METRICS).map(
    ([name, { type, help }]) => `| \`${name}\` | ${type} | ${help} |`,
  );

  // scripts/fill-metrics.ts fills it.
  test('has every metric with its labels, type and meaning, and no other', () => {
    const text = readDocument('docs/operate.md');
    const [, table = ''] = /<!-- metrics -->\n([\s\S]*?)<!-- \/metrics -->/.exec(text) ?? [];
    const expected = ['| metric | type | meaning |', '|---|---|---|', ...rows, ...rowsOfWorkers];
    expect(table.trim().split('\n')).toEqual(expected);
  });
});

describe('the process', () => {
  test('has its time, memory, files, start and delays; a scrape has the delays since the one before', async () => {
    const figures = new ProcessFigures();
    figures.start(() => 0);
    onTestFinished(() => figures.stop());
    const blockedMs = 60;
    // A delay is seen between two samples, and on a busy machine the first may be late.
    const deadlineMs = performance.now() + 3_000;
    while (figures.loopDelay.maxMs < blockedMs / 2 && performance.now() < deadlineMs) {
      await new Promise((resolve) => setTimeout(resolve, 15));
      for (const until = performance.now() + blockedMs; performance.now() < until;);
      await new Promise((resolve) => setTimeout(resolve, 15));
    }
    const first = figures.scrape();
    expect(first.cpuSeconds).toBeGreaterThan(blockedMs / 2000);
    expect(first.residentBytes).toBeGreaterThan(first.heapUsedBytes);
    expect(first.openFiles).toBeGreaterThan(2);
    expect(first.filesMax).toBeGreaterThan(first.openFiles!);
    expect(first.startSeconds).toBeGreaterThan(Date.now() / 1000 - 3_600);
    expect(first.startSeconds).toBeLessThan(Date.now() / 1000);
    expect(first.loop.maxMs).toBeGreaterThan(blockedMs / 2);
    expect(figures.scrape().loop.maxMs).toBeLessThan(blockedMs / 2);
    expect(figures.loopDelay.maxMs).toBeGreaterThan(blockedMs / 2);
  });

  test('counts collections of garbage by kind', async () => {
    const figures = new ProcessFigures();
    figures.start(() => 0);
    onTestFinished(() => figures.stop());
    setFlagsFromString('--expose-gc');
    (runInNewContext('gc') as () => void)();
    const majors = (): number =>
      figures
        .scrape()
        .gc.get('major')!
        .counts.reduce((sum, count) => sum + count, 0);
    for (const until = performance.now() + 2_000; majors() === 0 && performance.now() < until;)
      await new Promise((resolve) => setImmediate(resolve));
    expect(majors()).toBeGreaterThanOrEqual(1);
  });

  test.each([
    ['from the kernel where it counts them', () => 4711, 4711],
    ['from what was open at first and the sockets where the kernel does not', () => 0, 20 + 500],
    ['the same way where the folder cannot be read any more', () => undefined, 20 + 500],
  ])('has its open files %s', (_how, kept, count) => {
    let sockets = 5;
    const files = new OpenFiles(
      () => sockets,
      kept,
      () => 25,
    );
    sockets = 500;
    expect(files.count).toBe(count);
  });

  test('has no open files where there is no /proc', () => {
    const none = (): undefined => undefined;
    expect(new OpenFiles(() => 5, none, none).count).toBeUndefined();
  });
});

test('the counters begin with every reason and no code', () => {
  const { closed, refused } = makeCounters();
  expect(new Set(Object.values(closed))).toEqual(new Set([0]));
  expect(refused).toEqual({});
});
