/** What every command does at the terminal: write to stderr, and listen for Ctrl-C. */

import { closeSync, openSync } from 'node:fs';
import process from 'node:process';
import { isatty } from 'node:tty';

/**
 * One Ctrl-C may arrive twice, from the terminal and from a parent such as npm, some milliseconds
 * apart.
 */
const SAME_SIGNAL_MS = 100;

/** Exit code of a command that is done, and of a server that was told to end and did. */
export const EXIT_DONE = 0;
/** Exit code of one that failed on this machine, now. */
export const EXIT_FAILED = 1;
/** Exit code of a command that Ctrl-C or SIGTERM ended before it had a result. */
export const EXIT_INTERRUPTED = 130;

/** Writes a sentence to stderr, since stdout may be piped into something else. */
export function complain(words: string): void {
  process.stderr.write(`holdline: ${words}\n`);
}

/**
 * Calls back for every SIGINT and SIGTERM, once where one Ctrl-C arrives twice. Returns what ends
 * that. The handlers should stay for as long as an end takes: without one, a second signal kills
 * the process.
 */
export function onSignals(listener: (signal: NodeJS.Signals) => void): () => void {
  let lastSignal: NodeJS.Signals | undefined;
  let lastMs = -Infinity;
  const onSignal = (signal: NodeJS.Signals): void => {
    const nowMs = performance.now();
    if (signal === lastSignal && nowMs - lastMs <= SAME_SIGNAL_MS) return;
    lastSignal = signal;
    lastMs = nowMs;
    listener(signal);
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return () => {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  };
}

/** Which of stdin, stdout and stderr are a terminal now. */
function terminals(): number[] {
  return [0, 1, 2].filter((file) => isatty(file));
}

/**
 * Looks whether this process has a terminal. What it returns tells later whether that one is gone:
 * SIGHUP says so where there was one, and is the wish to read the configuration again elsewhere.
 */
export function watchTerminal(): () => boolean {
  const before = terminals();
  return () => before.some((file) => !isatty(file));
}

/**
 * Makes the exit code right where the terminal is gone. At exit Node gives the terminal its modes
 * back, and aborts if it cannot, on Node 20 and older ones of 22 and 24 (nodejs/node#58200). It
 * leaves alone what is another file by then.
 */
export function outliveTerminal(): void {
  const before = terminals();
  process.on('exit', () => {
    for (const file of before) {
      if (isatty(file)) continue;
      try {
        closeSync(file);
        // Takes the lowest free number, which is that one.
        openSync('/dev/null', 'r+');
      } catch {
        // It was closed already.
      }
    }
  });
}
