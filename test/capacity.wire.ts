/**
 * `holdline capacity` on this machine: it measures, keeps what it measured, plans from it again,
 * and leaves nothing running.
 */

import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { COMPRESS_HEADS_PER_SWEEP } from '../src/limits.js';
import { Rig } from '../dist/tools/capacity/rig.js';
import { RunFailure } from '../dist/tools/load/clients/connection.js';
import { measuredCompression } from '../src/tools/capacity/compression-choice.js';
import { fitProfile } from '../src/tools/capacity/fit.js';
import type { Profile, Window } from '../src/tools/capacity/profile.js';
import { loadProfile, profileText } from '../src/tools/capacity/profile-file.js';
import type { CapacityReport } from '../src/tools/capacity/report.js';
import { runHoldline } from './support/server.js';
import { syntheticProfile } from './support/synthetic-profile.js';
import { until } from './support/until.js';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));

/** Long enough for a machine that does other things beside. */
const MEASURE_MS = 120_000;

const LINES = 300;

/** What stands around the data of an event; by default an id is the time in µs, 16 digits. */
const FRAME_BYTES = 'id: 1700000000000000\ndata: \n\n'.length;

/**
 * A variable that the command's processes inherit, which tells them from all others, those of an
 * earlier test among them.
 */
const MARK = 'CAPACITY_TEST';
const marks: string[] = [];

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'holdline-capacity-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  for (const pid of marks.flatMap(marked)) process.kill(Number(pid), 'SIGKILL');
});

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(args: readonly string[]) {
  const mark = randomUUID();
  marks.push(mark);
  const child = spawn(process.execPath, [MAIN, 'capacity', ...args], {
    env: { ...process.env, [MARK]: mark },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = new Promise<Ended>((resolve) =>
    child.on('close', (status) => resolve({ status, stdout, stderr })),
  );
  return { child, ended, mark };
}

/** Processes that carry the mark. */
function marked(mark: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return (
        /^\d+$/.test(pid) &&
        readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`${MARK}=${mark}\0`)
      );
    } catch {
      // It has ended.
      return false;
    }
  });
}

const profilePath = (): string => join(folder, 'profile.json');

