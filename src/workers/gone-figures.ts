/**
 * What workers had counted that have ended, or do not answer, as it was shown last: without it a
 * sum over workers would fall, which monitoring takes for a start from 0.
 */
import type { LogTimes } from '../core/event-log.js';
import type { Counters } from '../counters.js';
import {
  counterMetrics,
  countersOf,
  histogramMetrics,
  sumMetrics,
  withGone,
} from './metric-sums.js';
import { sumOf } from './sums.js';
import type { GoneReport } from './talk.js';

interface Shown {
  counters?: object;
  metrics?: string;
}

export class GoneFigures<Worker extends object> {
  readonly #shown = new WeakMap<Worker, Shown>();
  readonly #gone: Shown = {};

  /** A worker has answered a question; two pages have counters. */
  shown(worker: Worker, question: unknown, answer: unknown): void {
    const { page } = question as { readonly page?: string };
    if ((page !== 'stats' && page !== 'metrics') || typeof answer !== 'string') return;
    let shown = this.#shown.get(worker);
    if (shown === undefined) this.#shown.set(worker, (shown = {}));
    if (page === 'metrics') shown.metrics = answer;
    else shown.counters = (JSON.parse(answer) as { readonly counters: object }).counters;
  }

  /** It has ended. */
  ended(worker: Worker): void {
    const { counters, metrics } = this.#shown.get(worker) ?? {};
    const gone = this.#gone;
    if (counters !== undefined) gone.counters = sumOfCounters([gone.counters, counters]) ?? {};
    if (metrics !== undefined) gone.metrics = withGone(gone.metrics ?? '', metrics);
  }

  /** With what those had counted that have not answered. */
  report(silent: readonly Worker[]): GoneReport {
    const { counters, metrics } = this.#gone;
    if (silent.length === 0) return { counters, metrics };
    const shown = silent.map((worker) => this.#shown.get(worker) ?? {});
    const texts = shown.flatMap((one) => (one.metrics === undefined ? [] : [one.metrics]));
    return {
      counters: sumOfCounters([counters, ...shown.map((one) => one.counters)]),
      metrics: texts.length === 0 ? metrics : sumMetrics([metrics ?? '', ...texts.map(countersOf)]),
    };
  }
}

function sumOfCounters(counters: readonly (object | undefined)[]): object | undefined {
  return sumOf(counters.filter((one) => one !== undefined)) as object | undefined;
}

/** What the supervisor itself has counted: its log is no worker's. */
export function ownFigures(counters: Counters, times: LogTimes | undefined): GoneReport {
  const texts = [counterMetrics(counters)];
  if (times !== undefined) {
    texts.push(histogramMetrics('holdline_log_commit_seconds', times.commit));
    texts.push(histogramMetrics('holdline_log_read_seconds', times.read));
  }
  return { counters, metrics: texts.join('\n') };
}
