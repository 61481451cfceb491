/**
 * Lines as rows of packed arrays (core/lines.ts), swept downwards in slices of time. Subclasses
 * write to them.
 */
import { HEALTHY, LineTable, STALLED } from '../../src/core/line-table.js';
import { Lines } from '../../src/core/lines.js';
import { CORKS_BETWEEN_LOOKS, type Corkable, type Mechanism } from './mechanism.js';

export abstract class PackedRows implements Mechanism<number> {
  writes = 0;
  readonly #group = { table: new LineTable<Corkable>() };
  readonly #lines = new Lines<Corkable, { readonly table: LineTable<Corkable> }>();
  /** Where the sweep continues; −1 when none is under way. */
  #row = -1;
  /** The newest event when the sweep began: lines that were visited early have no later ones. */
  #sweepHead = 0;
  #behind = false;

  /** Id of the newest event; 0 before the first. */
  protected abstract readonly newestId: number;
  /** Id up to which the last {@link PackedRows.write} has brought its line. */
  protected abstract readonly writtenTo: number;
  abstract append(id: number, frame: Buffer, length: number): void;
  /** Writes one cork of what follows the cursor; false when the socket refused some of it. */
  protected abstract write(socket: Corkable, cursor: number): boolean;

  get lineCount(): number {
    return this.#group.table.count;
  }

  join(socket: Corkable): number {
    return this.#lines.add(this.#group, socket, this.newestId, 0, 0, 0);
  }

  left(handle: number): void {
    this.#lines.remove(handle);
  }

  drained(handle: number): void {
    this.#group.table.setState(this.#lines.rowOf(handle), HEALTHY);
  }

  sweep(untilMs: number): boolean {
    const { table } = this.#group;
    const newest = this.newestId;
    if (this.#row < 0) {
      this.#row = table.count - 1;
      this.#sweepHead = newest;
      this.#behind = false;
    }
    const { cursors, states, sockets } = table;
    let corks = 0;
    for (let row = Math.min(this.#row, table.count - 1); row >= 0; row--) {
      if (states[row] === STALLED || cursors[row]! >= newest) continue;
      if (++corks % CORKS_BETWEEN_LOOKS === 0 && performance.now() >= untilMs) {
        this.#row = row;
        return false;
      }
      const taken = this.write(sockets[row]!, cursors[row]!);
      this.writes++;
      cursors[row] = this.writtenTo;
      if (!taken) table.setState(row, STALLED);
      else if (this.writtenTo < newest) this.#behind = true;
    }
    this.#row = -1;
    return !this.#behind && this.#sweepHead === newest;
  }
}