describe('measuring', () => {
  let mark: string;
  let ended: Ended;
  let report: CapacityReport;
  let profile: Profile;
  beforeAll(async () => {
    const files = ['--save', profilePath(), '--html', join(folder, 'plan.html')];
    const budget = ['--lines', String(LINES), '--budget', '30s'];
    const started = start([...budget, '--subscribers', '250', '--rate', '20', '--json', ...files]);
    mark = started.mark;
    ended = await started.ended;
    if (ended.status !== 0) throw new Error(`exit ${ended.status}: ${ended.stderr}`);
    report = JSON.parse(ended.stdout) as CapacityReport;
    profile = loadProfile(profilePath());
  }, MEASURE_MS);

  it('sees what the server did: each delivery counted once, and in the memory steps every line', () => {
    expect(profile.memory.map(({ lines }) => lines)).toEqual([60, 120, 180, 240, 300]);
    expect(profile.windows).toHaveLength(14);
    const delivering: Window[] = [];
    for (const window of profile.windows) {
      const {
        lines,
        offeredPerSecond,
        deliveriesPerSecond,
        acceptedPerSecond,
        writtenBytesPerSecond,
        eventBytes,
      } = window;
      expect(window.serverShare).toBeGreaterThan(0);
      if (offeredPerSecond === 0) continue;
      expect(acceptedPerSecond).toBeGreaterThan(0);
      // At both ends of a window an event may be with some lines and not with others.
      const edge = (2 * lines) / window.seconds;
      expect(deliveriesPerSecond).toBeLessThanOrEqual(acceptedPerSecond * lines * 1.1 + edge);
      // Where the machine was taken away for a whole window, nothing came in it.
      if (deliveriesPerSecond > 0) delivering.push(window);
      else continue;
      expect(writtenBytesPerSecond / deliveriesPerSecond).toBeCloseTo(eventBytes + FRAME_BYTES, 0);
      expect(window.p99Ms).toBeGreaterThanOrEqual(window.p50Ms!);
    }
    expect(delivering.length).toBeGreaterThan(6);
    expect(profile.windows.find(({ heartbeatsPerSecond }) => heartbeatsPerSecond > 0)?.lines).toBe(
      LINES,
    );
  });

  it('measures the compressor, and plans with it from the kept profile', () => {
    expect(profile.blocks!.length).toBeGreaterThan(2);
    expect(profile.blocks!.every(({ us }) => us > 0)).toBe(true);
    expect(report.compression).toMatchObject({ sample: 'made-up market ticks' });
    const asked = ['--profile', profilePath(), '--subscribers', '250', '--rate', '20', '--json'];
    const again = runHoldline(['capacity', ...asked, '--compress', 'shared']);
    expect([again.status, again.stderr]).toEqual([0, expect.stringContaining('--sample FILE')]);
    const { plan, compression } = JSON.parse(again.stdout) as CapacityReport;
    expect(compression!.off.egressBytesPerSecond).toBe(report.plan.egressBytesPerSecond.value);
    expect(plan.egressBytesPerSecond.value).toBeLessThan(
      report.plan.egressBytesPerSecond.value / 2,
    );
  });

  it('finds the send buffer as the kernel grants it', () => {
    expect(profile.sendBufferBytes).toBe(2 * 64 * 1024);
  });

  it('plans for what was asked', () => {
    const { plan, fit } = report;
    expect(plan.request).toMatchObject({ subscribers: 250, eventsPerSecond: 20, eventBytes: 256 });
    // The demand lies within what was measured, and so does what it needs.
    const idleBytes = profile.memory.map(({ rssBytes }) => rssBytes);
    const busyBytes = profile.windows.map(({ rssBytes }) => rssBytes);
    expect(plan.userBytes.value).toBeGreaterThan(0.9 * Math.min(...idleBytes));
    expect(plan.userBytes.value).toBeLessThan(1.1 * Math.max(...busyBytes));
    // Windows with so many lines had more events than the plan. On a busy machine single ones are
    // off by a factor.
    const shares = profile.windows
      .filter(({ lines, offeredPerSecond }) => lines === LINES && offeredPerSecond > 20)
      .map(({ serverShare }) => serverShare);
    expect(plan.cpuShare.value).toBeGreaterThan(fit.costs.idleShare);
    expect(plan.cpuShare.value).toBeLessThan(Math.max(...shares));
    expect(fit.costs.frameBytes).toBeCloseTo(FRAME_BYTES, 0);
    // A write is at least a send() to a socket.
    expect(fit.costs.idleWriteUs + fit.costs.busyWriteUs + fit.costs.manyLinesUs).toBeGreaterThan(
      0.5,
    );
  });

  it('tells how far it is on stderr, and leaves no process', async () => {
    expect(ended.stderr).toMatch(/holdline: measuring, 0 %: starting\n/);
    expect(ended.stderr).toMatch(/holdline: measuring, \d+ %: 300 lines, events of 4,096 B\n/);
    await until('the end of all processes', () => marked(mark).length === 0);
  });

  it('writes the page', () => {
    expect(readFileSync(join(folder, 'plan.html'), 'utf8')).toMatch(
      /^<!doctype html>.*Capacity plan/s,
    );
  });

  it('plans from the kept profile without measuring, and for others than were measured', () => {
    const again = runHoldline([
      'capacity',
      '--profile',
      profilePath(),
      '--subscribers',
      '250',
      '--rate',
      '20',
      '--json',
    ]);
    expect(again.status).toBe(0);
    expect((JSON.parse(again.stdout) as CapacityReport).plan).toEqual(report.plan);
    const more = runHoldline(['capacity', '--profile', profilePath(), '--subscribers', '100000']);
    expect(more.status).toBe(0);
    expect(more.stdout).toMatch(
      /^100,000 subscribers at 10 events\/s of 256 B: \d+ processes on \d+ machines like this one;/,
    );
    expect(more.stdout).toContain('extrapolated ×');
  });
});

/** Closed when the test is over. */
async function startRig(compress?: 'shared'): Promise<Rig> {
  const rig = await Rig.start({
    transport: 'sse',
    cores: undefined,
    socketSendBufferBytes: 64 * 1024,
    heartbeatMs: 15_000,
    ...(compress && { compress }),
  });
  onTestFinished(() => rig.close());
  return rig;
}

