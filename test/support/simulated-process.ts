/**
 * Processes of the simulator, and pipes between them. A process has a clock of its own, which
 * stands while it hangs and for good when it is dead. A pipe takes its time, brings bytes in pieces
 * that are cut anywhere, and of a process that is killed only a part of what it wrote.
 */
import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import { FakeClock } from './fake-clock.js';
import type { Random } from './random.js';

type State = 'running' | 'hangs' | 'dead';

export class SimulatedProcess {
  readonly clock = new FakeClock();
  readonly name: string;
  #state: State = 'running';
  /** What came while it hung. */
  #held: (() => void)[] = [];

  constructor(name: string) {
    this.name = name;
  }

  get isRunning(): boolean {
    return this.#state === 'running';
  }

  get isDead(): boolean {
    return this.#state === 'dead';
  }

  /** Runs what comes to the process: at once, or when it no longer hangs; never in a dead one. */
  run(task: () => void): void {
    if (this.#state === 'running') task();
    else if (this.#state === 'hangs') this.#held.push(task);
  }

  hang(): void {
    if (this.#state === 'running') this.#state = 'hangs';
  }

  goOn(): void {
    if (this.#state !== 'hangs') return;
    this.#state = 'running';
    const held = this.#held;
    this.#held = [];
    for (const task of held) this.run(task);
  }

  die(): void {
    this.#state = 'dead';
    this.#held = [];
  }
}

export interface PipeParts {
  readonly random: Random;
  readonly nowMs: () => number;
  /** Longest time of bytes on their way. */
  readonly latencyMs: number;
}

/** The bytes that came on the way to one end, and have not been read there. */
interface Chunk {
  readonly bytes: Buffer;
  readonly dueMs: number;
}

/** One end of a pipe, as much of a Duplex as a link uses. */
export class PipeEnd extends EventEmitter {
  readonly #parts: PipeParts;
  readonly #process: SimulatedProcess;
  #other!: PipeEnd;
  #chunks: Chunk[] = [];
  #lastDueMs = 0;
  /** The other end writes no more. */
  #isOver = false;
  /** The end was told, or nobody listens here any more. */
  #isClosed = false;

  private constructor(process: SimulatedProcess, parts: PipeParts) {
    super();
    this.#process = process;
    this.#parts = parts;
  }

  /** The two ends of a pipe between two processes. */
  static pair(one: SimulatedProcess, two: SimulatedProcess, parts: PipeParts): [PipeEnd, PipeEnd] {
    const ends: [PipeEnd, PipeEnd] = [new PipeEnd(one, parts), new PipeEnd(two, parts)];
    ends[0].#other = ends[1];
    ends[1].#other = ends[0];
    return ends;
  }

  get duplex(): Duplex {
    return this as unknown as Duplex;
  }

  /** Bytes that the other end has not read. */
  get writableLength(): number {
    return this.#other.waitingBytes;
  }

  /** Bytes on their way to this end. */
  get waitingBytes(): number {
    return this.#chunks.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  write(bytes: Buffer): boolean {
    if (!this.#isClosed) this.#other.#come(Buffer.from(bytes));
    return true;
  }

  cork(): void {}

  uncork(): void {}

  end(): void {
    this.#other.#isOver = true;
  }

  destroy(): void {
    this.end();
    this.#isClosed = true;
    this.#chunks = [];
  }

  /** Its process was killed, or (`isWhole`) ended by itself and has written all that it wanted. */
  processEnded(isWhole: boolean): void {
    const { random } = this.#parts;
    const other = this.#other;
    if (!isWhole && random.chance(0.7)) other.#cut(random.below(other.waitingBytes + 1));
    this.destroy();
  }

  /** Hands over what has come, in pieces; the last of it maybe later. */
  deliver(): void {
    const { random, nowMs } = this.#parts;
    // What comes before its program reads waits in the kernel.
    while (this.listenerCount('data') > 0 && !this.#isClosed && this.#process.isRunning) {
      const [first] = this.#chunks;
      if (first === undefined) {
        if (this.#isOver) this.#close();
        return;
      }
      if (first.dueMs > nowMs()) return;
      const { bytes, dueMs } = first;
      const isCut = bytes.length > 1 && random.chance(0.3);
      const size = isCut ? random.between(1, bytes.length - 1) : bytes.length;
      if (isCut) this.#chunks[0] = { bytes: bytes.subarray(size), dueMs };
      else this.#chunks.shift();
      this.emit('data', bytes.subarray(0, size));
      if (isCut && random.chance(0.5)) return;
    }
  }

  #come(bytes: Buffer): void {
    if (this.#isClosed) return;
    const { random, nowMs, latencyMs } = this.#parts;
    const dueMs = Math.max(this.#lastDueMs, nowMs() + random.next() * latencyMs);
    this.#lastDueMs = dueMs;
    this.#chunks.push({ bytes, dueMs });
  }

  /** Of what has come only the first bytes are left. */
  #cut(size: number): void {
    let left = size;
    this.#chunks = this.#chunks.flatMap(({ bytes, dueMs }) => {
      const kept = bytes.subarray(0, left);
      left -= kept.length;
      return kept.length === 0 ? [] : [{ bytes: kept, dueMs }];
    });
  }

  #close(): void {
    this.#isClosed = true;
    this.emit('end');
    this.emit('close');
  }
}
