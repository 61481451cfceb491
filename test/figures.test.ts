/** Figures in documents: what a block is filled with, and which figures no document shows. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { FanOutFailure, FanOutFigures } from '../bench/fan-out-figures.js';
import type { Machine } from '../bench/machine.js';
import type { Result, ResultName } from '../bench/results.js';
import { BLOCKS } from '../scripts/figures/blocks.js';
import { fillBlocks } from '../scripts/figures/fill.js';
import {
  type FanOutResult,
  ceilingFigures,
  ceilingSentence,
  latencyFigures,
  latencyTable,
  quietLine,
} from '../scripts/figures/first-screen.js';
import { refusalsOf } from '../scripts/figures/rules.js';

const TARGETS = [
  'holdline',
  'holdline-ws',
  'raw-uws',
  'send-loop',
  'nchan',
  'pushpin',
  'node-http',
  'better-sse',
  'durable-streams',
] as const;

const MACHINE: Partial<Machine> = { cpu: 'a processor', commit: '0123456789ab', dirty: false };

function resultOf(
  subject: ResultName,
  parameters: unknown,
  summary: unknown,
  machine: Partial<Machine> = {},
): Result {
  return {
    subject,
    startedAt: '2026-11-26T12:00:00.000Z',
    elapsedSeconds: 1,
    quick: false,
    machine: { ...MACHINE, ...machine } as Machine,
    parameters,
    rounds: [],
    summary,
    remarks: [],
  };
}

interface Change {
  readonly machine?: Partial<Machine>;
  /** Of the figures of better-sse; undefined leaves its row out. */
  readonly last?: Partial<FanOutFigures> | undefined;
  /** Servers that this machine does not have, and why. */
  readonly absent?: Record<string, string>;
  readonly failures?: FanOutFailure[];
}

/** A fan-out as it should be: three rounds at 10 events/s for all, at 1000 for Holdline. */
function fanOut(change: Change = {}): FanOutResult {
  const common = { rounds: 3, discardedRounds: 0, lines: 15_000, ratePerSecond: 10 };
  const figures = TARGETS.map((target, index) => ({
    ...common,
    target,
    p50Ms: 30 + index,
    p99Ms: 70 + index,
    ...(target === 'better-sse' ? change.last : {}),
  }));
  const leavesOut = 'last' in change && change.last === undefined;
  const shown = figures.filter(({ target }) => !leavesOut || target !== 'better-sse');
  const ceiling = {
    ...common,
    target: 'holdline',
    ratePerSecond: 1000,
    deliveriesPerSecond: 7_930_000,
    acceptedPerSecond: 515,
    acceptToDeliverP99Ms: 353,
  };
  // One round with fewer connections, as a rival has beside the first: not a row of the table.
  const fewer = {
    ...common,
    target: 'better-sse',
    lines: 4_000,
    rounds: change.failures === undefined ? 1 : 3,
    p50Ms: 21,
    p99Ms: 42,
  };
  return resultOf(
    'fan-out',
    { lines: 15_000, eventBytes: 256, absent: change.absent ?? {} },
    { figures: [...shown, fewer, ceiling], failures: change.failures ?? [] },
    change.machine,
  ) as FanOutResult;
}

function refusedTable(change?: Change): string[] {
  const result = fanOut(change);
  return refusalsOf({
    text: latencyTable(result),
    results: [result],
    figures: latencyFigures(result),
  });
}

describe('the first table of the README', () => {
  test('has two latencies a row, and a row for each server', () => {
    expect(refusedTable()).toEqual([]);
    const [head, rule, ...rows] = latencyTable(fanOut()).split('\n\n')[0]!.split('\n');
    expect([head, rule]).toEqual([
      '| 10 events/s to 15,000 connections | p50 | p99 |',
      '| --- | ---: | ---: |',
    ]);
    expect(rows).toEqual([
      '| **Holdline** | 30 ms | 70 ms |',
      '| Holdline, WebSocket | 31 ms | 71 ms |',
      '| raw uWebSockets.js loop | 32 ms | 72 ms |',
      '| bare C send() loop | 33 ms | 73 ms |',
      '| nginx with nchan | 34 ms | 74 ms |',
      '| pushpin | 35 ms | 75 ms |',
      '| node:http | 36 ms | 76 ms |',
      '| better-sse | 37 ms | 77 ms |',
      '| Durable Streams | 38 ms | 78 ms |',
    ]);
  });

  test('leaves out a server that the machine does not have', () => {
    const change: Change = { last: undefined, absent: { 'better-sse': 'not installed' } };
    expect(refusedTable(change)).toEqual([]);
    expect(latencyTable(fanOut(change))).not.toContain('better-sse');
  });

  test('shows a rival that could not serve all connections with as many as it could', () => {
    const failure = { target: 'better-sse', ratePerSecond: 10, lines: 15_000, why: 'too many' };
    const change: Change = { last: undefined, failures: [failure as FanOutFailure] };
    expect(refusedTable(change)).toEqual([]);
    expect(latencyTable(fanOut(change))).toContain(
      '| better-sse, 4,000 connections | 21 ms | 42 ms |',
    );
  });

  test.each<[string, Change, RegExp]>([
    [
      'a cell without a round that counts',
      { last: { discardedRounds: 3 } },
      /^better-sse: every round was discarded/,
    ],
    ['a row that was not measured', { last: undefined }, /^better-sse: a cell has no figure$/],
    [
      'a figure that is none',
      { last: { p99Ms: null as unknown as number } },
      /^better-sse: a cell has no figure$/,
    ],
    ['two rounds', { last: { rounds: 2 } }, /^fan-out has a figure of 2 rounds that count/],
    [
      'two rounds that count of three',
      { last: { discardedRounds: 1 } },
      /^fan-out has a figure of 2 rounds that count; a table takes 3/,
    ],
    [
      'a commit with changes',
      { machine: { dirty: true } },
      /^fan-out was measured at commit 0123456789ab with changes: commit, then npm run bench/,
    ],
    ['no commit', { machine: { commit: 'none' } }, /^fan-out was measured outside of any commit/],
  ])('is refused with %s', (_what, change, why) => {
    expect(refusedTable(change)).toContainEqual(expect.stringMatching(why));
  });
});

