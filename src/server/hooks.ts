/**
 * The functions of the embedding program: checked when the server is made, and called so that none
 * of them can end the process.
 */
import { inspect } from 'node:util';
import { badOption } from '../options/refusals.js';
import { FAULT_LOG_MS } from '../limits.js';
import { throttle } from '../throttle.js';

/** Throws HOLDLINE_BAD_OPTION for a hook that is there and is no function. */
export function checkHooks(hooks: Readonly<Record<string, unknown>>): void {
  for (const [name, hook] of Object.entries(hooks)) {
    if (hook !== undefined && typeof hook !== 'function') throw badOption(name, hook, 'a function');
  }
}

/** Calls a hook; what it throws, or rejects with, is reported. */
export function callHook(hook: () => unknown, report: (error: unknown) => void): void {
  try {
    const answered = hook();
    // Of whatever make it is.
    if (isThenable(answered)) answered.then(undefined, report);
  } catch (error) {
    report(error);
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    'then' in value &&
    typeof value.then === 'function'
  );
}

/**
 * What faults are reported to: `onError`, or stderr; where `onError` fails itself, stderr hears of
 * both.
 */
export function reporter(
  onError: ((error: unknown) => void) | undefined,
): (error: unknown) => void {
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

const logFault = throttle<unknown>(FAULT_LOG_MS, (error, suppressed) => {
  const more = suppressed === 0 ? '' : ` (and ${suppressed} more before it)`;
  process.stderr.write(`holdline: fault${more}: ${inspect(error)}\n`);
});
