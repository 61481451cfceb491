/** What every event was called to anyone who was told of it, and all faults of a run. */

/** How long everyone may take when all is healed. */
export const SETTLE_MS = 40_000;

/** A publish that was acknowledged, to be repeated. */
export interface Acknowledged {
  readonly channel: string;
  readonly key: string;
  readonly body: string;
  readonly type: string;
  readonly texts: readonly string[];
  readonly firstId: number;
  readonly lastId: number;
}

/** What every event that was seen is called, and every fault. */
export class Truth {
  readonly acknowledged: Acknowledged[] = [];
  readonly faults: string[] = [];
  readonly #idOf = new Map<string, number>();
  readonly #textOf = new Map<number, string>();

  fault(words: string): void {
    if (this.faults.length < 20) this.faults.push(words);
  }

  idOf(text: string): number | undefined {
    return this.#idOf.get(text);
  }

  /** Somebody was told that this event has this id. */
  seen(who: string, id: number, text: string): void {
    const known = this.#textOf.get(id);
    if (known !== undefined && known !== text)
      this.fault(`${who}: id ${id} names ${known} and ${text}`);
    const before = this.#idOf.get(text);
    if (before !== undefined && before !== id)
      this.fault(`${who}: ${text} has the ids ${before} and ${id}`);
    this.#textOf.set(id, text);
    this.#idOf.set(text, id);
  }

  acknowledgedOn(channels: readonly string[]): readonly Acknowledged[] {
    return this.acknowledged.filter(({ channel }) => channels.includes(channel));
  }
}
