/** The section of the report about clients that read slowly, not at all, or come and go. */

import type { Html } from '../../report/html.js';
import { note, table, type Cell, type Section } from '../../report/page.js';
import { decimal, duration, percent, size } from '../../report/words.js';
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
    'Clients that read slowly or nothing are in no other figures but bytes and requests.';
  return [
    {
      title: 'Clients that come, go, or do not read',
      ...(apart.length === 0 ? {} : { intro }),
      blocks,
    },
  ];
}

function unevenRows({ stalled, slow }: MixFigures): (readonly Cell[])[] {
  return [
    ...(stalled.clients === 0
      ? []
      : [['stalled: they read nothing', stalled.clients, stalled.cutOff, '–', '–']]),
    ...(slow.clients === 0
      ? []
      : [
          [
            `slow: they read ${size(slow.bytesPerSecond)}/s`,
            slow.clients,
            slow.cutOff,
            slow.delivered,
            slow.gaps,
          ],
        ]),
  ];
}

function unevenTable(rows: readonly (readonly Cell[])[]): Html {
  const figureColumns = ['how many', 'cut off', 'events', 'gaps reported'].map((right) => ({
    right,
  }));
  return table({ columns: ['Clients', ...figureColumns], rows });
}

function reconnectNote({ reconnects }: MixFigures, hasHerd: boolean): Html {
  const { sharePerMinute, returns, refusedReturns } = reconnects;
  return note(
    `${percent(sharePerMinute)} of the clients that read normally dropped their connection in each minute and came back where they had ` +
      `left off${hasHerd ? ', and so did the herd' : ''}: ${decimal(returns)} times in all, ${decimal(refusedReturns)} further tries.`,
  );
}

function herdNote({ atSeconds, clients, backSeconds, caughtUpSeconds }: Herd): Html {
  const within = (seconds: number | null): string =>
    seconds === null ? 'not by the end' : `in ${duration(seconds * 1000)}`;
  return note(
    `After ${decimal(atSeconds, 1)} s all ${decimal(clients)} clients that read dropped their connections and came back at once: ` +
      `the last was subscribed again ${within(backSeconds)}, and had what it was owed ${within(caughtUpSeconds)}.`,
    caughtUpSeconds === null ? 'bad' : 'plain',
  );
}
