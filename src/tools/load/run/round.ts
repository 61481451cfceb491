/** One round: events are published at a fixed rate, and the books say who got what, and when. */

import { setTimeout as sleep } from 'node:timers/promises';
import { bottlenecksIn } from './bottlenecks.js';
import type { Books, Part } from '../books/books.js';
import type { Tally } from '../clients/tally.js';
import { RunFailure, type Target } from '../clients/connection.js';
import { nowUs } from '../books/clock.js';
import type { EventShape } from '../clients/encoding.js';
import { newRun } from '../clients/event.js';
import type { Fleet } from '../processes/fleet.js';
import type { FleetTotals } from '../processes/totals.js';
import { percentileMs } from '../books/histogram.js';
import {
  PUBLISH_CONNECTIONS,
  Publisher,
  type EventBody,
  type PublisherOptions,
} from './publisher.js';
import type { Second } from '../books/seconds.js';
import { cpuSeconds } from '../books/slicer.js';

/** Time before the first event, in which all processes open their books. */
const LEAD_US = 20_000;

/** What a round needs to know. */
export interface RoundOptions {
  /** Where to publish. */
  readonly target: Target;
  /** Name of the channel, as it stands in JSON. */
  readonly channel: string;
  readonly sizeBytes: number;
  /** What the events have in place of padding. */
  readonly body?: EventBody | undefined;
  readonly ratePerSecond: number;
  readonly events: number;
  readonly publishKey: string | undefined;
  /** Publishes in order over one connection, for servers whose ids say nothing about the order. */
  readonly inOrder?: boolean;
  /** Connections to publish over, at most. */
  readonly connections?: number;
  /** Makes another publisher, which need not publish over HTTP. */
  readonly makePublisher?: ((options: PublisherOptions) => Publisher) | undefined;
  /** The part of the round whose latencies are reported, after the first event is due; else all. */
  readonly window?: { readonly fromMs: number; readonly untilMs: number };
  /**
   * How long to wait for what is under way after the last event; by default while anything comes.
   */
  readonly settleMs?: number;
  /** When, after the first event, all clients drop their connections and come back. */
  readonly herdAtMs?: number | undefined;
}

/** What became of a herd. */
export interface Herd {
  /** Clients that dropped their connection at once. */
  readonly clients: number;
  /** After the first event. */
  readonly atSeconds: number;
  /** Until the last had dropped its connection and begun another, which is up to this client. */
  readonly leftSeconds: number;
  /** Until the last was subscribed again; null when some were not by the end. */
  readonly backSeconds: number | null;
  /** Until the last had everything that was due before it was back. */
  readonly caughtUpSeconds: number | null;
}

/** A client process while events were published. */
export interface ProcessFigures {
  readonly pid: number;
  readonly cpuSeconds: number;
  /** Share of a core. */
  readonly busyShare: number;
  /** How late it was to read what had come. */
  readonly lagMs: Part['lagMs'];
}

/** The outcome of a round. */
export interface RoundOutcome {
  readonly books: Books;
  readonly publisher: Publisher;
  /** What clients sent and received from the first event until the end. */
  readonly tally: Tally;
  /** When the first event was due, when publishing ended, and when the round ended, by clock.ts. */
  readonly startUs: number;
  readonly publishEndedUs: number;
  readonly endUs: number;
  readonly seconds: readonly Second[];
  readonly processes: readonly ProcessFigures[];
  /** This process, which publishes, while events were published. */
  readonly coordinator: { readonly cpuSeconds: number; readonly busyShare: number };
  /**
   * Why the figures are those of the client rather than the server, a sentence each; empty when
   * they are not.
   */
  readonly bottlenecks: readonly string[];
  readonly herd: Herd | undefined;
  /** Why the publisher gave up before the end. */
  readonly gaveUp: string | undefined;
}

/** What a round is doing. */
export type RoundPhase = 'publishing' | 'settling';

/** One round of a fleet. */
export class Round {
  phase: RoundPhase = 'publishing';
  readonly publisher: Publisher;
  readonly #fleet: Fleet;
  readonly #options: RoundOptions;
  /** What its events look like. */
  readonly shape: EventShape;
  /** How often `stop` was called. */
  #stops = 0;
  #gaveUp: string | undefined;

  constructor(fleet: Fleet, options: RoundOptions) {
    const {
      target,
      channel,
      sizeBytes,
      ratePerSecond,
      events,
      body,
      publishKey,
      inOrder = false,
    } = options;
    const {
      connections = PUBLISH_CONNECTIONS,
      window,
      makePublisher = (wanted) => new Publisher(wanted),
    } = options;
    this.#fleet = fleet;
    this.shape = { run: newRun(), channel, sizeBytes };
    this.#options = options;
    this.publisher = makePublisher({
      target,
      run: this.shape.run,
      sizeBytes,
      ratePerSecond,
      events,
      body,
      key: publishKey,
      connections: inOrder ? 1 : connections,
      keepsTimes: window !== undefined,
      gaveUp: (reason) => {
        this.#gaveUp ??= reason;
        this.publisher.stop();
      },
    });
    this.publisher.open();
  }

