/**
 * The slices of a group on one channel whose lines are given gzip blocks: what follows a cursor is
 * compressed once for all lines that are there, with the plain bytes right before it as a
 * dictionary.
 *
 * A line decodes such a block if what it has decoded last is that dictionary. `clean` of its row is
 * the id above which it has been given nothing but the frames of its channel, all of them: it can
 * use a dictionary whose first event is above that. A line that joined, or was told something that
 * is no event, has less behind it than the dictionary may have. It is given a *variant* of the
 * slice with a dictionary that begins later, or with none.
 *
 * All lines are brought to the *head* of the group, which moves a few times in a sweep: with each
 * event it would move for every line, and each line would be at a cursor of its own in the end.
 */
import {
  COMPRESS_BLOCK_BYTES_MAX,
  COMPRESS_HEADS_PER_SWEEP,
  COMPRESS_KEPT_BYTES_MAX,
  COMPRESS_SHARED_LINES,
  COMPRESS_SLICE_BYTES_MAX,
  COMPRESS_SMALL_BYTES,
  COMPRESS_SMALL_HEADS_PER_SWEEP,
  COMPRESS_VARIANTS_MAX,
  CORK_WRITE_BYTES_MAX,
} from '../limits.js';
import type { Counters } from '../counters.js';
import type { GivenBytes } from './channel-compression.js';
import type { Compressor } from './compressor.js';
import { isSmaller, STORED_EXTRA_BYTES, storedBlocks } from './gzip.js';
import {
  cutAfter,
  dictionaryFrom,
  firstIn,
  firstInWindow,
  type SlicedGroup,
} from './plain-frames.js';

/** Cursors at which slices are kept: all heads of a sweep, and some lines that are elsewhere. */
const ENTRIES = COMPRESS_SMALL_HEADS_PER_SWEEP + 4;

/** Share of a cork that a slice is to fill, by how well the last ones compressed. */
export const CORK_SHARE = 0.75;
/** The least plain bytes of a block by which that is judged. */
const JUDGED_BYTES = 4096;

const STORED_PLAIN_BYTES_MAX = CORK_WRITE_BYTES_MAX - STORED_EXTRA_BYTES;

/** What a group's slices are made of. */
interface CompressedGroup extends SlicedGroup {
  readonly table: { readonly clean: Float64Array | undefined };
}

/** Bytes for lines that can use a dictionary. */
interface Variant {
  /** Id of the first event in the dictionary; Infinity without one. */
  readonly first: number;
  readonly bytes: Buffer;
  /** Id of the slice's last event. */
  readonly end: number;
  readonly events: number;
  readonly plainBytes: number;
}

/** What follows a cursor. */
interface Entry {
  readonly cursor: number;
  /** The group's head when it was cut; it may end before. */
  readonly head: number;
  readonly version: number;
  /** Id of the first event that a dictionary may have; Infinity without one. */
  readonly windowFirst: number;
  /** The one with `windowFirst` is first once it is made. */
  readonly variants: Variant[];
  stored: Variant | undefined;
  /** Times that lines were given it stored, for want of time. */
  storedUses: number;
}

const EMPTY = Buffer.alloc(0);

/** How often in a sweep the id moves to which lines are brought, with slices of so many bytes. */
export function headsPerSweepOf(plainBytes: number): number {
  return plainBytes <= COMPRESS_SMALL_BYTES
    ? COMPRESS_SMALL_HEADS_PER_SWEEP
    : COMPRESS_HEADS_PER_SWEEP;
}

export class CompressedSlices {
  /* What `find` found. */
  bytes: Uint8Array = EMPTY;
  /** Id of the slice's last event. */
  end = 0;
  events = 0;
  plainBytes = 0;

  /** Bytes of the slices that are kept. */
  keptBytes = 0;
  /** Plain bytes ÷ compressed ones of the last slice that says something about it; at least 1. */
  ratio = 1;

  readonly #compressor: Compressor;
  readonly #counters: Counters;
  /** The sum of the channel: lines and their groups leave it. */
  readonly #given: GivenBytes;
  /** All lines are brought to this id. */
  #head = 0;
  /** The row of the sweep at which it moved last. */
  #headRow = 0;
  /** Times that it moves in a sweep, by the size of the last slice. */
  #headsPerSweep = COMPRESS_HEADS_PER_SWEEP;
  #entries: Entry[] = [];
  #hint = 0;
  /** Most plain bytes of a slice of several events: what fills a cork by how it compresses. */
  #sliceBytesMax = COMPRESS_SLICE_BYTES_MAX;

