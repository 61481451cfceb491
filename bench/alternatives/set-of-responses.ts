/**
 * The loser: a Set of lines, an object each, as in most servers. Slab, cork and batches are as in
 * packed-slab.ts.
 */
import { CORKS_BETWEEN_LOOKS, type Corkable, type Mechanism } from './mechanism.js';
import { SlabHistory } from './slab-history.js';

interface Line {
  readonly socket: Corkable;
  cursor: number;
  stalled: boolean;
}

let corkedSocket: Corkable;
let corkedBytes: Uint8Array;
let corkedTaken: boolean;

function writeCorked(): void {
  corkedTaken = corkedSocket.write(corkedBytes);
}

export class SetOfResponses implements Mechanism<Line> {
  writes = 0;
  readonly #lines = new Set<Line>();
  readonly #history = new SlabHistory(Infinity);
  /** Where the sweep continues; undefined when none is under way. */
  #sweep: Iterator<Line> | undefined;
  #sweepHead = 0;
  #behind = false;

  get lineCount(): number {
    return this.#lines.size;
  }

  join(socket: Corkable): Line {
    const line = { socket, cursor: this.#history.newestId, stalled: false };
    this.#lines.add(line);
    return line;
  }

  left(line: Line): void {
    this.#lines.delete(line);
  }

  drained(line: Line): void {
    line.stalled = false;
  }

  append(id: number, frame: Buffer, length: number): void {
    this.#history.append(id, frame, length);
  }

  sweep(untilMs: number): boolean {
    const history = this.#history;
    const newest = history.newestId;
    if (this.#sweep === undefined) {
      this.#sweep = this.#lines.values();
      this.#sweepHead = newest;
      this.#behind = false;
    }
    let corks = 0;
    for (let next = this.#sweep.next(); next.done !== true; next = this.#sweep.next()) {
      const line = next.value;
      if (line.stalled || line.cursor >= newest) continue;
      history.cut(line.cursor);
      corkedSocket = line.socket;
      corkedBytes = history.slice;
      line.socket.cork(writeCorked);
      this.writes++;
      line.cursor = history.sliceEnd;
      if (!corkedTaken) line.stalled = true;
      else if (line.cursor < newest) this.#behind = true;
      if (++corks % CORKS_BETWEEN_LOOKS === 0 && performance.now() >= untilMs) return false;
    }
    this.#sweep = undefined;
    return !this.#behind && this.#sweepHead === newest;
  }
}
