/** What the stream keeps of channels, in bounded pages. */
import type { LoggedEvent, NewEvent } from '../../core/event.js';
import { isDeletion } from '../../core/event.js';
import type { History, HistoryPage, HistoryRequest } from '../../core/event-log.js';
import type { Counters } from '../../counters.js';
import { asError, HoldlineError } from '../../errors.js';
import { NATS_PULL_MAX } from '../../limits.js';
import type { Marks } from './marks.js';
import type { Past } from './past.js';
import type { Reading } from './reading.js';
import { meaningOf } from './record.js';
import { AHEAD } from './stream.js';
import type { Subjects } from './subjects.js';

/** A page of one channel, with the reason of its end. */
interface ChannelPage {
  readonly events: LoggedEvent[];
  readonly through: number;
  readonly lostThrough: number;
}

/** How many of the newest events are kept. */
interface Keep {
  readonly eventsMax: number;
  readonly bytesMax: number;
}

/** What the history needs of the log. */
interface HistoryParts {
  readonly past: Past;
  readonly marks: Marks;
  readonly subjects: Subjects;
  readonly check: (event: NewEvent) => void;
  readonly counters: Counters;
  readonly floor: () => number;
  /** Highest id of a channel that may be lost when the stream has forgotten all up to an id. */
  readonly lostOf: (channel: string, forgottenThrough: number) => number;
  /** The newest id that this server has seen in the stream. */
  readonly seenThrough: () => number;
  /** Why the stream cannot be read; empty when it can. */
  readonly problem: () => string;
}

/** How much further back `newest` looks when it found too few. */
const STEP_GROWTH = 8;

export class NatsHistory implements History {
  readonly #parts: HistoryParts;

  constructor(parts: HistoryParts) {
    this.#parts = parts;
  }

  read(request: HistoryRequest): Promise<HistoryPage> {
    return this.#answer(async () => {
      const { channels, through, eventsMax, bytesMax } = request;
      if (request.after >= through || channels.length === 0)
        return { events: [], through, lostThrough: this.#parts.floor() };
      const eventsEach = Math.max(16, Math.ceil(eventsMax / channels.length));
      const pages = await Promise.all(
        channels.map((channel) =>
          this.#readChannel(channel, { ...request, eventsMax: Math.min(eventsMax, eventsEach) }),
        ),
      );
      const covered = Math.min(...pages.map((page) => page.through));
      const found = pages
        .flatMap((page) => page.events)
        .filter(({ id }) => id <= covered)
        .sort((a, b) => a.id - b.id);
      const events = fitting(found, eventsMax, bytesMax);
      const isCut = events.length < found.length;
      const end = isCut ? (events.at(-1) as LoggedEvent).id : covered;
      const floor = this.#parts.floor();
      const lostByChannel = pages.map(({ lostThrough }) => Math.max(floor, lostThrough));
      return { events, through: end, lostThrough: Math.max(...lostByChannel), lostByChannel };
    });
  }

  newest(
    channel: string,
    bounds: { readonly through: number; readonly eventsMax: number; readonly bytesMax: number },
  ): Promise<HistoryPage> {
    return this.#answer(async () => {
      const { through, eventsMax, bytesMax } = bounds;
      const floor = this.#parts.floor();
      const mark = Math.max(floor, await this.#parts.marks.of(channel));
      const after = await this.#startOfNewest(channel, mark, through, eventsMax + 1);
      const { events, lostThrough } = await this.#readChannel(channel, {
        after,
        through,
        eventsMax: Infinity,
        bytesMax: Infinity,
        keep: { eventsMax, bytesMax },
      });
      // With the mark lost as well nobody knows what came behind it.
      const isDeleted = events.length === 0 && mark > floor && lostThrough === mark;
      // It was not looked whether the channel has events before these.
      return { events, through, lostThrough: Math.max(after, lostThrough), isDeleted };
    });
  }

  idBefore(wallMs: number): Promise<number> {
    const { past, floor } = this.#parts;
    return this.#answer(async () => (await past.idBefore(wallMs)) ?? floor());
  }

  /** An id behind which the channel has at least `count` events, and not many more. */
  async #startOfNewest(
    channel: string,
    mark: number,
    through: number,
    count: number,
  ): Promise<number> {
    const { past, subjects } = this.#parts;
    const subject = subjects.ofEvents(channel);
    let tooLate = through;
    for (let step = 2 * count; ; step *= STEP_GROWTH) {
      const after = Math.max(mark, through - step);
      const found = await past.count(subject, after);
      if (found >= count || after === mark) {
        return found > 4 * count + NATS_PULL_MAX
          ? this.#narrow(subject, after, tooLate, count)
          : after;
      }
      tooLate = after;
    }
  }

  async #narrow(subject: string, low: number, high: number, count: number): Promise<number> {
    let after = low;
    for (let tooLate = high; tooLate - after > 1;) {
      const middle = after + Math.floor((tooLate - after) / 2);
      const found = await this.#parts.past.count(subject, middle);
      if (found < count) tooLate = middle;
      else after = middle;
      if (found >= count && found <= 4 * count + NATS_PULL_MAX) break;
    }
    return after;
  }

  /**
   * One channel's events behind an id. With `keep` only the newest so many are kept, and the rest
   * counts as not in the page.
   */
  async #readChannel(
    channel: string,
    request: Omit<HistoryRequest, 'channels'> & {
      readonly keep?: Keep;
    },
  ): Promise<ChannelPage> {
    const { past, marks, subjects, lostOf, seenThrough } = this.#parts;
    const { through, eventsMax, bytesMax, keep } = request;
    const givenThrough = Math.min(through, seenThrough());
    const mark = await marks.of(channel);
    // Also one behind `through`: what was deleted is handed over no more.
    const after = Math.max(request.after, mark);
    if (after >= through) return { events: [], through, lostThrough: mark };
    const subject = subjects.ofEvents(channel);
    const reading = await past.read(subject, after, through);
    let usedThrough: number | undefined;
    try {
      const { startsAfter } = reading;
      const lost = startsAfter > after ? lostOf(channel, startsAfter) : 0;
      const page = new PageOfChannel(Math.max(mark, lost));
      const end = await this.#fill(page, reading, through, eventsMax, bytesMax, keep);
      // What the stream has forgotten since the reading began was skipped without a word.
      const { forgottenThrough, newestId } = await past.bounds();
      // It was put back, or its leader is behind: what is missing at the end is in no page.
      if (newestId < givenThrough) throw unavailable(AHEAD);
      if (forgottenThrough > startsAfter) page.forget(lostOf(channel, forgottenThrough));
      usedThrough = keep === undefined ? end : undefined;
      return page.upTo(end);
    } finally {
      past.leave(subject, reading, usedThrough);
    }
  }

  /** Reads into the page what fits. Resolves to the id up to which it is whole. */
  async #fill(
    page: PageOfChannel,
    reading: Reading,
    through: number,
    eventsMax: number,
    bytesMax: number,
    keep: Keep | undefined,
  ): Promise<number> {
    const { subjects, check } = this.#parts;
    const left = (): number => eventsMax - page.events.length;
    while (left() > 0 && page.bytes < bytesMax) {
      const messages = await reading.next(left(), keep === undefined ? bytesMax - page.bytes : 0);
      if (messages.length === 0) return through;
      for (const message of messages) {
        if (message.id > through) return through;
        const entry = meaningOf(message, subjects, check)?.entry;
        if (entry === undefined || isDeletion(entry)) {
          // What cannot be handed over is a loss: the page ends before it, or begins behind it.
          if (page.events.length > 0 && keep === undefined) return message.id - 1;
          page.lose(message.id);
        } else {
          page.add(entry, keep);
        }
      }
    }
    return (page.events.at(-1) as LoggedEvent).id;
  }

  async #answer<Found>(look: () => Promise<Found>): Promise<Found> {
    const problem = this.#parts.problem();
    if (problem !== '') throw unavailable(problem);
    try {
      return await look();
    } catch (error) {
      throw error instanceof HoldlineError ? error : unavailable(asError(error).message);
    }
  }
}

