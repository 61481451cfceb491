/**
 * The floor of a log on disk, in a process of its own on the server's core: 4 KiB are written over
 * in a file whose blocks exist, and flushed with fdatasync(2).
 */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SERVER_CORE, answerRunner, startNode } from './child.js';
import { nowUs, sleepUntilUs } from './clock.js';
import { type Latency, latencyOf } from './latency.js';

export interface FlushOrder {
  folder: string;
  ratePerSecond: number;
  seconds: number;
  /** Of flushes without a pause. */
  closedSeconds: number;
}

export interface Flushes {
  /** At the rate of single publishes: how long each took. */
  atRateMs: Latency;
  /** One after the other. */
  closedMs: Latency;
  closedPerSecond: number;
}

const FILE_BYTES = 16 * 1024 * 1024;
const PAGE_BYTES = 4096;
const START_DEADLINE_MS = 20_000;

export async function measureFlushes(order: FlushOrder): Promise<Flushes> {
  const child = startNode('flush-loop', new URL(import.meta.url), SERVER_CORE);
  try {
    const { seconds, closedSeconds } = order;
    const deadlineMs = START_DEADLINE_MS + (seconds + closedSeconds) * 2000;
    return await child.ask<Flushes>('flush', order, deadlineMs);
  } finally {
    await child.kill();
  }
}

async function flush(order: FlushOrder): Promise<Flushes> {
  const { folder, ratePerSecond, seconds, closedSeconds } = order;
  const file = openSync(join(folder, 'flushes'), 'w');
  try {
    const page = Buffer.alloc(PAGE_BYTES, 'x');
    const pages = FILE_BYTES / PAGE_BYTES;
    for (let at = 0; at < pages; at++) writeSync(file, page, 0, PAGE_BYTES, at * PAGE_BYTES);
    fdatasyncSync(file);
    let count = 0;
    const flushOne = (): number => {
      const fromUs = nowUs();
      writeSync(file, page, 0, PAGE_BYTES, (count++ % pages) * PAGE_BYTES);
      fdatasyncSync(file);
      return nowUs() - fromUs;
    };
    const atRateUs: number[] = [];
    const startUs = nowUs();
    for (let nth = 0; nth < ratePerSecond * seconds; nth++) {
      await sleepUntilUs(startUs + (nth * 1e6) / ratePerSecond);
      atRateUs.push(flushOne());
    }
    const closedUs: number[] = [];
    const fromUs = nowUs();
    while (nowUs() < fromUs + closedSeconds * 1e6) closedUs.push(flushOne());
    return {
      atRateMs: latencyOf(atRateUs),
      closedMs: latencyOf(closedUs),
      closedPerSecond: closedUs.length / ((nowUs() - fromUs) / 1e6),
    };
  } finally {
    closeSync(file);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) answerRunner({ flush });
