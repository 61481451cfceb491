/**
 * Places: whether one more line, or one more waiting poll, may be held. In all, of an address, of a
 * user, and how many new ones in a second.
 */
import type { Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import { HoldlineError } from '../errors.js';
import { TokenBucket } from './token-bucket.js';

/** Who asks for a place. */
export interface Comer {
  /** Undefined where none is known. */
  readonly user: string | undefined;
  /** As limits count it (http/address.ts); empty where it is exempt. */
  readonly address: string;
}

export interface PlacesParts {
  readonly hub: {
    /** Those that are open, waiting polls among them. */
    readonly lines: { readonly open: number };
    readonly owners: {
      linesOfUser(user: string): number;
      linesOfAddress(address: string): number;
    };
    readonly polls: { readonly waiting: number };
  };
  /** True while one more line may be open in all; absent where `maxConnections` says it. */
  readonly hasPlace?: (() => boolean) | undefined;
  /** The same for waiting polls. */
  readonly hasPollPlace?: (() => boolean) | undefined;
  /** Throws the refusal while memory is short. */
  readonly memory: { checkRoom(): void };
  readonly clock: Clock;
  readonly counters: Counters;
}

export interface PlacesOptions {
  readonly maxConnections: number;
  /** Here and below 0 is no limit. */
  readonly maxLinesPerAddress: number;
  readonly maxLinesPerUser: number;
  readonly maxWaitingPolls: number;
  /** New lines a second. */
  readonly acceptRate: number;
}

export class Places {
  readonly #parts: PlacesParts;
  readonly #options: PlacesOptions;
  /** Undefined without a limit. */
  readonly #newLines: TokenBucket | undefined;

  constructor(parts: PlacesParts, options: PlacesOptions) {
    this.#parts = parts;
    this.#options = options;
    const { acceptRate } = options;
    // After a pause of a second as many as in a second.
    this.#newLines =
      acceptRate === 0 ? undefined : new TokenBucket(acceptRate, acceptRate, parts.clock.nowMs());
  }

  /**
   * A line is to be opened in this turn. Throws HOLDLINE_LINES_FULL, HOLDLINE_TOO_MANY_LINES,
   * HOLDLINE_MEMORY_FULL or HOLDLINE_ACCEPT_RATE.
   */
  checkLine(comer: Comer): void {
    this.askLine(comer);
    this.#newLines?.take(this.#parts.clock.nowMs());
  }

  /** Whether a line might be opened in this turn: throws what {@link checkLine} does. */
  askLine(comer: Comer): void {
    this.#checkRoom(comer);
    this.#checkPace();
  }

  /**
   * A poll is to wait. Polls come again after each answer, so the rate of new lines is not for
   * them. Throws HOLDLINE_LINES_FULL, HOLDLINE_TOO_MANY_LINES, HOLDLINE_POLLS_FULL or
   * HOLDLINE_MEMORY_FULL.
   */
  checkPoll(comer: Comer): void {
    const { hub, counters, hasPollPlace } = this.#parts;
    const { maxWaitingPolls } = this.#options;
    if (
      maxWaitingPolls > 0 &&
      (hub.polls.waiting >= maxWaitingPolls || hasPollPlace?.() === false)
    ) {
      counters.polls_refused_total++;
      throw new HoldlineError(
        'HOLDLINE_POLLS_FULL',
        `${maxWaitingPolls} polls wait already (--max-waiting-polls); try again later, or with wait=0`,
      );
    }
    this.#checkRoom(comer);
  }

  #checkRoom({ user, address }: Comer): void {
    const { hub, memory, counters, hasPlace } = this.#parts;
    const { lines, owners } = hub;
    const { maxConnections, maxLinesPerAddress, maxLinesPerUser } = this.#options;
    if (lines.open >= maxConnections || hasPlace?.() === false) {
      throw new HoldlineError(
        'HOLDLINE_LINES_FULL',
        `all ${maxConnections} lines are in use (--max-connections)`,
      );
    }
    if (
      address !== '' &&
      maxLinesPerAddress > 0 &&
      owners.linesOfAddress(address) >= maxLinesPerAddress
    ) {
      counters.lines_refused_address_total++;
      throw new HoldlineError(
        'HOLDLINE_TOO_MANY_LINES',
        `this address has ${maxLinesPerAddress} lines already (--max-lines-per-address); close one, or try again later`,
      );
    }
    if (user !== undefined && maxLinesPerUser > 0 && owners.linesOfUser(user) >= maxLinesPerUser) {
      counters.lines_refused_user_total++;
      throw new HoldlineError(
        'HOLDLINE_TOO_MANY_LINES',
        `this user has ${maxLinesPerUser} lines already (--max-lines-per-user); close one, or try again later`,
      );
    }
    memory.checkRoom();
  }

  #checkPace(): void {
    const { clock, counters } = this.#parts;
    if (this.#newLines === undefined || this.#newLines.waitMs(clock.nowMs()) === 0) return;
    counters.lines_refused_rate_total++;
    throw new HoldlineError(
      'HOLDLINE_ACCEPT_RATE',
      'more lines were opened in a second than --accept-rate allows; try again later',
    );
  }
}
