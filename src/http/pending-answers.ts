/**
 * Pending answers: those that their sockets have not fully taken. One bound covers all of them;
 * when it is exceeded, the answer that has not moved for longest is given up.
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
  /** The whole body, which other answers may share. */
  readonly pendingBody: Uint8Array | undefined;
  /** Closes the socket, which removes the answer within the call. */
  closeSocket(): void;
}

export class PendingAnswers {
  readonly #counters: Counters;
  readonly #held: HeldBytes;
  readonly #limitBytes: number;
  /** In the order in which they last moved, oldest first. */
  readonly #answers = new Set<PendingAnswer>();
  /** How many answers wait with a body, by its memory: small bodies share one. */
  readonly #users = new Map<ArrayBufferLike, number>();

  constructor(counters: Counters, held: HeldBytes, limitBytes = PENDING_ANSWER_BYTES_MAX) {
    this.#counters = counters;
    this.#held = held;
    this.#limitBytes = limitBytes;
  }

  /** The most bytes for an answer that may be cut short: fewer while many answers are pending. */
  get bodyBytesMax(): number {
    return this.#held.answers < this.#limitBytes / 2 ? POLL_BODY_BYTES_MAX : CROWDED_BODY_BYTES_MAX;
  }

  /** Adds an answer. Past the bound others are given up, but never the one just added. */
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
      stillest.closeSocket();
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
