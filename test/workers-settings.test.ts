/** What workers are told: the settings that were read last, and what others have let in. */
import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { SYSTEM_CLOCK } from '../src/clock.js';
import { makeCounters } from '../src/counters.js';
import { MemoryLog } from '../src/log/memory-log.js';
import type { Options } from '../src/options/options.js';
import { resolveOptions } from '../src/options/settings.js';
import { Parent } from '../src/workers/parent.js';
import { RingHistory } from '../src/workers/ring-history.js';
import { Supervisor } from '../src/workers/supervisor.js';
import type { Question } from '../src/workers/talk.js';
import { pipe } from './support/pipe.js';
import { welcomeOfAll } from './support/welcome.js';

/** A supervisor of two workers, which are started one after the other, in this process. */
function supervised(): { readonly supervisor: Supervisor; readonly parents: Parent[] } {
  const log = new MemoryLog(SYSTEM_CLOCK, makeCounters(), 1);
  const replay = { events: 1, bytes: 1 };
  const parents: Parent[] = [];
  const supervisor = new Supervisor({
    log,
    history: new RingHistory({ replay, replayTotalBytes: 1 }, log.floor()),
    counters: makeCounters(),
    count: 2,
    start() {
      const [mine, theirs] = pipe();
      void Parent.connect(() => {}, mine).then((parent) => parents.push(parent));
      const child = new EventEmitter();
      const kill = (): boolean => child.emit('exit', null, 'SIGKILL');
      const stdio = [null, null, null, theirs];
      return Object.assign(child, {
        stdio,
        pid: 1,
        exitCode: null,
        kill,
      }) as unknown as ChildProcess;
    },
    welcome: welcomeOfAll(10),
    pools: {},
    say() {},
  });
  void supervisor.start().catch(() => {});
  onTestFinished(() => {
    supervisor.kill();
    supervisor.stop();
  });
  return { supervisor, parents };
}

test('a worker begins with what was read last, and misses nothing that is read before it listens', async () => {
  const { supervisor, parents } = supervised();
  await expect.poll(() => parents).toHaveLength(1);
  const [first] = parents as [Parent];
  const { settings } = welcomeOfAll(10);
  expect(first.settings).toEqual(settings);

  const next = { ...settings, opsKey: 'next', publishKey: 'publish' };
  await supervisor.reload(next);
  expect(first.settings).toEqual(next);

  const used: unknown[] = [];
  first.onReload = () => used.push(first.settings);
  const last = { ...settings, opsKey: 'last' };
  await supervisor.reload(last);
  expect(used).toEqual([last]);

  const address = { host: '127.0.0.1', port: 1, opsPort: undefined };
  first.listens({ address, build: null, problems: [] });
  await expect.poll(() => parents).toHaveLength(2);
  expect(parents[1]!.settings).toEqual(last);
});

test('what counts against the rate of a source in one worker is told to the others', async () => {
  const { parents } = supervised();
  const address = { host: '127.0.0.1', port: 1, opsPort: undefined };
  await expect.poll(() => parents).toHaveLength(1);
  parents[0]!.listens({ address, build: null, problems: [] });
  await expect.poll(() => parents).toHaveLength(2);
  const heard: unknown[][] = [[], []];
  parents.forEach((parent, index) => (parent.onTaken = (...one) => heard[index]!.push(one)));
  parents[0]!.taken('key:a', 1);
  parents[0]!.taken('2001:db8::/64', 1);
  parents[0]!.taken('key:a', 4);
  await expect.poll(() => heard[1]).toHaveLength(2);
  expect(heard).toEqual([
    [],
    [
      ['key:a', 5],
      ['2001:db8::/64', 1],
    ],
  ]);
});

test('lines are ended, and users revoked, by a worker that is silent at the moment, too', async () => {
  const { supervisor, parents } = supervised();
  const address = { host: '127.0.0.1', port: 1, opsPort: undefined };
  await expect.poll(() => parents).toHaveLength(1);
  parents[0]!.listens({ address, build: null, problems: [] });
  await expect.poll(() => parents).toHaveLength(2);
  parents[1]!.listens({ address, build: null, problems: [] });
  await expect.poll(() => supervisor.report([]).serving).toBe(2);
  const heard: Question[] = [];
  parents[1]!.onQuestion = (question) => heard.push(question);
  [...supervisor.processes][1]!.pingsMissed = 2;
  const question: Question = { disconnect: { user: 'ann' }, code: 'revoked', notBeforeMs: 5 };
  const { answers } = await parents[0]!.askEveryone(question);
  expect(answers.map(({ isSilent }) => isSilent)).toEqual([false, true]);
  await expect.poll(() => heard).toEqual([question]);
  [...supervisor.processes][1]!.pingsMissed = 2;
  await parents[0]!.askEveryone({ channels: [] });
  expect(heard, 'of figures nobody would hear the answer').toHaveLength(1);
});

test('settings are the same when they have come through a pipe', () => {
  const options: Options = {
    log: 'nats://127.0.0.1:4222',
    allowOrigin: ['https://a.example', '*'],
    allowedHosts: ['b.example'],
    trustedProxies: ['10.0.0.0/8', 'unix'],
    opsListen: '[::1]:9090',
    jwtSecret: 'a-secret-of-thirty-two-bytes-or-more',
    ticketSecret: ['a-secret-of-thirty-two-bytes-or-more'],
    keys: [{ name: 'ci', sha256: '0'.repeat(64), publish: ['build/**'] }],
    policies: [{ channels: 'a', read: 'token', replayAge: 60_000, slow: 'latest' }],
    maxAgeMs: 0,
  };
  for (const settings of [resolveOptions(), resolveOptions(options)]) {
    const came = JSON.parse(JSON.stringify(settings)) as Options;
    expect(resolveOptions(came)).toStrictEqual(settings);
  }
});
