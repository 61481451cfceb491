/**
 * The one clock of the bench: CLOCK_MONOTONIC in microseconds, the same in every process of the
 * machine.
 */

/**
 * A double holds nanoseconds exactly for the first 104 days of uptime, and microseconds for as long
 * as anyone cares.
 */
export function nowUs(): number {
  return Number(process.hrtime.bigint()) / 1000;
}

export function sleepMs(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs));
}

export function sleepUntilUs(atUs: number): Promise<void> {
  return sleepMs(Math.max(0, (atUs - nowUs()) / 1000));
}
