/**
 * Fills the blocks between `<!-- figures:NAME -->` and `<!-- /figures -->` in the documents with
 * figures from bench/results. With --check it only compares.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  fanOutCostTable,
  fanOutRatioTable,
  fanOutTable,
  fanOutWebSocketTable,
} from './figures/fan-out.js';
import { alternativesTable, knobsTable, microTable, planTable } from './figures/mechanisms.js';
import { acceptTable, heapTable, idleTable, memoryTable, publishTable } from './figures/server.js';
import { compareTable, longPollTable, quietTable, shortPollTable } from './figures/transports.js';

const FILES = ['README.md', 'bench/README.md', 'bench/APPROACHES.md'];
const ROOT = new URL('..', import.meta.url);
const BLOCK = /(<!-- figures:([\w-]+) -->\n)[\s\S]*?(<!-- \/figures -->)/g;

const blocks: Record<string, () => string> = {
  'fan-out': fanOutTable,
  'fan-out-ratios': fanOutRatioTable,
  'fan-out-cost': fanOutCostTable,
  'fan-out-websocket': fanOutWebSocketTable,
  'long-poll': longPollTable,
  'short-poll': shortPollTable,
  compare: compareTable,
  quiet: quietTable,
  memory: memoryTable,
  accept: acceptTable,
  idle: idleTable,
  publish: publishTable,
  micro: microTable,
  plan: planTable,
  alternatives: alternativesTable,
  heap: heapTable,
  knobs: () => knobsTable(),
  'knobs-stalled': () => knobsTable(1),
};

const checkOnly = process.argv.includes('--check');
const outOfDate: string[] = [];
for (const name of FILES) {
  const file = fileURLToPath(new URL(name, ROOT));
  if (!existsSync(file)) continue;
  const text = readFileSync(file, 'utf8');
  const filled = text.replace(BLOCK, (_all, open: string, block: string, close: string) => {
    const draw = blocks[block];
    if (draw === undefined)
      throw new Error(
        `${name} asks for the figures "${block}"; there are ${Object.keys(blocks).join(', ')}`,
      );
    return `${open}${draw()}\n${close}`;
  });
  if (filled === text) continue;
  outOfDate.push(name);
  if (!checkOnly) writeFileSync(file, filled);
}
if (outOfDate.length === 0) console.log('the figures are up to date');
else
  console.log(
    `${outOfDate.join(', ')} ` +
      (checkOnly ? 'has figures that are out of date: npm run figures' : 'filled'),
  );
process.exit(checkOnly && outOfDate.length > 0 ? 1 : 0);
