/**
 * Event streams in a process of their own, behind receive buffers smaller than Node can ask for;
 * some stall on purpose.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants, setPriority } from 'node:os';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';
import { compiled } from '../../bench/compile.js';

export { hasCompiler } from '../../bench/compile.js';

/** Who reads, and how. */
export interface Reading {
  readonly port: number;
  readonly path: string;
  readonly lines: number;
  readonly receiveBytes: number;
  /** The first of them stall and read in turn. */
  readonly stallers: number;
  readonly stallMs: number;
  readonly readMs: number;
  /** True when those come back on a new connection each time they have stalled. */
  readonly reconnects: boolean;
}

/** What came on the lines that always read, and on those that stall. */
export interface Read {
  readonly gaps: number;
  readonly bytes: number;
  readonly stallerGaps: number;
  readonly stallerBytes: number;
}

/**
 * Opens the lines; when all have been answered they read until the function is called that this
 * resolves with.
 */
export async function startReading(reading: Reading): Promise<() => Promise<Read>> {
  const { port, path, lines, receiveBytes, stallers, stallMs, readMs, reconnects } = reading;
  const program = compiled('../test/support/stalling-readers.c');
  const given = [
    port,
    path,
    lines,
    receiveBytes,
    stallers,
    stallMs,
    readMs,
    reconnects ? 1 : 0,
  ].map(String);
  const child = spawn(program, given, { stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  // Where it may: who means to read is not to wait for a processor.
  try {
    if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_HIGH);
  } catch {
    // Not root.
  }
  const output: string[] = [];
  const answers = createInterface({ input: child.stdout }).on('line', (line) => output.push(line));
  await Promise.race([once(answers, 'line'), once(child, 'exit')]);
  if (output[0] !== 'ready') throw new Error(`the readers did not open: ${output.join('\n')}`);
  return async () => {
    child.stdin.end();
    await once(answers, 'close');
    return JSON.parse(output[1] ?? '') as Read;
  };
}
