/**
 * What Holdline does, and nothing else: packed rows, one slab, one hoisted callback, and everything
 * a line is owed in one cork.
 */
import type { Corkable } from './mechanism.js';
import { PackedRows } from './packed-rows.js';
import { SlabHistory } from './slab-history.js';

// Registers of the hoisted callback, as in src/native/uws.ts.
let corkedSocket: Corkable;
let corkedBytes: Uint8Array;
let corkedTaken: boolean;

function writeCorked(): void {
  corkedTaken = corkedSocket.write(corkedBytes);
}

export class PackedSlab extends PackedRows {
  protected readonly history: SlabHistory;

  constructor(eventsInSlice = Infinity) {
    super();
    this.history = new SlabHistory(eventsInSlice);
  }

  protected get newestId(): number {
    return this.history.newestId;
  }

  protected get writtenTo(): number {
    return this.history.sliceEnd;
  }

  append(id: number, frame: Buffer, length: number): void {
    this.history.append(id, frame, length);
  }

  protected write(socket: Corkable, cursor: number): boolean {
    this.history.cut(cursor);
    corkedSocket = socket;
    corkedBytes = this.history.slice;
    socket.cork(writeCorked);
    return corkedTaken;
  }
}
