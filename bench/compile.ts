/** The C programs of the bench, compiled once a run into a directory that is gone with it. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const hasCompiler: boolean = spawnSync('gcc', ['--version']).status === 0;

const binaries = new Map<string, string>();

/**
 * `source` is relative to this folder. Returns the binary's path; throws in words when gcc refuses.
 */
export function compiled(source: string): string {
  const known = binaries.get(source);
  if (known !== undefined) return known;
  const binary = join(temporaryDirectory(), source.replaceAll(/\W/g, '-'));
  const file = fileURLToPath(new URL(source, import.meta.url));
  const { status, stderr } = spawnSync('gcc', ['-O2', '-o', binary, file], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`gcc could not compile ${source}:\n${stderr}`);
  binaries.set(source, binary);
  return binary;
}

let temporary: string | undefined;

/** One for the run, gone with it. */
export function temporaryDirectory(): string {
  if (temporary !== undefined) return temporary;
  const directory = mkdtempSync(join(tmpdir(), 'holdline-bench-'));
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
  temporary = directory;
  return directory;
}
