/**
 * The rings of one channel: its events as records, and beside them a ring of frames for each
 * encoding in use. A ring of frames starts empty when its encoding comes into use, so it holds the
 * newest of what the records hold; frames of older events are made from the records when somebody
 * asks.
 */
import { CHANNEL_BYTES } from '../limits.js';
import type { LoggedEvent } from './event.js';
import { ENCODINGS, type Encoding } from './frame.js';
import { decodeRecord, encodeRecord } from './record.js';
import { Ring } from './ring.js';

/**
 * What a channel keeps for lines that come back. The rings hold more while a line has not been
 * given it.
 */
export interface Replay {
  readonly events: number;
  readonly bytes: number;
  /** Age after which an event is not replayed, ms; absent: however old. core/entry-ages.ts */
  readonly ageMs?: number | undefined;
}

/** Memory of rings, bytes. */
export interface RingMemory {
  /** Rings of records, with the channels that own them, and rings of frames. */
  recordBytes: number;
  frameBytes: number;
  /** The part of both that is in buffers; the rest is on V8's heap. */
  bufferBytes: number;
  /** The part of the buffers that was ever written to. */
  touchedBytes: number;
  /** The part that records and frames take. */
  heldBytes: number;
}

export class ChannelRings {
  readonly records = new Ring();
  /** By index of the encoding. */
  readonly #frames: (Ring | undefined)[] = [];

  /** Bytes of memory of the ring of records, with the channel that owns it. */
  get recordBytes(): number {
    return CHANNEL_BYTES + this.records.memoryBytes;
  }

  /** Bytes of memory of the rings of frames. */
  get frameBytes(): number {
    let bytes = 0;
    for (const ring of this.#frames) bytes += ring?.memoryBytes ?? 0;
    return bytes;
  }

  /** True when more is held than the replay asks for. */
  exceed(replay: Replay): boolean {
    const { records } = this;
    return records.length > replay.events || records.heldBytes > replay.bytes;
  }

  /** Adds what the rings take to a sum. */
  addMemory(sum: RingMemory): void {
    sum.recordBytes += this.recordBytes;
    addBuffers(this.records, sum);
    for (const ring of this.#frames) {
      if (ring === undefined) continue;
      sum.frameBytes += ring.memoryBytes;
      addBuffers(ring, sum);
    }
  }

  /** Adds an event, and its frame in each encoding whose bit is set in `encodings`. */
  append(event: LoggedEvent, encodings: number): void {
    this.records.append(event.id, encodeRecord(event));
    for (let index = 0; index < ENCODINGS.length; index++) {
      if ((encodings & (1 << index)) === 0) continue;
      const ring = (this.#frames[index] ??= new Ring());
      ring.append(event.id, (ENCODINGS[index] as Encoding).encode(event));
    }
  }

  /** Drops the oldest event, which must be there, and its frames. */
  evict(): void {
    const { records } = this;
    records.evict();
    for (const ring of this.#frames)
      if (ring !== undefined && ring.length > records.length) ring.evict();
  }

  /** Drops all frames: those of older events are made from the records from now on. */
  dropFrames(): void {
    this.#frames.length = 0;
  }

  /** Drops the frames of an encoding that is not in use any more. */
  dropFramesOf({ index }: Encoding): void {
    this.#frames[index] = undefined;
  }

  /** The event at a seq that is held. Its data is valid until the next `append` or `evict`. */
  eventAt(seq: number, channel: string): LoggedEvent {
    const { records } = this;
    return decodeRecord(records.idAt(seq), channel, records.view(seq, seq + 1));
  }

  /**
   * The frame of the event at a seq that is held: the ring's own bytes if it has them, otherwise
   * made from the record and valid until the next frame is made.
   */
  frameAt(seq: number, channel: string, encoding: Encoding): Uint8Array {
    const frames = this.#frames[encoding.index];
    const behindEnd = this.records.headSeq - seq;
    if (frames === undefined || behindEnd > frames.length)
      return encoding.encode(this.eventAt(seq, channel));
    const frameSeq = frames.headSeq - behindEnd;
    return frames.view(frameSeq, frameSeq + 1);
  }

  /** The ring of frames in an encoding, if it has the frame of every event above `id`. */
  framesAfter(id: number, encoding: Encoding): Ring | undefined {
    const frames = this.#frames[encoding.index];
    const { records } = this;
    if (frames === undefined || frames.length === records.length) return frames;
    if (frames.length > 0 && frames.idAt(frames.tailSeq) <= id) return frames;
    return records.headSeq - records.seqAfter(id) <= frames.length ? frames : undefined;
  }

  /** Events held above `id`, and their bytes: of the frames if all are there, else of records. */
  heldAfter(id: number, encoding: Encoding): { readonly events: number; readonly bytes: number } {
    const { records } = this;
    const seq = records.seqAfter(id);
    const frames = this.#frames[encoding.index];
    const events = records.headSeq - seq;
    const hasFrames = frames !== undefined && frames.length >= events;
    return {
      events,
      bytes: hasFrames ? frames.bytesFrom(frames.headSeq - events) : records.bytesFrom(seq),
    };
  }

  /** Bytes from a seq on, in records or in the encoding that has most. */
  mostBytesFrom(seq: number): number {
    const { records } = this;
    const events = records.headSeq - seq;
    let bytes = records.bytesFrom(seq);
    for (const ring of this.#frames) {
      if (ring !== undefined)
        bytes = Math.max(bytes, ring.bytesFrom(Math.max(ring.tailSeq, ring.headSeq - events)));
    }
    return bytes;
  }
}

function addBuffers(ring: Ring, sum: RingMemory): void {
  sum.bufferBytes += ring.bufferBytes;
  sum.touchedBytes += ring.touchedBytes;
  sum.heldBytes += ring.heldBytes;
}
