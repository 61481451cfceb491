/**
 * The loser: a closure for each write, the obvious use of `cork`. The rest is as in packed-slab.ts.
 */
import type { Corkable } from './mechanism.js';
import { PackedSlab } from './packed-slab.js';

export class ClosurePerWrite extends PackedSlab {
  protected override write(socket: Corkable, cursor: number): boolean {
    this.history.cut(cursor);
    const bytes = this.history.slice;
    let taken = true;
    socket.cork(() => {
      taken = socket.write(bytes);
    });
    return taken;
  }
}
