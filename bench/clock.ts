/** The clock of the bench, that of its clients, and waiting by it. */
import { nowUs } from '../dist/tools/load/books/clock.js';

export { nowUs };

export function sleepMs(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs));
}

export function sleepUntilUs(atUs: number): Promise<void> {
  return sleepMs(Math.max(0, (atUs - nowUs()) / 1000));
}
