/**
 * The account of memory: classes that add up, the cost of a line, and the readings that the budget
 * gets. Process and kernel are simulated.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { HoldlineError } from '../src/errors.js';
import { makeHeldBytes } from '../src/core/held-bytes.js';
import {
  KERNEL_READING_INTERVAL_MS,
  MEMORY_COLLECT_MS,
  MEMORY_CHECK_MS,
  MEMORY_SETTLE_MS,
} from '../src/limits.js';
import { V8Collector } from '../src/ops/memory/collector.js';
import { KernelMemory, type KernelFigures } from '../src/ops/memory/kernel-memory.js';
import { KEPT_LINE_BYTES, LINE_HEAP_BYTES, QUIET_LINE_BYTES } from '../src/ops/memory/line-cost.js';
import { Memory } from '../src/ops/memory/memory.js';
import { FakeClock } from './support/fake-clock.js';

const MiB = 2 ** 20;
const PORT = 8080;
/** Native bytes of a line on the made-up machine. */
const LINE_BYTES = 600;

/** A process of 60 MiB and LINE_BYTES a line, whose allocator keeps what lines leave. */
class FakeProcess {
  readonly clock = new FakeClock();
  open = 0;
  openedTotal = 0;
  mostOpen = 0;
  heapBytes = 15 * MiB;
  heapFreeBytes = 0;
  /** Records and frames: allocated, and the part that was written to. */
  ringBytes = 0;
  touchedBytes = 0;
  unsentBytes = 0;
  otherBytes = 43 * MiB;
  tcpBytes: number | undefined = 0;
  figures: KernelFigures | undefined = {
    port: { sockets: 0, sendQueueBytes: 0, receiveQueueBytes: 0 },
    tcpBytes: 0,
    cgroup: undefined,
  };
  readings = 0;
  /** What the process is larger by while a thread reads, and for good after the first. */
  threadBytes = 0;
  threadLeftBytes = 0;
  /** What is subtracted for the collector's own buffer after V8 has freed it. */
  staleNudgeBytes = 0;
  /** Objects and buffers that nobody has any more, until the next collection. */
  garbageBytes = 0;
  readonly held = makeHeldBytes();
  readonly collector = {
    collections: 0,
    nudgeBytes: 0,
    asked: 0,
    buffersAreTrue: true,
    start(): void {},
    stop(): void {},
    collect(): void {
      this.asked++;
    },
  };
  /** What the allocator keeps of what was freed. */
  keptBytes = 0;
  /** With glibc and koffi. */
  hasAllocator = false;
  trims = 0;
  readonly allocator = {
    trim: (): void => {
      this.trims++;
      this.keptBytes = 0;
    },
    usage: () => {
      const { answers, messages } = this.held;
      const native = this.otherBytes + LINE_BYTES * this.open + this.unsentBytes;
      const usedBytes =
        native + this.threadBytes + answers + messages + this.bufferBytes + this.compilerBytes;
      return { usedBytes, heldBytes: usedBytes + this.keptBytes };
    },
  };
  /** Slices of compressed lines. */
  compressedBytes = 0;
  /** What V8 has of the allocator while it compiles. */
  compilerBytes = 0;
  /** Ends the reading that is under way. */
  endReading = (): void => {};
  readonly memory: Memory;