test('the ceiling is one sentence, of three rounds that count', () => {
  const result = fanOut();
  const text = ceilingSentence(result);
  expect(text).toBe(
    '**The ceiling:** offered 1,000 events/s for 15,000 connections, one process delivers 7.93 M ' +
      'events a second: it accepts 515 events/s, delivers each of them (p99 353 ms after it was ' +
      'accepted), and lets the other publishers wait or try again (503).',
  );
  const figures = ceilingFigures(result);
  expect(refusalsOf({ text, results: [result], figures })).toEqual([]);
  const none = figures.map((one) => ({ ...one, discardedRounds: 3 }));
  expect(refusalsOf({ text, results: [result], figures: none })).toHaveLength(1);
  const without = { ...result, summary: { ...result.summary, figures: [] } };
  expect(refusalsOf({ text: ceilingSentence(without), results: [without], figures: [] })).toEqual([
    'it was not measured',
  ]);
});

describe('every table', () => {
  const table = '| a | b |\n| --- | ---: |\n| x | 1 ms |\n| y | – |';

  test('is of one commit', () => {
    const results = [
      resultOf('idle', { rounds: 3 }, []),
      resultOf('short-poll', { rounds: 3 }, [], { commit: 'ba9876543210' }),
    ];
    expect(refusalsOf({ text: '', results })).toEqual([
      'its figures are of different commits: idle at 0123456789ab, short-poll at ba9876543210',
    ]);
  });

  test('is of three rounds, unless its subject is one run', () => {
    const result = resultOf('idle', { rounds: 2 }, []);
    expect(refusalsOf({ text: '', results: [result] })).toEqual([
      'idle has a figure of 2 rounds that count; a table takes 3: npm run bench -- idle --rounds 5',
    ]);
    expect(refusalsOf({ text: '', results: [result], isOneRun: true })).toEqual([]);
  });

  test('has no hole, unless its columns do not apply to each row', () => {
    expect(refusalsOf({ text: table, results: [] })).toEqual(['y: a cell has no figure']);
    expect(refusalsOf({ text: table, results: [], hasBlanks: true })).toEqual([]);
    const unmeasured = table.replace('–', 'not measured');
    expect(refusalsOf({ text: unmeasured, results: [], hasBlanks: true })).toEqual([
      'y: a cell has no figure',
    ]);
  });
});

test('a block that may not be filled stays as it was, is named, and keeps no other from it', () => {
  const text = [
    '<!-- figures:good -->\nold\n<!-- /figures -->',
    '<!-- figures:dirty -->\nold\n<!-- /figures -->',
    'A line costs <!-- figure:good -->old<!-- /figure -->, or <!-- figure:none -->old<!-- /figure -->.',
  ].join('\n');
  const dirty = resultOf('memory', { rounds: 3 }, [], { dirty: true });
  const filled = fillBlocks(text, {
    good: () => ({ text: 'new', results: [] }),
    dirty: () => ({ text: 'new', results: [dirty] }),
    none: () => 'memory was not measured',
  });
  expect(filled.text).toBe(
    [
      '<!-- figures:good -->\nnew\n<!-- /figures -->',
      '<!-- figures:dirty -->\nold\n<!-- /figures -->',
      'A line costs <!-- figure:good -->new<!-- /figure -->, or <!-- figure:none -->old<!-- /figure -->.',
    ].join('\n'),
  );
  expect(filled.refused).toEqual([
    'dirty: memory was measured at commit 0123456789ab with changes: commit, then npm run bench -- memory',
    'none: memory was not measured',
  ]);
  expect(() => fillBlocks('<!-- figures:x -->\n<!-- /figures -->', {})).toThrow(/no figures "x"/);
});

describe('the documents', () => {
  const DOCUMENTS = ['README.md', 'ARCHITECTURE.md', 'docs/operate.md', 'bench/README.md'];
  const read = (path: string): string =>
    readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

  test('ask only for figures that there are', () => {
    const names = [...DOCUMENTS, 'bench/APPROACHES.md'].flatMap((path) =>
      [...read(path).matchAll(/<!-- figures?:([\w-]+) -->/g)].map(([, name]) => name!),
    );
    expect(names.length).toBeGreaterThan(10);
    expect(names.filter((name) => BLOCKS[name] === undefined)).toEqual([]);
  });

  test('have one figure for the memory of a quiet line, the one of the table', () => {
    const said = [...DOCUMENTS, 'bench/APPROACHES.md'].flatMap((path) =>
      [...read(path).matchAll(/<!-- figure:quiet-line -->(.*?)<!-- \/figure -->/g)].map(
        ([, figure]) => figure!,
      ),
    );
    const inTable = /^\| Holdline, a line of SSE \| (\d+ B) \|/m.exec(read('bench/README.md'))?.[1];
    expect(said.length).toBeGreaterThanOrEqual(4);
    expect(new Set(said)).toEqual(new Set([inTable]));
    const summary = [{ target: 'holdline', rssBytesPerLine: 793.4 }];
    expect(quietLine(resultOf('memory', {}, summary) as Parameters<typeof quietLine>[0])).toBe(
      '793 B',
    );
  });
});
