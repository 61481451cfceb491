/**
 * A command in a terminal of its own, as a person has it: `script` (util-linux) makes a pseudo
 * terminal with a shell in it, and keys are written to it.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import type { AtEnd } from './begun.js';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

const COLUMNS = 80;

/** A variable that the processes of the terminal inherit, which tells them from all others. */
const MARK = 'PTY_TEST';

/**
 * How long a start, an end, or a step of a measurement may take on a machine that does other things
 * beside.
 */
const DEADLINE_MS = 60_000;

/** What a terminal has seen when its shell has ended. */
export interface Ended {
  /** What the command sent to the terminal. */
  readonly raw: string;
  /** The screen's rows, with the last one where the cursor is. */
  readonly screen: readonly string[];
  /** As the shell saw it: 128 and the number of the signal where one killed the command. */
  readonly exitCode: number;
  /** The modes of the line discipline (stty), before and after. */
  readonly modes: readonly [before: string, after: string];
}

/** A terminal in which `holdline` runs. */
export class Pty {
  output = '';
  readonly #child: ChildProcess;
  readonly #mark = randomUUID();
  readonly #closed: Promise<void>;

  /** Runs the command line in it, and its end leaves nothing. */
  constructor(args: readonly string[], atEnd: AtEnd = onTestFinished) {
    const command = [process.execPath, MAIN, ...args].map(quoted).join(' ');
    // An interactive shell stays when Ctrl-C ends its command.
    const shell =
      `stty cols ${COLUMNS} rows 24; trap : INT TERM; echo "[modes $(stty -g)]"; echo "[begin]"; ` +
      `sh -c 'echo "[pid $$]"; exec "$@"' sh ${command}; ` +
      'code=$?; echo "[code $code]"; echo "[modes $(stty -g)]"';
    this.#child = spawn('script', ['--quiet', '--command', shell, '/dev/null'], {
      env: { ...process.env, TERM: 'xterm', SHELL: '/bin/sh', [MARK]: this.#mark },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    this.#closed = new Promise((resolve) => this.#child.once('close', () => resolve()));
    atEnd(() => {
      for (const pid of this.processes) process.kill(pid, 'SIGKILL');
    });
  }

  /** The processes of the terminal that are still there. */
  get processes(): number[] {
    return readdirSync('/proc')
      .filter((pid) => {
        try {
          return (
            /^\d+$/.test(pid) &&
            readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`${MARK}=${this.#mark}\0`)
          );
        } catch {
          // It has ended.
          return false;
        }
      })
      .map(Number);
  }

  /** Waits until the output matches, which it does from its beginning. */
  async until(pattern: RegExp): Promise<void> {
    const deadline = performance.now() + DEADLINE_MS;
    while (!pattern.test(this.output)) {
      if (performance.now() > deadline)
        throw new Error(
          `not within ${DEADLINE_MS} ms: ${pattern} in ${JSON.stringify(this.output)}`,
        );
      await sleep(5);
    }
  }

  /** Presses Ctrl-C, which goes to the command and to all that it has started. */
  pressCtrlC(): void {
    this.#child.stdin!.write('\u0003');
  }

  /** Sends a signal to the command alone. */
  kill(signal: NodeJS.Signals): void {
    process.kill(Number(/\[pid (\d+)\]/.exec(this.output)![1]), signal);
  }

  /** Waits for the end of the command and of all that it has started. */
  async ended(): Promise<Ended> {
    await this.until(/\[code \d+\][^]*\[modes [^\]]*\]/);
    this.#child.stdin!.end();
    await this.#closed;
    const deadline = performance.now() + DEADLINE_MS;
    while (this.processes.length > 0) {
      if (performance.now() > deadline)
        throw new Error(`still there: ${this.processes.map(commandOf).join('; ')}`);
      await sleep(20);
    }
    const [, before, raw, code, after] =
      /\[modes (.*?)\][^]*?\[pid \d+\]\r\n([^]*)\[code (\d+)\][^]*\[modes (.*?)\]/.exec(
        this.output,
      )!;
    return { raw: raw!, screen: screenOf(raw!), exitCode: Number(code), modes: [before!, after!] };
  }
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return `${pid} (ended)`;
  }
}

/**
 * The rows of a screen after a text with the codes that a bar needs: to the start of the line, and
 * clear to its end. Throws for any other code.
 */
export function screenOf(text: string): string[] {
  const rows = [''];
  let column = 0;
  // oxlint-disable-next-line no-control-regex -- Codes are what is read.
  for (const [piece] of text.matchAll(/\u001B\[[\d;?]*[A-Za-z]|[^]/g)) {
    const row = rows.at(-1)!;
    if (piece === '\n') rows.push(' '.repeat(column));
    else if (piece === '\r') column = 0;
    else if (piece === '\u001B[K' || piece === '\u001B[0K')
      rows[rows.length - 1] = row.slice(0, column);
    else if (piece.startsWith('\u001B')) throw new Error(`unknown code ${JSON.stringify(piece)}`);
    else {
      rows[rows.length - 1] = row.slice(0, column).padEnd(column) + piece + row.slice(column + 1);
      column += 1;
    }
  }
  return rows.map((row) => row.trimEnd());
}
