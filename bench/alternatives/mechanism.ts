/**
 * What every way to give lines their events has to do. The server around it is the same for all of
 * them: servers/alternative.ts.
 */

/** What a mechanism uses of a uWebSockets.js response; a test hands in its own. */
export interface Corkable {
  cork(write: () => void): unknown;
  /**
   * False: some bytes stay in user space, and the drain will be told. The bytes are always taken.
   */
  write(bytes: Uint8Array | string): boolean;
}

/** `Line` is what a mechanism wants to be given back in the callbacks of a socket. */
export interface Mechanism<Line = unknown> {
  /** A socket is owed every event from now on. */
  join(socket: Corkable): Line;
  left(line: Line): void;
  drained(line: Line): void;
  /**
   * The first `length` bytes of `frame`, which are overwritten afterwards, are the newest event.
   */
  append(id: number, frame: Buffer, length: number): void;
  /**
   * Writes to lines that are behind until the time is up, at most one cork to each; true when
   * nobody is behind any more.
   */
  sweep(untilMs: number): boolean;
  readonly lineCount: number;
  /** Corks written so far. */
  readonly writes: number;
}

/**
 * Events held. A line that is further behind goes on with the oldest one: what a product has to say
 * of that is left out here.
 */
export const EVENTS_HELD = 1_024;

/** Corks between two looks at the clock. */
export const CORKS_BETWEEN_LOOKS = 32;
