/**
 * Held refusals: event streams that are refused for a while and whose client may ask again at once,
 * whatever it is told. It is answered after the delay that an EventSource would have kept by
 * itself. Each takes a socket, so they are few, and they are answered early when sockets or memory
 * are short.
 */
import type { Counters } from '../counters.js';
import type { HoldlineError } from '../errors.js';
import { HELD_REFUSAL_MS_MAX, HELD_REFUSALS_MAX } from '../limits.js';
import type { Exchange } from './exchange.js';

/** What is held: the refusal, and how to stop waiting. */
interface Held {
  readonly error: HoldlineError;
  readonly timer: NodeJS.Timeout;
}

export class HeldRefusals {
  readonly #counters: Counters;
  readonly #socketsMax: number;
  readonly #held = new Map<Exchange, Held>();
  #isReleasing = false;

  /** `socketsMax`: sockets that the server accepts. */
  constructor(counters: Counters, socketsMax: number) {
    this.#counters = counters;
    this.#socketsMax = socketsMax;
  }

  /** Refuses after `delayMs`, or at once where refusals may not or need not be held. */
  hold(exchange: Exchange, error: HoldlineError, delayMs: number): void {
    // A server that ends has no time, and one without memory has none for this.
    const isShort = error.code === 'HOLDLINE_DRAINING' || error.code === 'HOLDLINE_MEMORY_FULL';
    if (isShort) this.release();
    if (isShort || this.#held.size >= HELD_REFUSALS_MAX || this.#isCrowded) {
      exchange.refuse(error);
      return;
    }
    const timer = setTimeout(
      () => {
        this.#held.delete(exchange);
        exchange.refuse(error);
      },
      Math.min(delayMs, HELD_REFUSAL_MS_MAX),
    );
    this.#held.set(exchange, { error, timer });
    this.#counters.refusals_held_total++;
    exchange.hold(NO_HANDLE, this);
  }

  /** The client of a held refusal left. */
  left(_handle: number, exchange: Exchange): void {
    const held = this.#held.get(exchange);
    if (held === undefined) return;
    clearTimeout(held.timer);
    this.#held.delete(exchange);
  }

  /** A socket was accepted. Gives the places of held refusals up when few are left. */
  readonly accepted = (): void => {
    if (this.#held.size === 0 || this.#isReleasing || !this.#isCrowded) return;
    this.#isReleasing = true;
    // The caller is inside native code for another socket.
    setImmediate(() => {
      this.#isReleasing = false;
      this.release();
    });
  };

  /** Answers all that are held now, and closes their connections. */
  release(): void {
    for (const [exchange, { error, timer }] of this.#held) {
      clearTimeout(timer);
      this.#counters.refusals_released_total++;
      exchange.closeAfter();
      exchange.refuse(error);
    }
    this.#held.clear();
  }

  /** True when held refusals would take the last places of sockets that are to be answered. */
  get #isCrowded(): boolean {
    const { sockets_opened_total: opened, sockets_closed_total: closed } = this.#counters;
    return opened - closed > this.#socketsMax - HELD_REFUSALS_MAX;
  }
}

/** They are found by their exchange. */
const NO_HANDLE = 0;
