/**
 * Reads a stream of events that may be cut anywhere. Events of the run, which are nearly all, are
 * read in place; everything else is parsed as text.
 */

import type { Encoding, EventShape, EventSink } from './encoding.js';
import { dueUsOf, isOfRun, sequenceOf } from './event.js';

const ZERO = 0x30;

/**
 * The longest block or row that is put together from parts: the largest event with every character
 * escaped.
 */
const CARRY_BYTES = 16 * 1024 * 1024;

/**
 * An encoding and the events of a run, one object for all readers of a process. A new run
 * overwrites it.
 */
export interface EventFormat {
  encoding: Encoding;
  shape: EventShape;
  /** The bytes before an event's id. */
  before: Buffer;
  /** The bytes between the id and the data. */
  between: Buffer;
  /** The bytes after the data. */
  after: Buffer;
}

/** The format of a run's events in an encoding. */
export function formatOf(encoding: Encoding, shape: EventShape): EventFormat {
  const { before, between, after } = encoding.layout(shape);
  return {
    encoding,
    shape,
    before: Buffer.from(before),
    between: Buffer.from(between),
    after: Buffer.from(after),
  };
}

/** Reads a stream that may be cut anywhere. */
export class EventReader {
  readonly #format: EventFormat;
  readonly #sink: EventSink;
  /** A block or row whose end has not come. */
  #carry: Buffer | undefined;

  constructor(format: EventFormat, sink: EventSink) {
    this.#format = format;
    this.#sink = sink;
  }

  /** True when what has come ends with a whole block or row. */
  get isBetweenEvents(): boolean {
    return this.#carry === undefined;
  }

  /** Reads what has come. Throws when the server sends what it should not. */
  feed(bytes: Buffer, start: number, end: number): void {
    let source = bytes;
    let at = start;
    let stop = end;
    if (this.#carry !== undefined) {
      source = Buffer.concat([this.#carry, bytes.subarray(start, end)]);
      this.#carry = undefined;
      at = 0;
      stop = source.length;
    }
    while (at < stop) {
      let next = this.#event(source, at, stop);
      if (next < 0) next = this.#block(source, at, stop);
      if (next < 0) {
        if (stop - at > CARRY_BYTES) throw new Error(`an event is over ${CARRY_BYTES} bytes`);
        this.#carry = Buffer.from(source.subarray(at, stop));
        return;
      }
      at = next;
    }
  }

  /**
   * The end of the event of the run that begins here, if all of it is here; −1 for anything else.
   */
  #event(source: Buffer, start: number, end: number): number {
    const { shape, before, between, after } = this.#format;
    if (!startsWith(source, start, end, before)) return -1;
    let at = start + before.length;
    let id = 0;
    for (; at < end; at++) {
      const digit = source[at]! - ZERO;
      if (!(digit >= 0 && digit <= 9)) break;
      id = id * 10 + digit;
    }
    const data = at + between.length;
    const dataEnd = data + shape.sizeBytes;
    if (!startsWith(source, at, end, between) || !startsWith(source, dataEnd, end, after))
      return -1;
    const sequence = isOfRun(source, data, shape.run) ? sequenceOf(source, data) : Number.NaN;
    const dueUs = dueUsOf(source, data);
    if (id === 0 || Number.isNaN(sequence + dueUs)) return -1;
    this.#sink.event(id, sequence, dueUs);
    return dataEnd + after.length;
  }

  /** The end of the block or row that begins here; −1 when it is not all here. */
  #block(source: Buffer, start: number, end: number): number {
    const { encoding, shape } = this.#format;
    const next = encoding.end(source, start, end);
    if (next >= 0) encoding.read(source.toString('utf8', start, next), shape, this.#sink);
    return next;
  }
}

/**
 * The id of the event of the run that the bytes end with, for a client that reads nothing else; NaN
 * when they end with anything else, or when the event begins before them. The cost does not depend
 * on the number of bytes.
 */
export function lastIdIn(
  { shape, between, after }: EventFormat,
  source: Buffer,
  start: number,
  end: number,
): number {
  const data = end - after.length - shape.sizeBytes;
  const idEnd = data - between.length;
  if (
    idEnd <= start ||
    !startsWith(source, data - between.length, end, between) ||
    !startsWith(source, end - after.length, end, after)
  )
    return Number.NaN;
  let id = 0;
  let digits = 0;
  for (let scale = 1; idEnd - digits > start; digits++, scale *= 10) {
    const digit = source[idEnd - digits - 1]! - ZERO;
    if (!(digit >= 0 && digit <= 9)) break;
    id += digit * scale;
  }
  // An id at the very beginning of the bytes may have begun before them.
  return digits === 0 || idEnd - digits === start || !isOfRun(source, data, shape.run)
    ? Number.NaN
    : id;
}

function startsWith(source: Buffer, at: number, end: number, wanted: Buffer): boolean {
  if (at + wanted.length > end) return false;
  for (let nth = 0; nth < wanted.length; nth++) if (source[at + nth] !== wanted[nth]) return false;
  return true;
}
