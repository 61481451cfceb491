/**
 * A thread that reads once what the kernel holds for a server's sockets, tells it and ends: the
 * reading blocks, see proc-net.ts.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { readPortTotals, readTcpBytes } from '../../linux/sockets.js';
import { readCgroupSockets } from '../../linux/cgroup.js';
import type { KernelFigures } from './kernel-memory.js';

const figures: KernelFigures = {
  // Before the rows, which take longest: what grows meanwhile is in both.
  tcpBytes: readTcpBytes(),
  port: readPortTotals(workerData as number),
  cgroup: readCgroupSockets(),
};
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- that is for windows
parentPort?.postMessage(figures);