  constructor(compressor: Compressor, counters: Counters, given: GivenBytes) {
    this.#compressor = compressor;
    this.#counters = counters;
    this.#given = given;
  }

  /**
   * The id to which a sweep that is at `row`, downwards, brings lines: `newest`, as it was when the
   * sweep began or a share of its rows ago.
   */
  sweepHead(newest: number, row: number, count: number, begins: boolean): number {
    if (begins || (this.#headRow - row) * this.#headsPerSweep >= count) {
      this.#head = newest;
      this.#headRow = row;
    }
    return this.#head;
  }

  /** Sets `bytes`, `end` and `events` to what follows a row's cursor; false when nothing does. */
  find(group: CompressedGroup, cursor: number, row: number): boolean {
    if (!this.#find(group, cursor, (group.table.clean as Float64Array)[row] as number))
      return false;
    this.given(this.plainBytes, this.bytes.length);
    return true;
  }

  /** Does the same for a line that has no row yet; the caller calls `given` if it gives it. */
  findNew(group: CompressedGroup, cursor: number, clean: number): boolean {
    if (this.#head <= cursor) this.#head = group.set.newestId;
    return this.#find(group, cursor, clean);
  }

  /** A line was given events of `plainBytes` in `bytes`. */
  given(plainBytes: number, bytes: number): void {
    this.#given.plainBytes += plainBytes;
    this.#given.bytes += bytes;
    // A counter that falls is taken for one that starts again: stored blocks save nothing.
    if (bytes < plainBytes) this.#counters.compress_saved_bytes_total += plainBytes - bytes;
  }

  /** Drops what is kept. */
  clear(): void {
    this.#compressor.dropped(this, this.keptBytes);
    this.#entries = [];
    this.#hint = 0;
    this.keptBytes = 0;
  }

  #find(group: CompressedGroup, cursor: number, clean: number): boolean {
    const entry = this.#entryAt(group, cursor);
    if (entry === undefined) return false;
    let variant = entry.variants[0];
    if (variant === undefined || variant.first !== entry.windowFirst || clean >= variant.first)
      variant = this.#variantFor(group, entry, clean);
    if (variant === undefined) return false;
    this.bytes = variant.bytes;
    this.end = variant.end;
    this.events = variant.events;
    this.plainBytes = variant.plainBytes;
    return true;
  }

  // ── what follows a cursor ──────────────────────────────────────────────────────────────────────

  #entryAt(group: CompressedGroup, cursor: number): Entry | undefined {
    const entries = this.#entries;
    for (let tries = 0, at = this.#hint; tries < entries.length; tries++, at++) {
      if (at >= entries.length) at = 0;
      const entry = entries[at] as Entry;
      if (entry.cursor !== cursor) continue;
      this.#hint = at;
      if (this.#isCurrent(group, entry)) return entry;
      this.#remove(at);
      break;
    }
    if (group.set.firstIdAfter(cursor) === undefined) return undefined;
    if (entries.length >= ENTRIES) this.#remove(0);
    const entry: Entry = {
      cursor,
      head: this.#head,
      version: group.set.version,
      windowFirst: firstInWindow(group, cursor),
      variants: [],
      stored: undefined,
      storedUses: 0,
    };
    this.#hint = this.#entries.push(entry) - 1;
    return entry;
  }

  /**
   * False when the slice ends where the head was, or when events of it may have been lost: lines
   * are told of that, and must not be given them.
   */
  #isCurrent({ set }: CompressedGroup, entry: Entry): boolean {
    if (set.lostThrough > entry.cursor && entry.version !== set.version) return false;
    const made = entry.variants[0] ?? entry.stored;
    return entry.head === this.#head || (made !== undefined && made.end < entry.head);
  }

  #remove(at: number): void {
    const [entry] = this.#entries.splice(at, 1);
    if (entry === undefined) return;
    let bytes = entry.stored?.bytes.length ?? 0;
    for (const variant of entry.variants) bytes += keptBy(entry, variant);
    this.keptBytes -= bytes;
    this.#compressor.kept(this, -bytes);
  }

