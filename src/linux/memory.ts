/** Memory of the whole machine, from /proc/meminfo (proc(5)). */

import { readText } from './files.js';
import { readTcpBytes } from './sockets.js';

/** Swap space; undefined where Linux does not report it. */
export function readSwapBytes(): number | undefined {
  return readField('SwapTotal');
}

/**
 * What the kernel holds for sockets and what belongs to them: TCP's buffers, and the slabs, which
 * hold each socket, its file and its entry in epoll. Both are totals of the whole machine; one that
 * Linux does not report counts as 0.
 */
export function readKernelNetworkBytes(): number {
  return (readTcpBytes() ?? 0) + (readField('Slab') ?? 0);
}

function readField(name: string): number | undefined {
  const kib = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(readText('/proc/meminfo') ?? '')?.[1];
  return kib === undefined ? undefined : Number(kib) * 1024;
}
