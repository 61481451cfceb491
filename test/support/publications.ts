/**
 * Publishers of several servers on one log. A publish whose outcome is not known is tried again,
 * anywhere, under its idempotency key. What is answered must be what the log has, and under one key
 * the log has it once.
 */
import type { NewEntry, NewEvent } from '../../src/core/event.js';
import { asError, type HoldlineError } from '../../src/errors.js';
import { queuedBytesOf } from '../../src/core/entrance.js';
import type { Diary } from './diary.js';
import type { Random } from './random.js';
import type { SimulatedWorker } from './simulated-worker.js';

/** Refusals of a publish of which nothing is committed. */
const KNOWN_CODES: ReadonlySet<string> = new Set([
  'HOLDLINE_PUBLISH_BUSY',
  'HOLDLINE_LOG_UNAVAILABLE',
  'HOLDLINE_TOO_LARGE',
]);

/** What is known of one that is over. */
interface Outcome {
  readonly number: number;
  /** What its publisher was told. */
  ids: readonly number[] | undefined;
  isRefused: boolean;
}

interface Publication extends Outcome {
  readonly entries: readonly NewEvent[];
  readonly key: string | undefined;
  /** Where it is tried now. */
  at: SimulatedWorker | undefined;
  /** An attempt ended without an answer, or with one that leaves it open. */
  isUnknown: boolean;
}

export class Publications {
  /** Cost of the largest that there was, bytes of credit. */
  largestCost = 0;
  readonly #random: Random;
  readonly #diary: Diary;
  readonly #channels: readonly string[];
  #made = 0;
  readonly #outcomes: Outcome[] = [];
  /** Those that are under way, or to be tried again. */
  readonly #open = new Set<Publication>();
  /** Ids by number, for each time that it was committed. */
  readonly #commits = new Map<number, readonly number[]>();
  readonly #onBusy: (channels: readonly string[], message: string) => void;

  constructor(
    random: Random,
    diary: Diary,
    channels: readonly string[],
    onBusy: (channels: readonly string[], message: string) => void,
  ) {
    this.#random = random;
    this.#diary = diary;
    this.#channels = channels;
    this.#onBusy = onBusy;
  }

  /** Nothing is under way. */
  get areDone(): boolean {
    return this.#open.size === 0;
  }

  get openCount(): number {
    return this.#open.size;
  }

  /** Those that have an answer with ids. */
  get answeredCount(): number {
    return this.#outcomes.reduce((count, { ids }) => count + (ids === undefined ? 0 : 1), 0);
  }

  /** The log has committed entries under these ids. */
  committed(entries: readonly NewEntry[], ids: readonly number[]): void {
    const [first] = entries;
    if (first === undefined || !('data' in first)) return;
    const { p } = JSON.parse(Buffer.from(first.data).toString()) as { readonly p: number };
    if (this.#commits.has(p))
      throw new Error(
        `publish ${p} is in the log twice, at ${this.#commits.get(p)?.[0]} and ${ids[0]}`,
      );
    this.#commits.set(p, ids);
  }

  publishSome(worker: SimulatedWorker): void {
    const random = this.#random;
    const channel = random.pick(this.#channels);
    const isKeyed = random.chance(0.4);
    const isNamed = !isKeyed && random.chance(0.15);
    const count = random.chance(0.8) ? 1 : random.chance(0.95) ? random.between(2, 40) : 600;
    const number = this.#made++;
    const entries = Array.from({ length: count }, (_none, index): NewEvent => {
      const size =
        count > 100 ? random.below(60) : random.below(random.chance(0.98) ? 400 : 40_000);
      const data = Buffer.from(JSON.stringify({ p: number, i: index, x: 'x'.repeat(size) }));
      const name = isNamed ? random.pick(this.#channels) : channel;
      return { channel: name, type: undefined, data, json: random.chance(0.2) };
    });
    this.largestCost = Math.max(
      this.largestCost,
      entries.reduce((sum, entry) => sum + queuedBytesOf(entry), 0),
    );
    const publication: Publication = {
      number,
      entries,
      key: isKeyed ? `key ${number}` : undefined,
      at: undefined,
      isUnknown: false,
      ids: undefined,
      isRefused: false,
    };
    this.#open.add(publication);
    this.#try(publication, worker);
  }

  /** One that waits for another attempt is tried there. */
  tryAgain(worker: SimulatedWorker): void {
    const waiting = [...this.#open].filter(({ at }) => at === undefined);
    if (waiting.length > 0) this.#try(this.#random.pick(waiting), worker);
  }

  /** Who asked there has no answer. */
  died(worker: SimulatedWorker): void {
    for (const publication of this.#open) {
      if (publication.at !== worker) continue;
      publication.at = undefined;
      this.#leftOpen(publication);
    }
  }

  /** At rest everything that was answered is in the log, and nothing that was refused. */
  checkRest(): void {
    for (const outcome of this.#outcomes) this.#check(outcome);
  }

  #try(publication: Publication, worker: SimulatedWorker): void {
    const { number, key, entries } = publication;
    const channels = [...new Set(entries.map(({ channel }) => channel))];
    this.#diary.note(
      `publish ${number} (${entries.length}${key === undefined ? '' : ', keyed'}) on ${channels.join()} at ${worker.pid}`,
    );
    publication.at = worker;
    const isCurrent = (): boolean => publication.at === worker && worker.isAlive;
    worker.run(() => {
      const request = key === undefined ? undefined : { key, digest: `digest of ${key}` };
      worker.publish(entries, request).then(
        (ids) => {
          if (!isCurrent()) return;
          publication.at = undefined;
          publication.ids = ids;
          this.#isOver(publication);
        },
        (error: unknown) => {
          if (!isCurrent()) return;
          publication.at = undefined;
          this.#refused(publication, channels, asError(error) as HoldlineError);
        },
      );
    });
  }

  #refused(publication: Publication, channels: readonly string[], error: HoldlineError): void {
    const { code, message } = error;
    this.#diary.note(`publish ${publication.number}: ${code}`);
    if (code === 'HOLDLINE_OUTCOME_UNKNOWN') {
      this.#leftOpen(publication);
      return;
    }
    if (!KNOWN_CODES.has(code)) {
      this.#diary.failed(error);
      return;
    }
    if (code === 'HOLDLINE_PUBLISH_BUSY') this.#onBusy(channels, message);
    // An earlier attempt may have been committed: only then is it asked again.
    if (publication.isUnknown) return;
    publication.isRefused = true;
    this.#isOver(publication);
  }

  #isOver(publication: Publication): void {
    const { number, ids, isRefused } = publication;
    this.#open.delete(publication);
    this.#outcomes.push({ number, ids, isRefused });
    this.#diary.attempt(`publish ${number}`, () => this.#check(publication));
  }

  #leftOpen(publication: Publication): void {
    publication.isUnknown = true;
    if (publication.key === undefined) this.#open.delete(publication);
  }

  #check({ number, ids, isRefused }: Outcome): void {
    const committed = this.#commits.get(number);
    if (ids !== undefined && committed?.join() !== ids.join())
      throw new Error(`publish ${number} was told ${ids.join()}, not ${committed?.join()}`);
    if (isRefused && committed !== undefined)
      throw new Error(`publish ${number} was refused, and is in the log at ${committed[0]}`);
  }
}
