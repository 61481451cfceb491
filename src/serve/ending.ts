/** How a server ends: a signal begins it, a second one hurries, a third one ends it at once. */
import process from 'node:process';
import type { Logger } from 'pino';
import { DRAIN_HURRY_MS } from '../limits.js';
import { EXIT_FAILED, onSignals, watchTerminal } from '../terminal.js';

/** Sets what is called with the next signal. */
type OnNext = (listener: (signal: NodeJS.Signals) => void) => void;

/**
 * Signals to end: a promise of the first, and what is called with the next one. The handlers stay,
 * since without them a second signal would kill the process at once. SIGHUP calls `reload`, except
 * when it says that the terminal is gone: that is an end, too.
 */
export function signals(reload: () => void): {
  signalled: Promise<NodeJS.Signals>;
  onNext: OnNext;
} {
  let listener: (signal: NodeJS.Signals) => void;
  const onNext: OnNext = (next) => void (listener = next);
  const signalled = new Promise<NodeJS.Signals>((resolve) => onNext(resolve));
  onSignals((signal) => listener(signal));
  const isTerminalGone = watchTerminal();
  process.on('SIGHUP', (signal) => (isTerminalGone() ? listener(signal) : reload()));
  return { signalled, onNext };
}

/** What ends, and who is told. */
export interface Ending {
  readonly log: Pick<Logger, 'info' | 'warn'>;
  readonly closeLog: () => Promise<void>;
  readonly onNext: OnNext;
  readonly drainMs: number;
  /** Ends what is open within that time; may be called again with a shorter one. */
  readonly drain: (drainMs: number) => Promise<void>;
  /** Ends what else there is, at once. */
  readonly kill?: () => void;
}

/**
 * Resolves when all has drained; signals are heard until others are. `signal` is undefined when no
 * signal began it.
 */
export async function endInOrder(
  signal: NodeJS.Signals | undefined,
  { log, closeLog, onNext, drainMs, drain, kill }: Ending,
): Promise<void> {
  if (signal !== undefined)
    log.info({ signal, drainMs }, 'draining; a second signal hurries, a third one ends it at once');
  onNext((next) => {
    log.warn({ signal: next }, 'hurried by a second signal');
    void drain(Math.min(drainMs, DRAIN_HURRY_MS));
    onNext((last) => {
      log.warn({ signal: last }, 'ended by a third signal');
      kill?.();
      void closeLog().then(() => process.exit(EXIT_FAILED));
    });
  });
  await drain(drainMs);
}
