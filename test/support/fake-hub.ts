/** A hub on a clock and sockets of the test's own, and lines whose bytes are read as text. */
import type { NewEvent } from '../../src/core/event.js';
import type { EventLog } from '../../src/core/event-log.js';
import { Hub, type HubOptions } from '../../src/core/hub.js';
import type { Published } from '../../src/core/intake.js';
import { NOBODY, type Owner } from '../../src/core/owners.js';
import { LIVE, type Position } from '../../src/core/position.js';
import { asError } from '../../src/errors.js';
import { makeCounters } from '../../src/counters.js';
import { MemoryLog } from '../../src/log/memory-log.js';
import { FakeClock } from './fake-clock.js';
import { FakePoll, fakePollMode } from './fake-poll.js';
import { FakeSocket, fakeModes, gzipMode, type ModeName } from './fake-port.js';
import { StreamDecoder } from './gunzip.js';

const MIB = 1024 * 1024;

/** Whatever a fake hub holds. */
export type Held = FakeSocket | FakePoll;

/** An open line of a {@link FakeHub}. */
export interface FakeLine {
  readonly socket: FakeSocket;
  readonly handle: number;
  /** Everything that its reader has read so far. */
  text: string;
  /** Of a line within gzip. */
  readonly decoder?: StreamDecoder;
}

/** What a poll asks for beside channels and position. */
export interface PollOptions {
  /** Absent: it does not wait. */
  readonly waitMs?: number;
  readonly limit?: number;
  readonly owner?: Owner;
}

export class FakeHub {
  readonly clock = new FakeClock();
  readonly counters = makeCounters();
  readonly hub: Hub<Held>;
  readonly #modes: ReturnType<typeof fakeModes>;
  readonly #handles = new WeakMap<FakePoll, number>();

  /** On a log in memory whose first id is given, or on another one. */
  constructor(
    options: Partial<HubOptions> = {},
    corkMs = 0,
    log: number | ((clock: FakeClock) => EventLog) = 1,
  ) {
    this.#modes = fakeModes(this.clock, corkMs);
    this.hub = new Hub(
      typeof log === 'number' ? new MemoryLog(this.clock, this.counters, log) : log(this.clock),
      this.clock,
      this.counters,
      {
        replay: { events: 1000, bytes: MIB },
        replayTotalBytes: 256 * MIB,
        heartbeatMs: 1_000_000,
        flushIntervalMs: 0,
        slow: 'gap',
        ...options,
      },
    );
  }

  /** Opens a line; its kernel takes `capacityBytes` while nobody reads. */
  join(
    path: string,
    position: Position = LIVE,
    capacityBytes = Infinity,
    by?: ModeName | 'sse-gzip' | 'ndjson-gzip',
    owner: Owner = NOBODY,
  ): FakeLine {
    const channels = path.split(',');
    const isGzip = by === 'sse-gzip' || by === 'ndjson-gzip';
    const plain = isGzip ? (by.slice(0, -'-gzip'.length) as ModeName) : by;
    const plainMode = this.#modes[plain ?? (channels.length > 1 ? 'sse-env' : 'sse')];
    const mode = isGzip ? gzipMode(plainMode) : plainMode;
    const socket = new FakeSocket(
      path,
      capacityBytes,
      1,
      mode.transport === 'websocket' ? 'message' : 'stream',
    );
    const { handle, opening } = this.hub.join(socket, channels, mode, position, 3000, owner);
    const decoder = isGzip ? { decoder: new StreamDecoder() } : {};
    const line: FakeLine = { socket, handle, text: '', ...decoder };
    if (opening.length > 0 && !socket.write(opening, Buffer.from(opening)))
      this.hub.stalled(handle, socket);
    return line;
  }

  /** Polls as transports/poll.ts does. */
  poll(
    path: string,
    position: Position = LIVE,
    { waitMs = 0, limit = 0, owner = NOBODY }: PollOptions = {},
  ): FakePoll {
    const channels = path.split(',');
    const poll = new FakePoll(path);
    void this.hub.polls.look(channels, position, limit, (polled) => {
      const { answer, start, position: told } = polled;
      if (answer !== undefined || waitMs === 0) {
        this.hub.polls.answered(polled);
        poll.answer = { body: answer?.body, position: told };
      } else {
        this.#handles.set(
          poll,
          this.hub.polls.wait(poll, channels, fakePollMode(limit), start, waitMs, owner),
        );
      }
    });
    return poll;
  }

  /** Joins when what the line needs of the log has been read, turns of the loop later. */
  async joinWhenReady(...asked: Parameters<FakeHub['join']>): Promise<FakeLine> {
    const [path, position = LIVE, ...rest] = asked;
    return this.join(path, await this.#ready(path, position), ...rest);
  }

  /** Polls when what the poll needs of the log has been read, turns of the loop later. */
  async pollWhenReady(
    path: string,
    position: Position = LIVE,
    options: PollOptions = {},
  ): Promise<FakePoll> {
    const poll = this.poll(path, await this.#ready(path, position), options);
    await this.clock.run(100);
    return poll;
  }

  async #ready(path: string, position: Position): Promise<Position> {
    let ready: Position | Error | undefined;
    const reading = this.hub.ready(path.split(','), position) ?? Promise.resolve(position);
    reading.then(
      (found) => (ready = found),
      (error: unknown) => (ready = asError(error)),
    );
    for (let turns = 0; ready === undefined && turns < 10_000; turns++) await this.clock.turn();
    if (ready instanceof Error) throw ready;
    return ready as Position;
  }

  publish(channel: string, ...data: string[]): Promise<Published> {
    return this.hub.publish(
      channel,
      data.map((text): NewEvent => ({
        channel,
        type: undefined,
        data: Buffer.from(text),
        json: false,
      })),
    );
  }

  /** The reader takes all there is; its socket becomes writable. Returns what was read by now. */
  read(line: FakeLine): string {
    const bytes = line.socket.read(Infinity);
    line.text += (line.decoder?.decode(bytes) ?? bytes).toString();
    if (line.socket.isWritable && line.socket.becomeWritable())
      this.hub.drained(line.handle, line.socket);
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

  /** The client of a poll that waits goes away. */
  abort(poll: FakePoll): void {
    poll.closed = true;
    this.hub.left(this.#handles.get(poll) as number, poll);
  }
}

/**
 * The ids of the events in a line's text, in their order: of an event stream, or of lines of JSON.
 */
export function idsOf(text: string): number[] {
  return [...text.matchAll(/^(?:id: (\d+)\n(?:event: .*\n)?data: |\{"id":(\d+),)/gm)].map((match) =>
    Number(match[1] ?? match[2]),
  );
}

/** Ids from `first` to `last`. */
export function ids(first: number, last: number): number[] {
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i);
}
