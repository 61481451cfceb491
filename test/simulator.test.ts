/**
 * The seeded model test: random publishers, clients and sockets against a naive model. A seed
 * replays a run: SIM_SEED=7 SIM_STEPS=10000 npx vitest run test/simulator.test.ts
 */
import { test } from 'vitest';
import { expectReplay, seeds, STEPS } from './support/replay.js';
import { KeepingSimulation } from './support/simulator-keeping.js';
import { Simulation } from './support/simulator.js';

/** 100,000 steps. */
const SEEDS = seeds(10);

/** Fewer steps where a log keeps the events, which delays, fails, and is opened again. */
const KEEPING_STEPS = Math.round(STEPS / 5);

test.each(SEEDS)(
  'seed %i: ids rise, nothing is lost untold, no gap is false, nothing comes twice, and everyone reaches the head',
  (seed) => expectReplay(seed, STEPS, new Simulation(seed)),
  120_000,
);

test.each(SEEDS)(
  'seed %i on a log that keeps: over restarts and faults each event comes once, and a gap only where it was lost',
  (seed) => expectReplay(seed, KEEPING_STEPS, new KeepingSimulation(seed)),
  120_000,
);
