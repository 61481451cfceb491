/** The loser: one write for each event and line. The rest is as in packed-slab.ts. */
import { PackedSlab } from './packed-slab.js';

export class WritePerEvent extends PackedSlab {
  constructor() {
    super(1);
  }
}
