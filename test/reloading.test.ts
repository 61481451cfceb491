/** What SIGHUP does with what is read, and the ops key where none is given. */
import { expect, test } from 'vitest';
import type { Logger } from 'pino';
import { parseCommandLine } from '../src/options/command-line.js';
import type { RunningSettings } from '../src/options/reload.js';
import { MadeOpsKey } from '../src/serve/ops-key.js';
import { reloading } from '../src/serve/reloading.js';

const MADE = 'ops key made for this run';

/** A server that runs with what it is given, and was started with these arguments. */
class Rig {
  readonly said: [string, object | undefined][] = [];
  readonly madeKey = new MadeOpsKey();
  /** What it is to refuse next. */
  problem: string | undefined;
  running: RunningSettings;
  args: readonly string[];
  readonly reload: () => Promise<void>;

  constructor(...args: readonly string[]) {
    this.args = args;
    const parse = (): ReturnType<typeof parseCommandLine> =>
      parseCommandLine(this.args, { env: {}, fileLimit: 20_000, readFile: () => '' });
    const info = (facts: object, words: string): unknown => this.said.push([words, facts]);
    const say = (words: string): unknown => this.said.push([words, undefined]);
    const log = { info, warn: say, error: say } as unknown as Logger;
    this.running = this.madeKey.addTo(parse().settings);
    this.madeKey.sayIfUsed(log, this.running);
    const use = (settings: RunningSettings): void => {
      if (this.problem !== undefined) throw new Error(this.problem);
      this.running = settings;
    };
    this.reload = reloading({
      commandLine: parse(),
      settings: this.running,
      madeKey: this.madeKey,
      parse,
      log,
      use,
    });
  }

  /** The server's ops key once these are its arguments. */
  async keyWith(...args: readonly string[]): Promise<string> {
    this.args = args;
    await this.reload();
    return this.running.opsKey;
  }

  get made(): readonly unknown[] {
    return this.said.flatMap(([words, facts]) => (words === MADE ? [facts] : []));
  }
}

test('an ops key that is taken out counts no more: one is made, and told once', async () => {
  const rig = new Rig('--open-publish', '--ops-key=given');
  expect(rig.running.opsKey).toBe('given');
  const opsKey = await rig.keyWith('--open-publish');
  expect(opsKey).toMatch(/^[\w-]{32}$/);
  expect(rig.said).toEqual([
    ['reloaded', { changed: ['--ops-key'] }],
    [MADE, { opsKey }],
  ]);
  expect(await rig.keyWith('--open-publish', '--ops-key=other')).toBe('other');
  expect(await rig.keyWith('--open-publish')).toBe(opsKey);
  expect(rig.made).toEqual([{ opsKey }]);
});

test('an ops key that was made at the start stays', async () => {
  const rig = new Rig('--open-publish');
  const { opsKey } = rig.running;
  expect(await rig.keyWith('--open-publish')).toBe(opsKey);
  expect(rig.made).toEqual([{ opsKey }]);
});

test('what cannot be read or used changes nothing, and a made key is told when it counts', async () => {
  const rig = new Rig('--open-publish', '--ops-key=given');
  expect(await rig.keyWith('--no-such-option')).toBe('given');
  rig.problem = 'the key is none';
  expect(await rig.keyWith('--open-publish')).toBe('given');
  expect(rig.said.map(([words]) => words)).toEqual([
    expect.stringMatching(/^not reloaded, what was read before counts on: .*no-such-option/),
    'not reloaded, what was read before counts on: the key is none',
  ]);
  rig.problem = undefined;
  const opsKey = await rig.keyWith('--open-publish');
  expect(rig.made).toEqual([{ opsKey }]);
});

test('what needs a restart is named, and nothing that nobody gave', async () => {
  const rig = new Rig('--open-publish', '--ops-key=k', '--log-level=info', '--port=1');
  await rig.keyWith(
    '--open-publish',
    '--ops-key=k',
    '--log-level=debug',
    '--log-format=json',
    '--workers=4',
  );
  expect(rig.said.map(([words]) => words)).toEqual([
    'reloaded',
    'changed, and needs a restart: --port, --workers, --log-level, --log-format',
  ]);
});

test('what does not go with what stays is refused', async () => {
  const small = ['--publish-key=a', '--ops-key=k', '--replay-total=1MiB', '--replay-bytes=1MiB'];
  const rig = new Rig(...small);
  const policies = '--policies=[{"channels":"a","replayBytes":"2MiB"}]';
  await rig.keyWith('--publish-key=a', '--ops-key=k', '--replay-total=4MiB', policies);
  expect(rig.said.map(([words]) => words)).toEqual([
    expect.stringMatching(/^not reloaded, .*--policies: replayBytes of "a" must be at most /),
  ]);
});

test('a demo that others reach from now on lets no page listen that was not given', async () => {
  const rig = new Rig('--demo', '--open-publish', '--ops-key=k');
  expect(rig.running.allowOrigin).toEqual(['*']);
  await rig.keyWith('--demo', '--open-publish', '--ops-key=k', '--allowed-hosts=h.example');
  expect(rig.running.allowOrigin).toEqual([]);
  expect(rig.said).toEqual([['reloaded', { changed: ['--allow-origin', '--allowed-hosts'] }]]);
});
