/**
 * Frames on the pipe between the supervisor and a worker: size U32, kind U8, and a payload. A
 * stream of bytes is cut into frames wherever the reads happened to split it.
 */
import { HoldlineError } from '../errors.js';
import { PIPE_FRAME_BYTES_MAX } from '../limits.js';
import type { HistoryPage } from '../core/event-log.js';
import { isDeletion, type LoggedEntry, type LoggedEvent, type NewEntry } from '../core/event.js';
import { entriesSize, readEntries, writeEntries } from './entry-bytes.js';

/** What a frame is. */
export const FRAME = {
  /** Both ways: a question, or what is told without an answer; JSON. */
  call: 1,
  /** The answer to a question, JSON. */
  answer: 2,
  /** To the supervisor: entries to be appended. */
  append: 3,
  /** To a worker: their ids. */
  appended: 4,
  /** To a worker: entries of the log, in id order. */
  records: 5,
  /** To a worker: a page of the history. */
  page: 6,
  /** To the supervisor: bytes by channel that have entered, and are not on the way any more. */
  entered: 7,
  /** Lines by channel that a worker has: to the supervisor, and from there to the other workers. */
  lines: 8,
} as const;

/** A frame without its size. */
export interface Frame {
  readonly kind: number;
  readonly payload: Buffer;
}

const SIZE_BYTES = 4;
const HEAD_BYTES = SIZE_BYTES + 1;

/** Cuts bytes into frames. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #bytes = 0;
  /** Size of the frame that is being received, with its head; 0 while that is not known. */
  #wanted = 0;

  /** Takes the next bytes; hands over each frame that is complete. Throws HOLDLINE_INTERNAL. */
  take(chunk: Buffer, take: (frame: Frame) => void): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    for (;;) {
      if (this.#wanted === 0) {
        if (this.#bytes < HEAD_BYTES) return;
        this.#wanted = HEAD_BYTES + this.#join().readUInt32BE(0);
        if (this.#wanted > PIPE_FRAME_BYTES_MAX)
          throw new HoldlineError(
            'HOLDLINE_INTERNAL',
            `a frame of ${this.#wanted} bytes came from another process of this server`,
          );
      }
      if (this.#bytes < this.#wanted) return;
      const joined = this.#join();
      const size = this.#wanted;
      this.#wanted = 0;
      this.#chunks = joined.length > size ? [joined.subarray(size)] : [];
      this.#bytes -= size;
      take({ kind: joined.readUInt8(SIZE_BYTES), payload: joined.subarray(HEAD_BYTES, size) });
    }
  }

  #join(): Buffer {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0] as Buffer;
  }
}

/**
 * Throws HOLDLINE_INTERNAL for a frame that the other end would refuse, which ends a process: it is
 * to be called where somebody waits for an answer and can be told.
 */
export function checkFrame({ length }: Buffer): void {
  if (length <= PIPE_FRAME_BYTES_MAX) return;
  throw new HoldlineError(
    'HOLDLINE_INTERNAL',
    `it takes ${length} bytes, and processes of this server tell each other ${PIPE_FRAME_BYTES_MAX} at once; ask for less`,
  );
}

/** A frame of `payloadSize` bytes, to be filled from the offset {@link PAYLOAD_AT} on. */
function makeFrame(kind: number, payloadSize: number): Buffer {
  const frame = Buffer.allocUnsafe(HEAD_BYTES + payloadSize);
  frame.writeUInt32BE(payloadSize, 0);
  frame.writeUInt8(kind, SIZE_BYTES);
  return frame;
}

const PAYLOAD_AT = HEAD_BYTES;

// ── JSON ─────────────────────────────────────────────────────────────────────────────────────────

/** A question with its number, or 0 where none is answered; or the answer to that number. */
export function jsonFrame(kind: number, number: number, value: unknown): Buffer {
  const text = JSON.stringify(value ?? null);
  const frame = makeFrame(kind, 4 + Buffer.byteLength(text));
  frame.writeUInt32BE(number, PAYLOAD_AT);
  frame.write(text, PAYLOAD_AT + 4);
  return frame;
}

export function readJson({ payload }: Frame): { readonly number: number; readonly value: unknown } {
  return {
    number: payload.readUInt32BE(0),
    value: JSON.parse(payload.toString('utf8', 4)) as unknown,
  };
}

// ── entries ──────────────────────────────────────────────────────────────────────────────────────

export interface AppendRequest {
  readonly key: string;
  readonly digest: string;
  readonly subscribers: number;
}

/** Entries to append, with the idempotency key of their publish if it has one. */
export function appendFrame(
  number: number,
  entries: readonly NewEntry[],
  request: AppendRequest | undefined,
): Buffer {
  const text = request === undefined ? '' : JSON.stringify(request);
  const textSize = Buffer.byteLength(text);
  const frame = makeFrame(FRAME.append, 8 + textSize + entriesSize(entries));
  let at = frame.writeUInt32BE(number, PAYLOAD_AT);
  at = frame.writeUInt32BE(textSize, at);
  at += frame.write(text, at);
  writeEntries(frame, at, entries);
  return frame;
}

