/** The section of the report about clients that read slowly, not at all, or come and go. */

import type { Html } from '../../report/html.js';
import { note, table, type Cell, type Section } from '../../report/page.js';
import { count, decimal, duration, percent, size } from '../../report/words.js';
import type { Herd } from '../run/round.js';
import type { LoadReport, MixFigures } from './report.js';

/** Empty where all clients read normally and stay. */
export function mixSection({ mix, herd }: LoadReport): Section[] {
  const apart = mix === null ? [] : unevenRows(mix);
  const blocks = [
    ...(apart.length === 0 ? [] : [unevenTable(apart)]),
    ...(mix === null || mix.reconnects.sharePerMinute === 0
      ? []
      : [reconnectNote(mix, herd !== null)]),
    ...(herd === null ? [] : [herdNote(herd)]),
  ];
  if (blocks.length === 0) return [];
  const intro =
    'Stalled and slow clients are left out of all other figures except bytes and requests.';
  return [
    {
      title: 'Stalled, slow and reconnecting clients',
      ...(apart.length === 0 ? {} : { intro }),
      blocks,
    },
  ];
}

function unevenRows({ stalled, slow }: MixFigures): (readonly Cell[])[] {
  return [
    ...(stalled.clients === 0
      ? []
      : [['stalled (read nothing)', stalled.clients, stalled.cutOff, '–', '–']]),
    ...(slow.clients === 0
      ? []
      : [
          [
            `slow (read ${size(slow.bytesPerSecond)}/s)`,
            slow.clients,
            slow.cutOff,
            slow.delivered,
            slow.gaps,
          ],
        ]),
  ];
}

function unevenTable(rows: readonly (readonly Cell[])[]): Html {
  const figureColumns = ['clients', 'disconnected', 'events received', 'gap notices'].map(
    (right) => ({
      right,
    }),
  );
  return table({ columns: ['kind', ...figureColumns], rows });
}

function reconnectNote({ reconnects }: MixFigures, hasHerd: boolean): Html {
  const { sharePerMinute, returns, refusedReturns } = reconnects;
  return note(
    `Every minute ${percent(sharePerMinute)} of the clients that read normally dropped their ` +
      'connection, reconnected and resumed where they had left off' +
      `${hasHerd ? '; once all of them did so at the same time' : ''}: ` +
      `${count(returns, 'reconnection', 'reconnections')} in all, ` +
      `${count(refusedReturns, 'attempt', 'attempts')} had to be repeated.`,
  );
}

function herdNote({ atSeconds, clients, backSeconds, caughtUpSeconds }: Herd): Html {
  const within = (seconds: number | null): string =>
    seconds === null ? 'not by the end of the run' : `after ${duration(seconds * 1000)}`;
  return note(
    `After ${decimal(atSeconds, 1)} s all ${decimal(clients)} clients that read normally dropped ` +
      'their connections and reconnected at once. The last was subscribed again ' +
      `${within(backSeconds)}; the last had received what it had missed ` +
      `${within(caughtUpSeconds)}.`,
    caughtUpSeconds === null ? 'bad' : 'plain',
  );
}
