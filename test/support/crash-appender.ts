/** Appends to a log until it is killed, many appends at once, and prints what is acknowledged. */
import process from 'node:process';
import type { NewEntry } from '../../src/core/event.js';
import { openLmdbLog } from './lmdb-log.js';

const [, , directory, round] = process.argv;
const log = await openLmdbLog(directory!);
let number = 0;
for (let lane = 0; lane < 16; lane++) void append(lane);

async function append(lane: number): Promise<void> {
  for (;;) {
    const channel = lane === 0 ? 'gone' : 'abc'[lane % 3]!;
    const name = `${channel}-${round}-${++number}`;
    const isDeletion = channel === 'gone' && number % 3 === 0;
    const count = 1 + (number % 4);
    const entries: NewEntry[] = isDeletion
      ? [{ channel, isDeletion: true }]
      : Array.from({ length: count }, (_, index) => ({
          channel,
          type: undefined,
          data: Buffer.from(`${name}.${index}`),
          json: false,
        }));
    const key = number % 2 === 0 ? `key of ${name}` : undefined;
    const request = key && { key, digest: name, subscribers: 0 };
    const ids = await log.append(entries, request || undefined);
    // One write a line, so that what was printed is there when the process is killed.
    process.stdout.write(`${JSON.stringify({ name, channel, ids, key, isDeletion })}\n`);
  }
}
