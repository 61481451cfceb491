/**
 * The seeded model test of several workers: random deaths, late pipes and a log that fails against
 * a naive model. A seed replays a run: SIM_SEED=7 SIM_STEPS=50000 npx vitest run
 * test/simulator-workers.test.ts
 */
import { expect, test } from 'vitest';
import { WorkersSimulation } from './support/simulator-workers.js';
import { expectReplay, seeds, STEPS } from './support/replay.js';

test.each(seeds(6))(
  'seed %i with workers that die and hang: each event comes once and in order, an answer is true, and nothing is left behind',
  async (seed) => {
    const simulation = new WorkersSimulation(seed);
    await expectReplay(seed, Math.round(STEPS / 20), simulation);
    expect(simulation.happened.answered).toBeGreaterThan(0);
  },
  120_000,
);
