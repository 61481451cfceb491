/**
 * An order of things by use, oldest first: a doubly linked list through the things themselves, so
 * that each step is O(1).
 */

/** What stands in at most one order at a time. The fields are written by {@link Order}. */
export interface Ordered<Item> {
  /** The order that it stands in, and its neighbours there. */
  order: { remove(item: Item): void } | undefined;
  older: Item | undefined;
  newer: Item | undefined;
}

export class Order<Item extends Ordered<Item>> {
  oldest: Item | undefined;
  newest: Item | undefined;

  /** Makes it the newest of this order; takes it out of whatever order it stood in. */
  append(item: Item): void {
    if (this.newest === item) return;
    item.order?.remove(item);
    item.order = this;
    item.older = this.newest;
    if (this.newest === undefined) this.oldest = item;
    else this.newest.newer = item;
    this.newest = item;
  }

  /** Makes it the oldest of this order; takes it out of whatever order it stood in. */
  prepend(item: Item): void {
    if (this.oldest === item) return;
    item.order?.remove(item);
    item.order = this;
    item.newer = this.oldest;
    if (this.oldest === undefined) this.newest = item;
    else this.oldest.older = item;
    this.oldest = item;
  }

  /** Takes it out; it must stand in this order. */
  remove(item: Item): void {
    const { older, newer } = item;
    if (older === undefined) this.oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.newest = older;
    else newer.older = older;
    item.older = undefined;
    item.newer = undefined;
    item.order = undefined;
  }
}

/** The place of something in a second order, which it does not stand in through its own fields. */
export class Place<Item> implements Ordered<Place<Item>> {
  readonly item: Item;
  order: Order<Place<Item>> | undefined;
  older: Place<Item> | undefined;
  newer: Place<Item> | undefined;

  constructor(item: Item) {
    this.item = item;
  }
}
