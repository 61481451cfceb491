/** A run: connects the clients, publishes, waits until everything has come or nothing more does, and says what it came to. */

import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client, Crew, Tally } from './client.js';
import { findTarget, RunFailure, type Target } from './connection.js';
import { formatOf, NDJSON, SSE, type EventShape } from './dialect.js';
import { newRun, nowUs } from './event.js';
import { Ledger } from './ledger.js';
import { eventsOf, type LoadSettings } from './options.js';
import { PollClient } from './poll-client.js';
import { Publisher } from './publisher.js';
import { StreamClient } from './stream-client.js';
import { WebSocketClient } from './websocket-client.js';

/** Clients between their connect and their place: an accept queue holds 512. */
const CONNECTS_AT_ONCE = 128;

/** How long connecting may go without a client that gets its place. */
const CONNECT_STALL_MS = 10_000;

/** How long after the last event that came the rest is given up. Short-polls get two of their intervals. */
const SETTLE_STALL_MS = 5_000;

/** How long is listened for doubles when everything has come, and how long goodbyes may take. */
const AFTERMATH_MS = 100;
const GOODBYE_MS = 1_000;

/** How often the run looks whether a phase is over. */
const LOOK_MS = 10;

/**
 * From here on the client is what was measured: its share of a core, and how late 1 % of its events left, µs, where that is also
 * this share of the latency that is reported.
 */
const BUSY_SHARE = 0.9;
const LATE_US = 20_000;
const LATE_SHARE = 0.2;

/** What a run came to. */
export interface Outcome {
  readonly ledger: Ledger;
  readonly publisher: Publisher;
  /** What clients did from the first event until the end. */
  readonly tally: Tally;
  readonly startedAt: Date;
  readonly connectSeconds: number;
  /** How long events were published. */
  readonly publishSeconds: number;
  /** From the first event until the end, which is what `tally` is over. */
  readonly measuredSeconds: number;
  /** Processor time of this process while events were published, and the share of a core that is. */
  readonly cpuSeconds: number;
  readonly busyShare: number;
  /** True when the figures tell more about this client than about the server. */
  readonly clientLimited: boolean;
  /** Clients that were cut off, by reason. */
  readonly cutOff: ReadonlyMap<string, number>;
  readonly wasStopped: boolean;
  /** Why the publisher gave up before the end. */
  readonly gaveUp: string | undefined;
}

/** Where a run is, for whoever watches. */
export type Phase = 'connecting' | 'publishing' | 'settling';

/** One run, from the first connect to the last goodbye. */
export class Run {
  phase: Phase = 'connecting';
  readonly ledger: Ledger;
  /** Clients that have subscribed. */
  joined = 0;
  readonly #settings: LoadSettings;
  readonly #tally: Tally = { bytes: 0, requests: 0, answers: 0, emptyAnswers: 0, refusedPolls: 0 };
  readonly #cutOff = new Map<string, number>();
  #clients: readonly Client[] = [];
  #publisher: Publisher | undefined;
  /** Times that the user has said stop. */
  #stops = 0;
  #gaveUp: string | undefined;
  #turns: NodeJS.Timeout | undefined;

  constructor(settings: LoadSettings) {
    this.#settings = settings;
    this.ledger = new Ledger(settings.connections, eventsOf(settings));
  }

  /** Ends the publishing, or the connecting; the second time the waiting for what is on its way, too. */
  stop(): void {
    this.#stops++;
    this.#publisher?.stop();
  }

  /** Does it, once. Throws {@link RunFailure} when there is nothing to report. */
  async go(): Promise<Outcome> {
    const startedAt = new Date();
    const { url, transport } = this.#settings;
    const target = await findTarget(new URL(url));
    try {
      const beganUs = nowUs();
      const publisher = this.#connect(target);
      await this.#untilJoined();
      const connectSeconds = (nowUs() - beganUs) / 1e6;

      this.phase = 'publishing';
      const before = { ...this.#tally };
      const cpuBefore = process.cpuUsage();
      const startUs = nowUs();
      if (transport === 'short-poll') this.#pollInTurn(startUs);
      await publisher.publish(startUs);
      const publishSeconds = (nowUs() - startUs) / 1e6;
      const cpu = process.cpuUsage(cpuBefore);

      this.phase = 'settling';
      await this.#untilSettled(publisher);
      this.#check();
      const measuredSeconds = (nowUs() - startUs) / 1e6;
      const cpuSeconds = (cpu.user + cpu.system) / 1e6;
      const busyShare = cpuSeconds / publishSeconds;
      return {
        ledger: this.ledger,
        publisher,
        tally: difference(this.#tally, before),
        startedAt,
        connectSeconds,
        publishSeconds,
        measuredSeconds,
        cpuSeconds,
        busyShare,
        clientLimited: busyShare > BUSY_SHARE || this.#hasSlipped(publisher),
        cutOff: this.#cutOff,
        wasStopped: this.#stops > 0,
        gaveUp: this.#gaveUp,
      };
    } finally {
      await this.#disconnect();
    }
  }

  /** Makes the clients and the publisher. */
  #connect(target: Target): Publisher {
    const { connections, transport, sizeBytes, ratePerSecond, publishKey } = this.#settings;
    const run = newRun();
    const shape: EventShape = { run, sizeBytes, channel: target.path.slice(1) };
    const crew: Crew = {
      target,
      shape,
      ledger: this.ledger,
      tally: this.#tally,
      joined: () => void this.joined++,
      failed: (reason) => this.#cutOff.set(reason, (this.#cutOff.get(reason) ?? 0) + 1),
    };
    const format = formatOf(transport === 'sse' ? SSE : NDJSON, shape);
    const makeClient = (row: number): Client => {
      if (transport === 'ws') return new WebSocketClient(row, crew, format);
      if (transport === 'sse' || transport === 'ndjson') return new StreamClient(row, crew, format);
      return new PollClient(row, crew, transport === 'long-poll');
    };
    this.#clients = Array.from({ length: connections }, (_, row) => makeClient(row));
    this.#publisher = new Publisher({
      target,
      run,
      sizeBytes,
      ratePerSecond,
      ledger: this.ledger,
      events: eventsOf(this.#settings),
      key: publishKey,
      gaveUp: (reason) => {
        this.#gaveUp ??= reason;
        this.#publisher?.stop();
      },
    });
    this.#publisher.open();
    return this.#publisher;
  }

