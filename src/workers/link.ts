/**
 * The link: one end of the pipe between the supervisor and a worker. Frames of one turn of the loop
 * leave in one write. Questions have an answer or fail; both ends may ask.
 */
import type { Duplex } from 'node:stream';
import { giveUpAfter, SYSTEM_CLOCK, type Clock } from '../clock.js';
import { asError, HoldlineError, type RefusalCode } from '../errors.js';
import { WORKER_ANSWER_MS_MAX } from '../limits.js';
import { checkFrame, FRAME, FrameReader, jsonFrame, readJson, type Frame } from './frames.js';

/** The reason of an end without a fault. */
export const PIPE_CLOSED = 'the pipe is closed';

/** Who is at this end. */
export interface LinkOwner {
  /** A frame that is neither a question nor an answer in JSON. */
  frame(frame: Frame): void;
  /** What the other end asks, or tells; the answer is JSON, or a {@link FrameAnswer}. */
  asked(name: string, value: unknown): unknown;
  /** The other end is gone, or what it sent makes no sense. Called once. */
  ended(reason: string): void;
}

interface Pending {
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
  /** Ends the time that it has. */
  readonly cancel: (() => void) | undefined;
}

/** A question, as it travels. */
interface Call {
  readonly name: string;
  readonly value: unknown;
}

/** An answer, as it travels: one of the two. */
interface Answer {
  readonly value?: unknown;
  readonly error?: { readonly code: RefusalCode; readonly message: string };
}

/** An answer that is not JSON. */
export class FrameAnswer {
  /** Makes the frame for the question of that number. */
  readonly make: (number: number) => Buffer;

  constructor(make: (number: number) => Buffer) {
    this.make = make;
  }
}

export class Link {
  readonly #stream: Duplex;
  readonly #owner: LinkOwner;
  readonly #clock: Clock;
  readonly #reader = new FrameReader();
  readonly #pending = new Map<number, Pending>();
  #lastNumber = 0;
  #frames: Buffer[] = [];
  #isScheduled = false;
  #isEnded = false;
  /** Bytes that were handed to the pipe or are about to be, and have not left this process. */
  #waitingBytes = 0;

