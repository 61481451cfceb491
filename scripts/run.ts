/** Runs a command of the checkout, as the scripts do. */
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/**
 * Runs it at the root of the checkout; its words go where this process's do. Without stdin, so that
 * a question fails instead of waiting for an answer. Returns its exit code.
 */
export function run(
  command: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): number {
  const { status, error } = spawnSync(command, args, {
    cwd: ROOT,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (error !== undefined) console.error(`${command}: ${error.message}`);
  return status ?? 1;
}
