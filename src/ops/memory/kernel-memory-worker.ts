/** A thread that reads once what the kernel holds for a server's sockets, since that blocks. */
import { parentPort, workerData } from 'node:worker_threads';
import { readPortTotals, readTcpBytes } from '../../linux/sockets.js';
import { readCgroupSockets } from '../../linux/cgroup.js';
import type { KernelFigures } from './kernel-memory.js';

const figures: KernelFigures = {
  // Before the rows, which take longest, so that growth meanwhile counts as growth.
  tcpBytes: readTcpBytes(),
  port: readPortTotals(workerData as number),
  cgroup: readCgroupSockets(),
};
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- for browsers only
parentPort?.postMessage(figures);