  constructor(budgetBytes?: number) {
    const kernel = new KernelMemory(this.clock, () => {
      this.readings++;
      this.threadBytes = 9 * MiB;
      return new Promise((resolve) => {
        this.endReading = () => {
          this.threadBytes = 0;
          this.threadLeftBytes = 7 * MiB;
          resolve(this.figures);
        };
      });
    });
    // oxlint-disable-next-line typescript/no-this-alias -- getters of an object have a `this` of their own
    const fake = this;
    const hub = {
      lines: {
        get open() {
          return fake.open;
        },
        get openedTotal() {
          return fake.openedTotal;
        },
      },
      get gauges() {
        return {
          linesByTransport: { sse: fake.open, ndjson: 0, websocket: 0, poll: 0, library: 0 },
        };
      },
      get memory() {
        const { ringBytes, touchedBytes } = fake;
        return {
          tables: {
            feedBytes: 1000,
            handleBytes: 170,
            ownerBytes: 30,
            deadlineBytes: 20,
            lossBytes: 10,
          },
          rings: {
            recordBytes: ringBytes / 4,
            frameBytes: (ringBytes * 3) / 4,
            bufferBytes: ringBytes,
            touchedBytes,
            heldBytes: touchedBytes / 2,
          },
          compressedBytes: fake.compressedBytes,
        };
      },
      get unsentBytes() {
        return fake.unsentBytes;
      },
    };
    const usage = () => ({
      rssBytes: this.rssBytes,
      heapBytes: this.heapBytes + LINE_HEAP_BYTES * this.open + this.garbageBytes,
      heapUsedBytes:
        this.heapBytes - this.heapFreeBytes + LINE_HEAP_BYTES * this.open + this.garbageBytes,
      externalBytes: this.bufferBytes - this.staleNudgeBytes,
      compilerBytes: this.compilerBytes,
    });
    this.memory = new Memory(hub, this.clock, kernel, this.held, budgetBytes, {
      usage,
      tcpBytes: () => this.tcpBytes,
      loadAllocator: () => Promise.resolve(this.hasAllocator ? this.allocator : undefined),
      collector: this.collector,
    });
  }

  get bufferBytes(): number {
    return 2 * MiB + this.ringBytes + this.compressedBytes + this.held.publishes;
  }

  get rssBytes(): number {
    const native =
      this.otherBytes +
      LINE_BYTES * this.mostOpen +
      this.unsentBytes +
      this.threadBytes +
      this.threadLeftBytes +
      this.compilerBytes +
      this.keptBytes;
    const { answers, messages, publishes } = this.held;
    const heap = this.heapBytes + LINE_HEAP_BYTES * this.open + this.garbageBytes;
    return (
      heap +
      2 * MiB +
      this.touchedBytes +
      this.compressedBytes +
      native +
      answers +
      messages +
      publishes
    );
  }

  /** What was asked for happens: garbage becomes memory that the allocator keeps. */
  collect(): void {
    this.collector.collections++;
    this.keptBytes += this.garbageBytes;
    this.garbageBytes = 0;
  }

  openLines(count: number): void {
    this.open += count;
    this.openedTotal += count;
    this.mostOpen = Math.max(this.mostOpen, this.open);
  }

  /** Lets the time of one check pass. */
  async check(ms = MEMORY_CHECK_MS): Promise<void> {
    this.clock.pass(ms);
    this.clock.runTimers();
    await new Promise(setImmediate);
  }

  /** Ends the reading under way, if there is one, and lets what waits for it go on. */
  async read(): Promise<void> {
    this.endReading();
    await new Promise(setImmediate);
  }

  get admits(): boolean {
    try {
      this.memory.checkRoom();
      return true;
    } catch (error) {
      expect(error).toBeInstanceOf(HoldlineError);
      return false;
    }
  }
}

function sumOf(classes: Record<string, { readonly bytes: number }>): number {
  return Object.values(classes).reduce((sum, { bytes }) => sum + bytes, 0);
}

