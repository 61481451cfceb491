/**
 * The meter of the server that is driven: whom it finds, and whether what it says of memory and
 * processor time is so.
 */

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { nowUs } from '../src/tools/load/books/clock.js';
import { ProcessMeter, type ServerSample } from '../src/tools/load/processes/process-meter.js';
import { sharedServer } from './support/server.js';
import { DEADLINE_MS } from './support/wire.js';

const WITHIN = { timeout: DEADLINE_MS };
const LOOPBACK = '127.0.0.1';

function meterOf(port: number, pid?: number, address = LOOPBACK): ProcessMeter {
  const meter = new ProcessMeter({ address, port }, pid);
  onTestFinished(() => meter.stop());
  return meter;
}

/** Starts a program that listens and says where, and whatever else it writes. */
async function listener(
  program: string,
): Promise<{ child: ChildProcess; port: number; said: () => string }> {
  const listen = `require('node:net').createServer().listen(0, '${LOOPBACK}', function () { console.log(this.address().port); go(this); });`;
  const child = spawn(process.execPath, ['-e', `${listen} ${program}`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (more: string) => (text += more));
  await expect.poll(() => text, WITHIN).toContain('\n');
  return { child, port: Number(text.split('\n')[0]), said: () => text };
}

async function samplesOf(meter: ProcessMeter, count: number): Promise<readonly ServerSample[]> {
  await expect.poll(() => meter.samples.length, WITHIN).toBeGreaterThanOrEqual(count);
  return meter.samples;
}

/** Two readings of the memory of one process, one right after the other. */
function expectAbout(bytes: number, otherBytes: number): void {
  expect(Math.abs(bytes / otherBytes - 1)).toBeLessThan(0.1);
}

describe('a meter', () => {
  const shared = sharedServer();

  it('finds the process that listens on a port, and tells its memory', () => {
    const meter = meterOf(shared().port);
    expect([meter.pids, meter.problem]).toEqual([[shared().child.pid], undefined]);
    const { rssBytes, tcpBytes, atUs } = meter.latest!;
    expectAbout(rssBytes, shared().rssBytes());
    expect(rssBytes).toBeGreaterThan(20e6);
    expect(tcpBytes).toBeGreaterThanOrEqual(0);
    expect(atUs).toBeLessThanOrEqual(nowUs());
  });

  it('tells all processor time of the process, and when it was', async () => {
    // Once it is told to, it works for half a second of its own time, and says how much it was.
    const work = `function go() {
      const used = () => { const { user, system } = process.cpuUsage(); return user + system; };
      process.stdin.once('data', () => { const before = used(); while (used() < before + 5e5); console.log('worked', used() - before); });
    }`;
    const { port, said, child } = await listener(work);
    const meter = meterOf(port);
    expect(meter.pids).toEqual([child.pid]);
    child.stdin!.write('go');
    await expect.poll(said, { timeout: 4 * DEADLINE_MS }).toContain('worked');
    const samples = await samplesOf(meter, meter.samples.length + 2);
    let beforeUs = samples[0]!.atUs;
    let seconds = 0;
    for (const { atUs, cpuShare } of samples) {
      seconds += ((cpuShare ?? 0) * (atUs - beforeUs)) / 1e6;
      beforeUs = atUs;
    }
    const workedSeconds = Number(/worked (\d+)/.exec(said())![1]) / 1e6;
    // It is counted in ticks of 10 ms, and reading a line takes some, too.
    expect(seconds).toBeGreaterThan(workedSeconds - 0.05);
    expect(seconds).toBeLessThan(workedSeconds + 0.2);
    expect(samples[0]!.cpuShare).toBeNull();
    expect(samples.at(-1)!.cpuShare).toBeLessThan(0.1);
  });

  it('adds up the processes that share the port', async () => {
    // A second process that is given the listening socket, and ends with its parent.
    const share = `function go(server) {
      const second = require('node:child_process').spawn(process.execPath,
        ['-e', 'process.stdin.resume().on("end", () => process.exit()); console.log("second", process.pid, "is here")'],
        { stdio: ['pipe', 'inherit', 'inherit', server._handle.fd] }); }`;
    const { child, port, said } = await listener(share);
    await expect.poll(said, WITHIN).toContain('is here');
    const meter = meterOf(port);
    const second = Number(/second (\d+)/.exec(said())![1]);
    expect(meter.pids.toSorted((a, b) => a - b)).toEqual(
      [child.pid!, second].toSorted((a, b) => a - b),
    );
    const alone = [child.pid!, second].map((pid) => meterOf(port, pid).latest!.rssBytes);
    expectAbout(meter.latest!.rssBytes, alone[0]! + alone[1]!);
  });

  it('looks at the process that is named, wherever the server is', () => {
    const meter = meterOf(1, process.pid, '192.0.2.1');
    expect(meter.pids).toEqual([process.pid]);
    expectAbout(meter.latest!.rssBytes, process.memoryUsage.rss());
  });

  it('refuses the name of a process that does not exist', () => {
    expect(() => new ProcessMeter({ address: LOOPBACK, port: 1 }, 2 ** 31 - 1)).toThrow(
      expect.objectContaining({
        code: 'HOLDLINE_BAD_OPTION',
        message:
          '--server-pid: 2147483647 was given, and /proc of this machine has no such process',
      }),
    );
  });

  it.each([
    ['192.0.2.1', 80, 'the server is at 192.0.2.1, which is not this machine'],
    [
      LOOPBACK,
      1,
      'no process of this user listens on port 1 here; --server-pid N names the one to look at',
    ],
  ])('says why it can tell nothing of %s:%d', (address, port, problem) => {
    const meter = meterOf(port, undefined, address);
    expect([meter.pids, meter.problem, meter.latest]).toEqual([[], problem, undefined]);
  });

  it('ends with the process, and keeps what it saw', async () => {
    const { child, port } = await listener('function go() {}');
    const meter = meterOf(port);
    await samplesOf(meter, 2);
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
    const kept = meter.samples.length;
    // Another one looks on meanwhile, as often.
    await samplesOf(meterOf(1, process.pid), 4);
    expect(meter.samples.length).toBe(kept);
  });
});

describe('a meter of a long run', () => {
  afterEach(() => void vi.useRealTimers());

  it('keeps samples of all of it, further apart', () => {
    vi.useFakeTimers();
    const meter = meterOf(1, process.pid);
    const [first] = meter.samples;
    const cpuBefore = process.cpuUsage();
    const hours = 2;
    let most = 0;
    for (let minute = 0; minute < hours * 60; minute++) {
      vi.advanceTimersByTime(60_000);
      most = Math.max(most, meter.samples.length);
    }
    meter.stop();
    const { user, system } = process.cpuUsage(cpuBefore);
    const { samples } = meter;
    const gapsUs = samples.slice(1).map(({ atUs }, index) => atUs - samples[index]!.atUs);
    expect(most).toBeLessThanOrEqual(2048);
    expect(samples.length).toBeGreaterThan(1000);
    expect(samples.at(-1)!.atUs - samples[0]!.atUs).toBeGreaterThan((hours - 0.01) * 3600e6);
    // 14,400 looks at half a second fit 2,048 when every eighth is kept.
    expect(Math.max(...gapsUs) / Math.min(...gapsUs)).toBeLessThan(2.1);
    // What it was before the run stays, and so does all processor time.
    expect(samples[0]).toEqual(first);
    const seconds = gapsUs.reduce(
      (sum, gapUs, index) => sum + (samples[index + 1]!.cpuShare! * gapUs) / 1e6,
      0,
    );
    expect(seconds / ((user + system) / 1e6)).toBeGreaterThan(0.9);
  });
});