  async #untilJoined(): Promise<void> {
    const { connections } = this.#settings;
    let started = 0;
    let joinedBefore = 0;
    let progressUs = nowUs();
    while (this.joined < connections) {
      if (this.#stops > 0) throw new RunFailure(`stopped when ${this.joined} of ${connections} clients had subscribed`);
      this.#check();
      const [refusal] = this.#cutOff.keys();
      if (refusal !== undefined)
        throw new RunFailure(`${this.joined} of ${connections} clients could subscribe, the next could not: ${refusal}`);
      if (this.joined > joinedBefore) progressUs = nowUs();
      if (nowUs() - progressUs > CONNECT_STALL_MS * 1000) {
        throw new RunFailure(`${this.joined} of ${connections} clients had subscribed when the server stopped answering`);
      }
      joinedBefore = this.joined;
      for (; started < connections && started - this.joined < CONNECTS_AT_ONCE; started++) this.#clients[started]!.start();
      // One turn of the loop, so that those who have their place make room for the next at once.
      await sleep(0);
    }
  }

  /** Each client's turn is spread evenly over the interval. */
  #pollInTurn(startUs: number): void {
    const pollers = this.#clients.filter((client) => client instanceof PollClient);
    const stepUs = (this.#settings.pollIntervalMs * 1000) / pollers.length;
    let turn = 0;
    const takeTurns = (): void => {
      for (; startUs + turn * stepUs <= nowUs(); turn++) pollers[turn % pollers.length]!.poll();
    };
    this.#turns = setInterval(takeTurns, Math.min(LOOK_MS, Math.max(1, stepUs / 1000)));
  }

  async #untilSettled(publisher: Publisher): Promise<void> {
    const { transport, pollIntervalMs } = this.#settings;
    const stallMs = transport === 'short-poll' ? Math.max(SETTLE_STALL_MS, 2 * pollIntervalMs) : SETTLE_STALL_MS;
    let before = -1;
    let progressUs = nowUs();
    const isComplete = (): boolean =>
      (publisher.pending === 0 || this.#gaveUp !== undefined) && this.ledger.delivered === this.ledger.expected;
    while (!isComplete() && nowUs() - progressUs < stallMs * 1000) {
      if (this.#stops > 1) return;
      this.#check();
      const so = this.ledger.delivered + publisher.answered;
      if (so !== before) progressUs = nowUs();
      before = so;
      await sleep(LOOK_MS);
    }
    await sleep(AFTERMATH_MS);
  }

  #hasSlipped({ latenessUs }: Publisher): boolean {
    const lateUs = latenessUs.getValueAtPercentile(99);
    return lateUs > LATE_US && lateUs > LATE_SHARE * this.ledger.latencyUs.getValueAtPercentile(99);
  }

  async #disconnect(): Promise<void> {
    clearInterval(this.#turns);
    this.#publisher?.close();
    for (const client of this.#clients) client.stop();
    const untilUs = nowUs() + GOODBYE_MS * 1000;
    while (nowUs() < untilUs && this.#clients.some((client) => client.isConnected)) await sleep(LOOK_MS);
    for (const client of this.#clients) client.drop();
  }

  /** Where not one event was published there is nothing to tell but the reason. */
  #check(): void {
    if (this.#gaveUp !== undefined && this.ledger.published === 0) throw new RunFailure(this.#gaveUp);
  }
}

function difference(now: Tally, before: Tally): Tally {
  return {
    bytes: now.bytes - before.bytes,
    requests: now.requests - before.requests,
    answers: now.answers - before.answers,
    emptyAnswers: now.emptyAnswers - before.emptyAnswers,
    refusedPolls: now.refusedPolls - before.refusedPolls,
  };
}