export function readAppend({ payload }: Frame): {
  readonly number: number;
  readonly entries: readonly LoggedEntry[];
  readonly request: AppendRequest | undefined;
} {
  const textSize = payload.readUInt32BE(4);
  const request =
    textSize === 0
      ? undefined
      : (JSON.parse(payload.toString('utf8', 8, 8 + textSize)) as AppendRequest);
  const entries = readEntries(payload, 8 + textSize);
  return { number: payload.readUInt32BE(0), entries, request };
}

/** The ids that entries were given. */
export function appendedFrame(number: number, ids: readonly number[]): Buffer {
  const frame = makeFrame(FRAME.appended, 4 + 8 * ids.length);
  let at = frame.writeUInt32BE(number, PAYLOAD_AT);
  for (const id of ids) at = frame.writeDoubleBE(id, at);
  return frame;
}

export function readAppended({ payload }: Frame): {
  readonly number: number;
  readonly ids: readonly number[];
} {
  const ids: number[] = [];
  for (let at = 4; at < payload.length; at += 8) ids.push(payload.readDoubleBE(at));
  return { number: payload.readUInt32BE(0), ids };
}

/** Entries of the log. */
export function recordsFrame(entries: readonly LoggedEntry[]): Buffer {
  const frame = makeFrame(FRAME.records, entriesSize(entries));
  writeEntries(frame, PAYLOAD_AT, entries);
  return frame;
}

export function readRecords({ payload }: Frame): readonly LoggedEntry[] {
  return readEntries(payload, 0);
}

/** Number, two ids, a flag and a count stand before what a page has lost of each channel. */
const PAGE_HEAD_BYTES = 4 + 8 + 8 + 1 + 4;

/** A page of the history, for the question of that number. */
export function pageFrame(number: number, page: HistoryPage): Buffer {
  const { lostByChannel = [] } = page;
  const head = PAGE_HEAD_BYTES + 8 * lostByChannel.length;
  const frame = makeFrame(FRAME.page, head + entriesSize(page.events));
  let at = frame.writeUInt32BE(number, PAYLOAD_AT);
  at = frame.writeDoubleBE(page.through, at);
  at = frame.writeDoubleBE(page.lostThrough, at);
  at = frame.writeUInt8(Number(page.isDeleted === true), at);
  at = frame.writeUInt32BE(lostByChannel.length, at);
  for (const id of lostByChannel) at = frame.writeDoubleBE(id, at);
  writeEntries(frame, at, page.events);
  return frame;
}

export function readPage({ payload }: Frame): {
  readonly number: number;
  readonly page: HistoryPage;
} {
  const lostByChannel = Array.from({ length: payload.readUInt32BE(PAGE_HEAD_BYTES - 4) }, (_, i) =>
    payload.readDoubleBE(PAGE_HEAD_BYTES + 8 * i),
  );
  const events = readEntries(payload, PAGE_HEAD_BYTES + 8 * lostByChannel.length).filter(
    (entry): entry is LoggedEvent => !isDeletion(entry),
  );
  const [through, lostThrough] = [payload.readDoubleBE(4), payload.readDoubleBE(12)];
  const isDeleted = payload.readUInt8(20) === 1;
  const page = {
    events,
    through,
    lostThrough,
    ...(lostByChannel.length > 0 && { lostByChannel }),
    isDeleted,
  };
  return { number: payload.readUInt32BE(0), page };
}

/** Bytes by channel. */
export function enteredFrame(bytesByChannel: ReadonlyMap<string, number>): Buffer {
  return countsFrame(FRAME.entered, 0, bytesByChannel);
}

/** Lines by channel of the worker that was started as the `spawn`th. */
export function linesFrame(spawn: number, linesByChannel: ReadonlyMap<string, number>): Buffer {
  return countsFrame(FRAME.lines, spawn, linesByChannel);
}

function countsFrame(kind: number, spawn: number, counts: ReadonlyMap<string, number>): Buffer {
  let size = 4;
  for (const channel of counts.keys()) size += 5 + channel.length;
  const frame = makeFrame(kind, size);
  let at = frame.writeUInt32BE(spawn, PAYLOAD_AT);
  for (const [channel, count] of counts) {
    at = frame.writeUInt32BE(count, at);
    at = frame.writeUInt8(channel.length, at);
    at += frame.write(channel, at, 'latin1');
  }
  return frame;
}

/** Hands over the numbers of such a frame; returns the worker that it is of. */
export function readCounts(
  { payload }: Frame,
  take: (channel: string, count: number) => void,
): number {
  for (let at = 4; at < payload.length;) {
    const count = payload.readUInt32BE(at);
    const end = at + 5 + payload.readUInt8(at + 4);
    take(payload.toString('latin1', at + 5, end), count);
    at = end;
  }
  return payload.readUInt32BE(0);
}