  /** Ends the publishing; the second call ends the waiting for what is under way, too. */
  stop(): void {
    this.#stops++;
    this.publisher.stop();
  }

  /**
   * Plays the round, once; the first event is due at `startUs`. Throws {@link RunFailure} when no
   * event was published.
   */
  async play(startUs = nowUs() + LEAD_US): Promise<RoundOutcome> {
    const { events, herdAtMs, window, settleMs = Infinity } = this.#options;
    try {
      const before = await this.#fleet.begin(
        this.shape,
        events,
        startUs,
        window === undefined
          ? undefined
          : { fromUs: startUs + window.fromMs * 1000, untilUs: startUs + window.untilMs * 1000 },
      );
      const cpuBefore = cpuSeconds();
      const untilEnd = new AbortController();
      const herding =
        herdAtMs === undefined ? undefined : this.#herd(startUs, herdAtMs, untilEnd.signal);
      // Its failure is handled where it is awaited.
      herding?.catch(() => {});
      await Promise.race([this.publisher.publish(startUs), this.#fleet.gone]);
      const publishEndedUs = nowUs();
      untilEnd.abort();
      const cpu = cpuSeconds() - cpuBefore;
      const published = await this.#fleet.readTotals();

      this.phase = 'settling';
      const settled = await this.#fleet.settle(
        this.#publishing,
        () =>
          this.#stops > 1 ||
          this.#failure !== undefined ||
          nowUs() > publishEndedUs + settleMs * 1000,
      );
      if (this.#failure !== undefined) throw new RunFailure(this.#failure);
      const after = await this.#fleet.readTotals();
      const publishSeconds = (publishEndedUs - startUs) / 1e6;
      const processes = this.#fleet.pids.map((pid, nth) => {
        const seconds = published.processes[nth]!.cpuSeconds - before.processes[nth]!.cpuSeconds;
        return {
          pid,
          cpuSeconds: seconds,
          busyShare: seconds / publishSeconds,
          lagMs: settled.lagsMs[nth]!,
        };
      });
      const coordinator = { cpuSeconds: cpu, busyShare: cpu / publishSeconds };
      const { books, seconds } = settled;
      const herd = herdOf(await herding, books, startUs);
      return {
        books,
        publisher: this.publisher,
        tally: difference(after, before),
        startUs,
        publishEndedUs,
        endUs: nowUs(),
        seconds,
        processes,
        coordinator,
        bottlenecks: bottlenecksIn({
          latencyP99Ms: percentileMs(books.latencyUs, 99) ?? 0,
          leftLateP99Ms: percentileMs(this.publisher.latenessUs, 99) ?? 0,
          readLateP99Ms: Math.max(...processes.map(({ lagMs }) => lagMs.p99)),
          clientBusyShare: Math.max(...processes.map(({ busyShare }) => busyShare)),
          publisherBusyShare: coordinator.busyShare,
          herdLeftShare:
            herd === undefined || herd.backSeconds === null
              ? 0
              : herd.leftSeconds / herd.backSeconds,
        }),
        herd,
        gaveUp: this.#gaveUp,
      };
    } finally {
      this.publisher.close();
    }
  }

  /** Why not a single event was published. */
  get #failure(): string | undefined {
    return this.publisher.published.count === 0 ? this.#gaveUp : undefined;
  }

  get #publishing(): Parameters<Fleet['settle']>[0] {
    const { publisher } = this;
    const hasGivenUp = (): boolean => this.#gaveUp !== undefined;
    return {
      published: publisher.published,
      get pending() {
        return hasGivenUp() ? 0 : publisher.pending;
      },
      get answered() {
        return publisher.answered;
      },
    };
  }

  /** Undefined when publishing ended before that. */
  async #herd(startUs: number, atMs: number, end: AbortSignal): Promise<Sent | undefined> {
    await sleep((startUs - nowUs()) / 1000 + atMs, undefined, { signal: end }).catch(() => {});
    if (end.aborted) return undefined;
    const atUs = nowUs();
    await this.#fleet.herd();
    return { atUs, leftAtUs: nowUs() };
  }
}

/** When a herd was ordered to leave, and when the last client had left. */
interface Sent {
  readonly atUs: number;
  readonly leftAtUs: number;
}

function herdOf(sent: Sent | undefined, { herd }: Books, startUs: number): Herd | undefined {
  if (sent === undefined) return undefined;
  const { atUs, leftAtUs } = sent;
  const secondsUntil = (us: number): number | null =>
    herd.back === herd.clients && us > 0 ? (us - atUs) / 1e6 : null;
  return {
    clients: herd.clients,
    atSeconds: (atUs - startUs) / 1e6,
    leftSeconds: (leftAtUs - atUs) / 1e6,
    backSeconds: secondsUntil(herd.backAtUs),
    caughtUpSeconds: secondsUntil(herd.caughtUpAtUs),
  };
}

function difference(now: FleetTotals, before: FleetTotals): Tally {
  const entries = Object.entries(now.tally) as [keyof Tally, number][];
  return Object.fromEntries(
    entries.map(([name, value]) => [name, value - before.tally[name]]),
  ) as unknown as Tally;
}
