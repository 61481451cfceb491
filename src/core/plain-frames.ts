/**
 * The plain frames of a group around a cursor: what follows it, and what a dictionary that ends
 * there may have.
 */
import { Merge, type ChannelSet } from './channel-set.js';
import { DICTIONARY_BYTES_MAX } from './compressor.js';
import type { Encoding } from './frame.js';
import type { Ring } from './ring.js';

/** Where the frames are: on one channel in its ring, if they are there. */
export interface SlicedGroup {
  readonly channels: readonly {
    readonly rings: { framesAfter(id: number, encoding: Encoding): Ring | undefined } | undefined;
  }[];
  readonly set: ChannelSet;
  readonly encoding: Encoding;
}

/** A part of what a group reads. */
export interface Cut {
  /** Valid while the group's set keeps its `version`. */
  readonly plain: Uint8Array;
  /** Id of the last event. */
  readonly end: number;
  readonly events: number;
}

const NOTHING: Cut = { plain: Buffer.alloc(0), end: 0, events: 0 };

const dictionaryBuffer = Buffer.allocUnsafeSlow(DICTIONARY_BYTES_MAX);

/**
 * As many whole frames as fit from a cursor to the id `head`, or one larger frame alone.
 */
export function cutAfter(group: SlicedGroup, cursor: number, head: number, bytesMax: number): Cut {
  const ring = framesAfter(group, cursor);
  if (ring === undefined) return cutRecords(group, cursor, head, bytesMax);
  const from = ring.seqAfter(cursor);
  const last = ring.seqAfter(head);
  if (from >= last) return NOTHING;
  const { bytes, toSeq } = ring.cut(from, last, bytesMax);
  return { plain: bytes, end: ring.idAt(toSeq - 1), events: toSeq - from };
}

/**
 * Id of the first event of which bytes are in a dictionary that ends at a cursor; Infinity without
 * one.
 */
export function firstInWindow(group: SlicedGroup, cursor: number): number {
  const ring = framesAfter(group, cursor);
  if (ring === undefined) return Infinity;
  let seq = ring.seqAfter(cursor);
  for (let bytes = 0; seq > ring.tailSeq && bytes < DICTIONARY_BYTES_MAX;)
    bytes += ring.sizeAt(--seq);
  return seq < ring.headSeq && ring.idAt(seq) <= cursor ? ring.idAt(seq) : Infinity;
}

/** The ring of frames above an id; undefined where they have to be made. */
function framesAfter({ channels, encoding }: SlicedGroup, id: number): Ring | undefined {
  return channels[0]?.rings?.framesAfter(id, encoding);
}

/** Id of the first event above `after` and up to `through`; Infinity without one. */
export function firstIn(group: SlicedGroup, after: number, through: number): number {
  if (after >= through) return Infinity;
  const ring = framesAfter(group, after);
  if (ring === undefined) return Infinity;
  const seq = ring.seqAfter(after);
  return seq < ring.headSeq && ring.idAt(seq) <= through ? ring.idAt(seq) : Infinity;
}

/** The plain bytes before a cursor, from the event `first` on. Valid until the next call. */
export function dictionaryFrom(
  group: SlicedGroup,
  first: number,
  cursor: number,
): Uint8Array | undefined {
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
