/** The lines of channels that other processes of this server hold, as they have told. */

export class Elsewhere {
  /** By process and channel; never 0. */
  readonly #bySource = new Map<number, Map<string, number>>();
  /** Hears of every change of a channel's lines elsewhere. */
  onChange: ((name: string, before: number, after: number) => void) | undefined;

  /** Lines on the channel, in all other processes. */
  of(name: string): number {
    let lines = 0;
    for (const counts of this.#bySource.values()) lines += counts.get(name) ?? 0;
    return lines;
  }

  /** Channels with lines elsewhere; some more than once. */
  *names(): IterableIterator<string> {
    for (const counts of this.#bySource.values()) yield* counts.keys();
  }

  /** A process has so many lines on the channel now. */
  set(source: number, name: string, count: number): void {
    let counts = this.#bySource.get(source);
    if (counts === undefined) this.#bySource.set(source, (counts = new Map<string, number>()));
    const before = this.onChange === undefined ? 0 : this.of(name);
    const own = counts.get(name) ?? 0;
    if (count === 0) counts.delete(name);
    else counts.set(name, count);
    this.onChange?.(name, before, before - own + count);
  }

  /** A process has ended, and its lines with it. */
  gone(source: number): void {
    const counts = this.#bySource.get(source);
    if (counts === undefined) return;
    for (const name of counts.keys()) this.set(source, name, 0);
    this.#bySource.delete(source);
  }
}
