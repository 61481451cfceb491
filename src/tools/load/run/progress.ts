/** The progress of a run: a bar on a terminal, elsewhere a row of text every few seconds. */

import { ProgressBar } from '../../report/progress-bar.js';
import { decimal, duration, percent, rough, size } from '../../report/words.js';
import { eventsOf, mixOf, type LoadSettings } from '../options.js';
import type { Phase, Run } from './run.js';

/** How often the bar moves, and how often a row is written where there is no terminal. */
const BAR_MS = 200;
const ROW_MS = 5_000;

/** What a run is doing, as people read it. */
const PHASES: Readonly<Record<Phase, string>> = {
  connecting: 'connecting',
  publishing: 'publishing',
  settling: 'waiting for the last events',
};

/** What is shown of a run. */
export type Watched = Pick<Run, 'phase' | 'totals' | 'lastSecond' | 'meter'>;

/** Shows it on a stream. Returns a function that ends this. */
export function showProgress(
  run: Watched,
  settings: LoadSettings,
  stream: NodeJS.WriteStream = process.stderr,
): () => void {
  if (!stream.isTTY) {
    const timer = setInterval(() => {
      const { value, total } = progressOf(run, settings);
      stream.write(
        `holdline: ${PHASES[run.phase]} ${decimal(value)}/${decimal(total)}${detailsOf(run)}\n`,
      );
    }, ROW_MS);
    return () => clearInterval(timer);
  }
  const bar = new ProgressBar(stream);
  const show = (): void => {
    const { value, total } = progressOf(run, settings);
    bar.show(total === 0 ? 0 : value / total, PHASES[run.phase], detailsOf(run));
  };
  show();
  const timer = setInterval(show, BAR_MS);
  return () => {
    clearInterval(timer);
    bar.hide();
  };
}

function progressOf(
  { phase, totals }: Watched,
  settings: LoadSettings,
): { readonly value: number; readonly total: number } {
  const { connections } = settings;
  if (phase === 'connecting') return { value: totals?.joined ?? 0, total: connections };
  const { stalledShare, slowShare } = mixOf(settings);
  const owed = connections * (1 - stalledShare - slowShare) * eventsOf(settings);
  return { value: totals?.delivered ?? 0, total: Math.round(owed) };
}

/** What came in the last second, and what the server uses. */
function detailsOf({ phase, lastSecond, meter }: Watched): string {
  const server = meter?.latest;
  const second = phase === 'connecting' ? undefined : lastSecond;
  return [
    ...(second === undefined ? [] : [`${rough(second.deliveries)} deliveries/s`]),
    ...(second === undefined || second.p99Ms === null ? [] : [`p99 ${duration(second.p99Ms)}`]),
    ...(server === undefined ? [] : [`server ${size(server.rssBytes)}`]),
    ...(server === undefined || server.cpuShare === null
      ? []
      : [`${percent(server.cpuShare)} of a core`]),
  ]
    .map((part) => `, ${part}`)
    .join('');
}
