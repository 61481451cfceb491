/**
 * A channel published to as fast as it takes, before readers of small buffers, some of whom stall
 * on purpose.
 */
import { GRACE_MS } from '../../src/limits.js';
import { FakeHub, type FakeLine } from './fake-hub.js';

export const EVENT_BYTES = 15_000;
/**
 * What the kernel holds for a reader: one event, and a part of the next. Each event makes each of
 * them refuse bytes.
 */
const KERNEL_BYTES = 20_000;
const PUBLISHERS = 4;
const CHANNEL = 'c';

/** One of the readers. */
export interface FloodReader {
  line: FakeLine;
  gaps: number;
  /** Bytes that it reads at that time, in a turn of a millisecond. */
  readonly speedAt: (ms: number) => number;
  /** Times at which it leaves and comes back on a new line. */
  readonly comesBackAt: (ms: number) => boolean;
}

export class Flood {
  readonly fake: FakeHub;
  readonly readers: FloodReader[] = [];
  /** Events that publishers were told the id of. */
  published = 0;
  readonly #startedMs: number;

  constructor(replayBytes = 256 * 1024) {
    this.fake = new FakeHub({ replay: { events: 1000, bytes: replayBytes } });
    this.#startedMs = this.fake.clock.nowMs();
  }

  /** Milliseconds since the start. */
  get nowMs(): number {
    return this.fake.clock.nowMs() - this.#startedMs;
  }

  join(
    speedAt: FloodReader['speedAt'],
    comesBackAt: FloodReader['comesBackAt'] = () => false,
  ): FloodReader {
    const reader: FloodReader = {
      line: this.#open(() => reader.gaps++),
      gaps: 0,
      speedAt,
      comesBackAt,
    };
    this.readers.push(reader);
    return reader;
  }

  #open(onGap: () => void): FakeLine {
    const line = this.fake.join(CHANNEL, { kind: 'live' }, KERNEL_BYTES);
    line.socket.onGap = onGap;
    return line;
  }

  /**
   * Publishers publish, each the next as soon as it has been answered, for so long. Returns the
   * pace, events a second.
   */
  async run(ms: number): Promise<number> {
    const { clock } = this.fake;
    const untilMs = this.nowMs + ms;
    const before = this.published;
    for (let i = 0; i < PUBLISHERS; i++) void this.#publish(untilMs);
    while (this.nowMs < untilMs) {
      for (const reader of this.readers) this.#read(reader);
      await clock.turn();
    }
    return ((this.published - before) * 1000) / ms;
  }

  async #publish(untilMs: number): Promise<void> {
    const data = 'x'.repeat(EVENT_BYTES);
    while (this.nowMs < untilMs) {
      await this.fake.publish(CHANNEL, data).catch(() => {});
      this.published++;
    }
  }

  #read(reader: FloodReader): void {
    const { line } = reader;
    if (reader.comesBackAt(this.nowMs)) {
      this.fake.leave(line);
      reader.line = this.#open(() => reader.gaps++);
      return;
    }
    line.socket.read(reader.speedAt(this.nowMs));
    if (line.socket.isWritable && line.socket.becomeWritable())
      this.fake.hub.drained(line.handle, line.socket);
  }
}

/** Reads so many bytes in a millisecond, always. */
export const always = (bytes: number) => (): number => bytes;

/** Reads and stalls in turn, `offsetMs` later than others. */
export const inTurns =
  (bytes: number, readMs = 2 * GRACE_MS, stallMs = 2 * GRACE_MS, offsetMs = 0) =>
  (ms: number): number =>
    (ms + offsetMs) % (readMs + stallMs) < readMs ? bytes : 0;
