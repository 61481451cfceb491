/** Appends much to a log, and exits with 7 some ms after the first commit, wherever the log is. */
import process from 'node:process';
import { event } from '../log-contract.js';
import { openLmdbLog } from './lmdb-log.js';

const [, , directory, delayMs] = process.argv;
const log = await openLmdbLog(directory!);
const entries = Array.from({ length: 500 }, (_, index) => event(`a${index}`));
await log.append(entries);
setTimeout(() => process.exit(7), Number(delayMs));
for (;;) await Promise.all([log.append(entries), log.append(entries)]);
