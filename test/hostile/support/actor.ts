/** What acts on a server from a process of its own: an attack, or the control line beside it. */

/** What an actor has done and seen, by name. */
export type Figures = Readonly<Record<string, number>>;

/** An actor at work. */
export interface Acting {
  /** What was seen since the last look. */
  look(): Figures | Promise<Figures>;
  /** Ends it: nothing of it is left on the server. What was seen since the last look. */
  stop(): Figures | Promise<Figures>;
}

/** Begins to act; resolves when everything that it needs is open. */
export type Actor<Parameters> = (port: number, parameters: Parameters) => Promise<Acting>;

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Runs `task` for 0 … `count` − 1, at most `atOnce` of them at a time. */
export async function forEachOf(
  count: number,
  atOnce: number,
  task: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await task(next++);
  };
  await Promise.all(Array.from({ length: Math.min(count, atOnce) }, worker));
}

/** The value below which `share` of the values lie, by rank; NaN of none. */
export function percentile(values: readonly number[], share: number): number {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] as number;
}

export function medianOf(values: readonly number[]): number {
  return percentile(values, 0.5);
}
