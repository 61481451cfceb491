/** The command `holdline doctor`: its output, its exit codes, and a path over TLS. */

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { Finding } from '../src/tools/doctor/finding.js';
import type { Report } from '../src/tools/doctor/report.js';
import { certificateForTest, nginxForTest, nginxLines, PATH_CHECKS } from './support/front.js';
import { sharedHosted } from './support/hosted.js';
import { runHoldline } from './support/server.js';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));

const server = sharedHosted({ heartbeat: '100ms' });

describe('the command', () => {
  const doctor = (...args: string[]): ReturnType<typeof runHoldline> =>
    runHoldline(['doctor', ...args]);

  it('tells of the machine in JSON, and says with its exit code whether something is a problem', () => {
    const { status, stdout, stderr } = doctor('--json', '--lines', '10');
    const report = JSON.parse(stdout) as Report;
    expect(report).toMatchObject({ lines: 10, through: null });
    expect(report.machine.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['node', 'native', 'file-limit', 'memory']),
    );
    expect(report.machine.find(({ name }) => name === 'native')).toMatchObject({
      level: 'ok',
      value: expect.stringMatching(/^@uwsjs\/core@\S+ loads$/) as string,
    });
    expect({ status, stderr }).toEqual({ status: report.problems === 0 ? 0 : 1, stderr: '' });
  });

  it('finds that the files do not suffice, and says what does', () => {
    const limited = [
      '-c',
      'ulimit -n 500 && exec "$@"',
      'sh',
      process.execPath,
      MAIN,
      'doctor',
      '--lines',
      '1000',
    ];
    const { status, stdout } = spawnSync('sh', limited, { encoding: 'utf8' });
    expect(stdout).toMatch(/^This machine, for 1,000 lines\n/);
    expect(stdout).toMatch(/^PROBLEM +file-limit +500, enough for 336 lines$/m);
    expect(stdout).toMatch(/^ +→ ulimit -n 1164,/m);
    expect(status).toBe(1);
  });

  it('looks through a URL and tells what it saw', () => {
    const { stdout } = doctor('--json', '--through', `${server().url}/c`, '--through-idle', '1s');
    const { through: seen } = JSON.parse(stdout) as Report;
    expect(seen).toMatchObject({
      url: `${server().url}/c`,
      seen: { head: { status: 200 }, end: null },
    });
    expect(seen!.findings.map(({ name, level }) => [name, level])).toEqual(
      PATH_CHECKS.map((name) => [name, 'ok']),
    );
  });

  it('looks through TLS, once it trusts the certificate', async () => {
    const tls = certificateForTest();
    const url = `${await nginxForTest(server().port, nginxLines(), { tls })}/c`;
    const args = ['doctor', '--json', '--through', url, '--through-idle', '1s'];
    const found = (env: Record<string, string>): readonly Finding[] =>
      (JSON.parse(runHoldline(args, env).stdout) as Report).through!.findings;
    expect(found({})).toMatchObject([
      { name: 'answer', level: 'problem', value: expect.stringMatching(/certificate/) as string },
    ]);
    expect(
      found({ NODE_EXTRA_CA_CERTS: tls.certificate }).map(({ name, level }) => [name, level]),
    ).toEqual(PATH_CHECKS.map((name) => [name, 'ok']));
  });

  it('refuses what is no URL of a channel, exit 2', () => {
    const { status, stderr } = doctor('--through', 'events.example');
    expect(status).toBe(2);
    expect(stderr).toMatch(
      /--through must be an http or https URL of a channel .* \(got "events\.example"\)/,
    );
  });
});
