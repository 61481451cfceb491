/**
 * What the control channel of the isolation subject stands beside, in a process of its own: a
 * channel whose lines have stopped reading, one that is flooded, and one to which a herd comes
 * back. It runs at the lowest priority, so that the control's clients come first on their core.
 */
import { constants, setPriority } from 'node:os';
import type { Target } from '../dist/tools/load/clients/connection.js';
import { loopRequests } from '../dist/tools/load/processes/request-loop.js';
import { answerRunner } from './child.js';
import { sleepMs } from './clock.js';
import { BatchPublisher, LoadLine } from './isolation-clients.js';
import type { LoadName, LoadOrder, LoadReport } from './isolation-orders.js';
import { buildRequest } from './publish.js';

const OPEN_DEADLINE_MS = 20_000;
const LOOK_MS = 5;
/** Publishing connections at a given pace; a channel whose publishes are held takes all. */
const PACED_CONNECTIONS = 32;
const HISTORY_CONNECTIONS = 8;

/** Throws after the deadline. */
async function until(what: string, isSo: () => boolean, deadlineMs: number): Promise<void> {
  const untilMs = performance.now() + deadlineMs;
  while (!isSo()) {
    if (performance.now() > untilMs) throw new Error(`${what}: not within ${deadlineMs} ms`);
    await sleepMs(LOOK_MS);
  }
}

function targetOf(port: number, path: string): Target {
  return { address: '127.0.0.1', port, authority: `127.0.0.1:${port}`, path };
}

function newReport(load: LoadName): LoadReport {
  return {
    load,
    seconds: 0,
    published: 0,
    refused: 0,
    firstRefusal: '',
    skipped: 0,
    waves: 0,
    slowestLineMs: 0,
    readBytes: 0,
    gaps: 0,
    refusedLines: 0,
    closedLines: 0,
  };
}

/** Begins a load; its end resolves with what it has done. */
type Begin = (order: LoadOrder, report: LoadReport) => Promise<{ ended: Promise<void> }>;

/** Lines that subscribe and read nothing more, while batches come that lap them. */
const beginStopped: Begin = (order, report) => beginPaced(order, report, '/stopped', false);

/** Lines that read, while batches come at half the pace that the server could take. */
const beginHalfFlood: Begin = (order, report) => beginPaced(order, report, '/half', true);

async function beginPaced(
  { port, publishPort, lines, batchEvents, batchesPerSecond, seconds }: LoadOrder,
  report: LoadReport,
  path: string,
  reads: boolean,
): Promise<{ ended: Promise<void> }> {
  const opened = Array.from(
    { length: lines },
    () => new LoadLine(targetOf(port, path), report, { reads }),
  );
  await until('lines', () => opened.every(({ isOpen }) => isOpen), OPEN_DEADLINE_MS);
  const publisher = new BatchPublisher(
    targetOf(publishPort, path),
    batchEvents,
    PACED_CONNECTIONS,
    report,
  );
  const publishAll = async (): Promise<void> => {
    const fromMs = performance.now();
    for (let due = 0; due < seconds * batchesPerSecond; due++) {
      await sleepMs(Math.max(0, fromMs + (due * 1000) / batchesPerSecond - performance.now()));
      if (!publisher.publish()) report.skipped++;
    }
    publisher.drop();
    for (const line of opened) line.drop();
  };
  return { ended: publishAll() };
}

/** Batches as fast as they are answered, and lines that read them. */
async function beginFlood(order: LoadOrder, report: LoadReport): Promise<{ ended: Promise<void> }> {
  const { port, publishPort, lines, batchEvents, connections, seconds } = order;
  const path = '/flood';
  const opened = Array.from(
    { length: lines },
    () => new LoadLine(targetOf(port, path), report, {}),
  );
  await until('lines', () => opened.every(({ isOpen }) => isOpen), OPEN_DEADLINE_MS);
  const flood = async (): Promise<void> => {
    const target = targetOf(publishPort, path);
    const answered = await loopRequests({
      target,
      request: buildRequest(publishPort, batchEvents, path),
      connections,
      pipelined: 1,
      warmUpSeconds: 0,
      windowSeconds: seconds,
    });
    report.published = answered.answered2xx * batchEvents;
    report.refused = answered.answered503 + answered.otherAnswers;
    report.firstRefusal = answered.firstRefusal;
    for (const line of opened) line.drop();
  };
  return { ended: flood() };
}

/** Lines that come back with a position from before a long history, again and again. */
async function beginHerd(order: LoadOrder, report: LoadReport): Promise<{ ended: Promise<void> }> {
  const { port, publishPort, lines, batchEvents, historyBatches, seconds } = order;
  const path = '/herd';
  const publisher = new BatchPublisher(
    targetOf(publishPort, path),
    batchEvents,
    HISTORY_CONNECTIONS,
    report,
  );
  const isFree = (): boolean => publisher.pending === 0;
  publisher.publish();
  await until('the first batch', isFree, OPEN_DEADLINE_MS);
  const after = String(publisher.last);
  for (let batch = 0; batch < historyBatches;)
    if (publisher.publish()) batch++;
    else await sleepMs(1);
  await until('the history', isFree, OPEN_DEADLINE_MS);
  const { last } = publisher;
  publisher.drop();
  if (String(last) === after) throw new Error(`no history: ${report.firstRefusal}`);
  const target = targetOf(port, path);
  const comeBack = async (): Promise<void> => {
    const untilMs = performance.now() + seconds * 1000;
    while (performance.now() < untilMs) {
      const fromMs = performance.now();
      const wave = Array.from(
        { length: lines },
        () => new LoadLine(target, report, { after, until: last }),
      );
      while (wave.some(({ isOver }) => !isOver) && performance.now() < untilMs)
        await sleepMs(LOOK_MS);
      if (wave.every(({ isOver }) => isOver)) report.waves++;
      report.slowestLineMs = Math.max(report.slowestLineMs, performance.now() - fromMs);
      for (const line of wave) if (!line.isOver) line.drop();
    }
  };
  return { ended: comeBack() };
}

const BEGIN: Record<LoadName, Begin> = {
  'stopped lines': beginStopped,
  flood: beginFlood,
  'half a flood': beginHalfFlood,
  herd: beginHerd,
};

setPriority(constants.priority.PRIORITY_LOW);
let under: { report: LoadReport; fromMs: number; ended: Promise<void> } | undefined;
answerRunner({
  begin: async (order: LoadOrder) => {
    const report = newReport(order.load);
    const { ended } = await BEGIN[order.load](order, report);
    // Awaited in `end`; should it fail first, that is no unhandled failure.
    ended.catch(() => {});
    under = { report, fromMs: performance.now(), ended };
  },
  end: async (): Promise<LoadReport> => {
    const { report, fromMs, ended } = under!;
    await ended;
    report.seconds = (performance.now() - fromMs) / 1000;
    return report;
  },
});
