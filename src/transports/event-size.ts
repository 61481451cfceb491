/** The size limit of an event, the same for every way to publish. */
import type { NewEvent } from '../core/event.js';
import { largestFrameBytes } from '../core/frame.js';
import { HoldlineError } from '../errors.js';

/**
 * Throws HOLDLINE_TOO_LARGE, naming the `line` of a batch. The limit is on the largest frame of the
 * event in any encoding, because that is what subscribers' connections carry.
 */
export function checkSize(event: NewEvent, maxEventBytes: number, line?: number): void {
  const bytes = largestFrameBytes(event, maxEventBytes);
  if (bytes > maxEventBytes) {
    const where = line === undefined ? '' : `line ${line}: `;
    throw new HoldlineError(
      'HOLDLINE_TOO_LARGE',
      `${where}the encoded event must be at most ${maxEventBytes} bytes (--max-event-bytes; got ${bytes} or more)`,
    );
  }
}
