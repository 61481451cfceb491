/** The size of an event: one limit for whoever publishes, however. */
import type { NewEvent } from '../core/event.js';
import { largestFrameBytes } from '../core/frame.js';
import { HoldlineError } from '../errors.js';

/**
 * The limit is on the largest encoded frame, since that is what every subscriber's connection
 * carries.
 */
export function checkSize(event: NewEvent, maxEventBytes: number, line?: number): void {
  const bytes = largestFrameBytes(event, maxEventBytes);
  if (bytes > maxEventBytes) {
    const where = line === undefined ? '' : `line ${line}: `;
    throw new HoldlineError(
      'HOLDLINE_TOO_LARGE',
      `${where}the event is ${bytes} bytes or more when it is encoded; at most ${maxEventBytes} (--max-event-bytes)`,
    );
  }
}
