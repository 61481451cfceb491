/** Where the histories of channels were ended: the id of each channel's last mark of deletion. */
import type { JetStreamManager } from '@nats-io/jetstream';
import { NATS_MARKS_MAX } from '../../limits.js';
import type { Subjects } from './subjects.js';

export class Marks {
  readonly #manager: JetStreamManager;
  readonly #stream: string;
  readonly #subjects: Subjects;
  /** Those asked for or seen last; 0 for a channel without one. */
  readonly #known = new Map<string, number>();

  constructor(manager: JetStreamManager, stream: string, subjects: Subjects) {
    this.#manager = manager;
    this.#stream = stream;
    this.#subjects = subjects;
  }

  /** The tail has come to a mark. */
  seen(channel: string, id: number): void {
    this.#keep(channel, Math.max(id, this.#known.get(channel) ?? 0));
  }

  /** The id of the channel's last mark; 0 without one. Rejects when NATS does not answer. */
  async of(channel: string): Promise<number> {
    const known = this.#known.get(channel);
    if (known !== undefined) return known;
    const found = await this.#manager.streams.getMessage(this.#stream, {
      last_by_subj: this.#subjects.ofDeletions(channel),
    });
    this.seen(channel, found?.seq ?? 0);
    return this.#known.get(channel) ?? 0;
  }

  /** The stream is another one now. */
  forget(): void {
    this.#known.clear();
  }

  #keep(channel: string, id: number): void {
    this.#known.delete(channel);
    this.#known.set(channel, id);
    if (this.#known.size <= NATS_MARKS_MAX) return;
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest);
      return;
    }
  }
}
