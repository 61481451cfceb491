/**
 * Kills the supervisor and the workers of a server with a log on disk under load, again and again
 * (test/kills.wire.ts).
 * `npm run build && npx tsx scripts/chaos-lmdb.ts [--rounds 50] [--seed 1]`
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { run } from './run.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '50' },
    seed: { type: 'string', default: '1' },
  },
});
process.exit(
  run('npx', ['vitest', 'run', 'test/kills.wire.ts'], {
    CHAOS_ROUNDS: values.rounds,
    CHAOS_SEED: values.seed,
  }),
);
