/** Waiting for a condition, with a deadline. */
import { setTimeout as sleep } from 'node:timers/promises';

/** How often it is looked. */
const LOOK_MS = 10;

/**
 * Looks again and again until there is something, and gives it; a look that throws has found
 * nothing. Fails after the deadline, with what the last look threw.
 */
export async function until<Value>(
  what: string,
  look: () => Value | undefined | false | Promise<Value | undefined | false>,
  deadlineMs = 20_000,
): Promise<Value> {
  const untilMs = performance.now() + deadlineMs;
  let cause: unknown;
  for (;;) {
    try {
      const found = await look();
      if (found !== undefined && found !== false) return found;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > untilMs)
      throw new Error(`not within ${deadlineMs} ms: ${what}`, { cause });
    await sleep(LOOK_MS);
  }
}
