/**
 * How many pages a transaction may write: LMDB copies each page that it changes, and gives the new
 * ones numbers that were freed or that are behind the last. Never fewer than it writes, so what is
 * counted here is the worst place that each entry can have.
 */
import type { Tables } from './environment.js';
import { PAGE_HEAD_BYTES } from './data-file.js';
import type { NewReceipt } from './messages.js';
import type { PackedEntry } from './packing.js';

/** Pages of one transaction. */
export interface PageNeed {
  /** Those that were not there. */
  readonly added: number;
  /** Copies of those that are there: no more than there are. */
  readonly changed: number;
}

/** The way from the root to a leaf in each table, and the records of what was freed. */
const EACH_TRANSACTION = 64;

/** Head of a node, its offset, and the key of a record. */
const NODE_BYTES = 8 + 2 + 12;
/** A node of the order of ids. */
const ORDER_NODE_BYTES = 8 + 2 + 8 + 16;
/** Of a receipt, at the most: a key, a digest and numbers. */
const RECEIPT_BYTES = 700;

/** A leaf that may be split, and the branch above; the same for a channel's row and its name. */
const ADDED_BY_CHANNEL = 3;
const CHANGED_BY_CHANNEL = 6;

/** Leaf and branch of the record, row of its channel, its place, and what is noted as free. */
export const CHANGED_BY_REMOVAL = 5;

/** A put or two in one of the small tables. */
export const SMALL_CHANGE: PageNeed = { added: 4, changed: 4 };

/** Of appends that are committed together and make room for themselves by removals. */
export function needOfAppends(
  appends: readonly {
    readonly entries: readonly PackedEntry[];
    readonly receipt?: NewReceipt | undefined;
  }[],
  removals: number,
  pageBytes: number,
): PageNeed {
  const usable = pageBytes - PAGE_HEAD_BYTES;
  // LMDB puts two nodes at least into a leaf, and what is larger into pages of its own.
  const inLeafMax = Math.floor(usable / 2) - NODE_BYTES;
  let large = 0;
  let small = 0;
  let count = 0;
  let channels = 0;
  let receipts = 0;
  let before: string | undefined;
  for (const { entries, receipt } of appends) {
    if (receipt !== undefined) receipts++;
    for (const { channel, record } of entries) {
      count++;
      if (channel !== before) channels++;
      before = channel;
      if (record === undefined) continue;
      if (record.length > inLeafMax)
        large += Math.ceil((record.length + PAGE_HEAD_BYTES) / pageBytes);
      else small += record.length;
    }
  }
  // A leaf that is split is half full.
  const leaves =
    (2 * (small + count * (NODE_BYTES + ORDER_NODE_BYTES) + receipts * RECEIPT_BYTES)) / usable;
  return {
    added: large + Math.ceil(leaves) + channels * ADDED_BY_CHANNEL,
    changed: channels * CHANGED_BY_CHANNEL + needOfRemovals(removals + receipts).changed,
  };
}

export function needOfRemovals(removals: number): PageNeed {
  return { added: 0, changed: removals * CHANGED_BY_REMOVAL };
}

/** Of a value that is put into one of the small tables. */
export function needOfValue(bytes: number, pageBytes: number): PageNeed {
  return { ...SMALL_CHANGE, added: SMALL_CHANGE.added + Math.ceil(bytes / pageBytes) };
}

/** How many pages of a log are what; read once in a while. */
export class PageCounts {
  readonly #tables: Tables;
  /** Pages of all trees that a transaction may copy. */
  #changeable = 0;
  /** Pages of the list of those that are free: may be written anew by each transaction. */
  #ofFreeList = 0;
  #used = 0;
  /** When they were counted. */
  #pages = 0;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  /** Counts them, with the number of pages that the file has now. */
  count(pages: number): void {
    const { root, abort: _abort, ...all } = this.#tables;
    const { root: main, free } = root.getStats() as { readonly root: Stats; readonly free: Stats };
    const trees = [main, free, ...Object.values(all).map((table) => table.getStats() as Stats)];
    // Else what it has read would stay pinned.
    root.resetReadTxn();
    this.#changeable = trees.reduce((sum, tree) => sum + treePages(tree), 0);
    this.#ofFreeList = treePages(free) + free.overflowPages;
    this.#used = trees.reduce((sum, tree) => sum + treePages(tree) + tree.overflowPages, 0);
    this.#pages = pages;
  }

  /** Pages that are in the file and in no table, as they were counted. */
  get free(): number {
    return Math.max(0, this.#pages - META_PAGES - this.#used);
  }

  /** The most that a transaction may write, when the file has so many pages now. */
  most({ added, changed }: PageNeed, pages: number): number {
    // What has come since it was counted may all be of trees.
    const changeable = this.#changeable + Math.max(0, pages - this.#pages);
    return EACH_TRANSACTION + added + Math.min(changed, changeable) + 2 * this.#ofFreeList;
  }

  /** Removals for which so many pages are enough. */
  removalsFor(pages: number): number {
    return Math.floor((pages - EACH_TRANSACTION - 2 * this.#ofFreeList) / CHANGED_BY_REMOVAL);
  }
}

const META_PAGES = 2;

interface Stats {
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
}

function treePages({ treeBranchPageCount, treeLeafPageCount }: Stats): number {
  return treeBranchPageCount + treeLeafPageCount;
}
