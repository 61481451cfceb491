/** A hub on a clock and sockets of the test's own, and lines whose bytes are looked at as text. */
import type { NewEvent } from '../../src/core/event.js';
import { SSE, SSE_ENVELOPE } from '../../src/core/frame.js';
import { Hub, type HubOptions, type Published } from '../../src/core/hub.js';
import { LIVE, type Position } from '../../src/core/position.js';
import { makeCounters } from '../../src/counters.js';
import { MemoryLog } from '../../src/log/memory.js';
import { FakeClock } from './fake-clock.js';
import { FakePort, FakeSocket } from './fake-port.js';

const MIB = 1024 * 1024;

/** An open line of a {@link FakeHub}. */
export interface FakeLine {
  readonly socket: FakeSocket;
  readonly handle: number;
  /** Everything that its reader has read so far. */
  text: string;
}

export class FakeHub {
  readonly clock = new FakeClock();
  readonly counters = makeCounters();
  readonly hub: Hub<FakeSocket>;

  constructor(options: Partial<HubOptions> = {}, corkMs = 0) {
    const port = new FakePort(this.clock, corkMs);
    this.hub = new Hub(new MemoryLog(this.clock, 1), port, this.clock, this.counters, {
      replay: { events: 1000, bytes: MIB },
      replayTotalBytes: 256 * MIB,
      heartbeatMs: 1_000_000,
      flushIntervalMs: 0,
      slow: 'gap',
      ...options,
    });
  }

  /** Opens a line; its kernel takes `capacityBytes` while nobody reads. */
  join(path: string, position: Position = LIVE, capacityBytes = Infinity): FakeLine {
    const channels = path.split(',');
    const socket = new FakeSocket(path, capacityBytes);
    const { handle, opening } = this.hub.join(socket, channels, channels.length > 1 ? SSE_ENVELOPE : SSE, position, 3000);
    const line: FakeLine = { socket, handle, text: '' };
    if (!socket.write(opening, Buffer.from(opening))) this.hub.stalled(handle, socket);
    return line;
  }

  publish(channel: string, ...data: string[]): Promise<Published> {
    return this.hub.publish(
      channel,
      data.map((text): NewEvent => ({ channel, type: undefined, data: Buffer.from(text), json: false })),
    );
  }

  /** The reader takes all there is; its socket becomes writable. Returns what was read by now. */
  read(line: FakeLine): string {
    line.text += line.socket.read(Infinity).toString();
    if (line.socket.isWritable) {
      line.socket.becomeWritable();
      this.hub.drained(line.handle, line.socket);
    }
    return line.text;
  }

  /** Turns until nothing more happens by itself, the lines reading on. */
  async settle(...lines: FakeLine[]): Promise<void> {
    for (let turns = 0; turns < 10_000; turns++) {
      for (const line of lines) this.read(line);
      if (this.clock.isIdle && lines.every((line) => line.socket.unreadBytes === 0)) return;
      await this.clock.turn();
    }
    throw new Error('it goes on and on');
  }

  leave(line: FakeLine): void {
    line.socket.closed = true;
    this.hub.left(line.handle, line.socket);
  }
}

/** The ids of the events in a line's text, in their order. */
export function idsOf(text: string): number[] {
  return [...text.matchAll(/^id: (\d+)\n(?:event: .*\n)?data: /gm)].map((match) => Number(match[1]));
}

/** Ids from `first` to `last`. */
export function ids(first: number, last: number): number[] {
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i);
}
