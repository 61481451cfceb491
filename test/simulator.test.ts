/**
 * The seeded model test: random publishers, clients and sockets against a naive model. A seed
 * replays a run: SIM_SEED=7 SIM_STEPS=10000 npx vitest run test/simulator.test.ts
 */
import { expect, test } from 'vitest';
import { KeepingSimulation } from './support/simulator-keeping.js';
import { Simulation } from './support/simulator.js';

const STEPS = Number(process.env['SIM_STEPS'] ?? 10_000);
const given = process.env['SIM_SEED'];
/** 100,000 steps, the same each time; SIM_SEED=random takes one that nobody has run before. */
const SEEDS =
  given === undefined
    ? [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    : given === 'random'
      ? [Date.now() % 1_000_000_000]
      : given.split(',').map(Number);

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

async function expectReplay(
  seed: number,
  steps: number,
  simulation: Simulation | KeepingSimulation,
): Promise<void> {
  try {
    await simulation.run(steps);
  } catch (error) {
    const { message } = error as Error;
    throw new Error(
      `SIM_SEED=${seed} SIM_STEPS=${STEPS}, step ${simulation.steps}: ${message}\n${JSON.stringify(simulation.setting)}\n${simulation.trace}`,
      { cause: error },
    );
  }
  expect(simulation.steps).toBe(steps);
}
