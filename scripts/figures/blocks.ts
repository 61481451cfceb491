/** Every block of figures that a document may hold: what draws it, and from which results. */
import type { MemoryFigures } from '../../bench/memory.js';
import { type Result, type ResultName, readResult } from '../../bench/results.js';
import {
  fanOutCostTable,
  fanOutRatioTable,
  fanOutTable,
  fanOutWebSocketTable,
  shortSweepsTable,
  sweepTable,
} from './fan-out.js';
import { type CompressionResult, compressionTable } from './compression.js';
import type { Block } from './fill.js';
import {
  type FanOutResult,
  ceilingFigures,
  ceilingSentence,
  latencyFigures,
  latencyTable,
  quietLine,
} from './first-screen.js';
import { fanOutLogsTable, logFiguresOf, logTable, workersFiguresOf, workersTable } from './logs.js';
import { type IsolationResult, isolationTable } from './isolation.js';
import { alternativesTable, knobsTable, microTable, planTable } from './mechanisms.js';
import { type Draft, type Drawn, commandOf } from './rules.js';
import {
  acceptTable,
  drainTable,
  heapTable,
  idleTable,
  memoryTable,
  publishTable,
  tlsTable,
} from './server.js';
import { compareTable, longPollTable, quietTable, shortPollTable } from './transports.js';

type Rules = Pick<Draft, 'hasBlanks' | 'isOneRun'>;

/** A block that is drawn from the results of some subjects, all of them needed. */
function from(
  subjects: readonly ResultName[],
  draw: (first: Result) => Drawn | string,
  rules: Rules = {},
): Block {
  return () => {
    const results: Result[] = [];
    for (const subject of subjects) {
      const result = readResult(subject);
      if (result === undefined) return `${subject} was not measured: ${commandOf(subject)}`;
      results.push(result);
    }
    const drawn = draw(results[0]!);
    return { ...(typeof drawn === 'string' ? { text: drawn } : drawn), results, ...rules };
  };
}

/** In these tables a cell may be empty or a dash: what it would say does not apply to its row. */
const BLANKS: Rules = { hasBlanks: true };

export const BLOCKS: Readonly<Record<string, Block>> = {
  latency: from(['fan-out'], (result) => ({
    text: latencyTable(result as FanOutResult),
    figures: latencyFigures(result as FanOutResult),
  })),
  ceiling: from(['fan-out'], (result) => ({
    text: ceilingSentence(result as FanOutResult),
    figures: ceilingFigures(result as FanOutResult),
  })),
  'fan-out': from(['fan-out'], (result) => fanOutTable(result as FanOutResult), BLANKS),
  'fan-out-ratios': from(['fan-out'], (result) => fanOutRatioTable(result as FanOutResult)),
  'fan-out-cost': from(['fan-out'], (result) => fanOutCostTable(result as FanOutResult), BLANKS),
  'fan-out-websocket': from(
    ['fan-out'],
    (result) => fanOutWebSocketTable(result as FanOutResult),
    BLANKS,
  ),
  'long-poll': from(['long-poll'], longPollTable),
  'short-poll': from(['short-poll'], shortPollTable, BLANKS),
  compare: from(['compare'], compareTable, { ...BLANKS, isOneRun: true }),
  quiet: from(['idle', 'short-poll'], quietTable),
  memory: from(['memory'], memoryTable),
  'quiet-line': from(['memory'], (result) =>
    quietLine(result as Result<unknown, unknown, MemoryFigures[]>),
  ),
  accept: from(['accept'], acceptTable, BLANKS),
  log: from(['log'], (result) => ({
    text: logTable(),
    figures: logFiguresOf(result as Parameters<typeof logFiguresOf>[0]),
  })),
  'fan-out-logs': from(['fan-out-logs'], fanOutLogsTable),
  'short-sweeps': from(
    ['short-sweeps'],
    (result) => shortSweepsTable(result as FanOutResult),
    BLANKS,
  ),
  sweep: from(['sweep'], (result) => sweepTable(result as FanOutResult), BLANKS),
  workers: from(['workers'], (result) => ({
    text: workersTable(),
    figures: workersFiguresOf(result as Parameters<typeof workersFiguresOf>[0]),
  })),
  isolation: from(['isolation'], (result) => isolationTable(result as IsolationResult), BLANKS),
  compression: from(['compression'], (result) => compressionTable(result as CompressionResult)),
  drain: from(['drain'], drainTable),
  tls: from(['tls'], tlsTable),
  idle: from(['idle'], idleTable),
  publish: from(['publish'], publishTable, BLANKS),
  micro: from(['micro'], microTable, { isOneRun: true }),
  plan: from(['plan'], planTable),
  alternatives: from(['alternatives'], alternativesTable),
  heap: from(['heap'], heapTable, BLANKS),
  knobs: from(['knobs'], () => knobsTable(), BLANKS),
  'knobs-stalled': from(['knobs'], () => knobsTable(1)),
};
