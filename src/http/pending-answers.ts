/**
 * Answers that their sockets have not taken whole: one bound over all of them, and the stillest one
 * goes when it is passed.
 */
import type { Counters } from '../counters.js';
import type { HeldBytes } from '../core/held-bytes.js';
import {
  CROWDED_BODY_BYTES_MAX,
  PENDING_ANSWER_BYTES_MAX,
  POLL_BODY_BYTES_MAX,
} from '../limits.js';

/** An answer that waits for its socket. */
export interface PendingAnswer {
  /** The whole body, which others may be given as well. */
  readonly pendingBody: Uint8Array | undefined;
  /** Closes the socket, which removes the answer within the call. */
  giveUp(): void;
}

export class PendingAnswers {
  readonly #counters: Counters;
  readonly #held: HeldBytes;
  readonly #limitBytes: number;
  /** By the time since they last moved, the stillest first. */
  readonly #answers = new Set<PendingAnswer>();
  /** How many answers wait with a body, by its memory: small bodies share one. */
  readonly #users = new Map<ArrayBufferLike, number>();

  constructor(counters: Counters, held: HeldBytes, limitBytes = PENDING_ANSWER_BYTES_MAX) {
    this.#counters = counters;
    this.#held = held;
    this.#limitBytes = limitBytes;
  }

  /**
   * Bytes that an answer which may be cut short shall have at most: fewer while many are not read.
   */
  get bodyBytesMax(): number {
    return this.#held.answers < this.#limitBytes / 2 ? POLL_BODY_BYTES_MAX : CROWDED_BODY_BYTES_MAX;
  }

  /**
   * Takes an answer in. Past the bound the stillest ones are given up, but never the one that just
   * came.
   */
  add(answer: PendingAnswer): void {
    this.#counters.answers_pending_total++;
    this.#answers.add(answer);
    const { buffer } = answer.pendingBody as Uint8Array;
    const users = this.#users.get(buffer) ?? 0;
    this.#users.set(buffer, users + 1);
    if (users === 0) this.#held.answers += buffer.byteLength;
    for (const stillest of this.#answers) {
      if (this.#held.answers <= this.#limitBytes || stillest === answer) break;
      this.#counters.answers_given_up_total++;
      stillest.giveUp();
    }
  }

  /** Its socket has taken some of it. */
  moved(answer: PendingAnswer): void {
    this.#answers.delete(answer);
    this.#answers.add(answer);
  }

  /** Its socket has taken all of it, or is gone. */
  remove(answer: PendingAnswer): void {
    if (!this.#answers.delete(answer)) return;
    const { buffer } = answer.pendingBody as Uint8Array;
    const users = (this.#users.get(buffer) as number) - 1;
    if (users > 0) {
      this.#users.set(buffer, users);
    } else {
      this.#users.delete(buffer);
      this.#held.answers -= buffer.byteLength;
    }
  }
}
