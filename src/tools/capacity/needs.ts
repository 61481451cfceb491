/**
 * What a process needs under a demand: memory of its own and of the kernel, and what the network
 * carries for it.
 */

import { CORK_WRITE_BYTES_MAX } from '../../limits.js';
import { wireBytes, type Demand, type Load } from './cost-model.js';
import { workingBytes, type Fit } from './fit.js';
import { valueAt } from './least-squares.js';

/**
 * Bytes of Ethernet, IP and TCP with timestamps around the 1,448 bytes of a full packet, and of a
 * chunk's frame around a write.
 */
const PACKET_DATA_BYTES = 1448;
const PACKET_FRAME_BYTES = 90;
const CHUNK_FRAME_BYTES = 8;

/**
 * What a stalled line leaves in user space at the most: the write that was refused and the probe
 * after it. ARCHITECTURE.md, "Overload"
 */
export const STALLED_USER_BYTES = 2 * CORK_WRITE_BYTES_MAX;

/** User memory of a process under a demand. */
export function userBytesOf(
  { user, working }: Fit,
  { lines, eventsPerSecond, eventBytes }: Demand,
): number {
  return valueAt(user, lines) + workingBytes(working, eventsPerSecond, eventBytes);
}

/**
 * What the kernel holds for so many quiet lines of a process, which is what their slope says: the
 * rest is others'.
 */
export function kernelBytesOf({ kernel }: Fit, lines: number): number {
  return Math.max(0, kernel.slope) * lines;
}

/**
 * What the network carries for one delivery: the event, its share of packets' frames and of the
 * write that it came with.
 */
export function packetBytesOf(
  { costs }: Fit,
  { writesPerSecond, deliveriesPerSecond }: Load,
  eventBytes: number,
): number {
  const writes = deliveriesPerSecond === 0 ? 1 : writesPerSecond / deliveriesPerSecond;
  return (
    wireBytes(costs, eventBytes) * (1 + PACKET_FRAME_BYTES / PACKET_DATA_BYTES) +
    writes * (PACKET_FRAME_BYTES + CHUNK_FRAME_BYTES)
  );
}
