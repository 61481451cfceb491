/**
 * Micro: parts of our own code without kernel and network: encode, ring, table, and a sweep over
 * 15,000 sockets that take everything.
 */
import { Bench } from 'tinybench';
import type { Clock } from '../src/clock.js';
import type { LoggedEvent } from '../src/core/event.js';
import { NDJSON, SSE, SSE_ENVELOPE, type Encoding } from '../src/core/frame.js';
import { Hub } from '../src/core/hub.js';
import { LineTable } from '../src/core/line-table.js';
import { NOBODY } from '../src/core/owners.js';
import { LIVE } from '../src/core/position.js';
import type { LinePort, DeliveryMode } from '../src/core/ports.js';
import { Ring } from '../src/core/ring.js';
import { makeCounters } from '../src/counters.js';
import { CORK_WRITE_BYTES_MAX } from '../src/limits.js';
import { MemoryLog } from '../src/log/memory-log.js';
import { ANY_DATA, DATA_BYTES } from './event.js';
import type { Measured, RunOptions } from './results.js';
import { drawTable } from './table.js';

export interface MicroParameters {
  eventBytes: number;
  sockets: number;
  taskMs: number;
  /** Operations in one timed call, so that the timer's own cost is a thousandth. */
  operationsPerCall: number;
}

export interface MicroFigures {
  name: string;
  /** What one operation is. */
  per: string;
  medianNs: number;
  p99Ns: number;
  meanNs: number;
  samples: number;
}

interface Task {
  name: string;
  per: string;
  operations: number;
  run: () => void | Promise<void>;
}

const SOCKETS = 15_000;
const OPERATIONS_PER_CALL = 1_000;
const RING_EVENTS = 1_024;
const CHANNEL = 'bench';
const RETRY_MS = 3_000;

export async function measureMicro(
  options: RunOptions,
): Promise<Measured<MicroParameters, MicroFigures, MicroFigures[]>> {
  const sockets = options.lines ?? SOCKETS;
  const parameters: MicroParameters = {
    eventBytes: DATA_BYTES,
    sockets,
    taskMs:
      options.windowSeconds === undefined
        ? options.quick
          ? 200
          : 2_000
        : options.windowSeconds * 1000,
    operationsPerCall: OPERATIONS_PER_CALL,
  };
  const tasks = [...frameTasks(), ...ringTasks(), tableTask(), ...sweepTasks(sockets)];
  const bench = new Bench({ time: parameters.taskMs, warmupTime: parameters.taskMs / 4 });
  for (const task of tasks) bench.add(task.name, task.run);
  await bench.run();
  const figures = tasks.map((task) => figuresOf(bench, task));
  for (const { name, medianNs, per } of figures)
    options.say(`${name}: ${nanoseconds(medianNs)} ${per}`);
  return {
    parameters,
    rounds: figures,
    summary: figures,
    remarks: [
      'shapes of our own code, run in the bench’s own process through tsx; what a socket costs is not in them',
    ],
    table: drawTable(
      ['', 'median', 'p99', ''],
      figures.map(({ name, medianNs, p99Ns, per }) => [
        name,
        nanoseconds(medianNs),
        nanoseconds(p99Ns),
        per,
      ]),
    ),
  };
}

function figuresOf(bench: Bench, task: Task): MicroFigures {
  const result = bench.getTask(task.name)?.result;
  if (result === undefined || !('latency' in result)) {
    const error = result !== undefined && 'error' in result ? result.error : undefined;
    throw new Error(`the micro bench "${task.name}" has no result`, { cause: error });
  }
  const { latency } = result;
  const ns = (valueMs: number): number => (valueMs * 1e6) / task.operations;
  return {
    name: task.name,
    per: task.per,
    medianNs: ns(latency.p50),
    p99Ns: ns(latency.p99),
    meanNs: ns(latency.mean),
    samples: latency.samplesCount,
  };
}

function makeEvent(id: number): LoggedEvent {
  return { id, channel: CHANNEL, type: undefined, data: ANY_DATA, json: false };
}

function frameTasks(): Task[] {
  const event = makeEvent(1_000_000);
  const encode = (name: string, encoding: Encoding): Task => ({
    name: `encode a frame (${name})`,
    per: 'a frame',
    operations: OPERATIONS_PER_CALL,
    run: () => {
      for (let done = 0; done < OPERATIONS_PER_CALL; done++) encoding.encode(event);
    },
  });
  return [encode('sse', SSE), encode('sse-env', SSE_ENVELOPE), encode('ndjson', NDJSON)];
}

