/**
 * What limited a round. A round in which the client had no time to spare measured the client; one
 * in which nothing was at its limit and yet something was missing measured neither. Both stay in
 * the raw figures, and are left out of every median.
 */
import { readBusySeconds } from '../src/linux/processes.js';
import { CLIENT_CORE, SERVER_CORE, pinning } from './child.js';

export type Verdict =
  /** Everything that was offered was done: the figure is its cost, not a limit. */
  | 'offer'
  /** The server was at its limit, the client below its own. */
  | 'server'
  /** No core was at its limit, in a closed loop on a log that makes its publishers wait. */
  | 'log'
  /** The client's core was at its limit, whatever ran there. Discarded. */
  | 'client'
  /** Nothing was at its limit, and not everything that was offered was done. Discarded. */
  | 'neither';

/** A core that is busier than this is at its limit: the client's, and the server's. */
const CLIENT_LIMIT_SHARE = 0.95;
const SERVER_LIMIT_SHARE = 0.9;
/** Less than 1, since counts are derived from bytes and a window cuts events at its ends. */
const ALL_SHARE = 0.98;

export interface Pace {
  serverShare: number;
  clientShare: number;
  /**
   * Done ÷ offered, in an open loop; left out in a closed one, which offers as much as is taken.
   */
  doneShare?: number;
  /** True when publishers wait for a disk, or for another server. */
  waitsForLog?: boolean;
}

export function verdictOn({
  serverShare,
  clientShare,
  doneShare = 0,
  waitsForLog = false,
}: Pace): Verdict {
  if (clientShare > CLIENT_LIMIT_SHARE) return 'client';
  if (doneShare >= ALL_SHARE) return 'offer';
  if (serverShare > SERVER_LIMIT_SHARE) return 'server';
  return waitsForLog ? 'log' : 'neither';
}

export function counts({ verdict }: { verdict: Verdict }): boolean {
  return verdict === 'offer' || verdict === 'server' || verdict === 'log';
}

/** A remark when some of the rounds, or all of them, do not count. */
export function remarkOnDiscarded(
  where: string,
  rounds: readonly { verdict: Verdict }[],
): string[] {
  const discarded = rounds.filter((round) => !counts(round));
  if (discarded.length === 0) return [];
  const by = (verdict: Verdict): number =>
    discarded.filter((round) => round.verdict === verdict).length;
  const why = [
    ...(by('client') > 0 ? [`in ${by('client')} the client’s core was at its limit`] : []),
    ...(by('neither') > 0 ? [`in ${by('neither')} no core was`] : []),
  ].join(', ');
  const left =
    discarded.length === rounds.length ? 'no figure is left' : 'the medians are of the others';
  return [
    `${where}: ${discarded.length} of ${rounds.length} rounds were discarded (${why}); ${left}`,
  ];
}

/** `4 of 5`, for a table. */
export function roundsLeft({
  rounds,
  discardedRounds,
}: {
  rounds: number;
  discardedRounds: number;
}): string {
  return discardedRounds === rounds ? 'all discarded' : `${rounds - discardedRounds} of ${rounds}`;
}

/** Watches how busy the two cores are from now on; undefined where nothing is pinned. */
export function watchCores(): (seconds: number) => { server: number; client: number } | undefined {
  if (!pinning) return () => undefined;
  const before = { server: readBusySeconds(SERVER_CORE), client: readBusySeconds(CLIENT_CORE) };
  return (seconds) => ({
    server: (readBusySeconds(SERVER_CORE) - before.server) / seconds,
    client: (readBusySeconds(CLIENT_CORE) - before.client) / seconds,
  });
}
