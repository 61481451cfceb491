/** The progress of a run: a bar on a terminal, elsewhere a row of text every few seconds. */

import { SingleBar } from 'cli-progress';
import { decimal, duration, percent, rough, size } from '../../report/words.js';
import { eventsOf, mixOf, type LoadSettings } from '../options.js';
import type { Run } from './run.js';

/** How often the bar moves, and how often a row is written where there is no terminal. */
const BAR_MS = 200;
const ROW_MS = 5_000;

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
      stream.write(`holdline: ${run.phase} ${decimal(value)}/${decimal(total)}${detailsOf(run)}\n`);
    }, ROW_MS);
    return () => clearInterval(timer);
  }
  // Ctrl-C is for the run, which then ends early and prints its table.
  const bar = new SingleBar({
    format: '{phase} [{bar}] {percentage} %{details}',
    barsize: 24,
    stream,
    gracefulExit: false,
    clearOnComplete: true,
  });
  const { value: first, total: whole } = progressOf(run, settings);
  bar.start(whole, first, { phase: run.phase, details: detailsOf(run) });
  const timer = setInterval(() => {
    const { value, total } = progressOf(run, settings);
    bar.setTotal(total);
    bar.update(value, { phase: run.phase, details: detailsOf(run) });
  }, BAR_MS);
  return () => {
    clearInterval(timer);
    bar.stop();
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