class PageOfChannel {
  events: LoggedEvent[] = [];
  bytes = 0;
  #lostThrough: number;

  constructor(lostThrough: number) {
    this.#lostThrough = lostThrough;
  }

  add(event: LoggedEvent, keep: Keep | undefined): void {
    this.events.push(event);
    this.bytes += event.data.length;
    if (keep === undefined) return;
    while (
      this.events.length > keep.eventsMax ||
      (this.events.length > 1 && this.bytes > keep.bytesMax)
    ) {
      const oldest = this.events.shift() as LoggedEvent;
      this.bytes -= oldest.data.length;
      this.#lostThrough = oldest.id;
    }
  }

  /** The channel's message with this id is in no page: neither is what came before it. */
  lose(id: number): void {
    this.events = [];
    this.bytes = 0;
    this.#lostThrough = id;
  }

  /** What the channel has up to this id may be lost: some of it may be missing in the page. */
  forget(id: number): void {
    this.events = this.events.filter((event) => event.id > id);
    this.#lostThrough = Math.max(this.#lostThrough, id);
  }

  upTo(through: number): ChannelPage {
    return { events: this.events, through, lostThrough: this.#lostThrough };
  }
}

function unavailable(problem: string): HoldlineError {
  return new HoldlineError('HOLDLINE_LOG_UNAVAILABLE', `the history cannot be read: ${problem}`);
}

/** As many as fit from the front; the first always does. */
function fitting(
  events: readonly LoggedEvent[],
  eventsMax: number,
  bytesMax: number,
): readonly LoggedEvent[] {
  let bytes = 0;
  let count = 0;
  for (const event of events) {
    bytes += event.data.length;
    if (count === eventsMax || (count > 0 && bytes > bytesMax)) break;
    count++;
  }
  return events.slice(0, count);
}
