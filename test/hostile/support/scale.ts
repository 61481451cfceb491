/**
 * How long the attacks are: short ones in CI, and with HOSTILE=long the counts and times that broke
 * the server.
 */

export const isLong: boolean = process.env['HOSTILE'] === 'long';

/** The value of this run. */
export function scaled<T>(short: T, long: T): T {
  return isLong ? long : short;
}

/** The most rounds of a trial; each has its own server and its own quiet phase. */
export const ROUNDS = 5;

/** How long a phase is watched, ms: quiet, and under an attack that could go on for ever. */
export const QUIET_MS: number = scaled(1_000, 5_000);
export const ATTACK_MS: number = scaled(1_500, 10_000);

/** How long a test of rounds may take in all, ms. */
export const ROUNDS_DEADLINE_MS: number = scaled(120_000, 600_000);
