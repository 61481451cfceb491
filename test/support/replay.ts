/** Runs of a simulation by seed, as the environment asks for. */
import { expect } from 'vitest';
import type { Random } from './random.js';

/** Steps of the simulator of one server in memory; others take a share of them. */
export const STEPS = Number(process.env['SIM_STEPS'] ?? 10_000);

/** `count` runs, the same each time; SIM_SEED=random takes one that nobody has run before. */
export function seeds(count: number): readonly number[] {
  const given = process.env['SIM_SEED'];
  if (given === undefined) return Array.from({ length: count }, (_none, index) => index + 1);
  return given === 'random' ? [Date.now() % 1_000_000_000] : given.split(',').map(Number);
}

interface Simulation {
  readonly steps: number;
  readonly setting: object;
  readonly trace: string;
  run(count: number): Promise<void>;
}

/** What a simulation does. */
interface Acts {
  readonly start?: () => Promise<void>;
  readonly step: () => Promise<void>;
  /** Comes to rest. */
  readonly rest: () => Promise<void>;
}

/**
 * Starts, takes `count` steps, and comes to rest now and then and at the end. Math.random draws
 * from `random`: what the server leaves to chance is the same when a seed is run again.
 */
export async function play(
  random: Random,
  count: number,
  { start, step, rest }: Acts,
): Promise<void> {
  const { random: chance } = Math;
  Math.random = () => random.next();
  try {
    await start?.();
    for (let taken = 0; taken < count; taken++) {
      await step();
      if (random.chance(0.002)) await rest();
    }
    await rest();
  } finally {
    Math.random = chance;
  }
}

export async function expectReplay(
  seed: number,
  steps: number,
  simulation: Simulation,
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
