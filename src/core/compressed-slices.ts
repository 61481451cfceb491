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
  COMPRESS_SHARED_LINES,
  COMPRESS_SLICE_BYTES_MAX,
  COMPRESS_SMALL_BYTES,
  COMPRESS_SMALL_HEADS_PER_SWEEP,
  COMPRESS_VARIANTS_MAX,
  CORK_WRITE_BYTES_MAX,
} from '../limits.js';
import type { Counters } from '../counters.js';
import type { ChannelSet } from './channel-set.js';
import { Merge } from './channel-set.js';
import { DICTIONARY_BYTES_MAX, type Compressor } from './compressor.js';
import type { Encoding } from './frame.js';
import { STORED_HEAD_BYTES, storedBlocks } from './gzip.js';
import type { Ring } from './ring.js';

/** Cursors at which slices are kept: all heads of a sweep, and some lines that are elsewhere. */
const ENTRIES = COMPRESS_SMALL_HEADS_PER_SWEEP + 4;

/** Share of a cork that a slice is to fill, by how well the last ones compressed. */
const CORK_SHARE = 0.75;
/** The least plain bytes of a block by which that is judged. */
const JUDGED_BYTES = 4096;

const STORED_PLAIN_BYTES_MAX = CORK_WRITE_BYTES_MAX - STORED_HEAD_BYTES;

/** What a group's slices are made of. */
interface SlicedGroup {
  readonly channels: readonly {
    readonly rings: { framesAfter(id: number, encoding: Encoding): Ring | undefined } | undefined;
  }[];
  readonly set: ChannelSet;
  readonly encoding: Encoding;
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
const dictionaryBuffer = Buffer.allocUnsafeSlow(DICTIONARY_BYTES_MAX);

export class CompressedSlices {
  /* What `find` found. */
  bytes: Uint8Array = EMPTY;
  /** Id of the slice's last event. */
  end = 0;
  events = 0;

  /** Bytes of the slices that are kept. */
  keptBytes = 0;

  /** Plain bytes ÷ compressed ones of the last slice that says something about it; at least 1. */
  ratio = 1;

  readonly #compressor: Compressor;
  readonly #counters: Counters;
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

  constructor(compressor: Compressor, counters: Counters) {
    this.#compressor = compressor;
    this.#counters = counters;
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
  find(group: SlicedGroup, cursor: number, row: number): boolean {
    return this.#find(group, cursor, (group.table.clean as Float64Array)[row] as number);
  }

  /** Does the same for a line that has no row yet. */
  findNew(group: SlicedGroup, cursor: number, clean: number): boolean {
    if (this.#head <= cursor) this.#head = group.set.newestId;
    return this.#find(group, cursor, clean);
  }

  /** Drops what is kept. */
  clear(): void {
    this.#compressor.dropped(this, this.keptBytes);
    this.#entries = [];
    this.#hint = 0;
    this.keptBytes = 0;
  }

  #find(group: SlicedGroup, cursor: number, clean: number): boolean {
    const entry = this.#entryAt(group, cursor);
    if (entry === undefined) return false;
    let variant = entry.variants[0];
    if (variant === undefined || variant.first !== entry.windowFirst || clean >= variant.first)
      variant = this.#variantFor(group, entry, clean);
    if (variant === undefined) return false;
    this.bytes = variant.bytes;
    this.end = variant.end;
    this.events = variant.events;
    this.#counters.compress_saved_bytes_total += variant.plainBytes - variant.bytes.length;
    return true;
  }

  // ── what follows a cursor ──────────────────────────────────────────────────────────────────────

  #entryAt(group: SlicedGroup, cursor: number): Entry | undefined {
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
      windowFirst: this.#windowFirst(group, cursor),
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
  #isCurrent({ set }: SlicedGroup, entry: Entry): boolean {
    if (set.lostThrough > entry.cursor && entry.version !== set.version) return false;
    const made = entry.variants[0] ?? entry.stored;
    return entry.head === this.#head || (made !== undefined && made.end < entry.head);
  }

  #remove(at: number): void {
    const [entry] = this.#entries.splice(at, 1);
    if (entry === undefined) return;
    let bytes = entry.stored === undefined ? 0 : keptBy(entry.stored);
    for (const variant of entry.variants) bytes += keptBy(variant);
    this.keptBytes -= bytes;
    this.#compressor.kept(this, -bytes);
  }