  constructor(stream: Duplex, owner: LinkOwner, clock: Clock = SYSTEM_CLOCK) {
    this.#stream = stream;
    this.#owner = owner;
    this.#clock = clock;
    stream.on('data', (chunk: Buffer) => this.#take(chunk));
    stream.on('error', () => {});
    stream.on('close', () => this.#end(PIPE_CLOSED));
    stream.on('end', () => this.#end(PIPE_CLOSED));
  }

  /** True until {@link LinkOwner.ended} is called. */
  get isOpen(): boolean {
    return !this.#isEnded;
  }

  get waitingBytes(): number {
    return this.#waitingBytes + this.#stream.writableLength;
  }

  /** Sends a frame with the others of this turn. Several links may send the same buffer. */
  send(frame: Buffer): void {
    if (this.#isEnded) return;
    this.#frames.push(frame);
    this.#waitingBytes += frame.length;
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#clock.soonest(() => this.flush());
  }

  /** Hands over what was sent. */
  flush(): void {
    this.#isScheduled = false;
    const frames = this.#frames;
    if (frames.length === 0 || this.#isEnded) return;
    this.#frames = [];
    this.#waitingBytes = 0;
    if (frames.length === 1) {
      this.#stream.write(frames[0]);
      return;
    }
    this.#stream.cork();
    for (const frame of frames) this.#stream.write(frame);
    this.#stream.uncork();
  }

  /** Tells something that has no answer. */
  tell(name: string, value?: unknown): void {
    this.send(jsonFrame(FRAME.call, 0, { name, value } satisfies Call));
  }

  /**
   * Asks the other end. Rejects with the HoldlineError that it throws, or with
   * HOLDLINE_LOG_UNAVAILABLE when it is gone or does not answer within `withinMs`.
   */
  ask<Answered>(
    name: string,
    value: unknown,
    withinMs: number | undefined = WORKER_ANSWER_MS_MAX,
  ): Promise<Answered> {
    return this.request(
      (number) => jsonFrame(FRAME.call, number, { name, value } satisfies Call),
      withinMs,
    );
  }

  /**
   * Sends a frame that is answered under its number. Without `withinMs` it is waited for. Rejects
   * as {@link ask} does, and with HOLDLINE_INTERNAL for what is too large to be sent.
   */
  request<Answered>(make: (number: number) => Buffer, withinMs?: number): Promise<Answered> {
    return new Promise((resolve, reject) => {
      if (this.#isEnded) {
        reject(noAnswer());
        return;
      }
      const number = this.#nextNumber();
      const frame = make(number);
      checkFrame(frame);
      const cancel =
        withinMs === undefined
          ? undefined
          : giveUpAfter(this.#clock, withinMs, () => {
              this.#pending.delete(number);
              reject(noAnswer());
            });
      this.#pending.set(number, { resolve, reject, cancel });
      this.send(frame);
    });
  }

  /** Rejects what is waited for however long, as if the other end were gone. */
  giveUpWaiting(): void {
    for (const [number, { cancel }] of this.#pending)
      if (cancel === undefined) this.#settle(number)?.reject(noAnswer());
  }

  /** The answer to the request of that number has come. */
  resolve(number: number, value: unknown): void {
    const pending = this.#settle(number);
    pending?.resolve(value as never);
  }

  /** Refuses the request of that number. */
  refuse(number: number, error: unknown): void {
    this.send(jsonFrame(FRAME.answer, number, { error: errorOf(error) } satisfies Answer));
  }

  /** Ends it from this side, after what was sent. */
  close(): void {
    this.flush();
    this.#stream.end();
  }

  /** Ends it at once: what has come and is not read yet counts for nothing. */
  abandon(): void {
    this.#stream.destroy();
    this.#end(PIPE_CLOSED);
  }

  #take(chunk: Buffer): void {
    if (this.#isEnded) return;
    try {
      this.#reader.take(chunk, (frame) => this.#frame(frame));
    } catch (error) {
      this.#stream.destroy();
      this.#end(asError(error).message);
    }
  }

  #frame(frame: Frame): void {
    if (frame.kind === FRAME.call) {
      const { number, value } = readJson(frame);
      void this.#answer(number, value as Call);
    } else if (frame.kind === FRAME.answer) {
      const { number, value } = readJson(frame);
      const answer = value as Answer;
      if (answer.error === undefined) this.resolve(number, answer.value);
      else this.#settle(number)?.reject(new HoldlineError(answer.error.code, answer.error.message));
    } else {
      this.#owner.frame(frame);
    }
  }

  async #answer(number: number, { name, value }: Call): Promise<void> {
    try {
      const answered: unknown = this.#owner.asked(name, value);
      // What is told is dealt with in its turn, in order.
      if (number === 0) return;
      const result = await answered;
      const frame =
        result instanceof FrameAnswer
          ? result.make(number)
          : jsonFrame(FRAME.answer, number, { value: result } satisfies Answer);
      checkFrame(frame);
      this.send(frame);
    } catch (error) {
      if (number !== 0) this.refuse(number, error);
    }
  }

  #nextNumber(): number {
    do this.#lastNumber = (this.#lastNumber % 0xffff_ffff) + 1;
    while (this.#pending.has(this.#lastNumber));
    return this.#lastNumber;
  }

  #settle(number: number): Pending | undefined {
    const pending = this.#pending.get(number);
    this.#pending.delete(number);
    pending?.cancel?.();
    return pending;
  }

  #end(reason: string): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#frames = [];
    for (const number of this.#pending.keys()) this.#settle(number)?.reject(noAnswer());
    this.#owner.ended(reason);
  }
}

function noAnswer(): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_LOG_UNAVAILABLE',
    'another process of this server does not answer; try again later',
  );
}

function errorOf(error: unknown): NonNullable<Answer['error']> {
  const { message } = asError(error);
  const code = error instanceof HoldlineError ? error.code : 'HOLDLINE_INTERNAL';
  return { code: code as RefusalCode, message };
}
