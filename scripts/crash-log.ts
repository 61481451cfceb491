/**
 * Kills a process that appends to a log on disk, again and again at random moments, and checks
 * each time that every acknowledged event, deletion and receipt is there and that no id names two
 * events. A crash of the process, not of the machine: what the kernel was given survives.
 * `npm run build && node --import tsx scripts/crash-log.ts [ROUNDS]`
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { crashRound } from '../test/support/crash-log.js';

const rounds = Number(process.argv[2] ?? 50);
const directory = mkdtempSync(join(tmpdir(), 'holdline-crash-'));
const known = new Map<number, string>();
let acknowledged = 0;
let faults = 0;
for (let round = 1; round <= rounds; round++) {
  const result = await crashRound(directory, round, 1 + Math.floor(Math.random() * 600), known);
  acknowledged += result.acknowledged;
  faults += result.faults.length;
  for (const fault of result.faults.slice(0, 5)) console.error(`round ${round}: ${fault}`);
}
console.log(`${rounds} rounds, ${acknowledged} appends acknowledged, ${faults} faults`);
rmSync(directory, { recursive: true, force: true });
process.exit(faults === 0 ? 0 : 1);