describe('the report', () => {
  test('has classes that add up to the resident memory', async () => {
    const fake = new FakeProcess();
    await fake.memory.start(PORT);
    for (let step = 0; step < 20; step++) {
      fake.openLines(500);
      await fake.check();
    }
    fake.ringBytes = 40 * MiB;
    fake.touchedBytes = 30 * MiB;
    fake.unsentBytes = MiB;
    fake.heapFreeBytes = 7 * MiB;
    const asked = fake.memory.report();
    await fake.read();
    const report = await asked;
    const { classes } = report;
    expect(sumOf(classes)).toBeCloseTo(report.rssBytes, 3);
    expect(report).toMatchObject({
      rssBytes: fake.rssBytes,
      rssBytesPerLine: fake.rssBytes / 10_000,
      lines: 10_000,
      budget: null,
    });
    expect(classes.v8Heap).toMatchObject({
      bytes: 15 * MiB + 10_000 * LINE_HEAP_BYTES,
      usedBytes: 8 * MiB + 10_000 * LINE_HEAP_BYTES,
    });
    expect(classes.native).toMatchObject({
      source: 'measured',
      spreadLines: 10_000,
      bytesPerLine: expect.closeTo(LINE_BYTES, 3) as number,
    });
    expect(classes.native.bytes).toBeCloseTo(LINE_BYTES * 10_000, 0);
    expect(classes.tables).toMatchObject({
      bytes: 1230,
      bytesPerLine: 1230 / 10_000,
      feedBytes: 1000,
      handleBytes: 170,
      ownerBytes: 30,
      deadlineBytes: 20,
      lossBytes: 10,
    });
    expect(classes.rings, 'what was never written to is no memory yet').toMatchObject({
      bytes: 30 * MiB,
      recordBytes: 10 * MiB,
      frameBytes: 30 * MiB,
      heldBytes: 15 * MiB,
    });
    expect(classes.backlog.bytes).toBe(MiB);
    expect(classes.buffers.bytes).toBe(2 * MiB - 1230);
    expect(classes.other.bytes).toBeCloseTo(43 * MiB + 7 * MiB, -1);
  });

  test('shows slices of compressed lines beside the other buffers, among which they are', async () => {
    const fake = new FakeProcess();
    await fake.memory.start(PORT);
    const before = fake.memory.reportAtOnce().classes;
    fake.compressedBytes = 5 * MiB;
    const { classes, rssBytes } = fake.memory.reportAtOnce();
    expect(classes.compressed.bytes).toBe(5 * MiB);
    expect(classes.buffers.bytes).toBe(before.buffers.bytes);
    expect(Object.values(classes).reduce((sum, { bytes }) => sum + bytes, 0)).toBeCloseTo(
      rssBytes,
      -1,
    );
  });

  test('has no share of a line where there is none, and a kept figure before one is measured', async () => {
    const fake = new FakeProcess();
    await fake.memory.start(PORT);
    const asked = fake.memory.report();
    await fake.read();
    const { classes, rssBytesPerLine } = await asked;
    expect(rssBytesPerLine).toBeNull();
    expect(classes.v8Heap.bytesPerLine).toBeNull();
    expect(classes.native).toMatchObject({
      bytes: 0,
      bytesPerLine: KEPT_LINE_BYTES.sse,
      source: 'kept',
    });
  });

  test.each([
    [true, 'measured', LINE_BYTES],
    [false, 'kept', KEPT_LINE_BYTES.sse],
  ] as const)(
    'what a compiler takes and leaves with the allocator is no part of a line (allocator: %s)',
    async (hasAllocator, source, bytesPerLine) => {
      const fake = new FakeProcess();
      fake.hasAllocator = hasAllocator;
      await fake.memory.start(PORT);
      await fake.read();
      for (let step = 0; step < 40; step++) {
        fake.openLines(100);
        fake.compilerBytes = step % 10 === 5 ? 4 * MiB : 0;
        if (step === 7) fake.keptBytes = 8 * MiB;
        if (step === 30) fake.keptBytes = 0;
        await fake.check();
      }
      expect(fake.memory.reportAtOnce().classes.native).toMatchObject({
        bytesPerLine: expect.closeTo(bytesPerLine, 6) as number,
        source,
      });
    },
  );

  test('a rush between two checks is measured, and rings that grow meanwhile are no part of a line', async () => {
    const fake = new FakeProcess();
    await fake.memory.start(PORT);
    fake.openLines(10_000);
    fake.ringBytes = 64 * MiB;
    fake.touchedBytes = 33 * MiB;
    fake.heapBytes += 3 * MiB;
    await fake.check();
    expect(fake.memory.reportAtOnce().classes.native).toMatchObject({
      source: 'measured',
      bytesPerLine: expect.closeTo(LINE_BYTES, 3) as number,
    });
  });

  test('what the first thread leaves is no part of a line', async () => {
    const fake = new FakeProcess();
    await fake.memory.start(PORT);
    for (let step = 0; step < 20; step++) {
      fake.openLines(500);
      if (step === 10) {
        void fake.memory.report();
        await fake.check();
        await fake.read();
      }
      await fake.check();
    }
    expect(fake.memory.reportAtOnce().classes.native.bytesPerLine).toBeCloseTo(LINE_BYTES, 3);
  });

  test('has the kernel’s totals with their age; at once it gives the last reading and starts a new one', async () => {
    const fake = new FakeProcess();
    await fake.memory.start(PORT);
    expect(fake.memory.reportAtOnce().kernel).toBeNull();
    expect(fake.readings).toBe(1);
    fake.figures = {
      port: { sockets: 9, sendQueueBytes: 5, receiveQueueBytes: 6 },
      tcpBytes: undefined,
      cgroup: { version: 1, socketBytes: 7 },
    };
    await fake.read();
    fake.clock.pass(1_500);
    expect(fake.memory.reportAtOnce().kernel).toEqual({
      ageMs: 1_500,
      port: { sockets: 9, sendQueueBytes: 5, receiveQueueBytes: 6 },
      tcpBytes: null,
      cgroup: { version: 1, socketBytes: 7 },
    });
    fake.clock.pass(KERNEL_READING_INTERVAL_MS);
    expect(fake.memory.reportAtOnce().kernel?.ageMs).toBe(1_500 + KERNEL_READING_INTERVAL_MS);
    expect(fake.readings).toBe(2);
  });

  test('nothing is read and nothing learnt while nobody asks and no line comes', async () => {
    const fake = new FakeProcess();
    await fake.memory.start(PORT);
    for (let checks = 0; checks < 100; checks++) await fake.check();
    expect(fake.readings).toBe(0);
    expect(fake.clock.timerCount).toBe(1);
    await fake.memory.stop();
    expect(fake.clock.timerCount).toBe(0);
  });
});

