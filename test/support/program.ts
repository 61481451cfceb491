/** A program that a test starts, waits for, and leaves no trace of. */
import { spawn, type ChildProcess } from 'node:child_process';
import { onTestFinished } from 'vitest';
import { Watched } from './wire.js';

export interface ProgramOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** What it reads; none by default. */
  readonly input?: string;
  /** True when `env` is all it gets: nothing of this process's own. */
  readonly bare?: boolean;
}

/** A running program and all it has printed. */
export class Program extends Watched {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';
  /** Undefined while it runs, null when a signal ended it. */
  exitCode: number | null | undefined;

  constructor(command: string, args: readonly string[], options: ProgramOptions = {}) {
    super();
    // A group of its own: npm and shells start children that must go with them.
    this.child = spawn(command, args, {
      cwd: options.cwd,
      env: options.bare === true ? options.env : { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    });
    this.child.stdin!.on('error', () => {}).end(options.input ?? '');
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
      this.changed();
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
      this.changed();
    });
    this.child.on('error', (error) => {
      this.broken = error;
      this.changed();
    });
    this.child.on('close', (code) => {
      this.exitCode = code;
      this.changed();
    });
  }

  describe(): string {
    return `exit ${this.exitCode}, stdout ${JSON.stringify(this.stdout.slice(-800))}, stderr ${JSON.stringify(this.stderr.slice(-800))}`;
  }

  /** Waits until it has printed what matches. Fails when it ends without. */
  printed(pattern: RegExp, deadlineMs?: number): Promise<RegExpExecArray> {
    return this.waitFor(
      `${pattern} on stdout`,
      () => {
        const match = pattern.exec(this.stdout);
        if (match === null && this.exitCode !== undefined)
          throw new Error(`it ended without printing ${pattern}; ${this.describe()}`);
        return match;
      },
      deadlineMs,
    );
  }

  /** Waits for its end and gives the exit code. */
  async ended(deadlineMs?: number): Promise<number | null> {
    await this.waitFor('its end', () => this.exitCode !== undefined, deadlineMs);
    return this.exitCode ?? null;
  }

  /** Ends it and all that it started. */
  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    try {
      process.kill(-this.child.pid!, signal);
    } catch {
      // It and all of its children are gone.
    }
  }
}

/** A program that is gone when the running test is over. */
export function programForTest(
  command: string,
  args: readonly string[],
  options?: ProgramOptions,
): Program {
  const program = new Program(command, args, options);
  onTestFinished(() => program.kill());
  return program;
}
