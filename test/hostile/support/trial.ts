/**
 * One attack and what it did: figures beside the bounds they are held to. The record is written
 * whether or not the bounds were kept, so that a run of all attacks leaves one line for each in
 * test/out/hostile.ndjson.
 */
import { appendFileSync, mkdirSync } from 'node:fs';
import { expect } from 'vitest';

const OUT = new URL('../../out/', import.meta.url);

/** A figure that was seen, and its bound in words where it has one. */
export interface Seen {
  readonly figure: string;
  readonly value: number | string;
  readonly unit: string;
  readonly bound?: string;
  readonly kept?: boolean;
}

/** What a line of test/out/hostile.ndjson says. */
export interface HostileRecord {
  readonly kind: string;
  readonly attack: string;
  readonly promise: string;
  readonly kept: boolean;
  readonly seen: readonly Seen[];
}

/** The file of the records; scripts/hostile.ts reads it. */
export const RECORDS_FILE = new URL('hostile.ndjson', OUT);

function rounded(value: number): number {
  return Number.isInteger(value) ? value : Number(value.toPrecision(4));
}

/**
 * What a trial is of: the kind, the attack and the promise, as they stand in the table of
 * test/RELIABILITY.md.
 */
export type Case = readonly [kind: string, attack: string, promise: string];

/** Tries one attack; where the server does not live to the end of it, that is what was seen. */
export async function tried(
  [kind, attack, promise]: Case,
  act: (trial: Trial) => Promise<void>,
): Promise<void> {
  const trial = new Trial(kind, attack, promise);
  try {
    await act(trial);
  } catch (error) {
    trial.exactly('under the attack', String(error).slice(0, 300), 'all went on');
  }
  trial.settle();
}

export class Trial {
  readonly kind: string;
  readonly attack: string;
  readonly promise: string;
  readonly #seen: Seen[] = [];
  #isBroken = false;

  /**
   * `kind` as the test file is called; `attack` and `promise` as they stand in the table of
   * test/RELIABILITY.md.
   */
  constructor(kind: string, attack: string, promise: string) {
    this.kind = kind;
    this.attack = attack;
    this.promise = promise;
  }

  /** A figure that has no bound and helps to read the others. */
  note(figure: string, value: number | string, unit = ''): void {
    this.#seen.push({ figure, value: typeof value === 'number' ? rounded(value) : value, unit });
  }

  atMost(figure: string, value: number, bound: number, unit = ''): void {
    this.#hold(figure, value, unit, `≤ ${rounded(bound)}`, value <= bound);
  }

  atLeast(figure: string, value: number, bound: number, unit = ''): void {
    this.#hold(figure, value, unit, `≥ ${rounded(bound)}`, value >= bound);
  }

  /** What no noise of a machine excuses: where it is not so, no other round makes it good. */
  exactly(figure: string, value: number | string, wanted: number | string, unit = ''): void {
    this.#isBroken ||= value !== wanted;
    this.#hold(figure, value, unit, `= ${wanted}`, value === wanted);
  }

  /** `said` matches; what it is otherwise stands in the record. */
  matches(figure: string, said: string, wanted: RegExp): void {
    this.#hold(figure, said.slice(0, 300), '', `like ${wanted.source}`, wanted.test(said));
  }

  /** Something was not exactly as it must be. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** Nothing was beyond its bound. */
  get isKept(): boolean {
    return this.#seen.every(({ kept }) => kept !== false);
  }

  /** Writes the record, and fails in words where a bound was not kept. */
  settle(): void {
    const broken = this.#seen.filter(({ kept }) => kept === false);
    const { kind, attack, promise } = this;
    const record: HostileRecord = {
      kind,
      attack,
      promise,
      kept: broken.length === 0,
      seen: this.#seen,
    };
    mkdirSync(OUT, { recursive: true });
    appendFileSync(RECORDS_FILE, `${JSON.stringify(record)}\n`);
    const inWords = ({ figure, value, unit, bound = '' }: Seen): string =>
      `${figure}: ${value} ${unit}, ${bound}`;
    if (broken.length > 0) console.log(`${attack}: ${this.#seen.map(inWords).join('; ')}`);
    expect(broken.map(inWords)).toEqual([]);
  }

  #hold(figure: string, value: number | string, unit: string, bound: string, kept: boolean): void {
    const shown = typeof value === 'number' ? rounded(value) : value;
    this.#seen.push({ figure, value: shown, unit, bound, kept });
  }
}
