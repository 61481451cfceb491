/** Files that a running server reads: what is no regular file is refused, not waited for. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readRegularFile } from '../src/linux/files.js';

test('a pipe without a writer is refused at once; a link to a file is read', () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdline-'));
  try {
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    expect(() => readRegularFile(join(folder, 'pipe'))).toThrow('it is no regular file');
    expect(() => readRegularFile('/dev/zero')).toThrow('it is no regular file');
    expect(() => readRegularFile(join(folder, 'absent'))).toThrow('ENOENT');
    writeFileSync(join(folder, 'keys'), '[]');
    symlinkSync(join(folder, 'keys'), join(folder, 'link'));
    expect(readRegularFile(join(folder, 'link'))).toBe('[]');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
