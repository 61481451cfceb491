/**
 * Who set the pace of a round. A round in which the client had no time to spare measured the
 * client, and one in which nobody was at a limit and yet something was missing measured neither:
 * both are kept in the raw figures, and left out of every median.
 */
import { CLIENT_CORE, SERVER_CORE, pinning } from './child.js';
import { coreBusySeconds } from './machine.js';

export type Verdict =
  /** All that was asked for was done: the figure is what it cost, and no limit. */
  | 'offer'
  /** The server was at its limit, the client below its own. */
  | 'server'
  /** The client's core was at its limit, whoever took it. Discarded. */
  | 'client'
  /** Nobody was at a limit, and not all that was asked for was done. Discarded. */
  | 'neither';

/** Of its core, from here on a process is at its limit. */
export const CLIENT_LIMIT_SHARE = 0.95;
const SERVER_LIMIT_SHARE = 0.9;
/** Counts are taken from bytes, and a window cuts through the events at its ends. */
const ALL_SHARE = 0.98;

export interface Pace {
  serverShare: number;
  clientShare: number;
  /**
   * Done ÷ asked for, in an open loop; left out in a closed one, which asks for as much as it is
   * given.
   */
  doneShare?: number;
}

export function verdictOn({ serverShare, clientShare, doneShare = 0 }: Pace): Verdict {
  if (clientShare > CLIENT_LIMIT_SHARE) return 'client';
  if (doneShare >= ALL_SHARE) return 'offer';
  return serverShare > SERVER_LIMIT_SHARE ? 'server' : 'neither';
}

export function counts({ verdict }: { verdict: Verdict }): boolean {
  return verdict === 'offer' || verdict === 'server';
}

/** The rounds that count, or a remark in words when there is none. */
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
    ...(by('neither') > 0 ? [`in ${by('neither')} nobody’s was`] : []),
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

/** How busy the two cores were since they were first asked; undefined where nothing was pinned. */
export function watchCores(): (seconds: number) => { server: number; client: number } | undefined {
  if (!pinning) return () => undefined;
  const before = { server: coreBusySeconds(SERVER_CORE), client: coreBusySeconds(CLIENT_CORE) };
  return (seconds) => ({
    server: (coreBusySeconds(SERVER_CORE) - before.server) / seconds,
    client: (coreBusySeconds(CLIENT_CORE) - before.client) / seconds,
  });
}
