/**
 * Readers hop between three nodes on one NATS while everything is killed, frozen and cut off
 * (test/hop.wire.ts), for as long as is asked.
 * `npm run build && npx tsx scripts/chaos-nats.ts [--seconds 120] [--seed 1]`
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { run } from './run.js';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '120' },
    seed: { type: 'string', default: '1' },
  },
});
process.exit(
  run('npx', ['vitest', 'run', 'test/hop.wire.ts'], {
    CHAOS_SECONDS: values.seconds,
    CHAOS_SEED: values.seed,
  }),
);
