/**
 * Publishers that insist and readers that hop, while something kills the nodes; and what each
 * reader must have in the end.
 */
import { Reader } from './hopping-reader.js';
import { Publisher } from './insistent-publisher.js';
import { Truth } from './truth.js';

/** Publishers and readers of some channels on these ports, all from one seed. */
export class Crowd {
  readonly truth = new Truth();
  readonly #ports: readonly number[];
  readonly #seed: number;
  readonly #publishers: Publisher[] = [];
  readonly readers: Reader[] = [];

  constructor(ports: readonly number[], seed: number) {
    this.#ports = ports;
    this.#seed = seed;
  }

  /** `position` is one of before the first event. */
  begin(position: number, publishers: number, readersOfAKind: number): void {
    const sets = [['a'], ['b'], ['a', 'b'], ['a', 'b', 'c']];
    for (let i = 0; i < publishers; i++)
      this.#publishers.push(
        new Publisher(`p${i}`, ['a', 'b', 'c'], this.truth, this.#ports, this.#seed * 1000 + i),
      );
    for (let i = 0; i < readersOfAKind; i++) {
      for (const [k, kind] of (['sse', 'sse', 'poll'] as const).entries()) {
        const seed = this.#seed * 1000 + 100 + i * 10 + k;
        const channels = sets[(i + k) % sets.length]!;
        this.readers.push(new Reader(kind, channels, position, this.truth, this.#ports, seed));
      }
    }
  }

  /**
   * Everything is healed: all publishers come to their end, and all readers to the last event.
   * `lostThrough` is what the log has forgotten by then.
   */
  async end(lostThrough: () => Promise<number>): Promise<readonly string[]> {
    const { truth, readers } = this;
    await Promise.all(this.#publishers.map((publisher) => publisher.end()));
    const last = new Map<string, string>();
    for (const channel of ['a', 'b', 'c'])
      last.set(channel, (await this.#publishers[0]!.publish(channel, 1)).texts[0]!);
    const reached = await Promise.all(
      readers.map((reader) => reader.has(reader.channels.map((channel) => last.get(channel)!))),
    );
    for (const [i, reader] of readers.entries())
      if (!reached[i]) truth.fault(`${reader.name}: did not come to the end`);
    await Promise.all(readers.map((reader) => reader.end()));
    const lost = await lostThrough();
    for (const reader of readers) reader.check(lost);
    return truth.faults;
  }

  get figures(): string {
    const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
    const refusals = new Map<number, number>();
    for (const reader of this.readers)
      for (const [status, count] of reader.refusals)
        refusals.set(status, (refusals.get(status) ?? 0) + count);
    const repeats = sum(this.#publishers.map((publisher) => publisher.repeats));
    const hops = sum(this.readers.map((reader) => reader.hops));
    const read = sum(this.readers.map((reader) => reader.ids.length));
    const gaps = sum(this.readers.map((reader) => reader.gaps.length));
    return `seed ${this.#seed}: ${this.truth.acknowledged.length} publishes acknowledged after ${repeats} repeats; ${this.readers.length} readers hopped ${hops} times, read ${read} events, ${gaps} gaps, refused ${JSON.stringify([...refusals])}`;
  }
}
