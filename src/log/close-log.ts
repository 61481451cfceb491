/** Closing a log, whose disk or server may hang. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { EventLog } from '../core/event-log.js';
import { LOG_CLOSE_MS_MAX } from '../limits.js';

/**
 * Closes a log. Resolves when that is done, or after `waitMs`: its disk may hang. Rejects with what
 * `EventLog.close` rejects with.
 */
export async function closeLog(
  log: Pick<EventLog, 'close'>,
  waitMs = LOG_CLOSE_MS_MAX,
): Promise<void> {
  const waiting = new AbortController();
  const tooLong = sleep(waitMs, undefined, { signal: waiting.signal });
  const closed = log.close();
  // It goes on alone, and what becomes of it is nobody's.
  closed.catch(ignore);
  tooLong.catch(ignore);
  try {
    await Promise.race([closed, tooLong]);
  } finally {
    waiting.abort();
  }
}

function ignore(): void {}