  #keep(variant: Variant): Variant {
    const bytes = keptBy(variant);
    this.keptBytes += bytes;
    this.#compressor.kept(this, bytes);
    return variant;
  }

  // ── variants ───────────────────────────────────────────────────────────────────────────────────

  #variantFor(group: SlicedGroup, entry: Entry, clean: number): Variant | undefined {
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
    const made = this.#make(group, entry, wanted);
    if (made === undefined) return this.#stored(group, entry);
    if (wanted === windowFirst) variants.unshift(this.#keep(made));
    else variants.push(this.#keep(made));
    return made;
  }

  /** Undefined when the bytes do not become fewer, or too many. */
  #make(group: SlicedGroup, entry: Entry, first: number): Variant | undefined {
    const { plain, end, events } = this.#cut(group, entry, this.#sliceBytesMax);
    if (events === 0 || plain.length > COMPRESS_BLOCK_BYTES_MAX) return undefined;
    this.#headsPerSweep =
      plain.length <= COMPRESS_SMALL_BYTES
        ? COMPRESS_SMALL_HEADS_PER_SWEEP
        : COMPRESS_HEADS_PER_SWEEP;
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
    if (bytes.length >= plain.length + STORED_HEAD_BYTES) return undefined;
    return { first, bytes, end, events, plainBytes: plain.length };
  }

  /** The slice in stored blocks, which every line decodes. */
  #stored(group: SlicedGroup, entry: Entry): Variant | undefined {
    if (entry.stored !== undefined) return entry.stored;
    const { plain, end, events } = this.#cut(group, entry, STORED_PLAIN_BYTES_MAX);
    if (events === 0) return undefined;
    const bytes = storedBlocks(plain);
    entry.stored = { first: Infinity, bytes, end, events, plainBytes: plain.length };
    return this.#keep(entry.stored);
  }

  /**
   * As many whole frames as fit from the entry's cursor to its head, or one larger frame alone.
   */
  #cut(group: SlicedGroup, { cursor, head }: Entry, bytesMax: number): Cut {
    const ring = framesAfter(group, cursor);
    if (ring === undefined) return cutRecords(group, cursor, head, bytesMax);
    const from = ring.seqAfter(cursor);
    const to = Math.min(
      from === ring.headSeq ? from : ring.runEnd(from, bytesMax),
      ring.seqAfter(head),
    );
    if (to <= from) return NOTHING;
    return { plain: ring.view(from, to), end: ring.idAt(to - 1), events: to - from };
  }

  /** Id of the first event of which bytes are in a dictionary that ends at a cursor. */
  #windowFirst(group: SlicedGroup, cursor: number): number {
    const ring = framesAfter(group, cursor);
    if (ring === undefined) return Infinity;
    let seq = ring.seqAfter(cursor);
    for (let bytes = 0; seq > ring.tailSeq && bytes < DICTIONARY_BYTES_MAX;)
      bytes += ring.sizeAt(--seq);
    return seq < ring.headSeq && ring.idAt(seq) <= cursor ? ring.idAt(seq) : Infinity;
  }
}

/** A block keeps the whole buffer that zlib was given for it. */
function keptBy({ bytes }: Variant): number {
  return bytes.buffer.byteLength;
}

/** A part of what a group reads. */
interface Cut {
  readonly plain: Uint8Array;
  readonly end: number;
  readonly events: number;
}

const NOTHING: Cut = { plain: EMPTY, end: 0, events: 0 };

/** The ring of frames above an id; undefined where they have to be made. */
function framesAfter({ channels, encoding }: SlicedGroup, id: number): Ring | undefined {
  return channels[0]?.rings?.framesAfter(id, encoding);
}

/** Id of the first event above `after` and up to `through`; Infinity without one. */
function firstIn(group: SlicedGroup, after: number, through: number): number {
  if (after >= through) return Infinity;
  const ring = framesAfter(group, after);
  if (ring === undefined) return Infinity;
  const seq = ring.seqAfter(after);
  return seq < ring.headSeq && ring.idAt(seq) <= through ? ring.idAt(seq) : Infinity;
}

/** The plain bytes before a cursor, from the event `first` on. Valid until the next call. */
function dictionaryFrom(group: SlicedGroup, first: number, cursor: number): Uint8Array | undefined {
  const ring = first === Infinity ? undefined : framesAfter(group, cursor);
  if (ring === undefined) return undefined;
  let at = DICTIONARY_BYTES_MAX;
  for (let seq = ring.seqAfter(cursor) - 1; at > 0 && seq >= ring.tailSeq; seq--) {
    if (ring.idAt(seq) < first) break;
    const frame = ring.view(seq, seq + 1);
    const bytes = Math.min(at, frame.length);
    at -= bytes;
    dictionaryBuffer.set(frame.subarray(frame.length - bytes), at);
  }
  return dictionaryBuffer.subarray(at);
}

function cutRecords(
  { set, encoding }: SlicedGroup,
  cursor: number,
  head: number,
  bytesMax: number,
): Cut {
  const parts: Buffer[] = [];
  let bytes = 0;
  let end = cursor;
  const merge = new Merge(set, cursor);
  while (merge.next() && merge.id <= head) {
    const frame = merge.channel.frameAt(merge.seq, encoding);
    if (frame === undefined) continue;
    if (parts.length > 0 && bytes + frame.length > bytesMax) break;
    parts.push(Buffer.from(frame));
    bytes += frame.length;
    end = merge.id;
    if (bytes > bytesMax) break;
  }
  return { plain: Buffer.concat(parts), end, events: parts.length };
}