function ringTasks(): Task[] {
  const ring = new Ring();
  const frame = Buffer.from(SSE.encode(makeEvent(1)));
  let id = 0;
  const append = (): void => {
    if (ring.length >= RING_EVENTS) ring.evict();
    ring.append(++id, frame);
  };
  for (let done = 0; done < RING_EVENTS; done++) append();
  return [
    {
      name: `ring of ${RING_EVENTS}: append and evict`,
      per: 'a frame',
      operations: OPERATIONS_PER_CALL,
      run: () => {
        for (let done = 0; done < OPERATIONS_PER_CALL; done++) append();
      },
    },
    {
      name: `ring of ${RING_EVENTS}: find a cursor, cut a cork’s slice`,
      per: 'a slice',
      operations: OPERATIONS_PER_CALL,
      run: () => {
        for (let done = 0; done < OPERATIONS_PER_CALL; done++) {
          const from = ring.seqAfter(ring.newestId - 1 - (done % RING_EVENTS));
          ring.view(from, ring.runEnd(from, CORK_WRITE_BYTES_MAX));
        }
      },
    },
  ];
}

function tableTask(): Task {
  const table = new LineTable<object>();
  const socket = {};
  for (let row = 0; row < SOCKETS; row++) table.add(socket, row, 0, 0, 0, 0);
  return {
    name: `table of ${SOCKETS} lines: add one, remove one`,
    per: 'a pair',
    operations: OPERATIONS_PER_CALL,
    run: () => {
      for (let done = 0; done < OPERATIONS_PER_CALL; done++) {
        table.add(socket, SOCKETS, 0, 0, 0, 0);
        table.remove((done * 7919) % SOCKETS);
      }
    },
  };
}

/** A clock that takes the next turn on demand: a sweep is all its turns, one after the other. */
class SteppedClock implements Clock {
  #soon: (() => void)[] = [];
  wallMs(): number {
    return Date.now();
  }
  nowMs(): number {
    return performance.now();
  }
  soon(task: () => void): void {
    this.#soon.push(task);
  }
  soonest(task: () => void): void {
    this.#soon.unshift(task);
  }
  later(): () => void {
    return () => {};
  }
  runAll(): void {
    while (this.#soon.length > 0) {
      const tasks = this.#soon;
      this.#soon = [];
      for (const task of tasks) task();
    }
  }
}

function sweepTasks(sockets: number): Task[] {
  return [1, 50].map((events) => sweepTask(sockets, events));
}

function sweepTask(sockets: number, events: number): Task {
  const clock = new SteppedClock();
  let writtenBytes = 0;
  const port: LinePort<object> = {
    kind: 'stream',
    write: (_socket, bytes) => {
      writtenBytes += bytes.length;
      return true;
    },
    end: () => {},
    unsentBytes: () => 0,
  };
  const way: DeliveryMode<object> = { transport: 'sse', encoding: SSE, port };
  const counters = makeCounters();
  const hub = new Hub<object>(new MemoryLog(clock, counters, 1), clock, counters, {
    replay: { events: RING_EVENTS, bytes: 2 ** 20 },
    replayTotalBytes: 2 ** 28,
    heartbeatMs: 15_000,
    flushIntervalMs: 0,
    slow: 'gap',
  });
  for (let joined = 0; joined < sockets; joined++)
    hub.join({}, [CHANNEL], way, LIVE, RETRY_MS, NOBODY);
  const batch = Array.from({ length: events }, () => makeEvent(0));
  let checked = false;
  return {
    name: `sweep: ${events === 1 ? '1 event' : `${events} events`} to ${sockets} lines`,
    per: 'a line',
    operations: sockets,
    run: () => {
      // The events are in the ring when this returns; the promise is only for the publisher's ids.
      void hub.publish(CHANNEL, batch);
      clock.runAll();
      if (checked) return;
      checked = true;
      if (writtenBytes < sockets * events * DATA_BYTES) {
        throw new Error(
          `a sweep wrote ${writtenBytes} bytes, which is not ${events} events to ${sockets} lines`,
        );
      }
    },
  };
}

function nanoseconds(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} ms`;
  if (value >= 1e3) return `${(value / 1e3).toFixed(2)} µs`;
  return `${value.toFixed(1)} ns`;
}