describe('the budget', () => {
  /** A process with a budget of 100 MiB, whose first reading is over: it takes 67 MiB. */
  async function budgeted(): Promise<FakeProcess> {
    const fake = new FakeProcess(100 * MiB);
    await fake.memory.start(PORT);
    await fake.read();
    await fake.check();
    return fake;
  }

  test('lines above it are refused, counted one by one between two checks', async () => {
    const fake = await budgeted();
    let admitted = 0;
    for (; admitted < 100_000 && fake.admits; admitted++) fake.openLines(1);
    // The kept figure, heap and row count until a reading shows what the lines really take.
    expect(admitted).toBe(Math.floor((33 * MiB) / QUIET_LINE_BYTES));
    await fake.check();
    expect(fake.admits, 'they took less than they were counted for').toBe(true);
    expect(fake.memory.budget).toEqual({ bytes: 100 * MiB, usedBytes: fake.rssBytes, full: false });
  });

  test('rings count, and when they are gone lines are admitted again', async () => {
    const fake = await budgeted();
    fake.ringBytes = fake.touchedBytes = 34 * MiB;
    await fake.check();
    expect(fake.admits).toBe(false);
    fake.ringBytes = fake.touchedBytes = 0;
    expect(fake.admits, 'not before the next check').toBe(false);
    await fake.check();
    expect(fake.admits).toBe(true);
  });

  test('slices of compressed lines count at once, and not when they are gone', async () => {
    const fake = await budgeted();
    fake.compressedBytes = 34 * MiB;
    await fake.check();
    expect(fake.memory.budget?.usedBytes).toBe(fake.rssBytes);
    expect(fake.admits).toBe(false);
    // The process keeps the pages of the freed buffers for a while.
    fake.compressedBytes = 0;
    fake.garbageBytes = 34 * MiB;
    await fake.check();
    expect(fake.admits).toBe(true);
  });

  test('what closed lines leave is taken by the next ones, although the process does not shrink', async () => {
    const fake = await budgeted();
    for (let step = 0; step < 50; step++) {
      fake.openLines(1_000);
      await fake.check();
      await fake.read();
    }
    expect(fake.admits).toBe(false);
    fake.open -= 20_000;
    await fake.check();
    expect(fake.memory.budget?.usedBytes).toBeCloseTo(fake.rssBytes - LINE_BYTES * 20_000, -1);
    expect(fake.admits).toBe(true);
    // Something else has taken it: a backlog of lines that stall, for one.
    fake.unsentBytes = 30 * MiB;
    await fake.check();
    expect(fake.admits).toBe(false);
    // The allocator gives it back: it is not in the resident memory any more, and not taken off
    // twice.
    fake.mostOpen = fake.open;
    await fake.check();
    expect(fake.memory.budget?.usedBytes).toBe(fake.rssBytes);
  });

  test('garbage is no use, and a collection is asked for, once in five seconds', async () => {
    const fake = await budgeted();
    fake.garbageBytes = 25 * MiB;
    await fake.check();
    expect([fake.collector.asked, fake.admits], 'there is room').toEqual([0, true]);
    for (const garbageBytes of [60 * MiB, 900 * MiB, 60 * MiB]) {
      fake.garbageBytes = garbageBytes;
      await fake.check();
      expect([fake.collector.asked, fake.memory.budget?.usedBytes]).toEqual([1, 67 * MiB]);
    }
    expect(fake.admits).toBe(true);
    await fake.check(MEMORY_COLLECT_MS);
    expect(fake.collector.asked).toBe(2);
    fake.collect();
    await fake.check(MEMORY_SETTLE_MS);
    fake.garbageBytes = 10 * MiB;
    await fake.check(MEMORY_SETTLE_MS);
    expect(
      fake.memory.budget?.usedBytes,
      'without malloc_trim what was freed counts until it is taken again',
    ).toBe(127 * MiB);
  });

  test('a collection that its counter has not heard of yet does not make use smaller', async () => {
    const fake = await budgeted();
    fake.garbageBytes = 60 * MiB;
    await fake.check();
    expect(fake.memory.budget?.usedBytes).toBe(67 * MiB);
    fake.staleNudgeBytes = 65 * MiB;
    await fake.check();
    fake.staleNudgeBytes = 0;
    await fake.check();
    expect(fake.memory.budget?.usedBytes).toBeGreaterThanOrEqual(65 * MiB);
  });

  test('no collection is asked for where it would stop the loop for long', async () => {
    const fake = new FakeProcess(200 * MiB);
    fake.heapBytes = 60 * MiB;
    await fake.memory.start(PORT);
    await fake.read();
    fake.garbageBytes = 200 * MiB;
    await fake.check();
    expect([fake.collector.asked, fake.admits]).toEqual([0, true]);
  });

  test('what was collected is given back, once in a second, and only where it would help', async () => {
    const fake = new FakeProcess(100 * MiB);
    fake.hasAllocator = true;
    await fake.memory.start(PORT);
    await fake.read();
    fake.garbageBytes = 20 * MiB;
    fake.collect();
    await fake.check();
    expect(fake.trims, 'there is room').toBe(0);
    fake.garbageBytes = 60 * MiB;
    fake.collect();
    await fake.check();
    expect(fake.trims).toBe(1);
    expect(fake.memory.budget?.usedBytes).toBe(67 * MiB);
    fake.garbageBytes = 60 * MiB;
    fake.collect();
    await fake.check();
    expect([fake.trims, fake.admits], 'not so soon').toEqual([1, true]);
    await fake.check(MEMORY_SETTLE_MS);
    expect([fake.trims, fake.admits]).toEqual([2, true]);
    fake.ringBytes = fake.touchedBytes = 50 * MiB;
    await fake.check(MEMORY_SETTLE_MS);
    expect([fake.trims, fake.admits], 'rings are not freed, and nothing was collected').toEqual([
      2,
      false,
    ]);
  });

  test('use that nobody counts is seen when a collection has left it', async () => {
    const fake = await budgeted();
    fake.otherBytes += 40 * MiB;
    await fake.check();
    expect([fake.collector.asked, fake.admits], 'it may be garbage').toEqual([1, true]);
    await fake.check(2 * MEMORY_SETTLE_MS);
    expect(fake.admits, 'nobody knows yet').toBe(true);
    fake.collect();
    fake.garbageBytes = 30 * MiB;
    await fake.check();
    fake.garbageBytes = MiB;
    await fake.check(MEMORY_SETTLE_MS);
    expect(fake.admits).toBe(false);
    expect(fake.memory.budget?.usedBytes, 'the least of the readings since').toBe(108 * MiB);
    fake.otherBytes -= 20 * MiB;
    await fake.check();
    expect([fake.memory.budget?.usedBytes, fake.admits]).toEqual([88 * MiB, true]);
  });

  test('what is held for clients counts', async () => {
    const fake = await budgeted();
    fake.held.publishes = 20 * MiB;
    fake.held.messages = 10 * MiB;
    await fake.check();
    expect(fake.admits).toBe(true);
    fake.held.answers = 4 * MiB;
    await fake.check();
    expect([fake.memory.budget?.usedBytes, fake.admits]).toEqual([101 * MiB, false]);
    const { classes, rssBytes } = fake.memory.reportAtOnce();
    expect(classes.held).toEqual({
      bytes: 34 * MiB,
      bytesPerLine: null,
      answers: 4 * MiB,
      messages: 10 * MiB,
      publishes: 20 * MiB,
    });
    expect(classes.buffers.bytes, 'publishes are in one class').toBe(2 * MiB - 1230);
    expect(sumOf(classes)).toBeCloseTo(rssBytes, 3);
  });

  test('kernel memory counts: the own queues as read last, and growth of the machine’s since', async () => {
    const fake = await budgeted();
    fake.tcpBytes = 20 * MiB;
    await fake.check();
    expect(fake.memory.budget?.usedBytes).toBe(87 * MiB);
    fake.figures = {
      port: { sockets: 1, sendQueueBytes: 12 * MiB, receiveQueueBytes: 3 * MiB },
      tcpBytes: 20 * MiB,
      cgroup: undefined,
    };
    await fake.check(KERNEL_READING_INTERVAL_MS);
    await fake.read();
    await fake.check();
    expect(fake.memory.budget?.usedBytes, 'the rest was of others').toBe(82 * MiB);
    fake.tcpBytes = 0;
    await fake.check();
    expect(fake.memory.budget?.usedBytes, 'others’ sockets may be those that went').toBe(82 * MiB);
    fake.tcpBytes = 40 * MiB;
    await fake.check();
    expect(fake.admits).toBe(false);
  });

  test('the kernel is read every ten seconds by itself, and the thread that reads does not count', async () => {
    const fake = await budgeted();
    expect(fake.readings).toBe(1);
    await fake.check(KERNEL_READING_INTERVAL_MS);
    expect(fake.readings).toBe(2);
    const { usedBytes } = fake.memory.budget!;
    fake.ringBytes = fake.touchedBytes = 50 * MiB;
    await fake.check();
    expect(fake.memory.budget?.usedBytes, 'no reading is taken beside it').toBe(usedBytes);
    await fake.read();
    await fake.check();
    expect(fake.memory.budget?.usedBytes).toBe(117 * MiB);
  });

  test('where the kernel cannot be read the process alone counts', async () => {
    const fake = new FakeProcess(100 * MiB);
    fake.tcpBytes = undefined;
    fake.figures = undefined;
    await fake.memory.start(PORT);
    await fake.read();
    await fake.check();
    expect(fake.memory.budget?.usedBytes).toBe(67 * MiB);
  });

  test('of several processes all count, each without its garbage', async () => {
    const fake = await budgeted();
    expect([fake.admits, fake.memory.processBytes]).toEqual([true, fake.rssBytes]);
    let elsewhereBytes = 100 * MiB - fake.rssBytes;
    fake.memory.elsewhereBytes = () => elsewhereBytes;
    await fake.check();
    expect(fake.admits, 'full because of the others').toBe(false);
    expect(fake.memory.budget).toEqual({ bytes: 100 * MiB, usedBytes: 100 * MiB, full: true });
    const liveBytes = fake.rssBytes;
    fake.garbageBytes = 30 * MiB;
    fake.hasAllocator = true;
    await fake.check();
    expect(fake.memory.processBytes, 'what the others count').toBe(liveBytes);
    elsewhereBytes -= 10 * MiB;
    await fake.check();
    expect(fake.admits).toBe(true);
  });

  test('one that several processes fill is refused by the first, and by none that joins later', async () => {
    const fake = new FakeProcess(100 * MiB);
    fake.memory.startingCount = 1;
    await expect(fake.memory.start(PORT)).rejects.toThrow(
      'workers and supervisor take about 120.0 MiB before the first one',
    );
    const later = new FakeProcess(100 * MiB);
    later.memory.startingCount = undefined;
    later.memory.elsewhereBytes = () => 90 * MiB;
    const started = later.memory.start(PORT);
    await nextTurn();
    await later.read();
    await started;
    expect(later.admits).toBe(false);
  });

  test('one that joins others has started when it knows what the kernel holds for their sockets', async () => {
    const fake = new FakeProcess(100 * MiB);
    fake.tcpBytes = 50 * MiB;
    fake.figures = {
      port: { sockets: 900, sendQueueBytes: 45 * MiB, receiveQueueBytes: 0 },
      tcpBytes: 50 * MiB,
      cgroup: undefined,
    };
    fake.memory.startingCount = undefined;
    let hasStarted = false;
    const started = fake.memory.start(PORT).then(() => (hasStarted = true));
    await nextTurn();
    expect([fake.readings, hasStarted]).toEqual([1, false]);
    await fake.read();
    await started;
    expect(fake.memory.budget?.usedBytes).toBe(fake.rssBytes + 45 * MiB);
    expect(fake.admits).toBe(false);
  });

  test('one that joins others starts where the kernel cannot be read', async () => {
    const fake = new FakeProcess(100 * MiB);
    fake.figures = undefined;
    fake.memory.startingCount = undefined;
    const started = fake.memory.start(PORT);
    await nextTurn();
    await fake.read();
    await started;
    expect(fake.admits).toBe(true);
  });

  test('one that the process alone fills is refused at the start', async () => {
    await expect(new FakeProcess(60 * MiB).memory.start(PORT)).rejects.toThrow(
      expect.objectContaining({ code: 'HOLDLINE_BAD_OPTION' }) as Error,
    );
  });
});

