/** A run: connects the clients and plays one round. */

import { findTarget, RunFailure } from '../clients/connection.js';
import { Fleet } from '../processes/fleet.js';
import type { FleetTotals } from '../processes/totals.js';
import { eventsOf, mixOf, type LoadSettings } from '../options.js';
import { ProcessMeter } from '../processes/process-meter.js';
import { Round, type RoundOutcome, type RoundPhase } from './round.js';
import type { Second } from '../books/seconds.js';

/** The outcome of a run. */
export interface Outcome extends RoundOutcome {
  readonly startedAt: Date;
  /** From the first connect until all clients had subscribed. */
  readonly connectSeconds: number;
  readonly wasStopped: boolean;
  /** Clients asked for gzip. */
  readonly compress: boolean;
  /** What the server took. */
  readonly meter: ProcessMeter;
}

/** What a run is doing. */
export type Phase = 'connecting' | RoundPhase;

/** One run, from the first connect to the last disconnect. */
export class Run {
  /** Measures the server; undefined until its address is known. */
  meter: ProcessMeter | undefined;
  readonly #settings: LoadSettings;
  #fleet: Fleet | undefined;
  #round: Round | undefined;
  /** How often `stop` was called. */
  #stops = 0;
  readonly #stopped = new AbortController();

  constructor(settings: LoadSettings) {
    this.#settings = settings;
  }

  get phase(): Phase {
    return this.#round?.phase ?? 'connecting';
  }

  /** What the clients were given; undefined before there are any. */
  get totals(): FleetTotals | undefined {
    return this.#fleet?.totals;
  }

  /** The newest second that is over; undefined before the first. */
  get lastSecond(): Second | undefined {
    return this.#fleet?.lastSecond;
  }

  /**
   * Ends the publishing, or the connecting; the second call ends the waiting for what is under way,
   * too.
   */
  stop(): void {
    this.#stops++;
    this.#stopped.abort();
    if (this.#round !== undefined) this.#round.stop();
    // It fails where the run has failed already.
    else void this.#fleet?.halt().catch(() => {});
  }

  /** Plays the run, once. Throws {@link RunFailure} when there is nothing to report. */
  async go(): Promise<Outcome> {
    const startedAt = new Date();
    const {
      url,
      publishUrl,
      transport,
      compress,
      processes,
      checkedShare,
      pollIntervalMs,
      herdAtMs,
      serverPid,
    } = this.#settings;
    const { sizeBytes, ratePerSecond, publishKey, subscribeKey } = this.#settings;
    const { signal } = this.#stopped;
    const target = { ...(await findTarget(new URL(url), signal)), key: subscribeKey };
    // Quick only while there are few connections.
    const meter = new ProcessMeter(target, serverPid);
    this.meter = meter;
    const publishTarget =
      publishUrl === undefined ? target : await findTarget(new URL(publishUrl), signal);
    const fleet = await Fleet.start({
      target,
      transport,
      compress,
      processes,
      checkedShare,
      mix: mixOf(this.#settings),
      comeBack: herdAtMs !== undefined,
      pollIntervalMs,
    });
    try {
      this.#fleet = fleet;
      const connectSeconds = await this.#connect(fleet);
      this.#round = new Round(fleet, {
        target: publishTarget,
        channel: new URL(url).pathname.slice(1),
        sizeBytes,
        ratePerSecond,
        events: eventsOf(this.#settings),
        publishKey,
        inOrder: publishUrl !== undefined,
        herdAtMs,
      });
      const outcome = await this.#round.play();
      const wasStopped = this.#stops > 0;
      return { ...outcome, startedAt, connectSeconds, wasStopped, compress, meter };
    } finally {
      meter.stop();
      await fleet.close();
    }
  }

  /** Returns the seconds that it took. */
  async #connect(fleet: Fleet): Promise<number> {
    const { connections, rampPerSecond } = this.#settings;
    if (this.#stops > 0) throw new RunFailure('stopped before a client had connected');
    const { lines, seconds, failed, hasStalled } = await fleet.open(connections, {
      ratePerSecond: rampPerSecond,
    });
    if (this.#stops > 0)
      throw new RunFailure(`stopped when ${lines} of ${connections} clients had subscribed`);
    const [refusal] = failed.keys();
    if (refusal !== undefined)
      throw new RunFailure(
        `${lines} of ${connections} clients could subscribe, the next could not: ${refusal}`,
      );
    if (hasStalled)
      throw new RunFailure(
        `${lines} of ${connections} clients had subscribed when the server stopped answering`,
      );
    return seconds;
  }
}
