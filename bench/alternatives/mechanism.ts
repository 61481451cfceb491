/**
 * What every mechanism has to do. The server around it is the same for all: servers/alternative.ts.
 */

/** What a mechanism uses of a uWebSockets.js response; tests pass their own. */
export interface Corkable {
  cork(write: () => void): unknown;
  /** False: some bytes stay in user space, and a drain follows. The bytes are always taken. */
  write(bytes: Uint8Array | string): boolean;
}

/** `Line` is what a mechanism gets back in the callbacks of a socket. */
export interface Mechanism<Line = unknown> {
  /** From now on a socket is owed every event. */
  join(socket: Corkable): Line;
  left(line: Line): void;
  drained(line: Line): void;
  /**
   * The first `length` bytes of `frame`, which are overwritten afterwards, are the newest event.
   */
  append(id: number, frame: Buffer, length: number): void;
  /**
   * Writes to lines that are behind until the time is up, at most one cork to each; true when no
   * line is behind any more.
   */
  sweep(untilMs: number): boolean;
  readonly lineCount: number;
  /** Corks written so far. */
  readonly writes: number;
}

/**
 * Events held. A line that is further behind continues with the oldest one, without a gap notice.
 */
export const EVENTS_HELD = 1_024;

/** Corks between two readings of the clock. */
export const CORKS_BETWEEN_LOOKS = 32;