describe('the collector', () => {
  test('counts its request until Node does not: past a collection that was at work before it asked', async () => {
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc') as (options?: { type: 'minor' }) => void;
    const collector = new V8Collector();
    collector.start();
    const reported = async (collections: number): Promise<void> => {
      for (let turns = 0; collector.collections < collections && turns < 1_000; turns++)
        await nextTurn();
    };
    gc();
    // The end of that collection is not reported yet.
    collector.collect();
    const askedBytes = collector.nudgeBytes;
    expect(askedBytes).toBeGreaterThan(60e6);
    await reported(1);
    gc({ type: 'minor' });
    await nextTurn();
    await nextTurn();
    const countedBytes = process.memoryUsage().external;
    expect(collector.nudgeBytes).toBe(askedBytes);
    // What survived does not stand in the way of the next.
    collector.collect();
    expect(collector.nudgeBytes).toBe(2 * askedBytes);
    const fullBefore = collector.collections;
    // A new WeakRef keeps its target until the end of the turn.
    await nextTurn();
    gc();
    await reported(fullBefore + 1);
    expect(collector.nudgeBytes).toBe(2 * askedBytes);
    gc({ type: 'minor' });
    for (let turns = 0; collector.nudgeBytes > 0 && turns < 1_000; turns++) await nextTurn();
    expect(collector.nudgeBytes).toBe(0);
    expect(process.memoryUsage().external).toBeLessThan(countedBytes - 0.9 * askedBytes);
    collector.stop();
  });
});
