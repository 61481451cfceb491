/** The C programs of the bench, compiled once in each run into a temporary directory. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const hasCompiler: boolean = spawnSync('gcc', ['--version']).status === 0;

const binaries = new Map<string, string>();

/** Compiles a source, relative to this folder, with more flags; returns the path of the binary. */
export function compiled(source: string, ...flags: readonly string[]): string {
  const key = [source, ...flags].join(' ');
  const known = binaries.get(key);
  if (known !== undefined) return known;
  const binary = join(temporaryDirectory(), key.replaceAll(/\W/g, '-'));
  const file = fileURLToPath(new URL(source, import.meta.url));
  const { status, stderr } = spawnSync('gcc', ['-O2', ...flags, '-o', binary, file], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`gcc could not compile ${source}:\n${stderr}`);
  binaries.set(key, binary);
  return binary;
}

let temporary: string | undefined;

/** Removed when the process ends. */
export function temporaryDirectory(): string {
  if (temporary !== undefined) return temporary;
  const directory = mkdtempSync(join(tmpdir(), 'holdline-bench-'));
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
  temporary = directory;
  return directory;
}
