/** Workers that the system does not start: no memory, no descriptors, no process. */
import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { WORKER_PAUSE_MS_MIN, WORKER_PING_MS, WORKER_START_MS_MAX } from '../src/limits.js';
import { WorkerProcesses, type ProcessesOwner } from '../src/workers/worker-processes.js';
import { FakeClock, settlePromises } from './support/fake-clock.js';

/** A process that is not there: its pipes are, or not, and its error comes in a later turn. */
function missingChild(message: string, stdio: unknown): ChildProcess {
  const child = new EventEmitter() as ChildProcess;
  Object.assign(child, { stdio, pid: undefined, exitCode: null, kill: () => false });
  queueMicrotask(() => {
    (child as { exitCode: number }).exitCode = -11;
    child.emit('error', new Error(message));
  });
  return child;
}

class Rig {
  readonly clock = new FakeClock();
  readonly said: string[] = [];
  readonly children: ChildProcess[] = [];
  /** What is done in place of the next starts; then they succeed. */
  readonly instead: (() => ChildProcess)[] = [];
  readonly #owner: ProcessesOwner = {
    append() {},
    lines() {},
    entered() {},
    asked() {},
    gone() {},
    pinging() {},
    silent() {},
  };
  readonly processes = new WorkerProcesses({
    count: 2,
    start: () => {
      const next = this.instead.shift();
      if (next !== undefined) return next();
      const child = new EventEmitter() as ChildProcess;
      const pid = this.children.push(child);
      const stdio = [null, null, null, new PassThrough()];
      const kill = (): boolean => child.emit('exit', null, 'SIGKILL');
      return Object.assign(child, { stdio, pid, exitCode: null, kill });
    },
    say: (level, words, facts) => {
      // An entry of the log has the supervisor's pid; a second one would hide it.
      expect(facts).not.toHaveProperty('pid');
      this.said.push(`${level}: ${words}`);
    },
    clock: this.clock,
    owner: this.#owner,
  });

  /** All that have been started and do not serve yet say that they listen. */
  async listen(): Promise<void> {
    const address = { host: '127.0.0.1', port: 1, opsPort: undefined };
    for (const worker of this.processes)
      if (!worker.isServing) this.processes.listens(worker, { address, build: null, problems: [] });
    await settlePromises();
  }

  /** Both workers serve. */
  static async serving(): Promise<Rig> {
    const rig = new Rig();
    const started = rig.processes.start();
    await rig.listen();
    await rig.listen();
    await started;
    return rig;
  }

  /** Time passes in which a worker is started again. */
  async pause(times = 1): Promise<void> {
    await this.clock.turn(times * WORKER_PAUSE_MS_MIN);
  }
}

const NO_STARTS: [string, () => ChildProcess][] = [
  [
    'spawn ENOMEM',
    () => {
      throw new Error('spawn ENOMEM');
    },
  ],
  ['no file descriptors are left', () => missingChild('spawn EMFILE', undefined)],
  ['spawn EAGAIN', () => missingChild('spawn EAGAIN', [null, null, null, new PassThrough()])],
];

test.each(NO_STARTS)(
  'a worker that is not started again (%s) is tried again, and the other serves',
  async (problem, noStart) => {
    const rig = await Rig.serving();
    rig.instead.push(noStart, noStart);
    rig.children[1]!.emit('exit', null, 'SIGKILL');
    await rig.pause();
    await rig.pause(2);
    await rig.pause(4);
    await rig.listen();
    const notStarted = `error: a worker could not be started: ${problem}`;
    expect(rig.said).toEqual(['error: a worker was ended by SIGKILL', notStarted, notStarted]);
    expect(rig.processes.servingCount).toBe(2);
    expect(rig.processes.restartsTotal).toBe(3);
    expect(rig.children).toHaveLength(3);
  },
);

test.each(NO_STARTS)(
  'a server whose first worker is not started (%s) says so',
  async (problem, noStart) => {
    const rig = new Rig();
    rig.instead.push(noStart);
    const error = (await rig.processes.start().catch((reason: unknown) => reason)) as Error;
    expect([...rig.said, error.message].join()).toContain(
      `a worker could not be started: ${problem}`,
    );
    expect(error).not.toMatchObject({ exitCode: -11 });
  },
);

test('a first worker that a signal ends says nothing itself: the server says it', async () => {
  const rig = new Rig();
  const started = rig.processes.start().catch((reason: unknown) => reason);
  rig.children[0]!.emit('exit', null, 'SIGSEGV');
  expect(await started).toMatchObject({ exitCode: null });
  expect(rig.said).toEqual(['error: a worker was ended by SIGSEGV']);
});

test('a worker that does not begin to listen is ended, and the server says why', async () => {
  const rig = new Rig();
  const started = rig.processes.start().catch((reason: unknown) => reason);
  const untilMs = rig.clock.nowMs() + WORKER_START_MS_MAX + 2 * WORKER_PING_MS;
  while (rig.clock.nowMs() < untilMs) await rig.clock.turn(WORKER_PING_MS);
  expect(await started).toMatchObject({ exitCode: null });
  expect(rig.said).toEqual([
    'error: a worker does not listen after 30 s and is ended',
    'error: a worker was ended by SIGKILL',
  ]);
});
