/**
 * The cells of the matrix: what was seen of each make in one scenario. A run writes one line for
 * each into test/out/clients.ndjson, from which scripts/clients.ts fills test/CLIENTS.md.
 */
import { appendFileSync, mkdirSync } from 'node:fs';
import { expect } from 'vitest';
import { MAKES, type Make } from './makes.js';

const OUT = new URL('../../out/', import.meta.url);

/** The columns of the matrix. */
export type Scenario = 'connect' | 'replay' | 'quiet' | 'restart' | 'full' | 'drain' | '204';

/** A line of test/out/clients.ndjson. */
export interface CellRecord {
  readonly make: string;
  readonly version: string;
  readonly scenario: Scenario;
  /** What was seen, in words. */
  readonly cell: string;
}

/** Makes tried at a time: they wait for most of their time, and the machines have two cores. */
const AT_A_TIME = 6;

/**
 * Tries every make, and fails with all that differ from what is expected: words that the cell must
 * match. `others` stands for those that are not named.
 */
export async function expectCells(
  scenario: Scenario,
  seen: (make: Make) => Promise<string>,
  expected: { readonly others: RegExp } & Readonly<Record<string, RegExp>>,
): Promise<void> {
  const makes = [...MAKES];
  const cells = new Map<string, string>();
  const work = async (): Promise<void> => {
    for (let make = makes.shift(); make !== undefined; make = makes.shift()) {
      const cell = await seen(make).catch((error: unknown) => `failed: ${String(error)}`);
      cells.set(make.name, cell);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  mkdirSync(OUT, { recursive: true });
  const wrong: string[] = [];
  for (const { name, version } of MAKES) {
    const cell = cells.get(name)!;
    const record: CellRecord = { make: name, version: version(), scenario, cell };
    appendFileSync(new URL('clients.ndjson', OUT), `${JSON.stringify(record)}\n`);
    const wanted = expected[name] ?? expected.others;
    if (!wanted.test(cell)) wrong.push(`${name}: ${cell} (expected ${wanted.source})`);
  }
  expect(wrong).toEqual([]);
}
