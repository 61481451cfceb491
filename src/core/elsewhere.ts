/** The lines of channels that other processes of this server hold, as they have told. */

export class Elsewhere {
  /** By process and channel; never 0. */
  readonly #bySource = new Map<number, Map<string, number>>();
  /** By channel, in all of them; never 0. */
  readonly #inAll = new Map<string, number>();
  /** Hears of every change of a channel's lines elsewhere. */
  onChange: ((name: string, before: number, after: number) => void) | undefined;

  /** Lines on the channel, in all other processes. */
  of(name: string): number {
    return this.#inAll.get(name) ?? 0;
  }

  /** Channels with lines elsewhere. */
  names(): IterableIterator<string> {
    return this.#inAll.keys();
  }

  /** A process has so many lines on the channel now. */
  set(source: number, name: string, count: number): void {
    let counts = this.#bySource.get(source);
    if (counts === undefined) this.#bySource.set(source, (counts = new Map<string, number>()));
    const before = this.of(name);
    const after = before - (counts.get(name) ?? 0) + count;
    put(counts, name, count);
    put(this.#inAll, name, after);
    this.onChange?.(name, before, after);
  }

  /** A process has ended, and its lines with it. */
  gone(source: number): void {
    const counts = this.#bySource.get(source);
    if (counts === undefined) return;
    for (const name of counts.keys()) this.set(source, name, 0);
    this.#bySource.delete(source);
  }
}

function put(counts: Map<string, number>, name: string, count: number): void {
  if (count === 0) counts.delete(name);
  else counts.set(name, count);
}
