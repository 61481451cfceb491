/**
 * The loser: one write for each event and line, as if they had not piled up meanwhile. All else as
 * in packed-slab.ts.
 */
import { PackedSlab } from './packed-slab.js';

export class WritePerEvent extends PackedSlab {
  constructor() {
    super(1);
  }
}