  /** Counts a variant of the entry; of this group, too, the others go when all keep too much. */
  #keep(entry: Entry, variant: Variant): Variant {
    const bytes = keptBy(entry, variant);
    this.keptBytes += bytes;
    this.#compressor.kept(this, bytes);
    while (this.#compressor.keptBytes > COMPRESS_KEPT_BYTES_MAX && this.#entries.length > 1)
      this.#remove(this.#entries[0] === entry ? 1 : 0);
    return variant;
  }

  // ── variants ───────────────────────────────────────────────────────────────────────────────────

  #variantFor(group: CompressedGroup, entry: Entry, clean: number): Variant | undefined {
    const { variants, cursor, windowFirst } = entry;
    const wanted = clean < windowFirst ? windowFirst : firstIn(group, clean, cursor);
    let best: Variant | undefined;
    for (const variant of variants)
      if (variant.first > clean && variant.first < (best?.first ?? Infinity)) best = variant;
    if (wanted === Infinity) best ??= variants.find(({ first }) => first === Infinity);
    if (best?.first === wanted) return best;
    // One place is left for the lines with most behind them.
    const isFull =
      variants.length >= COMPRESS_VARIANTS_MAX - 1 &&
      (wanted !== windowFirst || variants.length >= COMPRESS_VARIANTS_MAX);
    if (isFull) return best ?? this.#stored(group, entry);
    if (!this.#compressor.hasTime && entry.storedUses < COMPRESS_SHARED_LINES) {
      this.#counters.compress_refused_total++;
      entry.storedUses++;
      return best ?? this.#stored(group, entry);
    }
    const made = this.#make(group, entry, wanted) ?? this.#storedAs(group, entry, wanted);
    if (made === undefined) return undefined;
    if (wanted === windowFirst) variants.unshift(this.#keep(entry, made));
    else variants.push(this.#keep(entry, made));
    return made;
  }

  /** Undefined when the bytes do not become fewer, or too many. */
  #make(group: CompressedGroup, entry: Entry, first: number): Variant | undefined {
    const { plain, end, events } = cutAfter(group, entry.cursor, entry.head, this.#sliceBytesMax);
    if (events === 0 || plain.length > COMPRESS_BLOCK_BYTES_MAX) return undefined;
    this.#headsPerSweep = headsPerSweepOf(plain.length);
    const bytes = this.#compressor.deflate(plain, dictionaryFrom(group, first, entry.cursor));
    if (plain.length >= JUDGED_BYTES) {
      this.ratio = Math.max(1, plain.length / bytes.length);
      const fitting = (CORK_SHARE * CORK_WRITE_BYTES_MAX * plain.length) / bytes.length;
      this.#sliceBytesMax = Math.max(
        STORED_PLAIN_BYTES_MAX,
        Math.min(COMPRESS_SLICE_BYTES_MAX, Math.floor(fitting)),
      );
    }
    if (events > 1 && bytes.length > CORK_WRITE_BYTES_MAX) return undefined;
    if (!isSmaller(bytes, plain)) return undefined;
    return { first, bytes: ownBuffer(bytes), end, events, plainBytes: plain.length };
  }

  /** In the place of a variant that would not be smaller: it is not tried again for each line. */
  #storedAs(group: CompressedGroup, entry: Entry, first: number): Variant | undefined {
    const stored = this.#stored(group, entry);
    return stored === undefined ? undefined : { ...stored, first };
  }

  /** The slice in stored blocks, which every line decodes. */
  #stored(group: CompressedGroup, entry: Entry): Variant | undefined {
    if (entry.stored !== undefined) return entry.stored;
    const { plain, end, events } = cutAfter(
      group,
      entry.cursor,
      entry.head,
      STORED_PLAIN_BYTES_MAX,
    );
    if (events === 0) return undefined;
    const bytes = ownBuffer(storedBlocks(plain));
    const stored = { first: Infinity, bytes, end, events, plainBytes: plain.length };
    this.#keep(entry, stored);
    entry.stored = stored;
    return stored;
  }
}

/** Bytes that a variant takes: none where it is the stored one under another dictionary. */
function keptBy({ stored }: Entry, { bytes }: Variant): number {
  return bytes === stored?.bytes ? 0 : bytes.length;
}

/** In a buffer of their size: zlib's is larger, and a small one a part of what others keep. */
function ownBuffer(bytes: Buffer): Buffer {
  const own = Buffer.allocUnsafeSlow(bytes.length);
  own.set(bytes);
  return own;
}