describe('compressed lines', () => {
  it('are read by clients that take gzip, and what the compressor did is in the window', async () => {
    const rig = await startRig('shared');
    await rig.open(40);
    const eventBytes = 512;
    const window = await rig.publish({ ratePerSecond: 100, eventBytes, seconds: 1 });
    expect(window.faults).toBe(0);
    expect(window.blocksPerSecond).toBeGreaterThan(0);
    expect(window.compressedPlainBytesPerSecond).toBeGreaterThan(
      3 * window.compressedBytesPerSecond,
    );
    expect(window.compressorShare).toBeGreaterThan(0);
    // A block serves many lines: at most so many are made of an event (core/compressed-slices.ts),
    // and some for lines that have just joined.
    expect(window.compressedPlainBytesPerSecond).toBeLessThan(
      (COMPRESS_HEADS_PER_SWEEP + 4) * window.acceptedPerSecond * (eventBytes + FRAME_BYTES),
    );
    expect(window.writtenBytesPerSecond / window.deliveriesPerSecond).toBeLessThan(eventBytes / 2);
    const [words] = measuredCompression(
      { ...syntheticProfile(), compressed: [window] },
      fitProfile(syntheticProfile()),
    );
    expect(words).toMatch(/^measured with 40 compressed lines at 100 events\/s of 512 B: \d+ B a/);
  });
});

describe('what goes wrong', () => {
  it('is told in words, with 2 for the command line', () => {
    writeFileSync(join(folder, 'old.json'), '{"schema":0}');
    const old = runHoldline(['capacity', '--profile', join(folder, 'old.json')]);
    expect([old.status, old.stderr]).toEqual([
      2,
      expect.stringContaining('has schema 0, and this version reads 1'),
    ]);
    const rate = runHoldline(['capacity', '--rate', 'fast']);
    expect([rate.status, rate.stderr]).toEqual([
      2,
      expect.stringMatching(/--rate must be events a second .* \(got "fast"\)/),
    ]);
  });

  it('leaves the plan, where a file cannot be written', () => {
    const kept = join(folder, 'kept.json');
    writeFileSync(kept, profileText(syntheticProfile()));
    const full = runHoldline(['capacity', '--profile', kept, '--html', '/dev/full']);
    expect(full).toMatchObject({
      status: 1,
      stdout: expect.stringMatching(/^[\d,]+ subscribers at /) as string,
      stderr: expect.stringContaining('--html: "/dev/full" cannot be written (ENOSPC') as string,
    });
    const same = runHoldline(['capacity', '--profile', kept, '--html', kept]);
    expect([same.status, same.stderr]).toEqual([
      2,
      expect.stringContaining(`--html: "${kept}" is the file of --profile, too`),
    ]);
    expect(loadProfile(kept).machine).toBe(syntheticProfile().machine);
  });

  it('is told in words where the measured server is killed', async () => {
    const rig = await startRig();
    const { server } = rig;
    process.kill(server.pid, 'SIGKILL');
    await until('its end', () => !existsSync(`/proc/${server.pid}`));
    // Its parent hears of it in a later turn of the loop.
    await nextTurn();
    const gone = { constructor: RunFailure, message: 'the measured server is gone: SIGKILL' };
    await expect(rig.open(10)).rejects.toMatchObject(gone);
    await expect(rig.memory()).rejects.toMatchObject(gone);
    await expect(rig.watchIdle()).rejects.toMatchObject(gone);
    await expect(
      rig.publish({ ratePerSecond: 10, eventBytes: 256, seconds: 0.1 }),
    ).rejects.toMatchObject(gone);
  });

  it.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)(
    '%s in the middle leaves no process',
    async (signal) => {
      const { child, ended, mark } = start(['--lines', '100', '--budget', '30s']);
      await until('server and clients', () => marked(mark).length > 4);
      child.kill(signal);
      const { status, stdout } = await ended;
      expect([status, stdout]).toEqual([signal === 'SIGKILL' ? null : 130, '']);
      await until('the end of all processes', () => marked(mark).length === 0);
    },
  );
});
