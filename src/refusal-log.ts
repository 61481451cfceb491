/**
 * Refusals in the log of `holdline serve`: of each code at most one entry in REFUSAL_LOG_MS, with
 * the number of those that were left out before it; with `--log-level debug` every one.
 */
import type { Logger } from 'pino';
import type { Counters } from './counters.js';
import { REFUSALS, type RefusalCode } from './errors.js';
import type { RefusalInfo } from './http/refusals.js';
import { REFUSAL_LOG_MS } from './limits.js';
import { throttle } from './throttle.js';

/** First status of the refusals that are the server's state rather than the client's request. */
const SERVER_STATUS_MIN = 500;

/** Returns what logs a refusal. */
export function refusalLog(
  log: Pick<Logger, 'info' | 'warn' | 'isLevelEnabled'>,
  counters: Pick<Counters, 'server_log_suppressed_total'>,
  nowMs?: () => number,
): (refusal: RefusalInfo) => void {
  /** One throttle for each code. */
  const throttled = new Map<string, (refusal: RefusalInfo) => void>();
  const say = (refusal: RefusalInfo, suppressed: number): void => {
    const { code, reason, method, transport, remoteAddress: address } = refusal;
    const fields = {
      code,
      reason,
      method,
      transport,
      ...(address === undefined ? {} : { address }),
      ...(suppressed === 0 ? {} : { suppressed }),
    };
    const { status } = REFUSALS[code as RefusalCode];
    log[status >= SERVER_STATUS_MIN ? 'warn' : 'info'](fields, 'refused');
  };
  return (refusal) => {
    if (log.isLevelEnabled('debug')) {
      say(refusal, 0);
      return;
    }
    let sayOne = throttled.get(refusal.code);
    if (sayOne === undefined) {
      sayOne = throttle(REFUSAL_LOG_MS, say, counters, nowMs);
      throttled.set(refusal.code, sayOne);
    }
    sayOne(refusal);
  };
}
