/**
 * A tally: names, each with how many lines have it. A line keeps a small integer in place of its
 * name, and the name goes with the last line that has it.
 */
import { copyInto } from './line-table.js';

/** The integer of a line without a name. */
export const NO_NAME = -1;

const FIRST_NAMES = 64;

export class Tally {
  readonly #indexes = new Map<string, number>();
  readonly #names: string[] = [];
  #counts = new Int32Array(FIRST_NAMES);
  readonly #free: number[] = [];

  /** Distinct names now: at most as many as there are lines. */
  get size(): number {
    return this.#indexes.size;
  }

  /** Bytes of the typed array; the names themselves are on the heap. */
  get memoryBytes(): number {
    return this.#counts.byteLength;
  }

  /** One more line has the name; returns the name's integer. */
  add(name: string): number {
    let index = this.#indexes.get(name);
    if (index === undefined) {
      index = this.#free.pop() ?? this.#names.length;
      if (index >= this.#counts.length)
        this.#counts = copyInto(new Int32Array(this.#counts.length * 2), this.#counts);
      this.#indexes.set(name, index);
      this.#names[index] = name;
    }
    this.#counts[index] = (this.#counts[index] as number) + 1;
    return index;
  }

  /** One line less has the name of this integer. */
  remove(index: number): void {
    const left = (this.#counts[index] as number) - 1;
    this.#counts[index] = left;
    if (left > 0) return;
    this.#indexes.delete(this.#names[index] as string);
    this.#names[index] = '';
    this.#free.push(index);
  }

  /** How many lines have the name. */
  countOf(name: string): number {
    const index = this.#indexes.get(name);
    return index === undefined ? 0 : (this.#counts[index] as number);
  }

  /** The name's integer, NO_NAME if no line has it. */
  indexOf(name: string): number {
    return this.#indexes.get(name) ?? NO_NAME;
  }

  /** The name of an integer; undefined for NO_NAME. */
  nameOf(index: number): string | undefined {
    return index === NO_NAME ? undefined : this.#names[index];
  }
}
