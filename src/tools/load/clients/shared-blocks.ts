/**
 * Blocks of gzip that many lines are given: the first line decodes and reads one, for the others it
 * is found by the bytes themselves. What a block decodes to depends on nothing but its bytes and
 * the window before it, so that a line whose bytes differ in one bit, or whose window does, is not
 * told what others were.
 */

import { createHash } from 'node:crypto';
import { EventReader, type EventFormat } from './event-reader.js';
import type { EventSink } from './encoding.js';
import type { Window } from './gzip-reader.js';
import { inflateAfter, windowAfter } from './inflate.js';

/** Blocks that are kept, and windows of 32 KiB; when there are more, all are forgotten. */
const BLOCKS_MAX = 2_048;

/** The events of a block. */
export interface Reading {
  readonly plainBytes: number;
  readonly events: number;
  /** Events whose id is not above the one before it in the block. */
  readonly disordered: number;
  /** NaN without events, or where an id is no number. */
  readonly firstId: number;
  readonly lastId: number;
}

interface Step {
  readonly block: Buffer;
  readonly to: SharedWindow;
  readonly reading: Reading;
}

interface SharedWindow extends Window {
  /** What has followed it, newest first. */
  steps: Step[];
  /** Steps of another generation are not valid any more. */
  generation: number;
}

/** What was found. */
export interface Found {
  readonly reading: Reading;
  /** The window after the block. */
  readonly to: Window;
  /** It had to be inflated. */
  readonly isFresh: boolean;
}

/** The blocks of a process. */
export class SharedBlocks {
  readonly #format: EventFormat;
  #windows = new Map<string, SharedWindow>();
  #steps = 0;
  #generation = 0;

  constructor(format: EventFormat) {
    this.#format = format;
  }

  /** Forgets everything: other events are those of the run from now on. */
  clear(): void {
    this.#windows = new Map();
    this.#steps = 0;
    this.#generation++;
  }

  /**
   * What a block is that follows a window, and the window after it. Undefined when a line has to
   * read it by itself: it is damaged or incomplete, or has more than whole events and heartbeats.
   */
  find(window: Window, bytes: Buffer, start: number, end: number): Found | undefined {
    const from = this.#shared(window);
    for (const step of from.steps) {
      if (step.block.length !== end - start) continue;
      if (bytes.compare(step.block, 0, step.block.length, start, end) === 0)
        return { ...step, isFresh: false };
    }
    const block = Buffer.from(bytes.subarray(start, end));
    const plain = wholePlain(window, block);
    if (plain === undefined) return undefined;
    const reading = readingOf(this.#format, plain);
    if (reading === undefined) return undefined;
    if (++this.#steps > BLOCKS_MAX) {
      this.clear();
      from.steps = [];
      from.generation = this.#generation;
    }
    const to = this.#shared({ bytes: windowAfter(window.bytes, plain) });
    const step = { block, to, reading };
    from.steps = [step, ...from.steps];
    return { ...step, isFresh: true };
  }

  /** The one window of all lines that have decoded the same. */
  #shared(window: Window | SharedWindow): SharedWindow {
    if ('steps' in window && window.generation === this.#generation) return window;
    const key = createHash('sha256').update(window.bytes).digest('base64');
    let shared = this.#windows.get(key);
    if (shared === undefined) {
      shared = { bytes: window.bytes, steps: [], generation: this.#generation };
      this.#windows.set(key, shared);
    }
    return shared;
  }
}

function wholePlain(window: Window, block: Buffer): Buffer | undefined {
  try {
    const { plain, end } = inflateAfter(window.bytes, block);
    return end === 'whole' ? plain : undefined;
  } catch {
    return undefined;
  }
}

/** Undefined when it is not only whole events and heartbeats. */
function readingOf(format: EventFormat, plain: Buffer): Reading | undefined {
  let events = 0;
  let disordered = 0;
  let firstId = Number.NaN;
  let lastId = Number.NaN;
  let isPlain = true;
  const other = (): void => {
    isPlain = false;
  };
  const sink: EventSink = {
    event: (id) => {
      if (Number.isNaN(id)) isPlain = false;
      if (events === 0) firstId = id;
      else if (id <= lastId) disordered++;
      lastId = id;
      events++;
    },
    heartbeat: () => {},
    gap: other,
    ended: other,
    position: other,
  };
  const reader = new EventReader(format, sink);
  try {
    reader.feed(plain, 0, plain.length);
  } catch {
    return undefined;
  }
  return isPlain && reader.isBetweenEvents
    ? { plainBytes: plain.length, events, disordered, firstId, lastId }
    : undefined;
}
