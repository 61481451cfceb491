/**
 * Hooks: the functions of the embedding program, called so that none of them can end the process,
 * and what their faults are reported to.
 */
import { Console } from 'node:console';
import process from 'node:process';
import { inspect } from 'node:util';
import type { Counters } from '../counters.js';
import { asError, messageOf } from '../errors.js';
import { badOption } from '../options/refusals.js';
import { isThenable } from '../http/guard.js';
import { FAULT_LOG_MS } from '../limits.js';
import { throttle } from '../throttle.js';

/** Throws HOLDLINE_BAD_OPTION for a hook that is given and is not a function. */
export function checkHooks(hooks: Readonly<Record<string, unknown>>): void {
  for (const [name, hook] of Object.entries(hooks)) {
    if (hook !== undefined && typeof hook !== 'function') throw badOption(name, hook, 'a function');
  }
}

/** Calls a hook, and reports what it throws or rejects with. */
export function callHook(hook: () => unknown, report: (error: unknown) => void): void {
  try {
    const answered = hook();
    if (isThenable(answered)) answered.then(undefined, report);
  } catch (error) {
    report(error);
  }
}

/** Reports faults to `onError`, else to stderr; if `onError` itself fails, both go to stderr. */
export function reporter(
  onError: ((error: unknown) => void) | undefined,
  counters: Counters,
): (error: unknown) => void {
  const logFault = throttle<unknown>(FAULT_LOG_MS, writeFault, counters);
  if (onError === undefined) return logFault;
  return (error) =>
    callHook(
      () => onError(error),
      (failed) => {
        logFault(failed);
        logFault(error);
      },
    );
}

/** Never throws, and a stderr that nobody takes any more ends nothing: a Console ignores that. */
function writeFault(error: unknown, suppressed: number): void {
  const more = suppressed === 0 ? '' : ` (and ${suppressed} more before it)`;
  new Console(process.stderr).log(`holdline: fault${more}: ${shown(error)}`);
}

function shown(error: unknown): string {
  try {
    return inspect(error);
  } catch {
    return messageOf(asError(error));
  }
}
