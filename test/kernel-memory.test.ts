/**
 * Readings of the kernel: at most one each ten seconds, one at a time, and a failure is no reading.
 */
import { expect, test } from 'vitest';
import { KERNEL_READING_INTERVAL_MS } from '../src/limits.js';
import { KernelMemory, type KernelFigures } from '../src/ops/memory/kernel-memory.js';
import { FakeClock } from './support/fake-clock.js';

const FIGURES: KernelFigures = {
  port: { sockets: 3, sendQueueBytes: 200, receiveQueueBytes: 10 },
  tcpBytes: 4096,
  cgroup: { version: 2, socketBytes: 8192 },
};

/** Readings that end when the test says so. */
class Readings {
  readonly clock = new FakeClock();
  readonly ports: number[] = [];
  readonly #ends: ((figures: KernelFigures | undefined) => void)[] = [];
  readonly kernel = new KernelMemory(this.clock, (port) => {
    this.ports.push(port);
    return new Promise((resolve) => this.#ends.push(resolve));
  });

  end(figures: KernelFigures | undefined): void {
    this.#ends.shift()!(figures);
  }
}

test('those who ask while one reads wait for it, and those who ask soon after get the same', async () => {
  const readings = new Readings();
  const { kernel, clock, ports } = readings;
  expect(kernel.latest).toBeUndefined();
  const [first, second] = [kernel.read(8080), kernel.read(8080)];
  expect(kernel.isReading).toBe(true);
  const beganMs = clock.nowMs();
  readings.end(FIGURES);
  expect(await first).toEqual({ ...FIGURES, atMs: expect.closeTo(beganMs, 1) as number });
  expect(await second).toBe(await first);
  expect(kernel.isReading).toBe(false);
  clock.pass(KERNEL_READING_INTERVAL_MS - 1);
  expect(await kernel.read(8080)).toBe(await first);
  expect(ports).toEqual([8080]);
  clock.pass(2);
  const third = kernel.read(8080);
  expect(ports).toEqual([8080, 8080]);
  expect(kernel.latest, 'the old one stands until the new one is there').toBe(await first);
  readings.end({ ...FIGURES, tcpBytes: 1 });
  expect((await third)?.tcpBytes).toBe(1);
});

test('a reading that failed leaves the last one, and is not tried again at once', async () => {
  const readings = new Readings();
  const { kernel, clock, ports } = readings;
  const failed = kernel.read(1);
  readings.end(undefined);
  expect(await failed).toBeUndefined();
  expect(await kernel.read(1)).toBeUndefined();
  expect(ports).toEqual([1]);
  clock.pass(KERNEL_READING_INTERVAL_MS);
  const good = kernel.read(1);
  readings.end(FIGURES);
  await good;
  clock.pass(KERNEL_READING_INTERVAL_MS);
  const again = kernel.read(1);
  readings.end(undefined);
  expect(await again).toBe(await good);
});

test('where the system has no thread to read, that is no reading, and the next one counts', async () => {
  const clock = new FakeClock();
  const readings = [() => Promise.reject(new Error('EAGAIN')), () => Promise.resolve(FIGURES)];
  const kernel = new KernelMemory(clock, () => readings.shift()!());
  expect(await kernel.read(1)).toBeUndefined();
  expect(kernel.isReading).toBe(false);
  clock.pass(KERNEL_READING_INTERVAL_MS);
  expect(await kernel.read(1)).toMatchObject(FIGURES);
});

test('stop waits for the thread that reads', async () => {
  const readings = new Readings();
  const { kernel } = readings;
  await kernel.stop();
  void kernel.read(1);
  let stopped = false;
  const stop = kernel.stop().then(() => (stopped = true));
  await Promise.resolve();
  expect(stopped).toBe(false);
  readings.end(FIGURES);
  await stop;
});
