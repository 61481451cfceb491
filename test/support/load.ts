/** `holdline load` as a child process, and servers of a test's own that it may drive. */

import { spawn, type ChildProcess } from 'node:child_process';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, expect } from 'vitest';
import type { LoadReport } from '../../src/tools/load/report/report.js';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

/** What a process said, and how it ended. */
export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts `holdline load`; `ended` resolves when it is over. */
export function startLoad(
  args: readonly string[],
  env: Record<string, string> = {},
): { child: ChildProcess; ended: Promise<Ended> } {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('HOLDLINE_') && name !== 'NODE_OPTIONS',
  );
  const child = spawn(process.execPath, [MAIN, 'load', ...args], {
    env: { ...Object.fromEntries(inherited), ...env },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = new Promise<Ended>((resolve) =>
    child.on('close', (status) => resolve({ status, stdout, stderr })),
  );
  return { child, ended };
}

/** Runs it to its end with --json; stdout must hold the report and nothing else. */
export async function load(
  args: readonly string[],
  env?: Record<string, string>,
): Promise<Ended & { report: LoadReport }> {
  const ended = await startLoad(['--json', '--quiet', ...args], env).ended;
  if (ended.stdout === '') throw new Error(`no report; exit ${ended.status}, ${ended.stderr}`);
  expect(ended.stdout.split('\n')).toHaveLength(2);
  return { ...ended, report: JSON.parse(ended.stdout) as LoadReport };
}

/** Options as a shell would part them. */
export const words = (line: string): string[] => line.split(' ');

/**
 * For servers that a file's tests make: starts one on a free port and gives its URL, without a
 * slash at the end. They are closed when all tests are over, since several run at once.
 */
export function fakes(): (fake: Server) => Promise<string> {
  const all: Server[] = [];
  afterAll(() => {
    for (const fake of all) {
      fake.closeAllConnections();
      fake.close();
    }
  });
  return async (fake) => {
    all.push(fake);
    await new Promise<void>((resolve) => fake.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(fake.address() as AddressInfo).port}`;
  };
}
