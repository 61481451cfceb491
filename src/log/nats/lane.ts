/** What waits of one channel to be sent, in order, and how much of it is on its way. */

/** Sent ones are cut off when they are so many. */
const SENT_MAX = 1_000;

export class Lane<Item> {
  readonly name: string;
  inFlightBytes = 0;
  readonly #isLive: (item: Item) => boolean;
  /** Undefined where it was taken away. */
  #items: (Item | undefined)[] = [];
  /** Place of the first that waits. */
  #next = 0;

  /** Items that are no longer live when their turn comes are passed over. */
  constructor(name: string, isLive: (item: Item) => boolean) {
    this.name = name;
    this.#isLive = isLive;
  }

  get first(): Item | undefined {
    for (; this.#next < this.#items.length; this.#next++) {
      const item = this.#items[this.#next] as Item;
      if (this.#isLive(item)) return item;
    }
    return undefined;
  }

  push(item: Item): void {
    this.#items.push(item);
  }

  /** Takes the first away; there is one. */
  shift(): void {
    this.#items[this.#next++] = undefined;
    if (this.#next < this.#items.length && this.#next < SENT_MAX) return;
    this.#items = this.#items.slice(this.#next);
    this.#next = 0;
  }

  /** Takes all away. */
  takeAll(): Item[] {
    const items = this.#items.slice(this.#next) as Item[];
    this.#items = [];
    this.#next = 0;
    return items;
  }
}
