/** What a process needs under a demand: its own memory, the kernel's, and network bandwidth. */

import { unsentStreamBytesMax } from '../../native/builds.js';
import { wireBytes, type Demand, type Load } from './cost-model.js';
import { workingBytes, type Fit } from './fit.js';
import { valueAt } from './least-squares.js';

/**
 * A full packet has 1,448 bytes of data and 90 of Ethernet, IP and TCP with timestamps. HTTP's
 * chunked coding adds 8 to each write.
 */
const PACKET_DATA_BYTES = 1448;
const PACKET_FRAME_BYTES = 90;
const CHUNK_FRAME_BYTES = 8;

/** The most that a stalled line keeps in user space. */
export const STALLED_USER_BYTES = unsentStreamBytesMax();

/** User memory of a process under a demand. */
export function userBytesOf(
  { user, working }: Fit,
  { lines, eventsPerSecond, eventBytes }: Demand,
): number {
  return valueAt(user, lines) + workingBytes(working, eventsPerSecond, eventBytes);
}

/** Kernel memory of so many idle lines. The intercept is not theirs, so only the slope counts. */
export function kernelBytesOf({ kernel }: Fit, lines: number): number {
  return Math.max(0, kernel.slope) * lines;
}

/** Bytes on the network for one delivery: the event, and its share of the packets and the write. */
export function packetBytesOf(
  { costs }: Fit,
  { writesPerSecond, bytesPerSecond, deliveriesPerSecond }: Load,
  eventBytes: number,
): number {
  const isIdle = deliveriesPerSecond === 0;
  const writes = isIdle ? 1 : writesPerSecond / deliveriesPerSecond;
  const bytes = isIdle ? wireBytes(costs, eventBytes) : bytesPerSecond / deliveriesPerSecond;
  return (
    bytes * (1 + PACKET_FRAME_BYTES / PACKET_DATA_BYTES) +
    writes * (PACKET_FRAME_BYTES + CHUNK_FRAME_BYTES)
  );
}
