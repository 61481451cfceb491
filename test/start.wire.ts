/** The start of a server's life: where its settings come from, and mistakes that end it in words. */
import { describe, expect, test } from 'vitest';
import { runHoldline, serverForTest } from './support/server.js';

describe('--print-config', () => {
  const row = (stdout: string, name: string): string =>
    stdout.split('\n').find((line) => new RegExp(`(^|\\W)${name}(\\W|$)`).test(line)) ?? '';

  test('shows value and source of each setting, flag before environment before default, secrets masked, and exits 0', () => {
    const { status, stdout } = runHoldline(
      ['serve', '--print-config', '--port', '0', '--publish-key', 'sesame-open', '--heartbeat', '20s'],
      {
        HOLDLINE_PORT: '9999',
        HOLDLINE_REPLAY_EVENTS: '77',
      },
    );
    expect(status).toBe(0);
    expect(row(stdout, 'port')).toMatch(/\b0\b.*flag/);
    expect(row(stdout, 'replay-events')).toMatch(/77.*environment/);
    expect(row(stdout, 'heartbeat')).toMatch(/20 ?s|20000 ?ms/);
    expect(row(stdout, 'replay-bytes')).toMatch(/1 ?MiB.*default/);
    expect(row(stdout, 'publish-key')).toMatch(/flag/);
    expect(stdout).not.toContain('sesame-open');
  });

  test.each([
    ['an unknown flag', ['--replay-evnts', '5'], /replay-evnts/],
    ['a value out of range', ['--port', '70000'], /port.*70000.*65535/s],
    ['a value without unit', ['--heartbeat', '15'], /heartbeat.*15/s],
    ['a flag of later work', ['--demo'], /demo/],
  ])('%s fails at start, names it and exits other than 0', (_name, args, message) => {
    const { status, stdout, stderr } = runHoldline(['serve', ...args]);
    expect(status).toBeGreaterThan(0);
    expect(stdout + stderr).toMatch(message);
  });
});

test('a port that is taken fails at start and is named; two servers never share one', async () => {
  const server = await serverForTest();
  const { status, stdout, stderr } = runHoldline(['serve', '--port', String(server.port)]);
  expect(status).toBeGreaterThan(0);
  expect(stdout + stderr).toContain(String(server.port));
});

test('more connections than the file limit carries fail at start, and both numbers are named', () => {
  const { status, stdout, stderr } = runHoldline(['serve', '--port', '0', '--max-connections', '999999']);
  expect(status).toBeGreaterThan(0);
  expect(stdout + stderr).toMatch(/999,?999/);
  expect(stdout + stderr).toMatch(/open files|file limit/i);
});
