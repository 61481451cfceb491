/** Rows of channels in the log: what of a channel is kept, and what it has lost. */
import type { Tables } from './environment.js';
import { numberKey, readId } from './keys.js';

/** One channel; the thread changes it within one transaction and then writes it back. */
export interface ChannelRow {
  readonly number: number;
  readonly name: string;
  /** Records that are there, those that a deletion has left behind among them, and their bytes. */
  events: number;
  bytes: number;
  /** Highest id that is lost to retention or a deletion; 0 before any is. */
  lostThrough: number;
  /** True from a deletion until the next event. */
  isDeleted: boolean;
}

/** Three numbers and the name. The last one is `lostThrough`, or −1 − it if it is deleted. */
const HEAD_BYTES = 24;

function packRow({ events, bytes, lostThrough, isDeleted, name }: ChannelRow): Buffer {
  const packed = Buffer.allocUnsafe(HEAD_BYTES + name.length);
  packed.writeDoubleBE(events, 0);
  packed.writeDoubleBE(bytes, 8);
  packed.writeDoubleBE(isDeleted ? -1 - lostThrough : lostThrough, 16);
  packed.write(name, HEAD_BYTES, 'latin1');
  return packed;
}

export function readRow(number: number, packed: Buffer): ChannelRow {
  const lost = packed.readDoubleBE(16);
  return {
    number,
    events: packed.readDoubleBE(0),
    bytes: packed.readDoubleBE(8),
    lostThrough: lost < 0 ? -1 - lost : lost,
    isDeleted: lost < 0,
    name: packed.toString('latin1', HEAD_BYTES),
  };
}

/** The rows that one transaction, or one read, has seen. */
export class ChannelRows {
  readonly #tables: Tables;
  readonly #byName = new Map<string, ChannelRow | undefined>();
  readonly #byNumber = new Map<number, ChannelRow | undefined>();
  readonly #changed = new Set<ChannelRow>();

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  get(name: string): ChannelRow | undefined {
    if (this.#byName.has(name)) return this.#byName.get(name);
    const number = this.#tables.names.get(Buffer.from(name, 'latin1'))?.readUInt32BE(0);
    const row = number === undefined ? undefined : this.at(number);
    this.#byName.set(name, row);
    return row;
  }

  at(number: number): ChannelRow | undefined {
    if (this.#byNumber.has(number)) return this.#byNumber.get(number);
    const packed = this.#tables.channels.get(numberKey(number));
    const row = packed === undefined ? undefined : readRow(number, packed);
    this.#byNumber.set(number, row);
    return row;
  }

  /** A channel that has none gets the next number; numbers are not used twice. */
  make(name: string, number: number, lostThrough: number): ChannelRow {
    const isDeleted = false;
    const row: ChannelRow = { number, name, events: 0, bytes: 0, lostThrough, isDeleted };
    this.#byName.set(name, row);
    this.#byNumber.set(number, row);
    void this.#tables.names.put(Buffer.from(name, 'latin1'), numberKey(number));
    return row;
  }

  /** Within a write transaction: forgets a row. */
  remove(row: ChannelRow): void {
    void this.#tables.names.remove(Buffer.from(row.name, 'latin1'));
    void this.#tables.channels.remove(numberKey(row.number));
    this.#byName.set(row.name, undefined);
    this.#byNumber.set(row.number, undefined);
    this.#changed.delete(row);
  }

  /** The row is to be written back. */
  changed(row: ChannelRow): void {
    this.#changed.add(row);
  }

  /** Writes back what was changed, at the end of the transaction that did it. */
  write(): void {
    for (const row of this.#changed)
      void this.#tables.channels.put(numberKey(row.number), packRow(row));
  }
}

const PLACE_BYTES = 16;

/** Where an id's record is: the value in the table of the order of ids. */
export interface Place {
  readonly number: number;
  /** Of its record. */
  readonly bytes: number;
  /**
   * When it was given, ms since 1970; never falls as ids rise, but where the clock was set back
   * (setBackId in totals.ts).
   */
  readonly wallMs: number;
}

export function packPlace({ number, bytes, wallMs }: Place): Buffer {
  const packed = Buffer.allocUnsafe(PLACE_BYTES);
  packed.writeUInt32BE(number, 0);
  packed.writeUInt32BE(bytes, 4);
  packed.writeUInt32BE(Math.floor(wallMs / 2 ** 32), 8);
  packed.writeUInt32BE(wallMs % 2 ** 32, 12);
  return packed;
}

export function readPlace(packed: Buffer): Place {
  return {
    number: packed.readUInt32BE(0),
    bytes: packed.readUInt32BE(4),
    wallMs: readId(packed, 8),
  };
}
