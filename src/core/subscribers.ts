/**
 * Subscribers of channels over all processes of a server: here, and elsewhere where there is more
 * than one. Those who watch hear of both.
 */
import type { Channels } from './channels.js';
import type { Elsewhere } from './elsewhere.js';
import type { Membership } from './membership.js';
import type { CountedChannel, CountedChannels } from './subscriber-counts.js';
import type { LineCountListener } from './watchers.js';

export class Subscribers implements CountedChannels {
  readonly #channels: Channels;
  readonly #membership: Pick<Membership, 'listener'>;
  #elsewhere: Elsewhere | undefined;
  #report: LineCountListener | undefined;
  #watching: LineCountListener | undefined;

  constructor(channels: Channels, membership: Pick<Membership, 'listener'>) {
    this.#channels = channels;
    this.#membership = membership;
  }

  *[Symbol.iterator](): IterableIterator<CountedChannel> {
    if (this.#elsewhere === undefined) {
      yield* this.#channels;
      return;
    }
    for (const channel of this.#channels)
      yield { name: channel.name, lineCount: this.linesOn(channel) };
    for (const name of this.#elsewhere.names())
      if (this.#channels.get(name) === undefined) yield this.#counted(name);
  }

  get(name: string): CountedChannel | undefined {
    return this.#elsewhere === undefined ? this.#channels.get(name) : this.#counted(name);
  }

  /** Lines on a channel, here and elsewhere. */
  linesOn({ name, lineCount }: CountedChannel): number {
    return lineCount + (this.#elsewhere?.of(name) ?? 0);
  }

  /** Sets who watches; undefined: nobody. */
  listen(listener: LineCountListener | undefined): void {
    this.#watching = listener;
    this.#update();
  }

  /** Counts elsewhere, too; `report` hears of what changes here. */
  countElsewhere(elsewhere: Elsewhere, report: LineCountListener): void {
    this.#elsewhere = elsewhere;
    this.#report = report;
    this.#update();
  }

  /** Nothing is called for a line while nobody listens. */
  #update(): void {
    const [elsewhere, report, watching] = [this.#elsewhere, this.#report, this.#watching];
    if (elsewhere === undefined) {
      this.#membership.listener = watching;
      return;
    }
    this.#membership.listener = {
      changed(name, before, after) {
        report?.changed(name, before, after);
        if (watching === undefined) return;
        const others = elsewhere.of(name);
        watching.changed(name, before + others, after + others);
      },
    };
    elsewhere.onChange =
      watching === undefined
        ? undefined
        : (name, before, after) => {
            const here = this.#channels.get(name)?.lineCount ?? 0;
            watching.changed(name, before + here, after + here);
          };
  }

  #counted(name: string): CountedChannel {
    const lineCount = this.#channels.get(name)?.lineCount ?? 0;
    return { name, lineCount: this.linesOn({ name, lineCount }) };
  }
}
